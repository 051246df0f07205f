//! What users ask for, and when.
//!
//! Owns the kinds of requests and how a seed mixes them: patient users, hasty ones, and some who change their minds within
//! milliseconds.

use serde::{Deserialize, Serialize};

use super::shape::Shape;
use crate::moment::Micros;
use crate::seed::Chance;

/// A request of a user, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedRequest {
    /// The moment at which it is made.
    pub(crate) at: Micros,
    /// The request.
    pub(crate) request: UserRequest,
}

/// A request. Units and machines are named by their number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UserRequest {
    /// A unit is to run, from its file in this version.
    Launch { unit: usize, version: u64 },
    /// A unit is to be stopped, and to stay where it is.
    Load { unit: usize },
    /// A unit is to be stopped, and to be nowhere.
    Deactivate { unit: usize },
    /// A unit is to be gone.
    Destroy { unit: usize },
    /// A machine is to take nothing new.
    Cordon { machine: usize },
    /// A machine is to be emptied.
    Drain { machine: usize },
    /// A machine may take units again.
    Uncordon { machine: usize },
    /// Units of machines that vanished together may be placed anew.
    Unfreeze,
}

impl UserRequest {
    /// The kind, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Launch { .. } => "launch",
            Self::Load { .. } => "load",
            Self::Deactivate { .. } => "deactivate",
            Self::Destroy { .. } => "destroy",
            Self::Cordon { .. } => "cordon",
            Self::Drain { .. } => "drain",
            Self::Uncordon { .. } => "uncordon",
            Self::Unfreeze => "unfreeze",
        }
    }

    /// All kinds.
    pub(crate) fn kind_names() -> &'static [&'static str] {
        &["launch", "load", "deactivate", "destroy", "cordon", "drain", "uncordon", "unfreeze"]
    }
}

/// The frequency of each request of users.
#[derive(Debug)]
pub(crate) struct UserMix {
    pause: Micros,
    /// Requests of a thousand after which the same unit is asked for again within milliseconds.
    fickle_per_mille: u64,
    cordons_per_mille: u64,
    unfreezes_per_mille: u64,
}

impl UserMix {
    /// A mix by chance.
    pub(crate) fn draw_from(chance: &Chance) -> Self {
        Self {
            pause: Micros::from_secs(chance.pick_one(15, &[3, 15, 60])),
            fickle_per_mille: chance.pick_one(0, &[100, 400]),
            cordons_per_mille: chance.pick_one(0, &[0, 60, 200]),
            unfreezes_per_mille: chance.pick_one(0, &[0, 30]),
        }
    }

    /// The requests of a run. At first every unit is launched.
    pub(crate) fn draw_requests(&self, chance: &Chance, shape: &Shape) -> Vec<PlannedRequest> {
        let mut requests = Vec::new();
        let pause = shape.stretch_pause(self.pause);
        let mut at = Micros::from_secs(3);
        for unit in 0..shape.units.len() {
            requests.push(PlannedRequest { at, request: UserRequest::Launch { unit, version: 0 } });
            at += chance.time_within(Micros::ZERO, Micros::from_millis(400));
        }
        loop {
            at += chance.time_within(Micros(pause.0 / 4), Micros(pause.0 * 2));
            if at >= shape.calm_from {
                break;
            }
            let request = self.draw_request(chance, shape);
            requests.push(PlannedRequest { at, request: request.clone() });
            while at < shape.calm_from && chance.happens_by_chance(self.fickle_per_mille) {
                at += chance
                    .time_within(Micros(100), Micros::from_millis(chance.pick_one(5, &[50, 1000])));
                let again = draw_change(chance, unit_of(&request, chance, shape));
                requests.push(PlannedRequest { at, request: again });
            }
        }
        // In the end every machine may take units, so that all that is wanted can run. The store may have come back just now.
        let at = shape.calm_from + Micros::from_secs(15);
        for machine in 0..shape.machines {
            requests.push(PlannedRequest { at, request: UserRequest::Uncordon { machine } });
        }
        requests.push(PlannedRequest { at, request: UserRequest::Unfreeze });
        requests
    }

    fn draw_request(&self, chance: &Chance, shape: &Shape) -> UserRequest {
        let machine = chance.pick_index(shape.machines);
        if chance.happens_by_chance(self.unfreezes_per_mille) {
            return UserRequest::Unfreeze;
        }
        if chance.happens_by_chance(self.cordons_per_mille) {
            return match chance.number_below(4) {
                0 => UserRequest::Cordon { machine },
                1 => UserRequest::Drain { machine },
                _ => UserRequest::Uncordon { machine },
            };
        }
        draw_change(chance, chance.pick_index(shape.units.len()))
    }
}

fn draw_change(chance: &Chance, unit: usize) -> UserRequest {
    match chance.number_below(10) {
        0..=5 => UserRequest::Launch { unit, version: chance.number_below(3) },
        6 => UserRequest::Load { unit },
        7 => UserRequest::Deactivate { unit },
        _ => UserRequest::Destroy { unit },
    }
}

fn unit_of(request: &UserRequest, chance: &Chance, shape: &Shape) -> usize {
    match request {
        UserRequest::Launch { unit, .. }
        | UserRequest::Load { unit }
        | UserRequest::Deactivate { unit }
        | UserRequest::Destroy { unit } => *unit,
        _ => chance.pick_index(shape.units.len()),
    }
}
