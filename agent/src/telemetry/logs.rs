//! Where log lines go: standard error, as text or JSON.
//!
//! Owns their form. Under systemd the journal stamps the time itself, so the text form leaves it out there. What others
//! wrote (users, machines, systemd, etcd) arrives in fields and in messages, and stays inside them: one event is one line, a
//! field ends where it ends, and no hidden character reaches a terminal.

use std::fmt::{Debug, Write as _};
use std::io::{self, IsTerminal, Write};

use muster_common::text::{clean_text, cut_text, is_hidden};
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::{LogConfig, LogFormat};

/// Most bytes of one field: more than any error of ours, and a hundred of them fill no disk.
const LONGEST_FIELD: usize = 4096;

/// Changes what is logged while the daemon runs.
#[derive(Debug, Clone)]
pub struct LogLevel(reload::Handle<Targets, Registry>);

impl LogLevel {
    /// Logs by another filter from now on.
    ///
    /// # Errors
    ///
    /// The subscriber is gone.
    pub fn set(&self, level: &str) -> Result<(), String> {
        self.0.reload(filter(level)).map_err(|error| error.to_string())
    }
}

/// Installs the subscriber. Call it once.
pub fn init_logging(log: &LogConfig) -> LogLevel {
    let (filter, level) = reload::Layer::new(filter(&log.level));
    let terminal = io::stderr().is_terminal();
    let lines = match log.format {
        LogFormat::Json => json(io::stderr),
        LogFormat::Text if to_journal() => text(io::stderr, false, false),
        LogFormat::Text => text(io::stderr, true, terminal),
    };
    // A second subscriber can only come from a test in the same process; the first one stays.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    LogLevel(level)
}

fn filter(level: &str) -> Targets {
    let filter: Targets = level
        .parse()
        .unwrap_or_else(|_| Targets::new().with_default(tracing::level_filters::LevelFilter::INFO));
    // At `trace` the library that speaks to the container engine prints its requests, secrets and all.
    filter.with_target("bollard", tracing::level_filters::LevelFilter::WARN)
}

/// Lines for people.
fn text<S, W>(writer: W, times: bool, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer()
        .with_writer(writer)
        .with_ansi(colours)
        .fmt_fields(fmt::format::debug_fn(write_field).delimited(" "));
    if times { lines.boxed() } else { lines.without_time().boxed() }
}

/// A JSON object a line.
fn json<S, W>(writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(VisibleText(writer)).with_ansi(false);
    lines.json().flatten_event(true).boxed()
}

/// One field, or the message. A value that could be read as more than one is quoted.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    // Where an event of the `log` crate came from is in its head.
    if field.name().starts_with("log.") {
        return Ok(());
    }
    let mut text = String::new();
    write!(text, "{value:?}")?;
    if text.len() > LONGEST_FIELD {
        text = format!("{}... ({} bytes)", cut_text(&text, LONGEST_FIELD), text.len());
    }
    if field.name() == "message" {
        return write!(writer, "{}", clean_text(&text));
    }
    let ends_anywhere = |c: char| c.is_whitespace() || is_hidden(c) || matches!(c, '=' | '"');
    if text.contains(ends_anywhere) && !is_quoted(&text) {
        write!(writer, "{}={text:?}", field.name())
    } else {
        write!(writer, "{}={}", field.name(), clean_text(&text))
    }
}

/// Tells whether a text is one quoted string from its first character to its last.
fn is_quoted(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return false;
    };
    let mut escaped = false;
    for c in inner.chars() {
        match c {
            '"' if !escaped => return false,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    !escaped
}

/// Writers of JSON lines that let no hidden character through: those that JSON itself does not escape are escaped here.
struct VisibleText<W>(W);

/// A writer of one such line.
struct VisibleLine<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for VisibleText<W> {
    type Writer = VisibleLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        VisibleLine(self.0.make_writer())
    }
}

impl<W: Write> Write for VisibleLine<W> {
    /// Takes a whole line, as the formatter hands it over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let body = text.trim_end_matches('\n');
        if !body.contains(is_hidden) {
            return self.0.write(line);
        }
        let mut escaped = String::with_capacity(line.len() + 16);
        for c in body.chars() {
            if is_hidden(c) {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            } else {
                escaped.push(c);
            }
        }
        escaped.push('\n');
        self.0.write_all(escaped.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Tells whether standard error is the journal: `JOURNAL_STREAM` is its device and inode (systemd.exec(5)).
fn to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// The text that a user may hope to slip in: another line, another field, a terminal's commands.
    const FORGED: &str =
        "x\n2026-01-01 INFO forged outcome=done \u{1b}[2J\u{9b}2J\u{202e}\u{2028}\"";

    #[derive(Clone, Default)]
    struct KeptLog(Arc<Mutex<Vec<u8>>>);

    impl Write for KeptLog {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(form: impl FnOnce(KeptLog) -> Box<dyn Layer<Registry> + Send + Sync>) -> String {
        let kept = KeptLog::default();
        let subscriber = tracing_subscriber::registry().with(form(kept.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(by = FORGED, count = 3, "a string");
            tracing::info!(by = %FORGED, "displayed");
            tracing::info!(by = ?[FORGED], "debugged");
            tracing::info!("a message of {FORGED}");
            tracing::info!(by = %"a b=c", error = %io::Error::other(FORGED), "parts");
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn is_visible(log: &str) {
        assert_eq!(log.lines().count(), 5, "{log:?}");
        for line in log.lines() {
            assert!(!line.contains(is_hidden), "{line:?}");
        }
    }

    #[test]
    fn nothing_in_a_text_line_is_more_than_it_is() {
        let log = logged(|kept| text(move || kept.clone(), false, false));
        is_visible(&log);
        for line in log.lines() {
            assert!(
                line.trim_start().starts_with("INFO musterd::telemetry::logs::tests: "),
                "{line}"
            );
            let fields = line.split(" outcome=").count();
            assert!(
                fields == 1
                    || line.contains("\"x\\n")
                    || line.contains("[\\\"x")
                    || line.contains("a message of"),
                "{line}"
            );
        }
        assert!(log.contains("count=3"), "{log}");
        assert!(log.contains("by=\"a b=c\""), "{log}");
        assert!(log.contains("by=\"x\\n2026"), "{log}");
    }

    #[test]
    fn a_json_line_means_what_was_logged_and_hides_nothing() {
        let log = logged(|kept| json(move || kept.clone()));
        is_visible(&log);
        let first: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        assert_eq!(first["by"], FORGED);
        assert_eq!(first["message"], "a string");
    }

    #[test]
    fn only_a_whole_string_counts_as_quoted() {
        for quoted in ["\"\"", "\"a b\"", r#""a \" b""#, r#""a \\""#] {
            assert!(is_quoted(quoted), "{quoted}");
        }
        for not in ["", "\"", "a", r#""a" b="c""#, r#""a\""#, r#""a \\" b""#] {
            assert!(!is_quoted(not), "{not}");
        }
    }
}
