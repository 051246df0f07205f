//! The command line itself: help, versions, completions, wrong usage.

use insta::assert_snapshot;

use crate::daemon::{musterctl, output_text};

const COMMANDS: [&str; 28] = [
    "submit",
    "load",
    "start",
    "stop",
    "unload",
    "restart",
    "destroy",
    "cat",
    "status",
    "journal",
    "ssh",
    "list-units",
    "list-unit-files",
    "list-machines",
    "cordon",
    "uncordon",
    "drain",
    "forget",
    "reboot",
    "plan",
    "doctor",
    "unfreeze",
    "export",
    "import",
    "verify",
    "fd-forward",
    "version",
    "completions",
];

fn run(line: &str) -> String {
    output_text(&musterctl(line).output().unwrap())
}

fn stdout(line: &str) -> String {
    let output = musterctl(line).output().unwrap();
    assert!(output.status.success(), "{line}");
    String::from_utf8(output.stdout).unwrap()
}

/// Help without the spaces that it ends empty lines with.
fn help(line: &str) -> String {
    let lines: Vec<_> = stdout(line).lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

#[test]
fn help_lists_every_command() {
    let help = help("--help");
    let listed: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let expected: Vec<&str> = COMMANDS.into_iter().chain(["help"]).collect();
    assert_eq!(listed, expected);
    assert_snapshot!(help, @r"
    Places units on the machines of a cluster, watches them and moves them

    Usage: musterctl [OPTIONS] <COMMAND>

    Commands:
      submit           Store units in the cluster without starting them
      load             Place units on machines without starting them
      start            Start units, each on a machine that can take it
      stop             Stop units, which stay on their machines
      unload           Stop units and take them off their machines; the cluster still knows them
      restart          Stop and start units, one after the other
      destroy          Stop units, take them off their machines and forget them
      cat              Print the files of units
      status           Show units as `systemctl status` shows them on their machines
      journal          Print the journal of a unit from its machine
      ssh              Open a shell on a machine, or run a command there
      list-units       List what machines report of the units placed on them
      list-unit-files  List the units the cluster knows
      list-machines    List the machines of the cluster
      cordon           Keep a machine from taking any unit; what runs there stays
      uncordon         Let a machine take units again
      drain            Empty a machine: its units start elsewhere, then stop there
      forget           Forget a machine that is gone for good, and the records about it
      reboot           Show and steer rolling reboots: slots, who holds them, and who is asked to reboot
      plan             Show what the scheduler would do next, and which units no machine can take
      doctor           Look at the whole cluster and say what is wrong with it
      unfreeze         Let units be placed anew although half of the machines or more vanished together
      export           Write the cluster's records to a file: units, reboot groups, cordons
      import           Put the records of such a file into a cluster that has none
      verify           Compare local unit files with what the cluster has stored
      fd-forward       Join standard input and output to a unix socket
      version          Print the version
      completions      Print the completion script of a shell
      help             Print this message or the help of the given subcommand(s)

    Options:
      -V, --version
              Print version

      -h, --help
              Print help (see a summary with '-h')

    Global options:
          --endpoint <ENDPOINT>
              The daemon to ask, as `unix:///path` or `http://host:port`; several, separated by commas,
              are tried in order

              [env: MUSTERCTL_ENDPOINT=]
              [default: unix:///run/muster/muster.sock]

          --tunnel <[USER@]HOST[:PORT]>
              Ask through ssh: the endpoint is one on this host

              The system's ssh makes the connection, so that its configuration, agent and known hosts
              hold.

              [env: MUSTERCTL_TUNNEL=]

          --ssh-username <NAME>
              Who to be on the far side of ssh; what its configuration says if none is given

              [env: MUSTERCTL_SSH_USERNAME=]

          --ssh-timeout <SECONDS>
              How long ssh may take to connect, in seconds

              [env: MUSTERCTL_SSH_TIMEOUT=]
              [default: 10]

          --strict-host-key-checking[=<BOOL>]
              Whether ssh checks host keys: `true` asks about one it does not know, `false` checks none

              [env: MUSTERCTL_STRICT_HOST_KEY_CHECKING=]
              [possible values: true, false]

          --known-hosts-file <FILE>
              The file of host keys that ssh knows, in the place of the one its configuration names

              [env: MUSTERCTL_KNOWN_HOSTS_FILE=]

          --request-timeout <SECONDS>
              How long one request may take, in seconds

              Waiting for units is not limited by it; `--timeout` does that.

              [env: MUSTERCTL_REQUEST_TIMEOUT=]
              [default: 10]

          --notice-after <DURATION>
              How long a wait may be without news before it says what it waits for; 0: it never does

              [env: MUSTERCTL_NOTICE_AFTER=]
              [default: 10s]

      -o, --output <FORMAT>
              What standard output carries

              [env: MUSTERCTL_OUTPUT=]
              [possible values: table, json]

          --debug
              Say on standard error what is asked of the daemon

              [env: MUSTERCTL_DEBUG=]

    Exit codes: 0 when all went well, 1 when anything failed, 2 for a wrong command line, 130 after
    Ctrl-C; `status` exits with systemctl's code, `ssh` with that of the command (255 when ssh itself
    failed), `doctor` with 2 when no daemon could be asked.

    Manual pages: musterctl(1) and one for each command, such as musterctl-start(1); muster.unit(5) for
    unit files; musterd(8) and muster.toml(5) for the daemon.
    ");
}

#[test]
fn every_command_explains_itself() {
    let own = COMMANDS.map(|command| {
        let help = help(&format!("{command} --help"));
        let (own, global) = help.split_once("Global options:").unwrap();
        assert!(global.contains("--endpoint"), "{command}");
        own.trim_end().to_owned()
    });
    assert_snapshot!("commands", own.join("\n\n==========\n\n"));
}

#[test]
fn every_command_about_reboots_explains_itself() {
    let commands = ["status", "lock", "unlock", "set-max", "history", "request", "cancel"];
    let own = commands.map(|command| {
        let help = help(&format!("reboot {command} --help"));
        let (own, global) = help.split_once("Global options:").unwrap();
        assert!(global.contains("--endpoint"), "{command}");
        own.trim_end().to_owned()
    });
    assert_snapshot!("reboot_commands", own.join("\n\n==========\n\n"));
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(stdout("--version"), concat!("musterctl ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn completions_name_every_command_in_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&format!("completions {shell}"));
        for command in COMMANDS {
            assert!(script.contains(command), "{command} in {shell}");
        }
    }
}

#[test]
fn the_completion_script_is_valid_bash() {
    let script = stdout("completions bash");
    // Through a file: it is longer than an argument may be.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("musterctl.bash");
    std::fs::write(&file, script).unwrap();
    let check = std::process::Command::new("bash").arg("-n").arg(&file).status().unwrap();
    assert!(check.success());
}

#[test]
fn a_wrong_command_line_is_told_and_exits_with_2() {
    assert_snapshot!(run("start"), @r"
    exit 2
    --- stderr
    error: the following required arguments were not provided:
      <UNIT>...

    Usage: musterctl start <UNIT>...

    For more information, try '--help'.
    ");
    assert_snapshot!(run("begin web@1"), @r"
    exit 2
    --- stderr
    error: unrecognized subcommand 'begin'

    Usage: musterctl [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(run("start web@1 --timeout soon"), @r"
    exit 2
    --- stderr
    error: invalid value 'soon' for '--timeout <DURATION>': expected a duration such as 90, 500ms, 90s or 2m

    For more information, try '--help'.
    ");
    assert_snapshot!(run("list-units --output xml"), @r"
    exit 2
    --- stderr
    error: invalid value 'xml' for '--output <FORMAT>'
      [possible values: table, json]

    For more information, try '--help'.
    ");
    assert_snapshot!(run("list-units --request-timeout 0"), @r"
    exit 2
    --- stderr
    error: invalid value '0' for '--request-timeout <SECONDS>': expected more than 0 seconds

    For more information, try '--help'.
    ");
}

#[test]
fn a_wrong_endpoint_is_told() {
    assert_snapshot!(run("list-units --endpoint https://node-1:4001"), @r#"
    exit 2
    --- stderr
    error: invalid value 'https://node-1:4001' for '--endpoint <ENDPOINT>': https is not supported by this version; expected unix:///path or http://host:port

    For more information, try '--help'.
    "#);
    assert_snapshot!(run("list-units --endpoint node-1"), @r#"
    exit 2
    --- stderr
    error: invalid value 'node-1' for '--endpoint <ENDPOINT>': it has neither scheme nor port; expected unix:///path or http://host:port

    For more information, try '--help'.
    "#);
}

#[test]
fn a_unit_that_is_none_is_told() {
    assert_snapshot!(run("cat a/b/"), @r#"
    exit 1
    --- stderr
    error: "a/b/" is not a unit name: it names no unit
    "#);
    assert_snapshot!(run("status web!"), @r#"
    exit 1
    --- stderr
    error: "web!.service" is not a unit name: it contains '!'
    "#);
}
