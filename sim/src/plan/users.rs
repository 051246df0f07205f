//! What users ask for, and when.
//!
//! Owns the kinds of requests and how a seed mixes them: patient users, hasty ones, some who change their minds within milliseconds,
//! some who ask twice, and some who hang up before they are answered. Each asks the daemon of some machine.

use serde::{Deserialize, Serialize};

use super::shape::Shape;
use crate::moment::Micros;
use crate::seed::Chance;

/// The time before the end at which a doctor looks: two looks, and their answers.
const DOCTOR: Micros = Micros::from_secs(25);

/// Kinds of records that are written by hand.
const RECORDS: u64 = 10;
/// Kinds of values that are written by hand.
const VALUES: u64 = 6;
/// The time after the last fault after which the last requests come: the store may have come back just then.
const LAST_REQUESTS: Micros = Micros::from_secs(15);

/// The time for which a patient user waits for an answer: as `musterctl` does by default.
const PATIENCE: Micros = Micros::from_secs(10);

/// A request of a user, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedRequest {
    /// The moment at which it is made.
    pub(crate) at: Micros,
    /// The request.
    pub(crate) request: UserRequest,
    /// The machine whose daemon is asked.
    #[serde(default)]
    pub(crate) to: usize,
    /// The way in which its user goes about it.
    #[serde(default = "Manner::of_kept_plans")]
    pub(crate) manner: Manner,
}

/// The way in which a user goes about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manner {
    /// The time after which the user hangs up.
    pub(crate) patience: Micros,
    /// The user asks again, another daemon each time, until it is done.
    pub(crate) insists: bool,
    /// The user waits for what was asked for to come about.
    pub(crate) waits: bool,
    /// The time after which the wait's line is cut for the first time; it goes on at another daemon.
    pub(crate) cut_after: Option<Micros>,
}

impl Default for Manner {
    fn default() -> Self {
        Self { patience: PATIENCE, insists: false, waits: false, cut_after: None }
    }
}

impl Manner {
    /// The manner of plans that were kept before there was one: whatever is asked for is done, soon.
    fn of_kept_plans() -> Self {
        Self { insists: true, ..Self::default() }
    }
}

/// A request. Units and machines are named by their number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UserRequest {
    /// A unit is to run, from its file in this version.
    Launch { unit: usize, version: u64 },
    /// A unit is to have its file in this version, whatever is wanted of it.
    Submit { unit: usize, version: u64 },
    /// A unit that is known is to run, if a machine takes it now.
    Start { unit: usize },
    /// A unit is to be stopped and started, even if it runs.
    Restart { unit: usize },
    /// A unit is to be stopped, and to stay where it is.
    Load { unit: usize },
    /// A unit is to be stopped, and to be nowhere.
    Deactivate { unit: usize },
    /// A unit is to be gone.
    Destroy { unit: usize },
    /// A unit is to be gone, and as soon as that is said, to run from its file in this version.
    Replace { unit: usize, version: u64 },
    /// A machine is to take nothing new.
    Cordon { machine: usize },
    /// A machine is to be emptied.
    Drain { machine: usize },
    /// A machine may take units again.
    Uncordon { machine: usize },
    /// Units of machines that vanished together may be placed anew.
    Unfreeze,
    /// A machine is to reboot.
    Reboot { machine: usize },
    /// A machine is not to reboot after all.
    CancelReboot { machine: usize },
    /// So many machines may be down for a reboot at a time.
    SetSlots { max: u32 },
    /// A machine's daemon is replaced by one of another version: the next, or the one of before.
    Upgrade { machine: usize },
    /// Somebody writes a record by hand.
    WriteByHand { record: u64, number: usize, value: u64 },
    /// What was written by hand is taken away.
    TakeAwayByHand,
    /// Somebody looks at all that there is.
    Look,
    /// Somebody looks for what is wrong with the cluster, which is nothing.
    Doctor,
}

impl UserRequest {
    /// The kind, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Launch { .. } => "launch",
            Self::Submit { .. } => "submit",
            Self::Start { .. } => "start",
            Self::Restart { .. } => "restart",
            Self::Load { .. } => "load",
            Self::Deactivate { .. } => "deactivate",
            Self::Destroy { .. } => "destroy",
            Self::Replace { .. } => "replace",
            Self::Cordon { .. } => "cordon",
            Self::Drain { .. } => "drain",
            Self::Uncordon { .. } => "uncordon",
            Self::Unfreeze => "unfreeze",
            Self::Reboot { .. } => "reboot",
            Self::CancelReboot { .. } => "cancel-reboot",
            Self::SetSlots { .. } => "set-slots",
            Self::Upgrade { .. } => "upgrade",
            Self::WriteByHand { .. } => "write-by-hand",
            Self::TakeAwayByHand => "take-away-by-hand",
            Self::Look => "look",
            Self::Doctor => "doctor",
        }
    }

    /// All kinds.
    pub(crate) fn kind_names() -> &'static [&'static str] {
        &[
            "launch",
            "submit",
            "start",
            "restart",
            "load",
            "deactivate",
            "destroy",
            "replace",
            "cordon",
            "drain",
            "uncordon",
            "unfreeze",
            "reboot",
            "cancel-reboot",
            "set-slots",
            "upgrade",
            "write-by-hand",
            "take-away-by-hand",
            "look",
            "doctor",
        ]
    }

    /// The unit it is about, by its number.
    pub(crate) fn unit_number(&self) -> Option<usize> {
        match self {
            Self::Launch { unit, .. }
            | Self::Submit { unit, .. }
            | Self::Start { unit }
            | Self::Restart { unit }
            | Self::Load { unit }
            | Self::Deactivate { unit }
            | Self::Destroy { unit }
            | Self::Replace { unit, .. } => Some(*unit),
            _ => None,
        }
    }
}

/// The frequency of each request of users.
#[derive(Debug)]
pub(crate) struct UserMix {
    pause: Micros,
    /// Requests of a thousand after which the same unit is asked for again within milliseconds.
    fickle_per_mille: u64,
    /// Requests of a thousand that are made twice.
    twice_per_mille: u64,
    /// Requests of a thousand whose users hang up at once, or before they are answered.
    hasty_per_mille: u64,
    waits_per_mille: u64,
    cordons_per_mille: u64,
    unfreezes_per_mille: u64,
    reboots_per_mille: u64,
    upgrades_per_mille: u64,
    by_hand_per_mille: u64,
}

impl UserMix {
    /// A mix by chance.
    pub(crate) fn draw_from(chance: &Chance) -> Self {
        Self {
            pause: Micros::from_secs(chance.pick_one(15, &[3, 15, 60])),
            fickle_per_mille: chance.pick_one(0, &[100, 400]),
            cordons_per_mille: chance.pick_one(0, &[0, 60, 200]),
            unfreezes_per_mille: chance.pick_one(0, &[0, 30]),
            twice_per_mille: chance.pick_one(0, &[0, 100]),
            hasty_per_mille: chance.pick_one(0, &[0, 100, 400]),
            waits_per_mille: chance.pick_one(0, &[200, 600]),
            reboots_per_mille: chance.pick_one(0, &[60, 150]),
            upgrades_per_mille: chance.pick_one(0, &[0, 40]),
            by_hand_per_mille: chance.pick_one(0, &[0, 0, 40]),
        }
    }

    /// The requests of a run. At first every unit is launched.
    pub(crate) fn draw_requests(&self, chance: &Chance, shape: &Shape) -> Vec<PlannedRequest> {
        let mut requests = Vec::new();
        let pause = shape.stretch_pause(self.pause);
        let mut at = Micros::from_secs(3);
        for unit in 0..shape.units.len() {
            let request = UserRequest::Launch { unit, version: 0 };
            let manner = Manner { insists: true, ..self.draw_manner(chance) };
            let to = chance.pick_index(shape.machines);
            requests.push(PlannedRequest { at, request, to, manner });
            at += chance.time_within(Micros::ZERO, Micros::from_millis(400));
        }
        loop {
            at += chance.time_within(Micros(pause.0 / 4), Micros(pause.0 * 2));
            if at >= shape.calm_from {
                break;
            }
            let request = self.draw_request(chance, shape);
            self.add_request(&mut requests, at, request.clone(), chance, shape);
            while at < shape.calm_from && chance.happens_by_chance(self.fickle_per_mille) {
                at += chance
                    .time_within(Micros(100), Micros::from_millis(chance.pick_one(5, &[50, 1000])));
                let unit = request.unit_number();
                let unit = unit.unwrap_or_else(|| chance.pick_index(shape.units.len()));
                self.add_request(&mut requests, at, draw_change(chance, unit), chance, shape);
            }
        }
        requests.extend(last_requests(shape));
        requests
    }

    fn add_request(
        &self,
        requests: &mut Vec<PlannedRequest>,
        at: Micros,
        request: UserRequest,
        chance: &Chance,
        shape: &Shape,
    ) {
        let (to, manner) = (chance.pick_index(shape.machines), self.draw_manner(chance));
        let planned = PlannedRequest { at, request, to, manner };
        if chance.happens_by_chance(self.twice_per_mille) {
            let later = at + chance.time_within(Micros::ZERO, Micros::from_millis(20));
            let to = chance.pick_index(shape.machines);
            requests.push(PlannedRequest { at: later, to, ..planned.clone() });
        }
        requests.push(planned);
    }

    fn draw_manner(&self, chance: &Chance) -> Manner {
        let moments = chance.time_within(Micros::ZERO, Micros::from_millis(60));
        let cut = chance.time_within(Micros::from_millis(1), Micros::from_secs(3));
        let is_hasty = chance.happens_by_chance(self.hasty_per_mille);
        Manner {
            patience: if is_hasty { moments } else { PATIENCE },
            insists: false,
            waits: chance.happens_by_chance(self.waits_per_mille),
            cut_after: chance.happens_by_chance(300).then_some(cut),
        }
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
        if shape.reboots && chance.happens_by_chance(self.reboots_per_mille) {
            return match chance.number_below(8) {
                0 => UserRequest::CancelReboot { machine },
                1 => {
                    let max = u32::try_from(chance.number_within(0, 2)).unwrap_or(1);
                    UserRequest::SetSlots { max }
                }
                _ => UserRequest::Reboot { machine },
            };
        }
        if chance.happens_by_chance(self.upgrades_per_mille) {
            return UserRequest::Upgrade { machine };
        }
        if chance.happens_by_chance(self.by_hand_per_mille) {
            let record = chance.number_below(RECORDS);
            let (number, value) = (chance.pick_index(60), chance.number_below(VALUES));
            return UserRequest::WriteByHand { record, number, value };
        }
        if chance.happens_by_chance(20) {
            return UserRequest::Look;
        }
        draw_change(chance, chance.pick_index(shape.units.len()))
    }
}

/// The last requests, so that all that is wanted can run: every machine may take units, none is to reboot, and nothing is held.
fn last_requests(shape: &Shape) -> Vec<PlannedRequest> {
    let manner = Manner { insists: true, ..Manner::default() };
    let at = shape.calm_from + LAST_REQUESTS;
    let planned = |request, to| PlannedRequest { at, request, to, manner };
    let mut requests = vec![planned(UserRequest::TakeAwayByHand, 0)];
    for machine in 0..shape.machines {
        if shape.reboots {
            requests.push(planned(UserRequest::CancelReboot { machine }, machine));
        }
        requests.push(planned(UserRequest::Uncordon { machine }, machine));
    }
    requests.push(planned(UserRequest::Unfreeze, 0));
    let at = shape.calm_from + shape.settling_time() - DOCTOR;
    requests.push(PlannedRequest { at, ..planned(UserRequest::Doctor, 0) });
    requests
}

fn draw_change(chance: &Chance, unit: usize) -> UserRequest {
    let version = chance.number_below(3);
    match chance.number_below(14) {
        0..=5 => UserRequest::Launch { unit, version },
        6 => UserRequest::Load { unit },
        7 => UserRequest::Deactivate { unit },
        8 => UserRequest::Replace { unit, version },
        9 => UserRequest::Submit { unit, version },
        10 => UserRequest::Start { unit },
        11 => UserRequest::Restart { unit },
        _ => UserRequest::Destroy { unit },
    }
}
