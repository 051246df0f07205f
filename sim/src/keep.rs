//! Runs that are kept: each is a file that a test runs for ever.
//!
//! Owns the shape of those files, in `sim/seeds/`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::Plan;

/// A run that is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptRun {
    /// The violation that it showed when it was kept, in a sentence.
    pub shows: String,
    /// The violation that it ended with then, in a word.
    pub word: String,
    /// The fault that has to be planted for it to end so again, now that the product is mended. Without one it is only to end well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
    /// The plan.
    pub plan: Plan,
}

/// Keeps a run under a name. Returns the file.
///
/// # Errors
///
/// The file cannot be written.
pub fn keep_run(directory: &Path, name: &str, run: &KeptRun) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let path = directory.join(format!("{name}.json"));
    let mut text = serde_json::to_string_pretty(run)?;
    text.push('\n');
    fs::write(&path, text)?;
    Ok(path)
}

/// The kept runs, by name.
///
/// # Errors
///
/// A file cannot be read, or is none of a run.
pub fn kept_runs(directory: &Path) -> io::Result<Vec<(String, KeptRun)>> {
    let mut runs = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(runs),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        if let Some(name) = name.filter(|_| path.extension().is_some_and(|ext| ext == "json")) {
            runs.push((name, serde_json::from_slice(&fs::read(&path)?)?));
        }
    }
    runs.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(runs)
}
