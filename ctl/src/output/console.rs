//! The two streams of a command: data on standard output, talk on standard error.
//!
//! Owns how lines begin (`error:`, `warning:`, `hint:`, `note:`, `waiting:`), that progress never mixes with them, and that nothing in a text
//! drives the terminal or passes for a line of ours: what is said comes from users, machines and files. It never decides
//! what is worth saying.

use std::cell::Cell;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use muster_common::text::{clean_lines, clean_text};

use super::json::UnitResult;
use super::screen::Screen;

/// The form of standard output.
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
    /// Number of things printed, and results given.
    message_count: Cell<u64>,
}

impl Console {
    /// A console that prints data in `format`.
    pub(crate) fn new(format: Format) -> Self {
        Self { format, results: Vec::new(), progress: None, message_count: Cell::new(0) }
    }

    /// Returns the number of things printed, and results given, so far.
    pub(crate) fn count_printed(&self) -> u64 {
        self.message_count.get()
    }

    /// Returns whether how far a wait is can be seen.
    pub(crate) fn shows_progress(&self) -> bool {
        self.progress.is_some()
    }

    /// From now on standard output carries JSON.
    pub(crate) fn switch_to_json(&mut self) {
        self.format = Format::Json;
    }

    /// Returns whether standard output carries JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Lines of text, hidden characters made visible.
    pub(crate) fn print_text(&self, text: &str) -> io::Result<()> {
        self.message_count.set(self.message_count.get() + 1);
        self.print_data(clean_lines(text).to_string().as_bytes())
    }

    /// A stream of what somebody else wrote, piece by piece, as it is; where a person looks at it, hidden characters are made visible.
    pub(crate) fn foreign_stream(&self) -> ForeignStream<'_> {
        let screen = io::stdout().is_terminal().then(Screen::default);
        ForeignStream { console: self, screen }
    }

    /// Data, as it is: JSON, which hides nothing, and what is for a program.
    pub(crate) fn print_data(&self, bytes: &[u8]) -> io::Result<()> {
        self.beside_progress(|| {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        })
    }

    /// Prints the outcome for a unit: a line now, or an entry of the JSON array that [`Self::print_results`] prints.
    pub(crate) fn add_result(&mut self, result: UnitResult) -> io::Result<()> {
        self.message_count.set(self.message_count.get() + 1);
        match (self.format, result.table_line()) {
            (Format::Table, Some(table_line)) => {
                self.print_text(&format!("{}\n", clean_text(&table_line)))
            }
            (Format::Table, None) => Ok(()),
            (Format::Json, _) => {
                self.results.push(result);
                Ok(())
            }
        }
    }

    /// Prints the results as JSON, if that is the form and there are any: all of them once the command is over.
    pub(crate) fn print_results(&mut self) -> io::Result<()> {
        let results = std::mem::take(&mut self.results);
        if results.is_empty() {
            Ok(())
        } else {
            self.print_data(&super::json::pretty_json(&results)?)
        }
    }

    /// Something failed.
    pub(crate) fn print_error(&self, text: impl Display) {
        self.print_remark("error", &text);
    }

    /// Something is not as it should be, and the command goes on.
    pub(crate) fn print_warning(&self, text: impl Display) {
        self.print_remark("warning", &text);
    }

    /// The next step.
    pub(crate) fn print_hint(&self, text: impl Display) {
        self.print_remark("hint", &text);
    }

    /// A wait goes on, and what it is for.
    pub(crate) fn print_waiting(&self, text: impl Display) {
        self.print_remark("waiting", &text);
    }

    /// Something that the user did not ask for in so many words, and may want to know.
    pub(crate) fn print_note(&self, text: impl Display) {
        self.print_remark("note", &text);
    }

    fn print_remark(&self, kind: &str, text: &dyn Display) {
        self.message_count.set(self.message_count.get() + 1);
        let text = indent_text(&text.to_string());
        // Nothing can be done about a standard error that cannot be written.
        self.beside_progress(|| drop(writeln!(io::stderr(), "{kind}: {text}")));
    }

    /// Shows how far a wait is. Only a terminal is shown anything: neither a pipe behind standard output nor one
    /// behind standard error ever sees progress.
    pub(crate) fn show_progress(&mut self, text: impl Display) {
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
        bar.set_message(clean_text(&text.to_string()).to_string());
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

/// A stream of what somebody else wrote.
pub(crate) struct ForeignStream<'a> {
    console: &'a Console,
    /// For a terminal.
    screen: Option<Screen>,
}

impl ForeignStream<'_> {
    /// The next piece.
    pub(crate) fn write_piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.screen {
            Some(screen) => self.console.print_data(screen.render(bytes).as_bytes()),
            None => self.console.print_data(bytes),
        }
    }

    /// Nothing more comes.
    pub(crate) fn end(mut self) -> io::Result<()> {
        match &mut self.screen {
            Some(screen) => self.console.print_data(screen.render_rest().as_bytes()),
            None => Ok(()),
        }
    }
}

/// Returns a text said in one breath: hidden characters are visible, and the lines below the first are set in, so that none of them can
/// be taken for an error or a warning of its own.
fn indent_text(text: &str) -> String {
    let mut lines = text.split('\n');
    let mut message = clean_text(lines.next().unwrap_or_default()).to_string();
    for line in lines {
        message.push('\n');
        if !line.starts_with("  ") {
            message.push_str("  ");
        }
        message.push_str(&clean_text(line).to_string());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_said_drives_the_terminal_or_forges_a_line() {
        assert_eq!(
            indent_text("a\u{1b}[2J\nerror: forged\r\n  set in"),
            "a\\u{1b}[2J\n  error: forged\\r\n  set in"
        );
        assert_eq!(indent_text("plain"), "plain");
    }
}
