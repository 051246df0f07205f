//! Runs that are kept: each is a file that a test runs for ever.
//!
//! Owns the shape of those files, in `sim/seeds/`, and what is asked of such a run. A plan is data: it says the same whatever a seed
//! makes of itself by then. One that asks for what there is no more is an error that says so, and never a run of something else.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use muster_common::probe;
use serde::{Deserialize, Serialize};

use crate::invariants::Violation;
use crate::plan::Plan;
use crate::planted::find_fault;
use crate::run::run_plan;

/// A run that is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "P: Serialize + for<'a> Deserialize<'a>")]
pub struct KeptRun<P = Plan> {
    /// The seed that it was made from; smaller now.
    pub seed: u64,
    /// The violation that it showed when it was kept, in a sentence.
    pub shows: String,
    /// The violation that it ended with then, in a word.
    pub word: String,
    /// The fault that was planted for it. Without one the product was at fault, and is mended by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
    /// The plan.
    pub plan: P,
}

impl KeptRun {
    /// True if this fault was planted for it.
    pub(crate) fn is_kept_for(&self, fault: &str) -> bool {
        self.planted.as_deref() == Some(fault)
    }
}

/// A directory of kept runs that cannot be used.
#[derive(Debug)]
pub enum KeepError {
    /// The file cannot be read or written.
    Access {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file is none of a kept run.
    Malformed {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: serde_json::Error,
    },
    /// Its plan asks for something that this simulator does not have.
    OtherWorld {
        /// The file.
        path: PathBuf,
        /// The seed that it was made from.
        seed: u64,
        /// The fault that was planted for it.
        planted: Option<String>,
        /// The reason.
        source: serde_json::Error,
    },
    /// The fault that was planted for it is in the table no more.
    NoSuchFault {
        /// The file.
        path: PathBuf,
        /// The fault's name.
        planted: String,
    },
}

impl fmt::Display for KeepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Malformed { path, source } => {
                write!(f, "{} is no kept run: {source}", path.display())
            }
            Self::OtherWorld { path, seed, planted, source } => {
                let with = planted.as_ref().map(|name| format!(" --with {name}"));
                write!(
                    f,
                    "{} was kept in a world that had other things in it than this one: {source}; write it as this one has it, or \
                     remove it and keep a seed that shows the same (it was cargo xtask sim --keep {seed}{})",
                    path.display(),
                    with.unwrap_or_default()
                )
            }
            Self::NoSuchFault { path, planted } => {
                write!(f, "{}: no planted fault is named {planted}", path.display())
            }
        }
    }
}

impl std::error::Error for KeepError {}

/// The outcome of a kept run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptVerdict {
    /// It ends well, and shows what it was kept for if that is planted again.
    Well,
    /// It ends well, and does so with the fault planted as well: the world goes another way by now, and it says nothing any more.
    ShowsNothing,
    /// The product fails.
    Fails(Violation),
}

/// Runs a plan that was kept.
pub fn check_kept_run(run: &KeptRun) -> KeptVerdict {
    probe::plant_fault(None);
    let outcome = run_plan(&run.plan, false);
    if let Some(violation) = outcome.violations.into_iter().next() {
        return KeptVerdict::Fails(violation);
    }
    let Some(fault) = run.planted.as_deref().and_then(find_fault) else {
        return KeptVerdict::Well;
    };
    probe::plant_fault(Some(fault.name));
    let outcome = run_plan(&run.plan, false);
    probe::plant_fault(None);
    if outcome.violations.is_empty() { KeptVerdict::ShowsNothing } else { KeptVerdict::Well }
}

/// Keeps a run under a name. Returns the file.
///
/// # Errors
///
/// The file cannot be written.
pub fn keep_run(directory: &Path, name: &str, run: &KeptRun) -> Result<PathBuf, KeepError> {
    let path = directory.join(format!("{name}.json"));
    let mut text = serde_json::to_string_pretty(run)
        .map_err(|source| KeepError::Malformed { path: path.clone(), source })?;
    text.push('\n');
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&path, text))
        .map_err(|source| KeepError::Access { path: path.clone(), source })?;
    Ok(path)
}

/// The kept runs, by name.
///
/// # Errors
///
/// A file cannot be read, is none of a run, or is one of a world that there is no more.
pub fn kept_runs(directory: &Path) -> Result<Vec<(String, KeptRun)>, KeepError> {
    let access = |source| KeepError::Access { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(access)?,
    };
    let mut runs = Vec::new();
    for entry in entries {
        let path = entry.map_err(access)?.path();
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        if let Some(name) = name.filter(|_| path.extension().is_some_and(|ext| ext == "json")) {
            runs.push((name, read_kept_run(&path)?));
        }
    }
    runs.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(runs)
}

fn read_kept_run(path: &Path) -> Result<KeptRun, KeepError> {
    let path = path.to_owned();
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(source) => return Err(KeepError::Access { path, source }),
    };
    let run: KeptRun<serde_json::Value> = match serde_json::from_slice(&text) {
        Ok(run) => run,
        Err(source) => return Err(KeepError::Malformed { path, source }),
    };
    let KeptRun { seed, shows, word, planted, plan } = run;
    if let Some(planted) = planted.as_ref().filter(|name| find_fault(name).is_none()) {
        return Err(KeepError::NoSuchFault { path, planted: planted.clone() });
    }
    match serde_json::from_value(plan) {
        Ok(plan) => Ok(KeptRun { seed, shows, word, planted, plan }),
        Err(source) => Err(KeepError::OtherWorld { path, seed, planted, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(seed: u64, planted: Option<&str>) -> KeptRun {
        KeptRun {
            seed,
            shows: "m1 stops what it should not".to_owned(),
            word: "stopped-for-nothing".to_owned(),
            planted: planted.map(str::to_owned),
            plan: Plan::for_seed(seed),
        }
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        assert!(kept_runs(&directory.path().join("none")).unwrap().is_empty());
        for seed in 1..4 {
            keep_run(directory.path(), &format!("some-{seed}"), &kept(seed, None)).unwrap();
        }
        let runs = kept_runs(directory.path()).unwrap();
        let names: Vec<&str> = runs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["some-1", "some-2", "some-3"]);
        assert_eq!(runs[1].1.plan, Plan::for_seed(2));
    }

    #[test]
    fn a_plan_of_another_world_says_so_and_how_it_was_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = keep_run(directory.path(), "old", &kept(35, Some("ledger-unsaved"))).unwrap();
        let mut old: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        old["plan"]["faults"] = serde_json::json!([{"at": 5, "lasts": 6, "fault": {"comet": 3}}]);
        fs::write(&path, old.to_string()).unwrap();
        let said = kept_runs(directory.path()).unwrap_err().to_string();
        assert!(said.contains("old.json") && said.contains("comet"), "{said}");
        assert!(said.contains("--keep 35 --with ledger-unsaved"), "{said}");
        old["planted"] = "gone-by-now".into();
        fs::write(&path, old.to_string()).unwrap();
        let said = kept_runs(directory.path()).unwrap_err().to_string();
        assert!(said.contains("gone-by-now"), "{said}");
        fs::write(&path, "[]").unwrap();
        let said = kept_runs(directory.path()).unwrap_err().to_string();
        assert!(said.contains("no kept run"), "{said}");
    }
}
