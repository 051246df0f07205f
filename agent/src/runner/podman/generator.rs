//! Podman's generator: files of Quadlet's in, services of systemd's out.
//!
//! Owns finding the program, running it with a limit of time, and reading what it made. It never changes a word of that.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use muster_common::unit::{UnitFile, UnitName};
use tokio::process::Command;

use super::problem::read_words;

/// Where distributions put it. systemd runs the same program at each daemon-reload.
const PROGRAMS: [&str; 3] = [
    "/usr/local/lib/systemd/system-generators/podman-system-generator",
    "/usr/lib/systemd/system-generators/podman-system-generator",
    "/usr/libexec/podman/quadlet",
];

/// It takes 4 ms; a machine that is busy takes a hundred times as long at most.
const LIMIT: Duration = Duration::from_secs(5);

/// The number of times that a generator was run.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// Files that name one another, one of which is to be translated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratorInput {
    /// The unit that it is about.
    pub unit: UnitName,
    /// Where its file is, and those of the units that it cannot do without.
    pub needed: Vec<PathBuf>,
    /// Where the generator finds all of them, and what may be beside them.
    pub directories: Vec<PathBuf>,
}

/// The services that were made of files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translation {
    /// The text of each, by the file that it was made of.
    pub services: BTreeMap<PathBuf, GeneratedService>,
    /// The warnings of the generator.
    pub warnings: Vec<String>,
}

/// A service that was made of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedService {
    /// Its name.
    pub name: UnitName,
    /// Its text.
    pub text: String,
}

/// Why there is no service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GeneratorError {
    /// There is no generator here.
    #[error("this machine has no Podman with Quadlet")]
    Absent,
    /// It cannot be run.
    #[error("Podman's generator cannot be run: {problem}")]
    Run {
        /// Why.
        problem: String,
    },
    /// It did not end.
    #[error("Podman's generator did not end within {} s", LIMIT.as_secs())]
    Hangs,
    /// It ended, and made nothing for a reason of its own.
    #[error("Podman's generator failed ({status}) and gave no reason")]
    Silent {
        /// The way in which it ended.
        status: String,
    },
    /// It passed the file over.
    #[error(
        "Podman's generator makes nothing of it: the Podman of this machine may not know .{kind} files{}",
        first_release(kind)
    )]
    Passed {
        /// The end of the file's name.
        kind: String,
    },
    /// It does not take the file.
    #[error("Podman's generator: {problem}")]
    Refused {
        /// Its words.
        problem: String,
    },
}

/// The release of Podman that has files of a kind, of those that came after the first with Quadlet.
fn first_release(kind: &str) -> String {
    let release = match kind {
        "image" => "4.8",
        "pod" => "5.0",
        "build" => "5.2",
        "artifact" => "5.7",
        _ => return String::new(),
    };
    format!(", which came with {release}; `podman --version` there says which it has")
}

/// Whoever makes services of files of Quadlet's.
#[async_trait]
pub trait QuadletGenerator: Send + Sync + 'static {
    /// The services of files, of all that are needed at least.
    async fn translate_files(&self, input: &GeneratorInput) -> Result<Translation, GeneratorError>;
}

/// The generator of this machine's Podman.
#[derive(Debug, Clone)]
pub struct PodmanGenerator {
    program: Option<PathBuf>,
    /// Where it may write.
    scratch: PathBuf,
}

impl PodmanGenerator {
    /// Looks for it. What it writes goes below `scratch`, and is read and taken away at once.
    pub fn find_program(scratch: PathBuf) -> Self {
        let found = PROGRAMS.iter().map(PathBuf::from).find(|program| program.exists());
        Self { program: found, scratch }
    }

    /// The one that is this program.
    pub fn with_program(program: PathBuf, scratch: PathBuf) -> Self {
        Self { program: Some(program), scratch }
    }

    /// True if there is one.
    pub fn is_present(&self) -> bool {
        self.program.is_some()
    }

    async fn run_in(
        &self,
        input: &GeneratorInput,
        output: &Path,
    ) -> Result<Translation, GeneratorError> {
        let program = self.program.as_ref().ok_or(GeneratorError::Absent)?;
        let failed = |error: io::Error| GeneratorError::Run { problem: error.to_string() };
        fs::create_dir_all(output).map_err(failed)?;
        let directories = std::env::join_paths(&input.directories);
        let directories =
            directories.map_err(|error| GeneratorError::Run { problem: error.to_string() })?;
        let mut command = Command::new(program);
        // Else it writes to the kernel's log, where a generator's words belong when systemd runs it.
        command.arg("--no-kmsg-log").arg(output).env("QUADLET_UNIT_DIRS", directories);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let ended = muster_runtime::timeout(LIMIT, command.output()).await;
        let ended = ended.map_err(|_| GeneratorError::Hangs)?.map_err(failed)?;
        let read_file = |unit: &UnitName| -> Option<UnitFile> {
            let mut directories = input.directories.iter();
            let text = directories
                .find_map(|directory| fs::read_to_string(directory.join(unit.as_str())).ok());
            text?.parse().ok()
        };
        let words = read_words(&String::from_utf8_lossy(&ended.stderr), &input.unit, &read_file);
        let services = read_services(output);
        // That it fails says no more than that one of the files is wrong.
        if input.needed.iter().all(|source| services.contains_key(source)) {
            return Ok(Translation { services, warnings: words.warnings });
        }
        Err(match ended.status.code() {
            Some(_) if !words.problems.is_empty() => {
                let problems: Vec<String> =
                    words.problems.into_iter().map(|(_, problem)| problem).collect();
                GeneratorError::Refused { problem: problems.join("; ") }
            }
            Some(0) => GeneratorError::Passed { kind: passed_over(input, &services) },
            _ => GeneratorError::Silent { status: ended.status.to_string() },
        })
    }
}

/// The services that lie in a directory, by the file that each names as its source.
fn read_services(output: &Path) -> BTreeMap<PathBuf, GeneratedService> {
    let Ok(entries) = fs::read_dir(output) else { return BTreeMap::new() };
    let service = |entry: fs::DirEntry| -> Option<(PathBuf, GeneratedService)> {
        // An alias is a link to the service.
        if !entry.file_type().ok()?.is_file() {
            return None;
        }
        let name: UnitName = entry.file_name().to_str()?.parse().ok()?;
        let text = fs::read_to_string(entry.path()).ok()?;
        let source = text.lines().find_map(|line| line.strip_prefix("SourcePath="))?;
        Some((PathBuf::from(source), GeneratedService { name, text }))
    };
    entries.filter_map(|entry| service(entry.ok()?)).collect()
}

/// The type of the first file that nothing was made of.
fn passed_over(input: &GeneratorInput, services: &BTreeMap<PathBuf, GeneratedService>) -> String {
    let passed = input.needed.iter().find(|source| !services.contains_key(*source));
    let kind = passed.and_then(|source| source.extension());
    kind.unwrap_or_default().to_string_lossy().into_owned()
}

#[async_trait]
impl QuadletGenerator for PodmanGenerator {
    async fn translate_files(&self, input: &GeneratorInput) -> Result<Translation, GeneratorError> {
        // Two may be asked about one unit at a time, and its name may be as long as a file's can be.
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let output = self.scratch.join(number.to_string());
        // What a daemon before this one left there is not this file's.
        let _ = fs::remove_dir_all(&output);
        let made = self.run_in(input, &output).await;
        let _ = fs::remove_dir_all(&output);
        made
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn input_in(directory: &Path) -> GeneratorInput {
        GeneratorInput {
            unit: "a.container".parse().unwrap(),
            needed: vec![directory.join("a.container")],
            directories: vec![directory.to_owned()],
        }
    }

    /// What becomes of a file with a generator that is this script.
    async fn translate_with(script: &str) -> Result<Translation, GeneratorError> {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("generator");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let directory = place.path().join("units");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("a.container"), "[Container]\nImage=b\nBogus=1\n").unwrap();
        let generator = PodmanGenerator::with_program(program, place.path().join("out"));
        let made = generator.translate_files(&input_in(&directory)).await;
        assert_eq!(fs::read_dir(place.path().join("out")).unwrap().count(), 0, "it is swept");
        made
    }

    #[tokio::test]
    async fn what_it_makes_is_taken_word_for_word() {
        let script = "in=$QUADLET_UNIT_DIRS/a.container; (cat $in; echo SourcePath=$in) > $2/b.service; ln -s b.service $2/alias.service
                      echo 'x[1]: Warning: careful' >&2; echo 'converting \"c.container\": no' >&2; exit 1";
        let made = translate_with(script).await.unwrap();
        let service = made.services.into_values().next().unwrap();
        assert_eq!(service.name.as_str(), "b.service");
        assert!(service.text.starts_with("[Container]\nImage=b\nBogus=1\n"));
        assert_eq!(made.warnings, ["careful"]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_end_is_not_waited_for() {
        assert_eq!(translate_with("exec sleep 600").await, Err(GeneratorError::Hangs));
    }

    #[tokio::test]
    async fn each_way_to_make_nothing_is_told() {
        let refused = "echo \"x[1]: converting \\\"a.container\\\": unsupported key 'Bogus' in group 'Container' in /x\" >&2; exit 1";
        let told = translate_with(refused).await.unwrap_err().to_string();
        assert!(told.contains("line 3: unsupported key 'Bogus' in group 'Container'; "), "{told}");
        let crashed = translate_with("kill -SEGV $$").await.unwrap_err().to_string();
        assert!(crashed.contains("signal: 11"), "{crashed}");
        let silent = translate_with("exit 3").await.unwrap_err().to_string();
        assert!(silent.contains("gave no reason"), "{silent}");
        let passed = translate_with("exit 0").await.unwrap_err().to_string();
        assert!(passed.ends_with("may not know .container files"), "{passed}");
        let later = GeneratorError::Passed { kind: "artifact".to_owned() }.to_string();
        assert!(later.contains("may not know .artifact files, which came with 5.7"), "{later}");

        let nowhere = tempfile::tempdir().unwrap();
        let absent = PodmanGenerator { program: None, scratch: nowhere.path().to_owned() };
        let input = input_in(nowhere.path());
        assert_eq!(absent.translate_files(&input).await, Err(GeneratorError::Absent));
        let gone = PodmanGenerator::with_program("/nowhere".into(), nowhere.path().to_owned());
        assert!(matches!(gone.translate_files(&input).await, Err(GeneratorError::Run { .. })));
    }
}
