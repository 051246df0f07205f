//! Why a unit cannot be placed, as data.
//!
//! Owns the reasons and the sentences that people read. It never decides: the engine does.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::machine::{MachineId, RunnerKind};
use crate::text::clean_text;
use crate::unit::UnitName;

/// Why a unit that should be placed is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A reason that holds on every machine alike; then `machines` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitReason>,
    /// Each machine with the first reason why it refused, sorted by machine id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<MachineRefusal>,
}

/// One machine's refusal of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRefusal {
    /// The machine that refuses.
    pub machine: MachineId,
    /// Why it does.
    pub reason: MachineReason,
}

/// A reason that lies in the unit, whatever the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum UnitReason {
    /// There is no machine at all.
    NoMachines,
    /// It is on the only machine there is.
    NoOtherMachine,
    /// `MachineOf=` leads back to the unit itself, through these units in order.
    MachineOfCircle {
        /// The circle, beginning and ending with the unit.
        through: Vec<UnitName>,
    },
    /// `MachineOf=` names a unit that the cluster does not know, or that is not to be placed.
    MachineOfNotPlaced {
        /// The unit that was named.
        unit: UnitName,
    },
    /// `MachineID=` names a machine that is not registered now.
    MachineUnknown {
        /// The machine that was named, as written.
        machine: String,
    },
    /// Its file is missing from the store or cannot be read.
    FileUnreadable {
        /// The fault, as a sentence.
        problem: String,
    },
    /// Units tied together by `MachineOf=` contradict one another, for example two different `MachineID=`.
    GroupContradiction {
        /// The other unit of the contradiction.
        with: UnitName,
    },
    /// Re-placement is frozen because half of the machines or more vanished together.
    Frozen,
    /// It may not run twice at a time, and a machine that is to stop it has not yet.
    StillRunning {
        /// That machine.
        machine: MachineId,
    },
    /// A unit that it must be beside cannot move, because its record cannot be read.
    LeaderUnreadable {
        /// The unit that was named.
        unit: UnitName,
    },
}

/// A reason that lies in the pair of unit and machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MachineReason {
    /// The machine is cordoned: it takes nothing new.
    Cordoned {
        /// The holders of the cordon with their reasons, for people.
        why: String,
    },
    /// The unit was to move there from a machine that is drained and did not start.
    NotStarted {
        /// The machine's words.
        problem: String,
    },
    /// The machine has yet to stop an earlier copy of the unit.
    NotGone,
    /// The unit did not start on several other machines, so it is not tried there.
    NotTried,
    /// The machine has no runner for the unit's type.
    NoRunner {
        /// The runner it would take.
        runner: RunnerKind,
        /// The part of the unit's file that only that runner can do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        /// The runner that the machine has in its place, and that would take the unit if its file asked for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instead: Option<RunnerKind>,
    },
    /// `MachineID=` names another machine.
    OtherMachineId,
    /// `MachineMetadata=` is not met.
    Metadata {
        /// The key that is missing or has another value.
        key: String,
        /// The values that would do.
        wanted: Vec<String>,
        /// The value the machine has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        found: Option<String>,
    },
    /// A unit placed there conflicts, in either direction.
    Conflict {
        /// The unit placed there.
        with: UnitName,
        /// The pattern that matched.
        pattern: String,
        /// The unit whose file has the pattern.
        declared_by: UnitName,
    },
    /// The unit that `MachineOf=` names is on another machine.
    NotBeside {
        /// The unit that was named.
        unit: UnitName,
    },
    /// The global unit that `MachineOf=` names is not on the machine.
    NotBesideGlobal {
        /// The unit that was named.
        unit: UnitName,
    },
    /// The machine still has the unit that this one `Replaces=`.
    Replaced {
        /// The unit to be replaced.
        unit: UnitName,
    },
    /// The machine has a unit that `Replaces=` this one.
    ReplacedBy {
        /// The unit there.
        unit: UnitName,
    },
    /// Another unit of the same `MachineOf=` group is refused there.
    Group {
        /// That unit.
        unit: UnitName,
        /// Why it is refused.
        because: Box<MachineReason>,
    },
}

impl Refusal {
    /// A reason that holds on every machine alike.
    pub fn from_unit_reason(reason: UnitReason) -> Self {
        Self { unit: Some(reason), machines: Vec::new() }
    }

    /// True if a machine would have to have this runner to take the unit, or one that has to be beside it.
    pub fn misses_runner(&self, kind: RunnerKind) -> bool {
        self.machines.iter().any(|refusal| refusal.reason.misses_runner(kind))
    }
}

impl MachineReason {
    fn misses_runner(&self, kind: RunnerKind) -> bool {
        match self {
            Self::NoRunner { runner, .. } => *runner == kind,
            Self::Group { because, .. } => because.misses_runner(kind),
            _ => false,
        }
    }
}

impl fmt::Display for UnitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMachines => f.write_str("no machine is registered"),
            Self::NoOtherMachine => f.write_str("there is no other machine"),
            Self::MachineOfCircle { through } => {
                f.write_str("MachineOf= goes in a circle: ")?;
                for (i, unit) in through.iter().enumerate() {
                    if i > 0 {
                        f.write_str(" -> ")?;
                    }
                    write!(f, "{unit}")?;
                }
                Ok(())
            }
            Self::MachineOfNotPlaced { unit } => {
                write!(f, "MachineOf={unit} names a unit that is not loaded or started")
            }
            Self::MachineUnknown { machine } => {
                write!(f, "MachineID={} names a machine that is not registered", clean_text(machine))
            }
            Self::FileUnreadable { problem } => write!(f, "its file cannot be used: {}", clean_text(problem)),
            Self::GroupContradiction { with } => {
                write!(f, "it must be beside {with}, whose own options contradict that")
            }
            Self::Frozen => f.write_str(
                "half of the machines or more vanished together, so nothing is placed anew until they return or \
                 `musterctl unfreeze` is given",
            ),
            Self::StillRunning { machine } => write!(
                f,
                "it may not run twice at a time, and {}... has not stopped it yet",
                machine.short_id()
            ),
            Self::LeaderUnreadable { unit } => {
                write!(f, "it must be beside {unit}, whose record cannot be read")
            }
        }
    }
}

impl fmt::Display for MachineReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cordoned { why } if why.is_empty() => f.write_str("it is cordoned"),
            Self::Cordoned { why } => write!(f, "it is cordoned {}", clean_text(why)),
            Self::NotStarted { problem } => {
                write!(f, "it did not start there: {}", clean_text(problem))
            }
            Self::NotTried => {
                f.write_str("it would take it, but the unit did not start where it was tried")
            }
            Self::NotGone => f.write_str("it has not stopped an earlier copy of the unit yet"),
            Self::NoRunner { runner, why, instead } => {
                f.write_str(match runner {
                    RunnerKind::Docker => "it has no Docker engine for container units",
                    RunnerKind::Podman => "it has no Podman with Quadlet",
                    RunnerKind::Systemd => "it does not run systemd",
                })?;
                if let Some(why) = why {
                    write!(f, ", which the file needs: {}", clean_text(why))?;
                }
                match instead {
                    Some(RunnerKind::Docker) => {
                        f.write_str("; its Docker takes what says Runner=docker in [X-Fleet]")
                    }
                    Some(RunnerKind::Podman) => {
                        f.write_str("; its Podman takes what says Runner=podman in [X-Fleet]")
                    }
                    _ => Ok(()),
                }
            }
            Self::OtherMachineId => f.write_str("MachineID= names another machine"),
            Self::Metadata { key, wanted, found } => {
                let key = clean_text(key);
                let wanted = wanted.join(&format!(" or {key}="));
                write!(f, "MachineMetadata= wants {key}={}", clean_text(&wanted))?;
                match found {
                    Some(value) => write!(f, ", it has {key}={}", clean_text(value)),
                    None => write!(f, ", it has no {key}"),
                }
            }
            Self::Conflict { with, pattern, declared_by } if declared_by == with => {
                write!(f, "{with} is there and has Conflicts={pattern}")
            }
            Self::Conflict { with, pattern, .. } => {
                write!(f, "Conflicts={pattern} matches {with}, which is there")
            }
            Self::NotBeside { unit } => write!(f, "MachineOf={unit}, which is elsewhere"),
            Self::NotBesideGlobal { unit } => {
                write!(f, "MachineOf={unit}, a global unit that is not there")
            }
            Self::Replaced { unit } => write!(f, "{unit} is there, which it replaces"),
            Self::ReplacedBy { unit } => write!(f, "{unit} is there, which replaces it"),
            Self::Group { unit, because } => {
                write!(f, "{unit}, which must be beside it, is refused: {because}")
            }
        }
    }
}

impl fmt::Display for Refusal {
    /// One line a reason: `REASON`, or `MACHINE: REASON` for each machine.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reason) = &self.unit {
            return write!(f, "{reason}");
        }
        for (i, refusal) in self.machines.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{}...: {}", refusal.machine.short_id(), refusal.reason)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
