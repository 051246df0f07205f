//! Machines as people name them.
//!
//! Owns the reading of a machine argument. It asks the daemon which machines there are and nothing more.

use muster_client::Client;
use muster_common::api::v1::Machines;
use muster_common::machine::{Machine, MachineId};

use crate::error::Error;

/// Something that a person may mean: a machine, or anything else with an id.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Candidate<'a> {
    id: &'a str,
    address: &'a str,
    host: &'a str,
}

/// The machine that a person means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MachineMatch {
    /// The one of this id.
    One(String),
    /// None of them.
    Nobody,
    /// Any of so many.
    Several(usize),
}

impl<'a> From<&'a Machine> for Candidate<'a> {
    fn from(machine: &'a Machine) -> Self {
        Self { id: machine.id.as_str(), address: &machine.address, host: &machine.host }
    }
}

impl<'a> Candidate<'a> {
    /// Something that has an id and no other name.
    pub(crate) fn with_id_only(id: &'a str) -> Self {
        Self { id, ..Self::default() }
    }
}

/// The machine that a person means by an id, the beginning of one (with or without the dots of the tables), an address
/// or a host name. One that is absent is known by its id as long as it is cordoned.
pub(crate) async fn find_machine(client: &Client, given: &str) -> Result<MachineId, Error> {
    let machines: Machines = client.get("/v1/machines").await?;
    let cordoned = machines.cordons.keys().map(|id| Candidate::with_id_only(id.as_str()));
    resolve_machine(given, machines.machines.iter().map(Candidate::from).chain(cordoned))
}

/// The one of these machines that a person means.
pub(crate) fn resolve_machine<'a>(
    given: &str,
    machines: impl Iterator<Item = Candidate<'a>>,
) -> Result<MachineId, Error> {
    match match_candidates(given, machines) {
        // What is found is the id of a machine, and reads as one.
        MachineMatch::One(id) => id.parse().map_err(|_| Error::ambiguous_machine(given, 0)),
        MachineMatch::Nobody => Err(Error::ambiguous_machine(given, 0)),
        MachineMatch::Several(many) => Err(Error::ambiguous_machine(given, many)),
    }
}

/// Returns the candidate that a person means. Several of one id are one.
pub(crate) fn match_candidates<'a>(
    given: &str,
    candidates: impl Iterator<Item = Candidate<'a>>,
) -> MachineMatch {
    let start = given.split_once("...").map_or(given, |(start, _)| start);
    let begins = |id: &str| !start.is_empty() && id.starts_with(start);
    let named = |name: &str| !name.is_empty() && name == given;
    let meant = candidates.filter(|c| begins(c.id) || named(c.address) || named(c.host));
    let mut found: Vec<&str> = meant.map(|candidate| candidate.id).collect();
    found.sort_unstable();
    found.dedup();
    // A whole id may be the beginning of another.
    if found.contains(&given) {
        return MachineMatch::One(given.to_owned());
    }
    match *found {
        [] => MachineMatch::Nobody,
        [id] => MachineMatch::One(id.to_owned()),
        _ => MachineMatch::Several(found.len()),
    }
}
