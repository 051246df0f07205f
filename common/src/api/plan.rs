//! `GET /v1/plan`: what the engine would do next, as data.
//!
//! Owns the shape of the answer and the sentences that people read. The moves are in `planned`, each with its reason; `moves` has the
//! sentences alone, as clients of older versions read them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::decision::MoveReason;
use crate::machine::MachineId;
use crate::refusal::Refusal;
use crate::state::DesiredState;
use crate::unit::UnitName;

/// The answer to `GET /v1/plan`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The moves that the engine would write next, in order; empty when all is as it should be, and from a daemon that knows
    /// sentences only.
    #[serde(rename = "planned", default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<PlannedMove>,
    /// A sentence for each placement that would be written or removed, in the same order.
    #[serde(rename = "moves", default)]
    pub sentences: Vec<String>,
    /// Units that should be placed and cannot be.
    pub refusals: BTreeMap<UnitName, Refusal>,
}

/// Placements that are written together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMove {
    /// The unit it is about.
    pub unit: UnitName,
    /// The rule that leads to it, as an object whose field `reason` names it.
    #[serde(flatten)]
    pub reason: MoveReason,
    /// The placements, at least one.
    pub decisions: Vec<PlannedDecision>,
}

/// One placement that would be written or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PlannedDecision {
    /// The unit comes to the machine.
    Place {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
        /// The state it is to have there.
        desired: DesiredState,
    },
    /// The unit is on the machine already, and that is told what is wanted of it by now.
    Update {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
        /// The state it is to have there.
        desired: DesiredState,
    },
    /// The unit leaves the machine.
    Remove {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
    },
}

impl Plan {
    /// The answer for these moves and refusals.
    pub fn new(moves: Vec<PlannedMove>, refusals: BTreeMap<UnitName, Refusal>) -> Self {
        let sentences = sentences_of(&moves).collect();
        Self { moves, sentences, refusals }
    }

    /// The sentences that people read: of the moves, or those that came in their stead. What came is text of another program, to be
    /// cleaned where it is shown.
    pub fn to_sentences(&self) -> Vec<String> {
        if self.moves.is_empty() {
            return self.sentences.clone();
        }
        sentences_of(&self.moves).collect()
    }
}

fn sentences_of(moves: &[PlannedMove]) -> impl Iterator<Item = String> {
    moves.iter().flat_map(|planned| &planned.decisions).map(ToString::to_string)
}

impl fmt::Display for PlannedDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place { unit, machine, desired } => {
                write!(f, "{unit} goes to {}..., to be {desired}", machine.short_id())
            }
            Self::Update { unit, machine, desired } => {
                write!(f, "{unit} on {}... is to be {desired}", machine.short_id())
            }
            Self::Remove { unit, machine } => write!(f, "{unit} leaves {}...", machine.short_id()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_plan() -> Plan {
        let unit: UnitName = "a.service".parse().unwrap();
        let (old, new): (MachineId, MachineId) =
            ("11111111111111111111111111111111".parse().unwrap(), "m2".parse().unwrap());
        let decisions = vec![
            PlannedDecision::Remove { unit: unit.clone(), machine: old.clone() },
            PlannedDecision::Place {
                unit: unit.clone(),
                machine: new.clone(),
                desired: DesiredState::Launched,
            },
        ];
        let update = PlannedDecision::Update {
            unit: unit.clone(),
            machine: new,
            desired: DesiredState::Loaded,
        };
        let moves = vec![
            PlannedMove {
                unit: unit.clone(),
                reason: MoveReason::Drain { machine: old },
                decisions,
            },
            PlannedMove { unit, reason: MoveReason::Update, decisions: vec![update] },
        ];
        Plan::new(moves, BTreeMap::new())
    }

    #[test]
    fn moves_are_data_and_sentences_for_older_clients() {
        let json = serde_json::json!({
            "planned": [
                {
                    "unit": "a.service",
                    "reason": "drain",
                    "machine": "11111111111111111111111111111111",
                    "decisions": [
                        {
                            "decision": "remove",
                            "unit": "a.service",
                            "machine": "11111111111111111111111111111111",
                        },
                        {
                            "decision": "place",
                            "unit": "a.service",
                            "machine": "m2",
                            "desired": "launched",
                        },
                    ],
                },
                {
                    "unit": "a.service",
                    "reason": "update",
                    "decisions": [
                        {
                            "decision": "update",
                            "unit": "a.service",
                            "machine": "m2",
                            "desired": "loaded",
                        },
                    ],
                },
            ],
            "moves": [
                "a.service leaves 11111111...",
                "a.service goes to m2..., to be launched",
                "a.service on m2... is to be loaded",
            ],
            "refusals": {},
        });
        let plan = a_plan();
        assert_eq!(serde_json::to_value(&plan).unwrap(), json);
        assert_eq!(serde_json::from_value::<Plan>(json).unwrap(), plan);
        assert_eq!(plan.to_sentences(), plan.sentences);
    }

    #[test]
    fn an_older_daemon_sends_sentences_alone() {
        let json = r#"{"moves":["a.service leaves m1..."],"refusals":{}}"#;
        let plan: Plan = serde_json::from_str(json).unwrap();
        assert_eq!(plan.to_sentences(), ["a.service leaves m1..."]);
    }
}
