//! The commands a person has configured: the check, the hooks, the one that knows whether a reboot is due.
//!
//! Owns their running: no longer than they may, killed with all they started when their time is up or the role ends, and the
//! last line of what they printed kept. How long an answer holds is `muster_engine::reboot::commands`' to say.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use muster_engine::reboot::commands::{CommandEnd, CommandKind, CommandStates};
use muster_engine::reboot::phase::Hook;
use muster_runtime::{Task, TaskSet};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use crate::config::{CommandLine, RebootConfig};
use crate::host::modes;

/// Longest line that is kept: it ends up in a record and on a person's screen.
const LONGEST_LINE: usize = 200;

/// The time for which what a command printed is waited for once it has ended.
const LEFT_OPEN: Duration = Duration::from_secs(1);

/// The check and the hooks, those that run among them.
#[derive(Debug)]
pub(super) struct Commands {
    command_lines: BTreeMap<CommandKind, CommandLine>,
    timeout: Duration,
    states: CommandStates,
    running: TaskSet<(CommandKind, CommandEnd)>,
}

impl Commands {
    /// The configured ones, none of them run.
    pub(super) fn new(config: &RebootConfig) -> Self {
        let all = [
            (CommandKind::Check, &config.check),
            (CommandKind::Hook(Hook::BeforeDrain), &config.before_drain),
            (CommandKind::Hook(Hook::BeforeReboot), &config.before_reboot),
            (CommandKind::Hook(Hook::AfterBoot), &config.after_boot),
        ];
        let configured = all.into_iter().filter_map(|(kind, line)| Some((kind, line.clone()?)));
        Self {
            command_lines: configured.collect(),
            timeout: config.timeout,
            states: CommandStates::new(config.retry),
            running: TaskSet::new(),
        }
    }

    /// The states that the engine keeps of them.
    pub(super) fn command_states(&self) -> &CommandStates {
        &self.states
    }

    /// Runs one, unless it runs or its answer still holds.
    pub(super) fn start_command(&mut self, kind: CommandKind, now: Duration) {
        let Some(line) = self.command_lines.get(&kind).cloned() else { return };
        if self.states.begin(kind, now) {
            let timeout = self.timeout;
            self.running.spawn(async move { (kind, run_command(&line, timeout).await) });
        }
    }

    /// Waits until one has ended. Cancel-safe; never ends while none runs.
    pub(super) async fn wait_for_end(&mut self) -> Option<(CommandKind, CommandEnd)> {
        match self.running.join_next().await {
            Some(ended) => ended.ok(),
            None => std::future::pending().await,
        }
    }

    /// Takes the end that was waited for; `None`: whatever ran was taken down.
    pub(super) fn on_ended(&mut self, ended: Option<(CommandKind, CommandEnd)>, now: Duration) {
        let Some((kind, end)) = ended else { return self.states.on_taken_down() };
        let command = kind.name();
        match &end {
            CommandEnd::Succeeded(output) => {
                tracing::info!(command, output, "a command of the reboot has ended well");
            }
            CommandEnd::Refused(problem) | CommandEnd::Broken(problem) => {
                tracing::warn!(command, problem, "a command of the reboot has failed");
            }
        }
        self.states.on_ended(kind, &end, now);
    }

    /// Another attempt begins: the hooks of the last one say nothing of it, and none of them goes on.
    pub(super) fn forget_hooks(&mut self) {
        if self.states.forget_hooks() {
            self.running = TaskSet::new();
        }
    }
}

/// Runs a command to its end.
pub(super) async fn run_command(line: &CommandLine, timeout: Duration) -> CommandEnd {
    let mut command = Command::new(line.program_path());
    command
        .args(line.program_arguments())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let spawned = modes::with_inherited_umask(|| command.spawn());
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            return CommandEnd::Broken(format!("cannot run {}: {error}", line.program_path()));
        }
    };
    let mut group = ProcessGroup::of_child(&child);
    let output_line = muster_runtime::spawn(last_line(child.stdout.take()));
    let complained = muster_runtime::spawn(last_line(child.stderr.take()));
    let Ok(status) = muster_runtime::timeout(timeout, child.wait()).await else {
        return CommandEnd::Broken(format!(
            "it took longer than {}",
            humantime::format_duration(timeout)
        ));
    };
    group.disarm_kill();
    let (output_line, complained) = tokio::join!(last_words(output_line), last_words(complained));
    let status = match status {
        Ok(status) => status,
        Err(error) => return CommandEnd::Broken(error.to_string()),
    };
    if status.success() {
        return CommandEnd::Succeeded(output_line.unwrap_or_default());
    }
    let how = status.to_string();
    let words = match complained.or(output_line) {
        Some(line) => format!("{line} ({how})"),
        None => how,
    };
    if status.code().is_some() { CommandEnd::Refused(words) } else { CommandEnd::Broken(words) }
}

/// A command that goes on, with all it has started: a script's own commands are in its process group. Dropping it ends them.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn of_child(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    /// Lets the group live: what it has left behind now was meant to stay.
    fn disarm_kill(&mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may just have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The line that a reader found. A process that the command left behind may keep its end open for ever.
async fn last_words(mut reader: Task<Option<String>>) -> Option<String> {
    let read = muster_runtime::timeout(LEFT_OPEN, &mut reader).await;
    reader.abort();
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

    async fn run_script(script: &str, timeout: Duration) -> CommandEnd {
        let words = vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
        run_command(&words.try_into().unwrap(), timeout).await
    }

    #[tokio::test]
    async fn the_end_of_a_command_is_told_with_its_last_line() {
        let long = Duration::from_secs(30);
        assert_eq!(
            run_script("echo one; echo two; echo", long).await,
            CommandEnd::Succeeded("two".to_owned())
        );
        assert_eq!(
            run_script("echo no; echo why >&2; exit 3", long).await,
            CommandEnd::Refused("why (exit status: 3)".to_owned())
        );
        assert_eq!(
            run_script("exit 1", long).await,
            CommandEnd::Refused("exit status: 1".to_owned())
        );
        assert_eq!(
            run_script("kill -9 $$", long).await,
            CommandEnd::Broken("signal: 9 (SIGKILL)".to_owned())
        );
        let missing = "/nonexistent/program".parse().unwrap();
        assert_eq!(
            run_command(&missing, long).await,
            CommandEnd::Broken(
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
        let mut output_line = pipe::OpenOptions::new().open_receiver(&line).unwrap();
        let script = format!("exec 3> {}; echo begun >&3; sleep 1000 & wait", line.display());
        let day = Duration::from_secs(24 * 60 * 60);
        let going = tokio::spawn(async move { run_script(&script, day).await });
        let mut begun = [0; 6];
        output_line.read_exact(&mut begun).await.unwrap();
        assert_eq!(&begun, b"begun\n");
        // From here on the time passes whenever nothing is left to be done.
        tokio::time::pause();
        assert_eq!(going.await.unwrap(), CommandEnd::Broken("it took longer than 1day".to_owned()));
        tokio::time::resume();
        // The line ends once nobody holds its other end: neither the shell nor what it started.
        let mut rest = String::new();
        let read = output_line.read_to_string(&mut rest);
        tokio::time::timeout(Duration::from_secs(60), read).await.unwrap().unwrap();
        assert_eq!(rest, "");
    }
}
