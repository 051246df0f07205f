//! Podman's generator: a file of Quadlet's in, a service of systemd's out.
//!
//! Owns finding the program, running it with a limit of time, and reading what it made. It never changes a word of that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
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

/// The service that was made of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translation {
    /// Its text.
    pub service: String,
    /// The warnings of the generator.
    pub warnings: Vec<String>,
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
    /// It does not take the file.
    #[error("Podman's generator: {problem}")]
    Refused {
        /// Its words.
        problem: String,
    },
}

/// Whoever makes services of container units.
#[async_trait]
pub trait QuadletGenerator: Send + Sync + 'static {
    /// The service of a unit whose file lies alone in a directory.
    async fn translate_file(
        &self,
        directory: &Path,
        unit: &UnitName,
    ) -> Result<Translation, GeneratorError>;
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
        directory: &Path,
        unit: &UnitName,
        output: &Path,
    ) -> Result<Translation, GeneratorError> {
        let program = self.program.as_ref().ok_or(GeneratorError::Absent)?;
        let failed = |error: io::Error| GeneratorError::Run { problem: error.to_string() };
        fs::create_dir_all(output).map_err(failed)?;
        let mut command = Command::new(program);
        // Else it writes to the kernel's log, where a generator's words belong when systemd runs it.
        command.arg("--no-kmsg-log").arg(output).env("QUADLET_UNIT_DIRS", directory);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let ended = muster_runtime::timeout(LIMIT, command.output()).await;
        let ended = ended.map_err(|_| GeneratorError::Hangs)?.map_err(failed)?;
        let file = fs::read_to_string(directory.join(unit.as_str())).ok();
        let file: Option<UnitFile> = file.and_then(|text| text.parse().ok());
        let words = read_words(&String::from_utf8_lossy(&ended.stderr), unit, file.as_ref());
        let service = unit.quadlet_service();
        let made =
            service.and_then(|service| fs::read_to_string(output.join(service.as_str())).ok());
        match made {
            Some(service) if ended.status.success() => {
                Ok(Translation { service, warnings: words.warnings })
            }
            _ if !words.problems.is_empty() => {
                Err(GeneratorError::Refused { problem: words.problems.join("; ") })
            }
            _ => Err(GeneratorError::Silent { status: ended.status.to_string() }),
        }
    }
}

#[async_trait]
impl QuadletGenerator for PodmanGenerator {
    async fn translate_file(
        &self,
        directory: &Path,
        unit: &UnitName,
    ) -> Result<Translation, GeneratorError> {
        let output = self.scratch.join(unit.as_str());
        // What a daemon before this one left there is not this file's.
        let _ = fs::remove_dir_all(&output);
        let made = self.run_in(directory, unit, &output).await;
        let _ = fs::remove_dir_all(&output);
        made
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

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
        let made = generator.translate_file(&directory, &"a.container".parse().unwrap()).await;
        assert_eq!(fs::read_dir(place.path().join("out")).unwrap().count(), 0, "it is swept");
        made
    }

    #[tokio::test]
    async fn what_it_makes_is_taken_word_for_word() {
        let script =
            "cat $QUADLET_UNIT_DIRS/a.container > $2/a.service; echo 'x[1]: Warning: careful' >&2";
        let made = translate_with(script).await.unwrap();
        assert_eq!(made.service, "[Container]\nImage=b\nBogus=1\n");
        assert_eq!(made.warnings, ["careful"]);
    }

    #[tokio::test]
    async fn each_way_to_make_nothing_is_told() {
        let refused = "echo \"x[1]: converting \\\"a.container\\\": unsupported key 'Bogus' in group 'Container' in /x\" >&2; exit 1";
        let problem = "line 3: unsupported key 'Bogus' in group 'Container'".to_owned();
        assert_eq!(translate_with(refused).await, Err(GeneratorError::Refused { problem }));
        let crashed = translate_with("kill -SEGV $$").await.unwrap_err().to_string();
        assert!(crashed.contains("signal: 11"), "{crashed}");
        let silent = translate_with("exit 0").await.unwrap_err().to_string();
        assert!(silent.contains("gave no reason"), "{silent}");

        let nowhere = tempfile::tempdir().unwrap();
        let absent = PodmanGenerator { program: None, scratch: nowhere.path().to_owned() };
        let unit = "a.container".parse().unwrap();
        assert_eq!(absent.translate_file(nowhere.path(), &unit).await, Err(GeneratorError::Absent));
        let gone = PodmanGenerator::with_program("/nowhere".into(), nowhere.path().to_owned());
        assert!(matches!(
            gone.translate_file(nowhere.path(), &unit).await,
            Err(GeneratorError::Run { .. })
        ));
    }
}
