//! The hosts of the story, by what runs on them, seen from outside.

use anyhow::{Context, Result, anyhow};
use muster_tests::lab::{Host, Lab};

/// The one host a unit runs on.
pub(super) fn one_of<'a>(lab: &'a Lab, unit: &str) -> Result<&'a Host> {
    match lab.active_on(unit).as_slice() {
        [host] => Ok(host),
        hosts => {
            let names: Vec<&str> = hosts.iter().map(|host| host.name()).collect();
            Err(anyhow!("{unit} should run on one host and runs on {names:?}"))
        }
    }
}

/// A host that is none of these.
pub(super) fn another_host<'a>(lab: &'a Lab, taken: &[&Host]) -> Result<&'a Host> {
    lab.hosts()
        .iter()
        .find(|host| taken.iter().all(|taken| taken.name() != host.name()))
        .context("no other host")
}
