//! A journal that is followed from a place that can be named.
//!
//! Owns the taking up: nothing is shown twice and nothing is left out, whoever is restarted or cut off in between. journalctl
//! names a place only when it ends. So one journalctl watches, whose output is thrown away, and for what it has noticed
//! another is run that begins behind the last place, prints in the form that was asked for, and names the next one.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use jiff::tz::TimeZone;
use muster_common::unit::UnitName;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStdout, Command};
use tokio_stream::wrappers::ReceiverStream;

use super::inspector::{InspectError, Inspector};
use super::lines::LineFormat;
use super::query::{LineCount, OutputMode};
use crate::host::identity;
use crate::runner::docker::{Output, OutputError, OutputLine};

/// The words that journalctl puts before the place it has come to.
const JOURNAL_CURSOR: &str = "-- cursor: ";

/// The beginning of a place in lines of a container engine: the time of the last one, which no two lines share.
const ENGINE_CURSOR: &str = "at:";

/// Bytes of lines that are passed on at a time. More of them, such as all of a journal, go in pieces of which only the last
/// names a place.
const PIECE_BYTES: usize = 256 * 1024;

/// The time in which lines are collected once there is one: a program that prints does so in bursts, and each journalctl costs some milliseconds.
const BURST_PAUSE: Duration = Duration::from_millis(20);

/// Pause before a watching journalctl that ended is replaced.
const WATCH_RETRY: Duration = Duration::from_secs(1);

/// The place to begin at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalStart {
    /// With the last lines.
    Lines(LineCount),
    /// Behind a place that was named before.
    Cursor(String),
    /// With what was logged in the last so much time.
    Ago(Duration),
}

/// Lines, and the place behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalPiece {
    /// Whole lines, which in mode `export` need not be text.
    pub bytes: Vec<u8>,
    /// The place, where one can be named.
    pub cursor: Option<String>,
}

impl Inspector {
    /// A unit's journal from a place on: what there is and, if it `goes_on`, what comes. Dropping the stream ends every
    /// process behind it.
    pub async fn follow_journal(
        &self,
        unit: &UnitName,
        mode: OutputMode,
        start: JournalStart,
        goes_on: bool,
    ) -> Result<BoxStream<'static, io::Result<JournalPiece>>, InspectError> {
        let unit = &self.systemd_name(unit);
        if !unit.unit_type().is_quadlet() {
            return Ok(self.watch_journal(vec![format!("--unit={unit}")], mode, start, goes_on));
        }
        let Some(containers) = &self.containers else {
            return Err(OutputError::Unknown(unit.clone()).into());
        };
        let tail = match &start {
            JournalStart::Lines(lines) => lines.to_string(),
            _ => "all".to_owned(),
        };
        match containers.open_output(unit, &tail, goes_on).await? {
            Output::Journal(matches) => Ok(self.watch_journal(matches, mode, start, goes_on)),
            Output::Engine { driver, name, lines } => {
                let form = LineFormat::of_mode(
                    mode.as_str(),
                    identity::host_name(),
                    name,
                    TimeZone::system(),
                );
                let form = form.ok_or_else(|| InspectError::Mode { unit: unit.clone(), driver })?;
                let behind = engine_time(&start);
                let lines = ReceiverStream::new(lines).filter_map(move |line| {
                    let piece = match line {
                        // Their form is of one length, so that their order is that of time.
                        Ok(line) if behind.as_ref().is_some_and(|at| line.at <= *at) => None,
                        Ok(line) => Some(Ok(engine_piece(&form, &line))),
                        Err(problem) => Some(Err(io::Error::other(problem))),
                    };
                    std::future::ready(piece)
                });
                Ok(lines.boxed())
            }
        }
    }

    fn watch_journal(
        &self,
        which: Vec<String>,
        mode: OutputMode,
        start: JournalStart,
        goes_on: bool,
    ) -> BoxStream<'static, io::Result<JournalPiece>> {
        let from = match start {
            // A place among an engine's lines is none in the journal; what there is is newer.
            JournalStart::Cursor(cursor) if cursor.starts_with(ENGINE_CURSOR) => {
                ReadFrom::Beginning
            }
            JournalStart::Cursor(cursor) => ReadFrom::Cursor(cursor),
            JournalStart::Lines(lines) => ReadFrom::Lines(lines),
            JournalStart::Ago(ago) => ReadFrom::Time(unix_time().saturating_sub(ago)),
        };
        let journalctl = self.journalctl.clone();
        let following = JournalFollower {
            journalctl,
            which,
            mode,
            from,
            goes_on,
            page: None,
            watch: None,
            begun: false,
        };
        stream::try_unfold(following, JournalFollower::next).boxed()
    }
}

/// True if a text has the form of a place: an engine's time, or what journalctl calls a cursor (`sd_journal_get_cursor(3)`), which
/// always has a time in it. With any other journalctl fails, and whoever follows would wait for ever.
pub(crate) fn is_place(text: &str) -> bool {
    if let Some(time) = text.strip_prefix(ENGINE_CURSOR) {
        // It is only compared, as text.
        return time.len() <= 64 && time.bytes().all(|byte| byte.is_ascii_graphic());
    }
    let field = |field: &str| {
        field.split_once('=').is_some_and(|(name, value)| {
            name.len() == 1
                && (1..=32).contains(&value.len())
                && value.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    let mut fields = text.split(';');
    fields.clone().all(field) && fields.any(|field| field.starts_with("t="))
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The time up to which an engine's lines have been shown.
fn engine_time(start: &JournalStart) -> Option<String> {
    match start {
        JournalStart::Cursor(cursor) => cursor.strip_prefix(ENGINE_CURSOR).map(str::to_owned),
        JournalStart::Ago(ago) => {
            let since = i128::try_from(unix_time().saturating_sub(*ago).as_nanos()).ok()?;
            let since = jiff::Timestamp::from_nanosecond(since).ok()?;
            Some(format!("{since:.9}"))
        }
        JournalStart::Lines(_) => None,
    }
}

fn engine_piece(form: &LineFormat, line: &OutputLine) -> JournalPiece {
    JournalPiece {
        bytes: form.line(line).into(),
        cursor: Some(format!("{ENGINE_CURSOR}{}", line.at)),
    }
}

/// The place at which what is still to be shown begins.
#[derive(Debug, Clone)]
enum ReadFrom {
    /// With the oldest line.
    Beginning,
    Lines(LineCount),
    Cursor(String),
    /// At a moment of this machine's clock, since the Unix epoch.
    Time(Duration),
}

struct JournalFollower {
    journalctl: PathBuf,
    which: Vec<String>,
    mode: OutputMode,
    from: ReadFrom,
    goes_on: bool,
    /// Lines that are being read.
    page: Option<JournalPage>,
    /// The journalctl that notices new lines.
    watch: Option<(Child, ChildStdout)>,
    /// True if anything has been read.
    begun: bool,
}

/// A journalctl that prints what there is and ends.
struct JournalPage {
    child: Child,
    stdout: ChildStdout,
    /// The output that nobody has been given.
    text: Vec<u8>,
}

impl JournalFollower {
    /// The next piece, as soon as there is one.
    async fn next(mut self) -> io::Result<Option<(JournalPiece, Self)>> {
        loop {
            if self.page.is_none() {
                match (self.begun, self.goes_on) {
                    (false, _) => {}
                    (true, true) => self.await_lines().await?,
                    (true, false) => return Ok(None),
                }
                self.page = Some(self.open()?);
                self.begun = true;
            }
            let Some(page) = &mut self.page else { continue };
            let piece = page.next_piece().await?;
            if let Some(piece) = piece {
                if let Some(cursor) = &piece.cursor {
                    self.from = ReadFrom::Cursor(cursor.clone());
                    self.page = None;
                }
                return Ok(Some((piece, self)));
            }
            // There was nothing, so that nothing has been shown and no place can be named.
            self.page = None;
            if let ReadFrom::Lines(_) = self.from {
                self.from = ReadFrom::Beginning;
            }
        }
    }

    /// Waits until something has been logged behind the last place.
    async fn await_lines(&mut self) -> io::Result<()> {
        let mut thrown_away = vec![0; 16 * 1024];
        loop {
            if self.watch.is_none() {
                let mut command = self.journalctl_command(&OutputMode::plain_lines());
                command.args(["--follow", "--no-tail"]);
                self.watch = Some(spawn(&mut command)?);
            }
            let Some((_, stdout)) = &mut self.watch else { continue };
            if stdout.read(&mut thrown_away).await? > 0 {
                break;
            }
            // It was ended, by whomever.
            self.watch = None;
            tokio::time::sleep(WATCH_RETRY).await;
        }
        tokio::time::sleep(BURST_PAUSE).await;
        // What has come by now is on the page that is read next; of what comes later it will be told again.
        let waiting = async {
            while let Some((_, stdout)) = &mut self.watch {
                if stdout.read(&mut thrown_away).await.is_ok_and(|read| read < thrown_away.len()) {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(Duration::ZERO, waiting).await;
        Ok(())
    }

    fn open(&self) -> io::Result<JournalPage> {
        let mut command = self.journalctl_command(&self.mode);
        command.arg("--show-cursor");
        if let ReadFrom::Lines(lines) = self.from {
            command.arg(format!("--lines={lines}"));
        }
        let (child, stdout) = spawn(&mut command)?;
        Ok(JournalPage { child, stdout, text: Vec::new() })
    }

    fn journalctl_command(&self, mode: &OutputMode) -> Command {
        let mut command = Command::new(&self.journalctl);
        command.args(["--no-pager", "--quiet"]).arg(format!("--output={mode}"));
        match &self.from {
            ReadFrom::Cursor(cursor) => drop(command.arg(format!("--after-cursor={cursor}"))),
            ReadFrom::Time(since) => {
                let (seconds, micros) = (since.as_secs(), since.subsec_micros());
                command.arg(format!("--since=@{seconds}.{micros:06}"));
            }
            ReadFrom::Beginning | ReadFrom::Lines(_) => {}
        }
        command.args(&self.which);
        command
    }
}

fn spawn(command: &mut Command) -> io::Result<(Child, ChildStdout)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.kill_on_drop(true).spawn()?;
    let stdout =
        child.stdout.take().ok_or_else(|| io::Error::other("its output cannot be read"))?;
    Ok((child, stdout))
}

impl JournalPage {
    /// Its output: all of it with the place behind it, or a piece without if it is much. `None`: nothing.
    async fn next_piece(&mut self) -> io::Result<Option<JournalPiece>> {
        while self.text.len() < PIECE_BYTES {
            if self.stdout.read_buf(&mut self.text).await? > 0 {
                continue;
            }
            self.child.wait().await?;
            return Ok(last_piece(&self.text));
        }
        // The last line may be the place, or half a line.
        let lines = self.text.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
        let before = self.text.get(..lines).and_then(|text| text.iter().rposition(|b| *b == b'\n'));
        let end = before.map_or(self.text.len(), |end| end + 1);
        let rest = self.text.split_off(end);
        let bytes = std::mem::replace(&mut self.text, rest);
        Ok(Some(JournalPiece { bytes, cursor: None }))
    }
}

/// The output of a journalctl that has ended.
fn last_piece(printed: &[u8]) -> Option<JournalPiece> {
    let end = printed.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
    let lines = printed.get(..end)?;
    let start = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let (before, last) = lines.split_at_checked(start)?;
    match std::str::from_utf8(last).ok().and_then(|last| last.strip_prefix(JOURNAL_CURSOR)) {
        Some(cursor) => {
            Some(JournalPiece { bytes: before.to_owned(), cursor: Some(cursor.trim().to_owned()) })
        }
        None if printed.is_empty() => None,
        // It was ended in the middle.
        None => Some(JournalPiece { bytes: printed.to_owned(), cursor: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_place_and_no_other_one_is() {
        let read = |text: &str| {
            last_piece(text.as_bytes())
                .map(|piece| (String::from_utf8(piece.bytes).unwrap(), piece.cursor))
        };
        let place = Some("s=1;i=2".to_owned());
        assert_eq!(read("a\n-- cursor: s=1;i=2\n"), Some(("a\n".to_owned(), place.clone())));
        assert_eq!(
            read("-- cursor: forged\nb\n-- cursor: s=1;i=2\n"),
            Some(("-- cursor: forged\nb\n".to_owned(), place.clone()))
        );
        assert_eq!(read("-- cursor: s=1;i=2\n"), Some((String::new(), place)));
        assert_eq!(read("cut o"), Some(("cut o".to_owned(), None)));
        assert_eq!(read(""), None);
        // An entry of mode export ends with an empty line, and may have anything in it.
        let entry = b"MESSAGE\n\x02\0\0\0\0\0\0\0\xff\n\n\n";
        let printed = [&entry[..], b"-- cursor: s=1\n"].concat();
        let expected = JournalPiece { bytes: entry.to_vec(), cursor: Some("s=1".to_owned()) };
        assert_eq!(last_piece(&printed), Some(expected));
    }

    #[test]
    fn lines_of_an_engine_are_shown_from_a_moment_on() {
        let at = |start| engine_time(&start);
        let line = "2026-11-21T19:00:00.000000001Z";
        assert_eq!(at(JournalStart::Cursor(format!("at:{line}"))).as_deref(), Some(line));
        assert_eq!(at(JournalStart::Lines(LineCount::All)), None);
        let since = at(JournalStart::Ago(Duration::from_secs(1))).unwrap();
        assert_eq!(since.len(), line.len(), "{since}");
    }
}
