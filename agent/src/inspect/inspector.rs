//! systemctl and journalctl, and what they would say of a container.
//!
//! Owns the two commands that are run and their arguments. Names are valid unit names and stand after `--`, so nothing a client sends
//! is taken for an option.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use jiff::tz::TimeZone;
use muster_common::unit::UnitName;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};
use tokio_stream::wrappers::ReceiverStream;

use super::lines::{self, LineFormat};
use super::query::{Invocation, JournalQuery, LineCount, OutputMode};
use super::shown;
use super::start_lines::{self, JournalEntry};
use crate::host::identity;
use crate::runner::docker::{Docker, Output, OutputError};
use crate::runner::podman::PodmanUnits;
use crate::stdx::clock::unix_seconds;

/// Bytes read from journalctl at a time.
const CHUNK: usize = 16 * 1024;

/// Lines of output that a status ends with; systemctl's own number.
const STATUS_LINES: u32 = 10;

/// The time in which the journal has to have taken in what was printed. It does so within milliseconds; a slow disk takes tenths
/// of a second, and a busy machine more. Whoever asks for a failure's last lines gives the whole answer five seconds.
const SYNC_TIMEOUT: Duration = Duration::from_secs(3);

/// Most lines of one start that are told apart from those of others: what a failure is shown with is ten. Who asks for more gets
/// those that journald knows to be of the start.
const LINES_TOLD_APART: u32 = 100;

/// Entries of a unit that are looked through for them. A start that failed has a few of systemd's own, and there may be
/// some later ones of the unit by now; a start that has printed more has enough that are known to be its own.
const ENTRIES_LOOKED_THROUGH: u32 = 1000;

/// Bytes of entries that are looked through. As a rule a hundredth of it is read; lines may have 48 KiB each.
const BYTES_LOOKED_THROUGH: usize = 4 * 1024 * 1024;

/// Runs systemctl and journalctl, and asks the container engine.
#[derive(Clone)]
pub struct Inspector {
    /// The program `systemctl`.
    pub systemctl: PathBuf,
    /// The program `journalctl`.
    pub journalctl: PathBuf,
    /// The engine of containers here, if there is one.
    pub containers: Option<Arc<Docker>>,
    /// The container units that are services.
    pub podman: Option<PodmanUnits>,
}

/// Why a unit cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The program cannot be run.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no output to be had.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Lines that the engine keeps have no such form.
    #[error(
        "the output of {unit} is kept by its engine's driver {driver} and not by the journal; the output modes of such \
         lines are {}", lines::MODES.join(", ")
    )]
    Mode {
        /// The unit.
        unit: UnitName,
        /// Its driver.
        driver: String,
    },
}

impl Default for Inspector {
    fn default() -> Self {
        let (systemctl, journalctl) = ("systemctl".into(), "journalctl".into());
        Self { systemctl, journalctl, containers: None, podman: None }
    }
}

impl Inspector {
    /// The name that systemd has a unit under, where it has it.
    pub(super) fn systemd_name(&self, unit: &UnitName) -> UnitName {
        let service = self.podman.as_ref().and_then(|podman| podman.service_of(unit));
        service.unwrap_or_else(|| unit.clone())
    }

    /// The output of `systemctl status -l`, and its exit code. systemctl's own complaints (no such unit) come with it.
    pub async fn status(&self, unit: &UnitName) -> Result<(String, i32), InspectError> {
        let unit = &self.systemd_name(unit);
        if unit.unit_type().is_quadlet() {
            return Ok(self.status_of_container(unit).await);
        }
        let output = Command::new(&self.systemctl)
            .args(["status", "--full", "--no-pager", "--"])
            .arg(unit.as_str())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|source| InspectError::Run { program: self.systemctl.clone(), source })?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        // Without a code it was killed by a signal; systemctl itself uses 4 for "no such unit" and below.
        Ok((text, output.status.code().unwrap_or(1)))
    }

    /// A unit's journal as it comes. Dropping the stream ends journalctl, or the line to the engine.
    pub async fn read_journal(
        &self,
        unit: &UnitName,
        journal: JournalQuery,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, InspectError> {
        let unit = &self.systemd_name(unit);
        if !unit.unit_type().is_quadlet() {
            // Asked of a start that has just failed as a rule. systemd's word of the end may be here before the journal has read
            // what the unit printed last.
            if journal.start.is_some() && !journal.follow {
                self.sync_journal().await;
                if let (Some(start), LineCount::Last(lines)) = (journal.start, journal.lines)
                    && lines <= LINES_TOLD_APART
                    && journal.mode == OutputMode::plain_lines()
                {
                    let text = self.read_start(unit, start, lines).await?;
                    return Ok(stream::iter([Ok(text.into())]).boxed());
                }
            }
            let which = match journal.start {
                // What the processes of a start printed, and what systemd said of it; of no other unit, whose start it may be.
                Some(start) => vec![
                    format!("_SYSTEMD_INVOCATION_ID={start}"),
                    format!("_SYSTEMD_UNIT={unit}"),
                    "+".to_owned(),
                    format!("INVOCATION_ID={start}"),
                    format!("UNIT={unit}"),
                    "_PID=1".to_owned(),
                ],
                None => vec![format!("--unit={unit}")],
            };
            return self.run_journalctl(&which, journal);
        }
        let Some(containers) = &self.containers else {
            return Err(OutputError::Unknown(unit.clone()).into());
        };
        let tail = journal.lines.to_string();
        match containers.open_output(unit, &tail, journal.follow).await? {
            Output::Journal(matches) => self.run_journalctl(&matches, journal),
            Output::Engine { driver, name, lines } => {
                let mode = journal.mode.as_str();
                let form =
                    LineFormat::of_mode(mode, identity::host_name(), name, TimeZone::system());
                let form = form.ok_or_else(|| InspectError::Mode { unit: unit.clone(), driver })?;
                let lines = ReceiverStream::new(lines).map(move |line| match line {
                    Ok(line) => Ok(form.line(&line)),
                    Err(problem) => Ok(LineFormat::end(&problem)),
                });
                Ok(lines.boxed())
            }
        }
    }

    /// The last lines of one start, those among them for which journald found no start.
    async fn read_start(
        &self,
        unit: &UnitName,
        start: Invocation,
        lines: u32,
    ) -> Result<Vec<u8>, InspectError> {
        // What the unit's processes printed, and what systemd said of it.
        let which = [
            "--reverse".to_owned(),
            "--all".to_owned(),
            format!("--output-fields={}", start_lines::FIELDS),
            format!("_SYSTEMD_UNIT={unit}"),
            "+".to_owned(),
            format!("UNIT={unit}"),
            "_PID=1".to_owned(),
        ];
        let query = JournalQuery {
            lines: LineCount::Last(ENTRIES_LOOKED_THROUGH),
            follow: false,
            mode: OutputMode::json_lines(),
            start: None,
        };
        let text = read_text(self.run_journalctl(&which, query)?, BYTES_LOOKED_THROUGH).await;
        let entries: Vec<JournalEntry> =
            text.split(|byte| *byte == b'\n').filter_map(start_lines::parse_entry).collect();
        let count = usize::try_from(lines).unwrap_or(usize::MAX);
        Ok(start_lines::lines_of_start(&entries, start, count))
    }

    /// Waits until the journal has taken in all that was printed before, as `journalctl --sync` of journalctl(1) does, or for
    /// [`SYNC_TIMEOUT`]. Where it cannot say so, what there is is read.
    async fn sync_journal(&self) {
        let mut command = Command::new(&self.journalctl);
        command.arg("--sync").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let synced = muster_runtime::timeout(SYNC_TIMEOUT, command.status()).await;
        if !matches!(&synced, Ok(Ok(status)) if status.success()) {
            tracing::debug!(?synced, "the journal did not say that it has read everything");
        }
    }

    /// The lines that some of journalctl's arguments find.
    fn run_journalctl(
        &self,
        which: &[String],
        journal: JournalQuery,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, InspectError> {
        let run = |source| InspectError::Run { program: self.journalctl.clone(), source };
        let mut command = Command::new(&self.journalctl);
        command.arg("--no-pager").arg(format!("--lines={}", journal.lines));
        command.arg(format!("--output={}", journal.mode));
        if journal.follow {
            command.arg("--follow");
        }
        command.args(which);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.kill_on_drop(true).spawn().map_err(run)?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| run(io::Error::other("its output cannot be read")))?;
        Ok(stream::try_unfold((child, stdout), next_chunk).boxed())
    }

    /// The last log lines of a start of a unit, or of the unit.
    pub async fn last_lines(
        &self,
        unit: &UnitName,
        start: Option<Invocation>,
        lines: u32,
    ) -> Result<Vec<String>, InspectError> {
        let text = self.last_text(unit, start, lines, OutputMode::plain_lines()).await?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    async fn last_text(
        &self,
        unit: &UnitName,
        start: Option<Invocation>,
        lines: u32,
        mode: OutputMode,
    ) -> Result<String, InspectError> {
        let journal = JournalQuery { lines: LineCount::Last(lines), follow: false, mode, start };
        let text = read_text(self.read_journal(unit, journal).await?, usize::MAX).await;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The output that systemctl would have for a container, and its exit code.
    async fn status_of_container(&self, unit: &UnitName) -> (String, i32) {
        let inspected = match &self.containers {
            Some(containers) => containers.inspect_unit(unit).await,
            None => None,
        };
        let Some(inspected) = inspected else {
            return (format!("Unit {unit} could not be found.\n"), shown::UNKNOWN);
        };
        let mut text = shown::text(unit, &inspected, unix_seconds(), &TimeZone::system());
        match self.last_text(unit, None, STATUS_LINES, OutputMode::default()).await {
            Ok(lines) if !lines.is_empty() => {
                text.push('\n');
                text.push_str(&lines);
            }
            // One that has no container yet has printed nothing, and that the engine is away has been said.
            Ok(_) | Err(InspectError::Output(_)) => {}
            Err(error) => drop(write!(text, "\n-- {error} --\n")),
        }
        (text, shown::exit_code(&inspected))
    }
}

/// A log as one text, up to a limit. What breaks off is told as far as it came.
async fn read_text(mut chunks: BoxStream<'static, io::Result<Bytes>>, limit: usize) -> Vec<u8> {
    let mut text = Vec::new();
    while text.len() < limit
        && let Some(Ok(chunk)) = chunks.next().await
    {
        text.extend_from_slice(&chunk);
    }
    text
}

/// The child comes along so that it is killed when the stream is dropped, and reaped when it ends.
async fn next_chunk(
    (mut child, mut stdout): (Child, ChildStdout),
) -> io::Result<Option<(Bytes, (Child, ChildStdout))>> {
    let mut chunk = bytes::BytesMut::with_capacity(CHUNK);
    if stdout.read_buf(&mut chunk).await? == 0 {
        child.wait().await?;
        return Ok(None);
    }
    Ok(Some((chunk.freeze(), (child, stdout))))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// The arguments of each journalctl that is run for a query.
    async fn calls_for(start: Option<Invocation>, follow: bool) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let (program, calls) =
            (directory.path().join("journalctl"), directory.path().join("calls"));
        let script = format!("#!/bin/sh\necho \"$1\" >>{}\n", calls.display());
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let inspector = Inspector { journalctl: program, ..Inspector::default() };
        let (lines, mode) = (LineCount::Last(10), OutputMode::plain_lines());
        let query = JournalQuery { lines, follow, mode, start };
        let mut chunks =
            inspector.read_journal(&"a.service".parse().unwrap(), query).await.unwrap();
        while chunks.next().await.is_some() {}
        fs::read_to_string(calls).unwrap().lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn the_journal_has_read_everything_before_the_lines_of_one_start_are_shown() {
        let start: Invocation = "0123456789abcdef0123456789abcdef".parse().unwrap();
        assert_eq!(calls_for(Some(start), false).await, ["--sync", "--no-pager"]);
        assert_eq!(calls_for(Some(start), true).await, ["--no-pager"]);
        assert_eq!(calls_for(None, false).await, ["--no-pager"]);
    }
}
