//! The two streams of a command: data on standard output, talk on standard error.
//!
//! Owns how lines begin (`error:`, `warning:`, `hint:`) and that progress never mixes with them. It never decides what
//! is worth saying.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::json::UnitResult;

/// What standard output carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Tables and lines for people.
    Table,
    /// One JSON value.
    Json,
}

/// Prints.
#[derive(Debug)]
pub(crate) struct Console {
    format: Format,
    results: Vec<UnitResult>,
    progress: Option<ProgressBar>,
}

impl Console {
    /// A console that prints data in `format`.
    pub(crate) fn new(format: Format) -> Self {
        Self { format, results: Vec::new(), progress: None }
    }

    /// Whether standard output carries JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Data, as it is.
    pub(crate) fn data(&self, bytes: &[u8]) -> io::Result<()> {
        self.beside_progress(|| {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        })
    }

    /// What became of a unit: a line now, or an entry of the JSON array that [`Self::finish`] prints.
    pub(crate) fn result(&mut self, result: UnitResult) -> io::Result<()> {
        match (self.format, result.line()) {
            (Format::Table, Some(line)) => self.data(format!("{line}\n").as_bytes()),
            (Format::Table, None) => Ok(()),
            (Format::Json, _) => {
                self.results.push(result);
                Ok(())
            }
        }
    }

    /// Prints the results as JSON, if that is the form and there are any: all of them once the command is over.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let results = std::mem::take(&mut self.results);
        if results.is_empty() { Ok(()) } else { self.data(&super::json::pretty(&results)?) }
    }

    /// Something failed.
    pub(crate) fn error(&self, text: impl Display) {
        self.talk("error", &text);
    }

    /// Something is not as it should be, and the command goes on.
    pub(crate) fn warning(&self, text: impl Display) {
        self.talk("warning", &text);
    }

    /// The next step.
    pub(crate) fn hint(&self, text: impl Display) {
        self.talk("hint", &text);
    }

    fn talk(&self, kind: &str, text: &dyn Display) {
        // Nothing can be done about a standard error that cannot be written.
        self.beside_progress(|| drop(writeln!(io::stderr(), "{kind}: {text}")));
    }

    /// Shows how far a wait is. Only a terminal is shown anything: neither a pipe behind standard output nor one
    /// behind standard error ever sees progress.
    pub(crate) fn progress(&mut self, text: String) {
        if !io::stdout().is_terminal() || !io::stderr().is_terminal() {
            return;
        }
        let bar = self.progress.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        bar.set_message(text);
    }

    /// Takes the progress display away.
    pub(crate) fn end_progress(&mut self) {
        if let Some(bar) = self.progress.take() {
            bar.finish_and_clear();
        }
    }

    fn beside_progress<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.progress {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}
