//! The command line: commands, flags and every word of their help.
//!
//! Owns what can be said. It never does any of it.

pub(crate) mod doctor;
pub(crate) mod fleet;
mod global;
pub(crate) mod reboot;
mod values;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, CommandFactory as _, Parser, Subcommand, value_parser};
use clap_complete::Shell;
use muster_common::text::FreeText;

use doctor::DoctorArgs;
pub(crate) use global::Global;
use reboot::RebootArgs;
use values::{parse_duration, parse_line_count};

/// Length of an attempt of fleetctl 1.0, in which it looks at a unit four times a second; what `--block-attempts` counts.
const BLOCK_ATTEMPT: Duration = Duration::from_secs(2);

/// The program.
pub(crate) const NAME: &str = "musterctl";

/// The meaning of exit codes.
pub(crate) const EXIT_CODES: &str = "Exit codes: 0 when all went well, 1 when anything failed, 2 for a wrong command line, 130 after \
                                     Ctrl-C; `status` exits with systemctl's code, `ssh` with that of the command \
                                     (255 when ssh itself failed), `doctor` with 2 when no daemon could be asked.";

/// The pages with more to read.
const MANUALS: &str = "Manual pages: musterctl(1) and one for each command, such as musterctl-start(1); muster.unit(5) for unit \
                       files; musterd(8) and muster.toml(5) for the daemon.";

/// Places units on the machines of a cluster, watches them and moves them.
#[derive(Debug, Parser)]
#[command(
    name = "musterctl",
    version,
    disable_version_flag = true,
    after_help = MANUALS,
    after_long_help = format!("{EXIT_CODES}\n\n{MANUALS}"),
    subcommand_required = true,
    arg_required_else_help = true,
    // fleetctl takes the beginning of a command's name for it,
    infer_subcommands = true,
    // and of two of a flag the last, so that an alias can have one.
    args_override_self = true
)]
pub(crate) struct Cli {
    /// Print version
    #[arg(short = 'V', short_alias = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store units in the cluster without starting them
    ///
    /// A unit is a file, an instance of a template (`web@1`, from `web@.service` beside it or in the cluster), or the
    /// name of a unit the cluster knows. A name without a type is a service. Submitting what is there already changes
    /// nothing; a file that differs is kept, with a warning, unless --replace is given. Stored is stored: there is nothing
    /// to wait for, and --no-block, --block-attempts and --timeout are accepted without effect.
    ///
    /// In this and every command a pattern such as 'web@*' stands for the units of the cluster that it matches, by the rules
    /// of Conflicts=: * any text, ? one character, [a-z] one of these.
    Submit(FileArgs),

    /// Place units on machines without starting them
    ///
    /// Units that the cluster does not know are submitted first.
    Load(PlaceArgs),

    /// Start units, each on a machine that can take it
    ///
    /// Units that the cluster does not know are submitted first. When no machine can take a unit, the refusal of each
    /// machine is shown and the command fails; --queue keeps the start waiting for one that can.
    Start(PlaceArgs),

    /// Stop units, which stay on their machines
    Stop(NamedArgs),

    /// Stop units and take them off their machines; the cluster still knows them
    Unload(NamedArgs),

    /// Stop and start units, one after the other
    Restart(NamedArgs),

    /// Stop units, take them off their machines and forget them
    ///
    /// A unit that does not exist is no failure, unless a pattern was given that matches none.
    Destroy(NamedArgs),

    /// Print the files of units
    ///
    /// Each as its user wrote it; of several, each below a line that names it.
    Cat {
        /// The units, or patterns of their names
        #[arg(required = true, value_name = "UNIT")]
        units: Vec<String>,
    },

    /// Show units as `systemctl status` shows them on their machines
    ///
    /// Exits with systemctl's code: 0 when all run, otherwise that of the first unit that does not.
    Status {
        /// The units, or patterns of their names
        #[arg(required = true, value_name = "UNIT")]
        units: Vec<String>,
        /// The machine to ask, for units on several: its id, the beginning of it, its address or host name
        #[arg(long)]
        machine: Option<String>,
        /// Accepted for fleetctl's sake; without effect, since no ssh is needed
        #[arg(long, value_name = "PORT", hide = true)]
        ssh_port: Option<u16>,
    },

    /// Print the journal of a unit from its machine
    ///
    /// With --follow it goes on through restarts of daemons, broken connections and moves to other machines, and says so. It
    /// ends, and fails, when the unit is destroyed.
    Journal(JournalArgs),

    /// Open a shell on a machine, or run a command there
    ///
    /// MACHINE is its id, the beginning of it, its address or host name; UNIT stands for the machine that has the unit. The
    /// system's ssh makes the connection: its configuration, agent and known hosts hold, and with --tunnel the host named
    /// there is passed through. The words of the command are joined with spaces and left to the shell there, as fleetctl did;
    /// options of the command stand behind `--`.
    Ssh(SshArgs),

    /// List what machines report of the units placed on them
    ///
    /// Fields: active, hash, load, machine, problem, remark, sub, unit. The remark is shown by itself when a machine has
    /// one: how far an image has been fetched, with which exit code a container ended. With --output json all fields are
    /// printed, in full.
    ListUnits(UnitListArgs),

    /// List the units the cluster knows
    ///
    /// Fields: desc, dstate, global, hash, state, target, tmachine, unit. With --output json all of them are printed, in
    /// full.
    ListUnitFiles(UnitListArgs),

    /// List the machines of the cluster
    ///
    /// Fields: cordon, host, ip, machine, metadata, runners. With --output json all of them are printed, in full.
    ListMachines(ListArgs),

    /// Keep a machine from taking any unit; what runs there stays
    ///
    /// It holds while the machine is away and after it has rebooted, until it is uncordoned. Units that no other machine
    /// can take are refused, with the cordon among the reasons.
    Cordon(CordonArgs),

    /// Let a machine take units again
    ///
    /// Takes back what `cordon` did. A machine that is also cordoned for its reboot stays so, and the command fails, unless
    /// --all is given.
    Uncordon(UncordonArgs),

    /// Empty a machine: its units start elsewhere, then stop there
    ///
    /// It is cordoned first. Global units stay. A unit that names itself in Conflicts= may not run twice, so it is stopped first. Units that no
    /// other machine takes go on running, and are listed with the reason; the command fails then. The machine takes nothing
    /// until `uncordon`, which also calls a drain off.
    Drain(DrainArgs),

    /// Forget a machine that is gone for good, and the records about it
    ///
    /// It must not be registered. Units that were placed there are free to go elsewhere, those that keep data there, too: their data is
    /// gone with the machine. Should it come back, it is a new machine.
    Forget(ForgetArgs),

    /// Show and steer rolling reboots: slots, who holds them, and who is asked to reboot
    Reboot(RebootArgs),

    /// Show what the scheduler would do next, and which units no machine can take
    Plan,

    /// Look at the whole cluster and say what is wrong with it
    ///
    /// Compares the records in the store, what every machine says of itself, and what its runner says. Each finding has a
    /// word, which docs/operations.md explains, and says what to do. It changes nothing. What may pass by itself is looked at
    /// again, and counts only if it lasts. A machine that does not answer is a finding; so is a store that cannot be read.
    ///
    /// Exits with 0 when nothing is wrong, with 1 when something is, and with 2 when no daemon could be asked.
    Doctor(DoctorArgs),

    /// Let units be placed anew although half of the machines or more vanished together
    Unfreeze,

    /// Write the cluster's records to a file: units, reboot groups, cordons
    ///
    /// What the cluster finds out by itself is not among them: machines, placements, states. Nor are slots held, metadata
    /// set at run time, and files on machines such as secrets. A record that cannot be read is left out with a warning, and
    /// the command fails then.
    Export(ExportArgs),

    /// Put the records of such a file into a cluster that has none
    ///
    /// Units start as they were wanted, on machines that can take them; a start that no machine can take now waits. A
    /// cluster that has units is left alone, unless --force is given: then the file's units take the place of those of the same
    /// name, and other units stay. The file may come from another cluster, or from a machine that was alone.
    Import(ImportArgs),

    /// Compare local unit files with what the cluster has stored
    ///
    /// Fails when one differs or is not stored. fleetctl's command of this name checked signatures once, and does nothing
    /// any more.
    Verify {
        /// Unit files, instances of templates, or patterns of stored units whose files are here
        #[arg(required = true, value_name = "UNIT")]
        units: Vec<String>,
    },

    /// Join standard input and output to a unix socket
    ///
    /// It is the far end of a tunnel made by hand.
    FdForward {
        /// The socket
        #[arg(value_name = "SOCKET")]
        socket: String,
    },

    /// Print the version
    Version,

    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },

    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man {
        /// The directory
        directory: PathBuf,
    },
}

impl Command {
    /// Returns whether it asks a daemon, so that the ways to one concern it.
    pub(crate) fn asks_daemon(&self) -> bool {
        !matches!(
            self,
            Self::FdForward { .. } | Self::Version | Self::Completions { .. } | Self::Man { .. }
        )
    }
}

/// Arguments of commands that may bring files.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// Unit files, instances of templates, names of known units, or patterns of them
    #[arg(required = true, value_name = "UNIT")]
    pub(crate) units: Vec<String>,

    /// Put local files in the place of stored ones that differ
    #[arg(long)]
    pub(crate) replace: bool,

    /// Accepted for fleetctl's sake; without effect, as there
    #[arg(long, hide = true)]
    sign: bool,

    #[command(flatten)]
    pub(crate) blocking: BlockFlags,
}

/// Arguments of commands that place units.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    #[command(flatten)]
    pub(crate) files: FileArgs,

    /// Keep units waiting that no machine can take now
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Arguments of commands on known units.
#[derive(Debug, Args)]
pub(crate) struct NamedArgs {
    /// The units, or patterns of their names
    #[arg(required = true, value_name = "UNIT")]
    pub(crate) units: Vec<String>,

    #[command(flatten)]
    pub(crate) blocking: BlockFlags,
}

/// Options of waiting for units. Global units are never waited for, except in `destroy`.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct BlockFlags {
    /// Do not wait for the units
    #[arg(long)]
    no_block: bool,

    /// Wait for N times two seconds at the most, as fleetctl did; 0 is for ever
    #[arg(long, value_name = "N", allow_negative_numbers = true, conflicts_with = "timeout")]
    block_attempts: Option<i64>,

    /// Wait for this long at the most, such as 90, 500ms or 2m; 0 is for ever
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

impl BlockFlags {
    /// Returns whether to wait.
    pub(crate) fn wants_wait(self) -> bool {
        !self.no_block
    }

    /// Returns the time to wait; `None` is for ever.
    pub(crate) fn time_limit(self) -> Option<Duration> {
        // As in fleetctl, less than nothing is no limit either.
        let attempts = self.block_attempts.map(|n| {
            let attempts = u32::try_from(n.max(0)).unwrap_or(u32::MAX);
            BLOCK_ATTEMPT.saturating_mul(attempts)
        });
        self.timeout.or(attempts).filter(|limit| !limit.is_zero())
    }
}

/// Arguments of lists.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print no header
    #[arg(long)]
    pub(crate) no_legend: bool,

    /// Abbreviate nothing
    // fleetctl 1.0 has its short forms with two dashes.
    #[arg(short = 'l', long, alias = "l")]
    pub(crate) full: bool,

    /// The columns, separated by commas
    #[arg(long, value_name = "FIELDS")]
    pub(crate) fields: Option<String>,
}

/// Arguments of lists of units.
#[derive(Debug, Args)]
pub(crate) struct UnitListArgs {
    /// Only these units, or those that patterns match
    #[arg(value_name = "UNIT")]
    pub(crate) units: Vec<String>,

    /// Only those in one of these states, separated by commas
    #[arg(long, value_name = "STATES", value_delimiter = ',')]
    pub(crate) state: Vec<String>,

    /// Only those on this machine: its id, the beginning of it, its address or host name
    #[arg(long)]
    pub(crate) machine: Option<String>,

    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// Arguments of `ssh`.
#[derive(Debug, Args)]
pub(crate) struct SshArgs {
    /// The machine, or a unit that it has
    #[arg(value_name = "MACHINE|UNIT")]
    pub(crate) target: Option<String>,

    #[arg(
        help = "What to run there; a shell if nothing is given",
        value_name = "COMMAND",
        trailing_var_arg = true
    )]
    pub(crate) command: Vec<String>,

    /// The machine, for what may be a unit as well
    #[arg(long, conflicts_with = "unit")]
    pub(crate) machine: Option<String>,

    /// The unit, for what may be a machine as well
    #[arg(long)]
    pub(crate) unit: Option<String>,

    /// Let the machine use your ssh agent
    #[arg(short = 'A', long, alias = "A")]
    pub(crate) forward_agent: bool,

    /// The port of its ssh; what ssh's configuration says if none is given
    #[arg(long, value_name = "PORT", value_parser = value_parser!(u16).range(1..))]
    pub(crate) ssh_port: Option<u16>,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The file to write; standard output if none is given
    pub(crate) file: Option<PathBuf>,

    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file to read; `-` is standard input
    pub(crate) file: PathBuf,

    /// Also into a cluster that has units
    #[arg(long)]
    pub(crate) force: bool,
}

/// Arguments of `cordon`.
#[derive(Debug, Args)]
pub(crate) struct CordonArgs {
    /// The machine: its id, the beginning of it, its address or its host name
    pub(crate) machine: String,

    /// Why, for others to read
    #[arg(long)]
    pub(crate) reason: Option<FreeText>,
}

/// Arguments of `drain`.
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// The machine: its id, the beginning of it, its address or its host name
    pub(crate) machine: String,

    #[arg(help = "How long it may take, such as 90 or 5m; what is left then stays, unless --force is given", long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) deadline: Option<Duration>,

    /// At the deadline, stop what is left
    #[arg(long, requires = "deadline")]
    pub(crate) force: bool,

    /// Show what would become of each unit, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Do not wait for the units to move
    #[arg(long)]
    pub(crate) no_block: bool,

    /// Why, for others to read
    #[arg(long)]
    pub(crate) reason: Option<FreeText>,
}

/// Arguments of `uncordon`.
#[derive(Debug, Args)]
pub(crate) struct UncordonArgs {
    /// The machine: its id, the beginning of it, its address or its host name
    pub(crate) machine: String,

    /// Take back everyone's cordon, that of a reboot under way too
    #[arg(long)]
    pub(crate) all: bool,
}

/// Arguments of `forget`.
#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    /// The machine: its whole id, or the beginning of it while it is cordoned
    pub(crate) machine: String,
}

/// Arguments of `journal`.
#[derive(Debug, Args)]
pub(crate) struct JournalArgs {
    /// The unit, or a pattern of names
    pub(crate) unit: String,

    #[arg(help = "How many lines of the past to print, or `all`", short = 'n', long, value_name = "N", default_value = "10", value_parser = parse_line_count)]
    pub(crate) lines: String,

    /// Go on with what is logged from now on
    #[arg(short, long, alias = "f")]
    pub(crate) follow: bool,

    /// journalctl's output mode, such as short, cat, json or short-iso
    #[arg(short, long, value_name = "MODE")]
    pub(crate) output: Option<String>,

    /// The machine to ask, for a unit on several: its id, the beginning of it, its address or host name
    #[arg(long)]
    pub(crate) machine: Option<String>,

    /// Accepted for fleetctl's sake; without effect, since the daemon may read every journal
    #[arg(long)]
    sudo: bool,

    /// Accepted for fleetctl's sake; without effect, since no ssh is needed
    #[arg(long, value_name = "PORT", hide = true)]
    ssh_port: Option<u16>,
}

/// The command line, to be read. A variable of ours that is empty does not count, so that it can be unset for one command.
pub(crate) fn build_command_line() -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    Cli::command().mut_args(|argument| {
        if argument.get_env().is_some_and(is_empty) { argument.env(None::<&str>) } else { argument }
    })
}

/// Returns whether an option was given on the command line or by a variable of ours.
pub(crate) fn is_given(matches: &ArgMatches, id: &str) -> bool {
    let known = matches.try_contains_id(id).unwrap_or(false);
    known && matches!(matches.value_source(id), Some(source) if source != ValueSource::DefaultValue)
}

#[cfg(test)]
mod tests {
    use crate::output::console::Format;

    use super::*;

    fn parse(line: &str) -> Cli {
        Cli::try_parse_from(line.split_whitespace()).unwrap()
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_before_or_behind_the_command() {
        assert_eq!(
            parse("musterctl --output json list-units").global.output_format(),
            Format::Json
        );
        assert_eq!(
            parse("musterctl list-units --output json").global.output_format(),
            Format::Json
        );
        assert_eq!(parse("musterctl list-units").global.output_format(), Format::Table);
        assert_eq!(
            parse("musterctl list-units --endpoint /s").global.endpoint,
            "/s".parse().unwrap()
        );
    }

    #[test]
    fn of_two_of_a_flag_the_last_counts() {
        let global = parse("musterctl --tunnel a --tunnel b --debug --debug list-units").global;
        assert_eq!((global.tunnel, global.debug), (Some("b".parse().unwrap()), true));
        let global = parse("musterctl --tunnel a list-units -l --full --tunnel b").global;
        assert_eq!(global.tunnel, Some("b".parse().unwrap()));
        let Command::ListUnits(list) = parse("musterctl list-units --state a --state b,c").command
        else {
            panic!("another command")
        };
        assert_eq!(list.state, ["a", "b", "c"]);
    }

    #[test]
    fn the_output_of_journal_is_journalctls() {
        for line in ["musterctl journal -o cat web", "musterctl journal web --output=cat"] {
            let Command::Journal(journal) = parse(line).command else { panic!("{line}") };
            assert_eq!(journal.output.as_deref(), Some("cat"));
        }
        assert!(Cli::try_parse_from(["musterctl", "list-units", "-o", "cat"]).is_err());
    }

    #[test]
    fn attempts_are_as_long_as_fleetctls_and_nought_is_for_ever() {
        let limit = |line: &str| match parse(line).command {
            Command::Start(start) => start.files.blocking.time_limit(),
            _ => panic!("{line}"),
        };
        assert_eq!(limit("musterctl start a"), None);
        assert_eq!(limit("musterctl start a --block-attempts=0"), None);
        assert_eq!(limit("musterctl start a --block-attempts -1"), None);
        assert_eq!(limit("musterctl start a --block-attempts=5"), Some(Duration::from_secs(10)));
        assert_eq!(limit("musterctl start a --timeout 90"), Some(Duration::from_secs(90)));
        assert_eq!(limit("musterctl start a --timeout 1m30s"), Some(Duration::from_secs(90)));
    }
}
