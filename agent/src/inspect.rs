//! A look at a unit on this machine, through systemd's own tools.
//!
//! Owns the two commands that are run and their arguments. Names are valid unit names and stand after `--`, modes come
//! from a list, so nothing a client sends is taken for an option. It changes nothing.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::str::FromStr;

use bytes::Bytes;
use futures::stream::{self, Stream};
use muster_common::unit::UnitName;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};

/// Bytes read from journalctl at a time.
const CHUNK: usize = 16 * 1024;

/// `journalctl --output=`, as of systemd 252.
const MODES: [&str; 15] = [
    "short",
    "short-full",
    "short-iso",
    "short-iso-precise",
    "short-precise",
    "short-monotonic",
    "short-delta",
    "short-unix",
    "verbose",
    "export",
    "json",
    "json-pretty",
    "json-sse",
    "json-seq",
    "cat",
];

/// Runs systemctl and journalctl.
#[derive(Debug, Clone)]
pub struct Inspector {
    /// The program `systemctl`.
    pub systemctl: PathBuf,
    /// The program `journalctl`.
    pub journalctl: PathBuf,
}

/// How many lines of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// All.
    All,
    /// The last ones.
    Last(u32),
}

/// One of journalctl's output modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(&'static str);

/// Which part of a journal, and in what form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Journal {
    /// How many lines.
    pub lines: Lines,
    /// Whether to go on with what is yet to be logged.
    pub follow: bool,
    /// In what form.
    pub mode: Mode,
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
}

impl Default for Inspector {
    fn default() -> Self {
        Self { systemctl: "systemctl".into(), journalctl: "journalctl".into() }
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self("short")
    }
}

impl FromStr for Mode {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        MODES.into_iter().find(|mode| *mode == word).map(Self).ok_or(())
    }
}

impl FromStr for Lines {
    type Err = std::num::ParseIntError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        if word == "all" { Ok(Self::All) } else { word.parse().map(Self::Last) }
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Last(n) => n.fmt(f),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Mode {
    /// Every mode, for messages.
    pub fn all() -> String {
        MODES.join(", ")
    }

    /// Plain lines without time or name.
    pub fn cat() -> Self {
        Self("cat")
    }
}

impl Inspector {
    /// What `systemctl status -l` prints, and its exit code. systemctl's own complaints (no such unit) come with it.
    pub async fn status(&self, unit: &UnitName) -> Result<(String, i32), InspectError> {
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

    /// A unit's journal as it comes. Dropping the stream ends journalctl.
    pub fn journal(
        &self,
        unit: &UnitName,
        journal: Journal,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static, InspectError> {
        let run = |source| InspectError::Run { program: self.journalctl.clone(), source };
        let mut command = Command::new(&self.journalctl);
        command.arg("--no-pager").arg(format!("--lines={}", journal.lines));
        command.arg(format!("--output={}", journal.mode));
        if journal.follow {
            command.arg("--follow");
        }
        command.arg(format!("--unit={unit}"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.kill_on_drop(true).spawn().map_err(run)?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| run(io::Error::other("its output cannot be read")))?;
        Ok(stream::try_unfold((child, stdout), next_chunk))
    }

    /// A unit's last log lines.
    pub async fn last_lines(
        &self,
        unit: &UnitName,
        lines: usize,
    ) -> Result<Vec<String>, InspectError> {
        let output = Command::new(&self.journalctl)
            .args(["--no-pager", "--output=cat"])
            .arg(format!("--lines={lines}"))
            .arg(format!("--unit={unit}"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|source| InspectError::Run { program: self.journalctl.clone(), source })?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }
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
