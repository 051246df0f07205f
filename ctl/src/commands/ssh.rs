//! `ssh`: a shell or a command on a machine, or on the machine that has a unit.
//!
//! Owns which machine is meant. The connection is the system's ssh, which takes this process's place: its terminal, its signals and
//! its exit code are the user's.

use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;

use http::StatusCode;
use muster_client::{Client, ClientError, escape_segment};
use muster_common::api::v1::{Machines, UnitDetail, UnitSummary};
use muster_common::machine::{Machine, MachineId};
use muster_common::unit::UnitName;

use crate::cli::SshArgs;
use crate::error::Error;
use crate::machines::{Candidate, MachineMatch, match_candidates};
use crate::pattern::{self, UnitArgument};
use crate::ssh::{PROGRAM, SshError, SshHost, SshOptions};
use crate::unit_words;

/// A connection that is to be made.
pub(crate) struct SshConnection {
    arguments: Vec<String>,
}

/// Finds the machine, and what ssh is to be told.
pub(crate) async fn prepare_connection(
    client: &Client,
    settings: &SshOptions,
    tunnel: Option<&SshHost>,
    args: &SshArgs,
) -> Result<SshConnection, Error> {
    let (address, command) = match (&args.machine, &args.unit) {
        (None, None) => {
            let target = args.target.as_deref().ok_or(SshError::NoTarget)?;
            let address = match one_matched(client, target).await? {
                Some(unit) => address_of_unit(client, unit.as_str()).await?,
                None => address_of_either(client, target).await?,
            };
            (address, args.command.clone())
        }
        (machine, unit) => {
            let address = match (machine, unit) {
                (Some(given), _) => address_of_machine(client, given).await?,
                (None, unit) => {
                    let given = unit.as_deref().unwrap_or_default();
                    let matched = one_matched(client, given).await?;
                    let unit = matched.as_ref().map_or(given, UnitName::as_str);
                    address_of_unit(client, unit).await?
                }
            };
            (address, args.target.iter().chain(&args.command).cloned().collect())
        }
    };
    let host = SshHost::at_address(&address, args.ssh_port).map_err(SshError::Host)?;
    let terminal = std::io::stdin().is_terminal();
    let arguments =
        settings.session_arguments(&host, tunnel, args.forward_agent, terminal, &command)?;
    Ok(SshConnection { arguments })
}

impl SshConnection {
    /// Becomes ssh. Comes back only if that cannot be.
    pub(crate) fn become_ssh(self) -> Error {
        SshError::Run(std::process::Command::new(PROGRAM).args(self.arguments).exec()).into()
    }
}

/// The one unit on a machine that a pattern matches; `None` if what is given is no pattern.
async fn one_matched(client: &Client, given: &str) -> Result<Option<UnitName>, Error> {
    let words = [given.to_owned()];
    let verb = "be gone to: none is on a machine";
    let fits = |unit: &UnitSummary| !unit.name.is_template() && !unit.machines.is_empty();
    let mut matched = Vec::new();
    for word in unit_words::expand_words(client, &words, verb, fits).await? {
        match word {
            UnitArgument::Named(_) => return Ok(None),
            UnitArgument::Matched(unit) => matched.push(unit.name),
        }
    }
    match matched.as_slice() {
        [only] => Ok(Some(only.clone())),
        several => {
            let names = pattern::join_names(several.iter());
            Err(SshError::Several { given: given.to_owned(), names }.into())
        }
    }
}

async fn address_of_either(client: &Client, given: &str) -> Result<String, Error> {
    let machines: Machines = client.get("/v1/machines").await?;
    let meant = machine_meant(&machines, given);
    let name = UnitName::from_argument(given);
    let unit = match &name {
        Ok(name) => fetch_unit(client, name).await?,
        Err(_) => None,
    };
    match (meant, unit) {
        (MachineMatch::Nobody, Some(unit)) => address_of_home(&machines.machines, &unit),
        (MachineMatch::Nobody, None) => {
            let unit = name.map_or_else(|_| "of that name".to_owned(), |name| name.to_string());
            Err(SshError::Nobody { given: given.to_owned(), unit }.into())
        }
        (_, Some(_)) => Err(SshError::Ambiguous { given: given.to_owned() }.into()),
        (meant, None) => address_of_meant(&machines, given, meant),
    }
}

async fn address_of_machine(client: &Client, given: &str) -> Result<String, Error> {
    let machines: Machines = client.get("/v1/machines").await?;
    let meant = machine_meant(&machines, given);
    address_of_meant(&machines, given, meant)
}

async fn address_of_unit(client: &Client, given: &str) -> Result<String, Error> {
    let name = UnitName::from_argument(given)?;
    let Some(unit) = fetch_unit(client, &name).await? else {
        return Err(Error::NoUnit(name));
    };
    let machines: Machines = client.get("/v1/machines").await?;
    address_of_home(&machines.machines, &unit)
}

/// Machines that are absent are known as long as they are cordoned, and cannot be reached.
fn machine_meant(machines: &Machines, given: &str) -> MachineMatch {
    let cordoned = machines.cordons.keys().map(|id| Candidate::with_id_only(id.as_str()));
    match_candidates(given, machines.machines.iter().map(Candidate::from).chain(cordoned))
}

fn address_of_meant(
    machines: &Machines,
    given: &str,
    meant: MachineMatch,
) -> Result<String, Error> {
    match meant {
        MachineMatch::One(id) => match id.parse() {
            Ok(id) => address_of(&machines.machines, &id),
            Err(_) => Err(Error::ambiguous_machine(given, 0)),
        },
        MachineMatch::Nobody => Err(Error::ambiguous_machine(given, 0)),
        MachineMatch::Several(many) => Err(Error::ambiguous_machine(given, many)),
    }
}

/// The address of the machine that has a unit: during a move the one where it is up.
fn address_of_home(machines: &[Machine], unit: &UnitDetail) -> Result<String, Error> {
    let name = unit.unit.name.to_string();
    if unit.unit.global {
        return Err(SshError::Global(name).into());
    }
    let up = |id: &&MachineId| unit.states.get(*id).is_some_and(|state| state.active.is_up());
    let placed = &unit.unit.machines;
    let home =
        placed.iter().find(up).or_else(|| placed.first()).or_else(|| unit.states.keys().next());
    address_of(machines, home.ok_or(SshError::Unplaced(name))?)
}

fn address_of(machines: &[Machine], id: &MachineId) -> Result<String, Error> {
    let short = || id.short_id().to_owned();
    let machine = machines.iter().find(|machine| machine.id == *id);
    let machine = machine.ok_or_else(|| SshError::Away(short()))?;
    if machine.address.is_empty() {
        return Err(SshError::NoAddress(short()).into());
    }
    Ok(machine.address.clone())
}

/// A unit, if there is one of that name.
async fn fetch_unit(client: &Client, name: &UnitName) -> Result<Option<UnitDetail>, Error> {
    match client.get(&format!("/v1/units/{}", escape_segment(name.as_str()))).await {
        Ok(unit) => Ok(Some(unit)),
        Err(ClientError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
