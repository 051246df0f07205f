//! What a person sees of a container: its status and its output.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use muster_common::unit::{FileHash, UnitName};
use musterd::inspect::{InspectError, Inspector, JournalQuery, LineCount, OutputMode};
use musterd::runner::docker::Docker;
use musterd::runner::{Runner as _, StartOutcome};

use super::engine;
use crate::support::engine::Engine;
use crate::support::name;

const LIMIT: Duration = Duration::from_secs(60);

/// A unit whose output the engine keeps, and what looks at it. There is no journalctl: what asks it is found out.
struct Case {
    engine: Engine,
    runner: Arc<Docker>,
    inspector: Inspector,
    unit: UnitName,
}

impl Case {
    async fn new(stem: &str, lines: &str) -> Option<Self> {
        let engine = engine()?;
        let runner = Arc::new(engine.runner());
        let unit = name(&format!("{stem}.container"));
        let text = engine.container(&format!("LogDriver=json-file\n{lines}"));
        runner.write(&unit, FileHash::of_text(&text), &text).await.unwrap();
        let nowhere = PathBuf::from("/nonexistent");
        let containers = Some(Arc::clone(&runner));
        let inspector =
            Inspector { systemctl: nowhere.clone(), journalctl: nowhere, containers, podman: None };
        Some(Self { engine, runner, inspector, unit })
    }

    async fn start(&self) -> StartOutcome {
        self.runner.start(&self.unit, 1).await.unwrap()
    }

    async fn status(&self) -> (String, i32) {
        self.inspector.status(&self.unit).await.unwrap()
    }

    async fn journal(
        &self,
        lines: LineCount,
        follow: bool,
        mode: &str,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, InspectError> {
        let mode: OutputMode = mode.parse().unwrap();
        self.inspector
            .read_journal(&self.unit, JournalQuery { lines, follow, mode, start: None })
            .await
    }

    async fn end(self) {
        self.runner.stop(&self.unit).await.unwrap();
        self.runner.remove(&self.unit).await.unwrap();
    }
}

/// The next line, or the rest if there is no more.
async fn next(lines: &mut BoxStream<'static, std::io::Result<Bytes>>) -> String {
    let line = tokio::time::timeout(LIMIT, lines.next()).await.unwrap();
    line.map(|line| String::from_utf8(line.unwrap().to_vec()).unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn the_status_of_one_that_runs() {
    let lines = "RunInit=yes\nExec=sh -c 'echo one; echo two >&2; sleep 1000000'\n[Unit]\nDescription=A look";
    let Some(case) = Case::new("docker-look", lines).await else { return };
    let (text, code) = case.status().await;
    assert!(text.starts_with("○ docker-look.container - A look\n     Loaded: loaded ("), "{text}");
    assert!(text.contains("     Active: inactive (dead)\n") && code == 3, "{code} {text}");
    assert_eq!(case.start().await, StartOutcome::Done);

    let mut output = case.journal(LineCount::All, true, "cat").await.unwrap();
    let mut printed = [next(&mut output).await, next(&mut output).await];
    printed.sort();
    assert_eq!(printed, ["one\n", "two\n"]);
    let (text, code) = case.status().await;
    assert_eq!(code, 0, "{text}");
    let answer = case.engine.client().inspect_container("systemd-docker-look", None).await.unwrap();
    let (id, pid) = (answer.id.unwrap(), answer.state.unwrap().pid.unwrap());
    for expected in [
        "● docker-look.container - A look\n".to_owned(),
        "     Active: active (running) since ".to_owned(),
        format!("  Container: {} systemd-docker-look\n", id.get(..12).unwrap()),
        format!("      Image: {} (", case.engine.image),
        format!("   Main PID: {pid}\n"),
        " systemd-docker-look: one\n".to_owned(),
        " systemd-docker-look: two\n".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected:?} is not in\n{text}");
    }
    case.end().await;
}

#[tokio::test]
async fn the_status_of_one_that_has_failed() {
    let Some(case) = Case::new("docker-look-failed", "Exec=sh -c 'echo oh; exit 3'").await else {
        return;
    };
    case.start().await;
    let failed = async {
        let mut again = tokio::time::interval(Duration::from_millis(50));
        loop {
            again.tick().await;
            let (text, code) = case.status().await;
            if text.contains("failed (Result") {
                return (text, code);
            }
        }
    };
    let (text, code) = tokio::time::timeout(LIMIT, failed).await.unwrap();
    assert_eq!(code, 3);
    for expected in [
        "× docker-look-failed.container\n",
        "     Active: failed (Result: exit-code) since ",
        "systemd-docker-look-failed (code=exited, status=3)\n",
        "     Remark: exit-code, code 3\n",
        " systemd-docker-look-failed: oh\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
    assert_eq!(case.inspector.last_lines(&case.unit, None, 10).await.unwrap(), ["oh"]);
    let seen = case.runner.observe_units(&[case.unit.clone()].into()).await.unwrap();
    assert_eq!(seen.get(&case.unit).unwrap().remark, "exit-code, code 3");
    case.end().await;
}

#[tokio::test]
async fn output_is_followed_from_one_container_to_the_next() {
    let lines = "Exec=sh -c 'echo $HOSTNAME; read -t 1000000 x < /dev/zero; sleep 1000000'\n[Service]\nRestart=always\nRestartSec=0";
    let lines = format!("RunInit=yes\n{lines}");
    let Some(case) = Case::new("docker-followed", &lines.replace('$', "$$")).await else { return };
    assert_eq!(case.start().await, StartOutcome::Done);
    let mut output = case.journal(LineCount::Last(10), true, "cat").await.unwrap();
    let first = next(&mut output).await;
    assert!(!first.trim().is_empty());
    case.engine.kill_container("systemd-docker-followed").await;
    let second = next(&mut output).await;
    assert_ne!(first, second, "the next container prints its own name");
    // And when the user asks for one more.
    assert_eq!(case.runner.restart(&case.unit, 2).await.unwrap(), StartOutcome::Done);
    let third = next(&mut output).await;
    assert!(third != second && !third.trim().is_empty());
    // Whoever does not follow gets what there is and no more.
    let mut output = case.journal(LineCount::All, false, "cat").await.unwrap();
    assert_eq!([next(&mut output).await, next(&mut output).await], [third, String::new()]);
    case.end().await;
}

#[tokio::test]
async fn output_that_is_not_there_is_explained() {
    let Some(case) =
        Case::new("docker-mute", "LogDriver=none\nExec=sleep 1000000\nRunInit=yes").await
    else {
        return;
    };
    let refused =
        async || case.journal(LineCount::All, false, "short").await.err().unwrap().to_string();
    assert_eq!(
        refused().await,
        "docker-mute.container has no container on this machine, and so no output: none has been made yet"
    );
    case.start().await;
    assert_eq!(
        refused().await,
        "docker-mute.container has LogDriver=none, which keeps no output on this machine"
    );
    let Case { unit, .. } = &case;
    case.runner.stop(unit).await.unwrap();
    case.runner.remove(unit).await.unwrap();
    assert_eq!(case.status().await, (format!("Unit {unit} could not be found.\n"), 4));
    // Where the journal runs, what a unit left there is still found.
    if !std::path::Path::new("/run/systemd/journal/socket").exists() {
        assert_eq!(refused().await, "docker-mute.container is not on this machine");
    }
}

#[tokio::test]
async fn a_form_that_lines_of_an_engine_do_not_have_is_refused() {
    let Some(case) = Case::new("docker-formless", "Exec=true\n[Service]\nType=oneshot").await
    else {
        return;
    };
    case.start().await;
    let error = case.journal(LineCount::All, false, "verbose").await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "the output of docker-formless.container is kept by its engine's driver json-file and not by the journal; the \
         output modes of such lines are short, short-full, short-iso, short-iso-precise, short-precise, short-unix, json, cat"
    );
    case.end().await;
}
