//! Users: what they have asked for, and what they were told.
//!
//! Owns the wishes whose fulfilment is checked. A request whose answer was no, or did not come, leaves open what is wanted until
//! it is asked for again once everything is calm.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use muster_tests::cluster::Cluster;
use muster_tests::lab::Host;

use super::chance::Chance;

/// A wish about a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// It runs on one host.
    Runs,
    /// It is there and runs nowhere.
    Stopped,
    /// It is not known.
    Gone,
    /// Asked for and not answered: it may be either.
    Open,
}

/// All wishes, by unit.
#[derive(Debug)]
pub(super) struct Wishes(pub(super) BTreeMap<String, Wish>);

/// Units that may be anywhere.
const SINGLES: usize = 6;
/// Containers that may be anywhere.
const BOXES: usize = 2;
/// Instances no two of which may be on one host: one fewer than hosts, so that a lost host strands none.
const APART: usize = 2;

/// A client is not waited for longer than this while things break.
const PATIENCE: &str = "15";

impl Wishes {
    /// Submits and starts all units.
    pub(super) fn new(cluster: &Cluster) -> Result<Self> {
        let host = cluster.host(0)?;
        let singles: Vec<String> = (1..=SINGLES).map(|n| format!("single{n}.service")).collect();
        let boxes: Vec<String> = (1..=BOXES).map(|n| format!("box{n}.container")).collect();
        let apart = (1..=APART).map(|n| format!("apart@{n}.service"));
        // Every host has the files, so that users can ask any of them.
        for host in cluster.hosts() {
            for unit in &singles {
                cluster.write_sleeper(host, unit, "")?;
            }
            for unit in &boxes {
                cluster.write_container(host, unit, "")?;
            }
            cluster.write_sleeper(host, "apart@.service", "Conflicts=apart@*.service")?;
        }
        let names = singles.iter().chain(&boxes).cloned().chain(apart);
        let wishes: BTreeMap<String, Wish> = names.map(|unit| (unit, Wish::Runs)).collect();
        let names: Vec<&str> = wishes.keys().map(String::as_str).collect();
        cluster.run(host, &format!("musterctl start {}", names.join(" ")))?;
        Ok(Self(wishes))
    }

    /// The store has forgotten what became of these, or never knew it: nobody knows any more what is wanted.
    pub(super) fn leave_open(&mut self, units: &[String]) {
        for unit in units {
            self.0.insert(unit.clone(), Wish::Open);
        }
    }

    /// Asks for something by chance, at any host that has power. The answer becomes a wish. Returns the unit, and what was said.
    pub(super) fn ask_something(
        &mut self,
        cluster: &Cluster,
        chance: &mut Chance,
    ) -> Result<(String, String)> {
        let units: Vec<String> = self.0.keys().cloned().collect();
        let unit = units.get(chance.number_below(units.len())).context("no units")?.clone();
        let hosts: Vec<&Host> = cluster.hosts().iter().filter(|host| host.is_up()).collect();
        let host = hosts.get(chance.number_below(hosts.len())).context("no host has power")?;
        let (verb, wish) = match chance.number_below(5) {
            0 | 1 => ("start", Wish::Runs),
            2 => ("restart", Wish::Runs),
            3 => ("stop", Wish::Stopped),
            _ => ("destroy", Wish::Gone),
        };
        let line = format!("timeout {PATIENCE} musterctl {verb} {unit}");
        let answered = cluster.run_shell(host, &line);
        let taken = answered.is_ok_and(|output| output.code == 0);
        self.0.insert(unit.clone(), if taken { wish } else { Wish::Open });
        let answer = if taken { "done" } else { "no, or no answer" };
        let said = format!("{verb} {unit} at {}: {answer}", host.name());
        Ok((unit, said))
    }

    /// Asks anew for all that is not running, now that somebody answers.
    pub(super) fn ask_again(&mut self, cluster: &Cluster) -> Result<()> {
        let host = cluster.host(0)?;
        let open: Vec<String> = self
            .0
            .iter()
            .filter(|(_, wish)| **wish != Wish::Runs)
            .map(|(unit, _)| unit.clone())
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        cluster.run(host, &format!("musterctl start --timeout 60 {}", open.join(" ")))?;
        for unit in open {
            self.0.insert(unit, Wish::Runs);
        }
        Ok(())
    }

    /// Units for which a wish holds.
    pub(super) fn units_with(&self, wish: Wish) -> impl Iterator<Item = &String> {
        self.0.iter().filter(move |(_, has)| **has == wish).map(|(unit, _)| unit)
    }
}
