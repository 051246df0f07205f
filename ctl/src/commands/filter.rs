//! Which rows of a list of units are wanted.
//!
//! Owns what `list-units` and `list-unit-files` take besides their columns: names and patterns, `--state=`, `--machine=`.

use muster_client::Client;
use muster_common::machine::MachineId;
use muster_common::unit::UnitName;

use crate::cli::UnitListArgs;
use crate::error::Error;
use crate::machines::find_machine;
use crate::pattern::{Pattern, PatternError};

/// The states that systemd's units, and our containers, can be in: load, active and sub, of every type of unit (systemd's
/// `unit-def.c`). A word beside these is most likely misspelt, and would match nothing for ever.
pub(super) const STATES: &[&str] = &[
    "abandoned",
    "activating",
    "active",
    "auto-restart",
    "bad-setting",
    "cleaning",
    "condition",
    "deactivating",
    "dead",
    "elapsed",
    "error",
    "exited",
    "failed",
    "final-sigkill",
    "final-sigterm",
    "final-watchdog",
    "inactive",
    "listening",
    "loaded",
    "maintenance",
    "masked",
    "merged",
    "mounted",
    "mounting",
    "mounting-done",
    "not-found",
    "plugged",
    "reload",
    "reloading",
    "remounting",
    "remounting-sigkill",
    "remounting-sigterm",
    "running",
    "start",
    "start-chown",
    "start-post",
    "start-pre",
    "stop",
    "stop-post",
    "stop-pre",
    "stop-pre-sigkill",
    "stop-pre-sigterm",
    "stop-sigkill",
    "stop-sigterm",
    "stop-watchdog",
    "stub",
    "tentative",
    "unmounting",
    "unmounting-sigkill",
    "unmounting-sigterm",
    "waiting",
];

/// The conditions on a row.
pub(super) struct Filter {
    /// One of these, if there are any.
    units: Vec<UnitSelector>,
    /// In one of these states, if there are any.
    states: Vec<String>,
    /// On this machine, if there is one.
    machine: Option<MachineId>,
}

enum UnitSelector {
    Unit(UnitName),
    Pattern(Pattern, String),
}

impl Filter {
    /// Reads what was asked for. `states` are those that the list knows.
    pub(super) async fn new(
        client: &Client,
        args: &UnitListArgs,
        states: &[&str],
    ) -> Result<Self, Error> {
        let mut units = Vec::with_capacity(args.units.len());
        for word in &args.units {
            units.push(match Pattern::parse(word)? {
                Some(pattern) => UnitSelector::Pattern(pattern, word.clone()),
                None => UnitSelector::Unit(UnitName::from_argument(word)?),
            });
        }
        if let Some(unknown) = args.state.iter().find(|state| !states.contains(&state.trim())) {
            return Err(Error::State { given: unknown.clone(), states: states.join(", ") });
        }
        let machine = match &args.machine {
            Some(given) => Some(find_machine(client, given).await?),
            None => None,
        };
        let states = args.state.iter().map(|state| state.trim().to_owned()).collect();
        Ok(Self { units, states, machine })
    }

    /// Returns whether units were asked for, in whatever state and wherever they are.
    pub(super) fn names_only(&self) -> bool {
        !self.units.is_empty() && self.states.is_empty() && self.machine.is_none()
    }

    /// Returns whether each name and pattern is one of these units'.
    pub(super) fn is_met_by(&self, names: &[String]) -> bool {
        self.units.iter().all(|wanted| names.iter().any(|name| wanted.names_unit(name)))
    }

    /// An error for the first name or pattern that is none of these units'.
    pub(super) fn check_names(&self, names: &[String]) -> Result<(), Error> {
        for wanted in &self.units {
            if names.iter().any(|name| wanted.names_unit(name)) {
                continue;
            }
            return Err(match wanted {
                UnitSelector::Unit(name) => Error::NoUnit(name.clone()),
                UnitSelector::Pattern(_, given) => {
                    PatternError::Nothing { given: given.clone() }.into()
                }
            });
        }
        Ok(())
    }

    /// Returns whether a row is wanted.
    pub(super) fn is_wanted<'a>(
        &self,
        name: &str,
        mut states: impl Iterator<Item = &'a str>,
        mut machines: impl Iterator<Item = &'a MachineId>,
    ) -> bool {
        (self.units.is_empty() || self.units.iter().any(|wanted| wanted.names_unit(name)))
            && (self.states.is_empty()
                || states.any(|state| self.states.iter().any(|s| s == state)))
            && self.machine.as_ref().is_none_or(|id| machines.any(|machine| machine == id))
    }
}

impl UnitSelector {
    fn names_unit(&self, name: &str) -> bool {
        match self {
            Self::Unit(unit) => unit.as_str() == name,
            Self::Pattern(pattern, _) => pattern.matches_name(name),
        }
    }
}
