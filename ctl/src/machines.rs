//! Machines as people name them.
//!
//! Owns the reading of a machine argument. It asks the daemon which machines there are and nothing more.

use muster_common::api::v1::Machines;
use muster_common::machine::MachineId;

use crate::client::Client;
use crate::error::Error;

/// The machine that a person means by an id, the beginning of one (with or without the dots of the tables), an address
/// or a host name. One that is absent is known by its id as long as it is cordoned.
pub(crate) async fn find(client: &Client, given: &str) -> Result<MachineId, Error> {
    let machines: Machines = client.get("/v1/machines").await?;
    let start = given.split_once("...").map_or(given, |(start, _)| start);
    let begins = |id: &MachineId| !start.is_empty() && id.as_str().starts_with(start);
    let named = |name: &str| !name.is_empty() && name == given;
    let mut found: Vec<MachineId> = machines
        .machines
        .iter()
        .filter(|m| begins(&m.id) || named(&m.address) || named(&m.host))
        .map(|m| m.id.clone())
        .collect();
    let absent = machines.cordons.into_keys().filter(|id| begins(id));
    found.extend(absent);
    found.sort();
    found.dedup();
    // A whole id may be the beginning of another.
    if let Some(exact) = found.iter().find(|id| id.as_str() == given) {
        return Ok(exact.clone());
    }
    match (found.pop(), found.len()) {
        (Some(id), 0) => Ok(id),
        (None, _) => {
            Err(Error::Machine { given: given.to_owned(), found: "no machine".to_owned() })
        }
        (Some(_), n) => {
            let found = format!("{} machines", n + 1);
            Err(Error::Machine { given: given.to_owned(), found })
        }
    }
}
