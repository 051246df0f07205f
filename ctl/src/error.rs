//! The errors with which a command ends early.
//!
//! Owns the exit codes. It never prints: `main` does.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use muster_client::ClientError;
use muster_common::backup::InvalidBackup;
use muster_common::reboot::{Group, InvalidHolderId};
use muster_common::unit::{InvalidUnitName, UnitName};

use crate::argument_error::ArgumentError;
use crate::cli::fleet::FleetError;
use crate::daemon_hints;
use crate::output::fields::UnknownField;
use crate::pattern::PatternError;
use crate::ssh::SshError;

/// A command that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The daemon, or the way to it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A unit argument.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// A pattern that stands for nothing.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A setting of fleetctl's that cannot be honoured.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// ssh, or what it is to be told.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// A state that nothing can be in.
    #[error("there is no state {given:?}; there are {states}")]
    State {
        /// The text given.
        given: String,
        /// Those there are.
        states: String,
    },
    /// A socket to pass things on to.
    #[error("cannot pass anything on to {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A unit that does not exist.
    #[error("there is no unit {0}")]
    NoUnit(UnitName),
    /// A unit that is followed is no more.
    #[error("{0} was destroyed; its journal ends here")]
    Destroyed(UnitName),
    /// A unit that is followed on one machine has left it.
    #[error("{unit} is not on {machine}... any more; what that machine had to say of it ends here")]
    Left {
        /// The unit.
        unit: UnitName,
        /// The machine, in short.
        machine: String,
    },
    /// A column that does not exist.
    #[error(transparent)]
    Field(#[from] UnknownField),
    /// The daemon ended a wait too early, again and again.
    #[error("the daemon ended the wait before it was over")]
    WaitEnded,
    /// Ctrl-C.
    #[error("interrupted while {what} still waited for; what was requested stays so")]
    Interrupted {
        /// The things waited for, and "is" or "are".
        what: String,
        /// The way to find out more.
        hint: &'static str,
    },
    /// Ctrl-C while a drain was followed.
    #[error("interrupted; {0}... goes on being drained")]
    DrainInterrupted(String),
    /// A `--machine` that names none, or more than one.
    #[error("{given:?} names {found}")]
    Machine {
        /// The text given.
        given: String,
        /// "no machine", or the machines that it may mean.
        found: String,
    },
    /// A holder that cannot be one.
    #[error(transparent)]
    Holder(#[from] InvalidHolderId),
    /// A reboot group that does not exist.
    #[error("there is no reboot group {group}; there are {groups}")]
    Group {
        /// The name given.
        group: Group,
        /// The names of those there are.
        groups: String,
    },
    /// A reboot group that nobody is in.
    #[error("no host has ever said that it is in reboot group {0}")]
    NoHosts(Group),
    /// A record that the answer rests on cannot be read; which, and why.
    #[error("the record {0}")]
    Record(String),
    /// Standard output.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    /// A file of records.
    #[error("{} cannot be imported", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: InvalidBackup,
    },
    /// An import into a cluster in use.
    #[error("the cluster has {0} units; nothing was imported")]
    NotEmpty(usize),
    /// An export over something that is there.
    #[error("{} is there already; nothing was written", .0.display())]
    FileExists(PathBuf),
    /// A file to be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file to be written.
    #[error("cannot write to {}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The runtime or its signals.
    #[error("cannot set up the event loop")]
    Runtime(#[source] io::Error),
}

impl From<InvalidUnitName> for Error {
    fn from(error: InvalidUnitName) -> Self {
        Self::Argument(error.into())
    }
}

impl Error {
    /// A machine argument that names none, or `many`.
    pub(crate) fn ambiguous_machine(given: &str, many: usize) -> Self {
        let found = match many {
            0 => "no machine".to_owned(),
            many => format!("{many} machines"),
        };
        Self::Machine { given: given.to_owned(), found }
    }

    /// The way out, where there is one.
    pub(crate) fn way_out(&self) -> Option<String> {
        match self {
            Self::Client(error) => daemon_hints::hint_for(error),
            Self::Argument(error) => error.way_out(),
            Self::Pattern(error) => error.way_out(),
            Self::Fleet(error) => Some(error.way_out()),
            Self::Ssh(error) => error.way_out(),
            Self::Left { .. } => {
                Some("without --machine the journal is followed wherever the unit goes".to_owned())
            }
            Self::Interrupted { hint, .. } => Some((*hint).to_owned()),
            Self::DrainInterrupted(_) => Some("`musterctl uncordon` calls it off".to_owned()),
            Self::Group { group, .. } => {
                Some(format!("`musterctl reboot set-max --group {group} 1` makes it"))
            }
            Self::NotEmpty(_) => Some(
                "`--force` imports all the same, in the place of units of the same name".to_owned(),
            ),
            Self::FileExists(_) => Some("`--force` writes over it".to_owned()),
            Self::Machine { .. } => Some("`musterctl list-machines --full` shows them".to_owned()),
            _ => None,
        }
    }

    /// A reader of standard output that has gone has read enough (`musterctl list-units | head`).
    pub(crate) fn is_closed_output(&self) -> bool {
        matches!(self, Self::Output(e) if e.kind() == io::ErrorKind::BrokenPipe)
    }

    /// 1 for every failure, as fleetctl has it; 130 after Ctrl-C, as shells have it.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Interrupted { .. } | Self::DrainInterrupted(_) => ExitCode::from(130),
            _ => ExitCode::FAILURE,
        }
    }
}
