//! The verdict on a unit's conditions on this machine.
//!
//! Owns the question to `systemd-analyze condition`, which evaluates each as this machine's systemd would, by the same code.
//! What follows from the answers is the engine's. A machine without that program, and a kind of condition that its systemd
//! does not know, cannot be answered for, and that is said.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures::future::join_all;
use muster_common::container::{Condition, is_withheld};
use muster_engine::container::{ConditionAnswer, StartVerdict, weigh_conditions};
use tokio::process::Command;

use crate::runner::docker::host::ContainerHost;

/// The program that knows.
const ANALYZE: &str = "systemd-analyze";

/// The time for one question. It is some milliseconds of work; a path on a file system that hangs takes for ever.
const CONDITION_TIMEOUT: Duration = Duration::from_secs(10);

/// Most characters of the program's own words that are told on.
const WORDS: usize = 200;

/// The verdict of these conditions on a start now.
pub(crate) async fn check_conditions(
    host: &dyn ContainerHost,
    conditions: &[Condition],
) -> StartVerdict {
    if conditions.is_empty() {
        return StartVerdict::Start;
    }
    let answers =
        join_all(conditions.iter().map(|condition| host.check_condition(condition))).await;
    weigh_conditions(&conditions.iter().zip(answers).collect::<Vec<_>>())
}

/// The answer of this machine's systemd.
pub(crate) async fn ask_systemd(condition: &Condition) -> ConditionAnswer {
    let output = condition_command(condition).output();
    match tokio::time::timeout(CONDITION_TIMEOUT, output).await {
        Err(_) => ConditionAnswer::Unknown("this machine does not answer in time".to_owned()),
        Ok(Err(error)) => {
            ConditionAnswer::Unknown(format!("this machine's {ANALYZE} cannot be run: {error}"))
        }
        Ok(Ok(output)) => {
            let output_text = String::from_utf8_lossy(&output.stderr);
            parse_answer(
                &output_text,
                &String::from_utf8_lossy(&output.stdout),
                output.status.success(),
            )
        }
    }
}

/// The meaning of the program's last words: it fails both for what does not hold and for what it does not know.
fn parse_answer(stderr: &str, stdout: &str, success: bool) -> ConditionAnswer {
    let lines = || stderr.lines().chain(stdout.lines()).map(str::trim);
    let is_said = |word: &str| {
        lines()
            .any(|line| line == format!("Conditions {word}.") || line == format!("Asserts {word}."))
    };
    if success && is_said("succeeded") {
        ConditionAnswer::Yes
    } else if !success && is_said("failed") {
        ConditionAnswer::No
    } else {
        let output_text = lines().rfind(|line| !line.is_empty()).unwrap_or_default();
        let output_text: String =
            output_text.chars().filter(|c| !c.is_control()).take(WORDS).collect();
        ConditionAnswer::Unknown(format!("this machine's systemd does not know it: {output_text}"))
    }
}

fn condition_command(condition: &Condition) -> Command {
    let negated = if condition.negated { "!" } else { "" };
    // Specifiers have been expanded already, for the unit's name and not for the one the program makes up.
    let parameter = condition.parameter.replace('%', "%%");
    let question = format!("{}={negated}{parameter}", condition.directive);
    let mut command = if asks_the_manager(condition) {
        let mut command = Command::new("systemd-run");
        command.args(["--quiet", "--wait", "--pipe", "--collect"]);
        command.args(SETTINGS.map(|(name, value)| format!("--setenv={name}={value}")));
        command.args(["--", ANALYZE]);
        command
    } else {
        Command::new(ANALYZE)
    };
    // A condition on the environment is not to be a way to guess what is the daemon's own.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_withheld) {
            command.env_remove(name);
        }
    }
    command
        .args(["condition", "--", &question])
        .envs(SETTINGS)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Its words come as they are and to where they are read.
const SETTINGS: [(&str, &str); 3] =
    [("SYSTEMD_LOG_LEVEL", "info"), ("SYSTEMD_LOG_TARGET", "console"), ("SYSTEMD_COLORS", "0")];

/// Where systemd listens while it runs the machine. The directory beside it, which holds its unit files, may be of our making.
const MANAGER: &str = "/run/systemd/private";

/// True if the answer is another for a service of systemd's than for this daemon, which has given up capabilities and has
/// variables of its own.
fn asks_the_manager(condition: &Condition) -> bool {
    let kind = condition.directive.trim_start_matches("Condition").trim_start_matches("Assert");
    matches!(kind, "Capability" | "Environment") && Path::new(MANAGER).exists()
}

#[cfg(test)]
mod tests {
    use muster_common::container::{HostFacts, Quadlet, read};

    use super::*;
    use crate::runner::docker::this_machine::ThisMachine;

    async fn on_this_machine(lines: &str) -> StartVerdict {
        let text = format!("[Unit]\n{lines}\n[Container]\nImage=a\n");
        let unit = "web@50%.container".replace('%', "x").parse().unwrap();
        let Ok((Quadlet::Container(spec), _)) =
            read(&unit, &text.parse().unwrap(), &HostFacts::stand_in())
        else {
            panic!("{lines} is refused")
        };
        check_conditions(&ThisMachine, &spec.conditions).await
    }

    #[test]
    fn words_that_are_neither_yes_nor_no_are_passed_on() {
        let cannot = "Cannot parse \"ConditionFoo=x\".";
        let unknown =
            ConditionAnswer::Unknown(format!("this machine's systemd does not know it: {cannot}"));
        assert_eq!(parse_answer(cannot, "", false), unknown);
        assert_eq!(
            parse_answer("test.service: ConditionHost=a failed.\nConditions failed.\n", "", false),
            ConditionAnswer::No
        );
        assert_eq!(parse_answer("Asserts succeeded.", "", true), ConditionAnswer::Yes);
        // It takes no notice of what it cannot read, and would call that a success.
        let ignored = parse_answer("(cmdline): path is not absolute, ignoring: etc", "", true);
        assert!(matches!(ignored, ConditionAnswer::Unknown(_)));
    }

    /// With the machine's own program, which every machine with systemd has.
    #[tokio::test]
    async fn systemd_says_what_holds() {
        let directory = tempfile::tempdir().unwrap();
        let there = directory.path().display();
        let percent = directory.path().join("100%n");
        std::fs::write(&percent, "a").unwrap();
        for lines in [
            format!("ConditionPathExists={there}"),
            format!("ConditionPathExists=!{there}/nothing\nAssertPathIsDirectory={there}"),
            format!("ConditionFileNotEmpty={there}/100%%n"),
            format!("ConditionPathExistsGlob={there}/*n"),
            format!("ConditionHost=|nowhere\nConditionDirectoryNotEmpty=|{there}"),
            "ConditionKernelVersion=>=2\nConditionMemory=>1K\nConditionCPUs=>=1".to_owned(),
            "ConditionEnvironment=!MUSTER_NO_SUCH_VARIABLE".to_owned(),
        ] {
            assert_eq!(on_this_machine(&lines).await, StartVerdict::Start, "{lines}");
        }
        let lines = format!("ConditionPathExists={there}/nothing\nAssertPathExists=/nothing");
        let skip = StartVerdict::Skip(format!("ConditionPathExists={there}/nothing was not met"));
        assert_eq!(on_this_machine(&lines).await, skip);
        assert_eq!(
            on_this_machine("AssertKernelCommandLine=muster.no.such.word").await,
            StartVerdict::Fail(
                "AssertKernelCommandLine=muster.no.such.word was not met".to_owned()
            )
        );
    }
}
