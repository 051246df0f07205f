//! How far a drain has come, as data.
//!
//! Owns the words for what becomes of each unit on a machine that is emptied. It never decides: the engine does, and a
//! drain that is only rehearsed is told in the same words.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cordon::{Cordon, DrainEnd};
use crate::machine::MachineId;
use crate::refusal::Refusal;
use crate::unit::UnitName;

/// A machine and what becomes of the units placed on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainProgress {
    /// The machine.
    pub machine: MachineId,
    /// Who cordoned it and how; absent when it is not cordoned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<Cordon>,
    /// The units that it has, or is giving up.
    pub units: BTreeMap<UnitName, DrainStatus>,
}

/// The status of one unit on a machine that is drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "course", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DrainStatus {
    /// A machine takes it, and it goes there when its turn comes: only so many move at a time.
    Queued {
        /// Where it would go as things stand; it may become another machine by then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<MachineId>,
        /// It may not run twice at a time, so it is stopped here before it starts there.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        stops_first: bool,
    },
    /// It starts on another machine, and runs here until it is up there.
    Moving {
        /// The other machine.
        to: MachineId,
    },
    /// It is being stopped here; it starts elsewhere after that, or already has.
    Stopping,
    /// No other machine takes it, or it would not start where it was tried.
    Stuck {
        /// Each other machine with its reason, or one reason for all.
        refusal: Refusal,
    },
    /// Its own `MachineID=` names this machine: it stays.
    Pinned,
    /// It is global: it stays, for it is on every machine and has nowhere to go.
    Global,
    /// The machine is not being drained: it stays.
    Stays,
}

impl DrainStatus {
    /// Tells whether the unit is on its way, or will be without anybody's help.
    pub fn is_on_its_way(&self) -> bool {
        matches!(self, Self::Queued { .. } | Self::Moving { .. } | Self::Stopping)
    }

    /// Tells whether a drain is not complete because of the unit.
    pub fn is_left(&self) -> bool {
        !matches!(self, Self::Global)
    }
}

impl DrainProgress {
    /// Tells whether nothing is left but global units.
    pub fn is_done(&self) -> bool {
        !self.units.values().any(DrainStatus::is_left)
    }

    /// Tells whether nothing moves, or will move as things stand: the drain is done, or what is left is stuck.
    pub fn is_at_rest(&self) -> bool {
        !self.units.values().any(DrainStatus::is_on_its_way)
    }

    /// The units that keep the drain from being complete and are not on their way.
    pub fn stuck_units(&self) -> impl Iterator<Item = (&UnitName, &DrainStatus)> {
        self.units.iter().filter(|(_, course)| course.is_left() && !course.is_on_its_way())
    }

    /// Tells whether the machine is being drained now.
    pub fn is_draining(&self) -> bool {
        self.cordon.as_ref().is_some_and(Cordon::is_draining)
    }

    /// The end of the machine's drain at its deadline, if one did end and none goes on.
    pub fn drain_end(&self) -> Option<DrainEnd> {
        let cordon = self.cordon.as_ref().filter(|cordon| !cordon.is_draining())?;
        let ends = cordon.holds.values().filter_map(|hold| hold.drain.as_ref()?.ended);
        // A forced end is the stronger one.
        ends.max_by_key(|end| *end == DrainEnd::Forced)
    }
}

impl fmt::Display for DrainStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued { to: Some(to), stops_first: false } => {
                write!(f, "moves to {}...", to.short_id())
            }
            Self::Queued { to: Some(to), stops_first: true } => {
                write!(f, "is stopped, then started on {}...", to.short_id())
            }
            Self::Queued { to: None, .. } => f.write_str("waits for its turn"),
            Self::Moving { to } => write!(f, "starts on {}...", to.short_id()),
            Self::Stopping => f.write_str("is being stopped"),
            Self::Stuck { refusal } => write!(f, "{refusal}"),
            Self::Pinned => f.write_str("its MachineID= names this machine"),
            Self::Global => f.write_str("it is global"),
            Self::Stays => f.write_str("the machine is not being drained"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cordon::{AtDeadline, CordonHolder, Drain, Hold};
    use crate::refusal::UnitReason;

    fn progress(courses: &[(&str, DrainStatus)]) -> DrainProgress {
        let units = courses.iter().map(|(name, c)| (name.parse().unwrap(), c.clone())).collect();
        DrainProgress { machine: "m1".parse().unwrap(), cordon: None, units }
    }

    fn stuck() -> DrainStatus {
        DrainStatus::Stuck {
            refusal: Refusal { unit: Some(UnitReason::NoMachines), machines: Vec::new() },
        }
    }

    #[test]
    fn global_units_keep_no_drain_from_being_done() {
        assert!(progress(&[]).is_done());
        assert!(progress(&[("a.service", DrainStatus::Global)]).is_done());
        for left in [stuck(), DrainStatus::Pinned, DrainStatus::Stopping] {
            assert!(!progress(&[("a.service", left)]).is_done());
        }
    }

    #[test]
    fn a_drain_rests_when_nothing_is_on_its_way() {
        let to: MachineId = "m2".parse().unwrap();
        let moving = [("a.service", DrainStatus::Moving { to }), ("b.service", stuck())];
        assert!(!progress(&moving).is_at_rest());
        let rest = progress(&[("a.service", DrainStatus::Global), ("b.service", stuck())]);
        assert!(rest.is_at_rest());
        assert_eq!(rest.stuck_units().count(), 1);
    }

    #[test]
    fn an_end_counts_once_no_drain_goes_on() {
        let hold = |ended| Hold {
            drain: Some(Drain { began: 1, deadline: None, then: AtDeadline::Force, ended }),
            ..Hold::default()
        };
        let mut progress = progress(&[]);
        assert_eq!(progress.drain_end(), None);
        let both = [
            (CordonHolder::Person, hold(None)),
            (CordonHolder::Reboot, hold(Some(DrainEnd::Forced))),
        ];
        progress.cordon = Some(Cordon { holds: both.into(), revision: 0 });
        assert!(progress.is_draining());
        assert_eq!(progress.drain_end(), None);
        let over = [(CordonHolder::Reboot, hold(Some(DrainEnd::Forced)))];
        progress.cordon = Some(Cordon { holds: over.into(), revision: 0 });
        assert_eq!(progress.drain_end(), Some(DrainEnd::Forced));
    }
}
