//! The commands a person has configured: the check, the hooks, the one that knows whether a reboot is due.
//!
//! Owns their running: no longer than they may, killed with all they started when their time is up or the role ends, and the
//! last line of what they printed kept. It never decides what their end means.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use muster_engine::reboot::phase::{CommandState, Hook};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::config::{CommandLine, RebootConfig};
use crate::host::modes;

/// How long the check's answer holds, and how soon a hook that has failed after the boot is run again.
const HOLDS: Duration = Duration::from_secs(60);

/// Longest line that is kept: it ends up in a record and on a person's screen.
const LONGEST_LINE: usize = 200;

/// How long what a command printed is waited for once it has ended.
const LEFT_OPEN: Duration = Duration::from_secs(1);

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// With 0, and the last line it printed.
    Well(String),
    /// With another code; the last line it printed, or how it ended.
    No(String),
    /// It could not be run, was killed, or took too long.
    Not(String),
}

/// One of the commands the phases ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Check,
    Hook(Hook),
}

impl Kind {
    /// Its name, as configured.
    fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Hook(hook) => hook.as_str(),
        }
    }
}

/// What became of the check and of each hook in this attempt.
#[derive(Debug)]
pub(super) struct Commands {
    words: BTreeMap<Kind, CommandLine>,
    timeout: Duration,
    holds: Duration,
    ran: BTreeMap<Kind, (CommandState, Instant)>,
    running: JoinSet<(Kind, End)>,
}

impl Commands {
    /// The configured ones, none of them run.
    pub(super) fn new(config: &RebootConfig) -> Self {
        let all = [
            (Kind::Check, &config.check),
            (Kind::Hook(Hook::BeforeDrain), &config.before_drain),
            (Kind::Hook(Hook::BeforeReboot), &config.before_reboot),
            (Kind::Hook(Hook::AfterBoot), &config.after_boot),
        ];
        let words = all.into_iter().filter_map(|(kind, words)| Some((kind, words.clone()?)));
        Self {
            words: words.collect(),
            timeout: config.timeout,
            holds: HOLDS.min(config.retry.max(Duration::from_secs(1))),
            ran: BTreeMap::new(),
            running: JoinSet::new(),
        }
    }

    /// Runs one, unless it runs or its answer still holds.
    pub(super) fn run(&mut self, kind: Kind) {
        let Some(words) = self.words.get(&kind).cloned() else { return };
        if self.state(kind) != CommandState::No {
            return;
        }
        self.ran.insert(kind, (CommandState::Running, Instant::now()));
        let timeout = self.timeout;
        self.running.spawn(async move { (kind, run(&words, timeout).await) });
    }

    /// Waits until one has ended. Cancel-safe; never ends while none runs.
    pub(super) async fn ended(&mut self) {
        match self.running.join_next().await {
            Some(Ok((kind, end))) => {
                let name = kind.name();
                let ran = match end {
                    End::Well(output) => {
                        tracing::info!(command = name, output, "has ended well");
                        CommandState::Well
                    }
                    End::No(problem) | End::Not(problem) => {
                        tracing::warn!(command = name, problem, "has failed");
                        CommandState::Badly(problem)
                    }
                };
                self.ran.insert(kind, (ran, Instant::now()));
            }
            // Taken down by us, or broken: it is run again.
            Some(Err(_)) => self.ran.retain(|_, (ran, _)| *ran != CommandState::Running),
            None => std::future::pending().await,
        }
    }

    /// What became of one.
    pub(super) fn state(&self, kind: Kind) -> CommandState {
        let Some((kind, (ran, at))) = self.ran.get_key_value(&kind) else {
            return CommandState::No;
        };
        if is_passing(*kind, ran) && at.elapsed() >= self.holds {
            return CommandState::No;
        }
        ran.clone()
    }

    /// When an answer that holds for a while no longer does.
    pub(super) fn again(&self) -> Option<Duration> {
        let held = self.ran.iter().filter(|(kind, (ran, _))| is_passing(**kind, ran));
        // One that is over already waits for somebody who needs it.
        held.filter_map(|(_, (_, at))| self.holds.checked_sub(at.elapsed())).min()
    }

    /// Another attempt begins: the hooks of the last one say nothing of it, and none of them goes on.
    pub(super) fn forget_hooks(&mut self) {
        if self.ran.keys().any(|kind| matches!(kind, Kind::Hook(_))) {
            self.running = JoinSet::new();
            self.ran.retain(|kind, (ran, _)| *kind == Kind::Check && *ran != CommandState::Running);
        }
    }
}

/// Whether an answer holds for a while only: a yes of an hour ago says nothing, and a no may have become a yes.
fn is_passing(kind: Kind, ran: &CommandState) -> bool {
    match kind {
        Kind::Check => matches!(ran, CommandState::Well | CommandState::Badly(_)),
        Kind::Hook(hook) => hook == Hook::AfterBoot && matches!(ran, CommandState::Badly(_)),
    }
}

/// Runs a command to its end.
pub(super) async fn run(words: &CommandLine, timeout: Duration) -> End {
    let mut command = Command::new(words.program());
    command
        .args(words.arguments())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let spawned = modes::with_inherited_umask(|| command.spawn());
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return End::Not(format!("cannot run {}: {error}", words.program())),
    };
    let mut going = Going::of(&child);
    let said = tokio::spawn(last_line(child.stdout.take()));
    let complained = tokio::spawn(last_line(child.stderr.take()));
    let Ok(status) = tokio::time::timeout(timeout, child.wait()).await else {
        return End::Not(format!("it took longer than {}", humantime::format_duration(timeout)));
    };
    going.has_ended();
    let (said, complained) = tokio::join!(words_of(said), words_of(complained));
    let status = match status {
        Ok(status) => status,
        Err(error) => return End::Not(error.to_string()),
    };
    if status.success() {
        return End::Well(said.unwrap_or_default());
    }
    let how = status.to_string();
    let words = match complained.or(said) {
        Some(line) => format!("{line} ({how})"),
        None => how,
    };
    if status.code().is_some() { End::No(words) } else { End::Not(words) }
}

/// A command that goes on, with all it has started: a script's own commands are in its process group. Dropping it ends them.
struct Going(Option<Pid>);

impl Going {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    /// What it has left behind now was meant to stay.
    fn has_ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may just have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// What a reader found. A process that the command left behind may keep its end open for ever.
async fn words_of(reader: JoinHandle<Option<String>>) -> Option<String> {
    let stop = reader.abort_handle();
    let read = tokio::time::timeout(LEFT_OPEN, reader).await;
    stop.abort();
    read.ok()?.ok().flatten()
}

/// The last line with something in it, shortened.
async fn last_line(stream: Option<impl AsyncRead + Unpin>) -> Option<String> {
    let mut stream = stream?;
    let (mut tail, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        tail.extend_from_slice(chunk.get(..read)?);
        let surplus = tail.len().saturating_sub(chunk.len());
        tail.drain(..surplus);
    }
    // What is not text is shown as far as it is.
    let text = String::from_utf8_lossy(&tail);
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(last.chars().filter(|c| !c.is_control()).take(LONGEST_LINE).collect())
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tokio::net::unix::pipe;

    use super::*;

    async fn shell(script: &str, timeout: Duration) -> End {
        let words = vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
        run(&words.try_into().unwrap(), timeout).await
    }

    #[tokio::test]
    async fn the_end_of_a_command_is_told_with_its_last_line() {
        let long = Duration::from_secs(30);
        assert_eq!(shell("echo one; echo two; echo", long).await, End::Well("two".to_owned()));
        assert_eq!(
            shell("echo no; echo why >&2; exit 3", long).await,
            End::No("why (exit status: 3)".to_owned())
        );
        assert_eq!(shell("exit 1", long).await, End::No("exit status: 1".to_owned()));
        assert_eq!(shell("kill -9 $$", long).await, End::Not("signal: 9 (SIGKILL)".to_owned()));
        let missing = "/nonexistent/program".parse().unwrap();
        assert_eq!(
            run(&missing, long).await,
            End::Not(
                "cannot run /nonexistent/program: No such file or directory (os error 2)"
                    .to_owned()
            )
        );
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_killed_with_all_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let line = directory.path().join("line");
        mknodat(CWD, &line, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let mut said = pipe::OpenOptions::new().open_receiver(&line).unwrap();
        let script = format!("exec 3> {}; echo begun >&3; sleep 1000 & wait", line.display());
        let day = Duration::from_secs(24 * 60 * 60);
        let going = tokio::spawn(async move { shell(&script, day).await });
        let mut begun = [0; 6];
        said.read_exact(&mut begun).await.unwrap();
        assert_eq!(&begun, b"begun\n");
        // From here on the time passes whenever nothing is left to be done.
        tokio::time::pause();
        assert_eq!(going.await.unwrap(), End::Not("it took longer than 1day".to_owned()));
        tokio::time::resume();
        // The line ends once nobody holds its other end: neither the shell nor what it started.
        let mut rest = String::new();
        let read = said.read_to_string(&mut rest);
        tokio::time::timeout(Duration::from_secs(60), read).await.unwrap().unwrap();
        assert_eq!(rest, "");
    }
}
