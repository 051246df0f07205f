//! What users who wait are told: an end that was true at some moment since, and an end at all.

use std::collections::BTreeMap;

use muster_common::api::v1::{Until, WaitFor};
use muster_common::state::{ActiveState, DesiredState, ObservedState};

use super::Findings;
use crate::facts::{Facts, RecordChange, WantedUnit, decode_wanted};
use crate::moment::Micros;
use crate::plan::shape::{Shape, UnitKind};

/// The time within which a daemon that is well says that a wait is over: a message or two, a picture that is read anew, and the time for
/// which a unit that is stuck is watched.
const TOLD: Micros = Micros::from_secs(40);

/// The end of a wait, as its user is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    /// It has come about.
    Done,
    /// It was tried, and failed.
    Failed,
    /// Somebody has asked for something else since.
    Overtaken,
    /// The request itself was refused.
    Refused,
}

impl WaitEnd {
    /// The end, for the summary.
    pub(crate) fn as_word(self) -> &'static str {
        match self {
            Self::Done => "wait ended well",
            Self::Failed => "wait ended with a failure",
            Self::Overtaken => "wait overtaken",
            Self::Refused => "wait refused",
        }
    }
}

/// A wait that a daemon tells of.
#[derive(Debug, Clone)]
pub(crate) struct OpenWait {
    /// Since when that daemon does.
    since: Micros,
    /// The machine whose daemon it is.
    machine: usize,
    revision: u64,
    wait: WaitFor,
    /// Since when it could be over.
    over_since: Option<Micros>,
}

impl OpenWait {
    /// A wait that a machine's daemon tells of from now on.
    pub(crate) fn new(now: Micros, machine: usize, revision: u64, wait: WaitFor) -> Self {
        Self { since: now, machine, revision, wait, over_since: None }
    }

    /// Checks the end of it.
    pub(crate) fn check_end(&self, facts: &Facts, end: WaitEnd) -> Findings {
        let is_true = |moment: &UnitMoment| match end {
            WaitEnd::Done => moment.has_come_about(&self.wait),
            WaitEnd::Overtaken => moment.is_overtaken(&self.wait, self.revision),
            // The unit may have failed, and gone on since: its machine's word was passed on.
            WaitEnd::Failed | WaitEnd::Refused => true,
        };
        // A backup that is put back without a bump gives revisions out anew: what a daemon saw of the history before counts as newer.
        if facts.was_restored_within(TOLD) || self.moments_since(facts).iter().any(is_true) {
            return Findings::new();
        }
        let text = format!("{:?} from revision {} on ended as {end:?}", self.wait, self.revision);
        vec![("wait-ended-untrue", text)]
    }

    /// The unit at the revision from which on the wait counts, and after each change since.
    fn moments_since(&self, facts: &Facts) -> Vec<UnitMoment> {
        let (mut moment, mut moments) = (UnitMoment::default(), Vec::new());
        let changes = facts.changes_of(&self.wait.name);
        for (index, change) in changes.iter().enumerate() {
            moment.apply_change(change);
            // A revision is seen as a whole.
            let next = changes.get(index + 1).map(|next| next.revision);
            if next != Some(change.revision) && next.is_none_or(|next| next > self.revision) {
                moments.push(moment.clone());
            }
        }
        if moments.is_empty() {
            moments.push(moment);
        }
        moments
    }

    fn is_global(&self, shape: &Shape) -> bool {
        let mut units = shape.units.iter();
        units.any(|unit| unit.name == self.wait.name && unit.kind == UnitKind::Global)
    }
}

/// Finds waits that could have been over for long, and of which a daemon that is well says nothing.
pub(crate) fn check_waits(
    waits: &mut BTreeMap<usize, OpenWait>,
    facts: &Facts,
    shape: &Shape,
) -> Findings {
    let mut found = Findings::new();
    for open in waits.values_mut() {
        let name = Shape::machine_name(open.machine);
        let well = facts
            .machines
            .get(&name)
            .is_some_and(|condition| condition.is_well && condition.since + TOLD <= facts.now);
        // How far one is that has a record which nobody can read, nobody can say.
        let is_by_hand = facts.is_by_hand(&open.wait.name);
        if !well || is_by_hand || !facts.store_sound_for(TOLD) {
            open.over_since = None;
            continue;
        }
        let mut moment = UnitMoment::default();
        facts.changes_of(&open.wait.name).iter().for_each(|change| moment.apply_change(change));
        if !moment.ends_wait(&open.wait, open.revision, open.is_global(shape)) {
            open.over_since = None;
            continue;
        }
        let since = (*open.over_since.get_or_insert(facts.now)).max(open.since);
        if since + TOLD <= facts.now {
            let text =
                format!("{name} says nothing of {:?}, which is over since {since}", open.wait);
            found.push(("wait-hangs", text));
        }
    }
    found
}

/// The records about a unit at one moment.
#[derive(Debug, Clone, Default)]
struct UnitMoment {
    unit: Option<WantedUnit>,
    places: BTreeMap<String, WantedUnit>,
    states: BTreeMap<String, ObservedState>,
}

impl UnitMoment {
    fn apply_change(&mut self, change: &RecordChange) {
        let value = change.value.as_ref();
        let wanted = || value.and_then(|value| decode_wanted(value));
        let mut parts = change.key.splitn(3, '/');
        match (parts.next(), parts.next()) {
            (Some("unit"), _) => self.unit = wanted(),
            (Some("place"), Some(machine)) => {
                if let Some(place) = wanted() {
                    self.places.insert(machine.to_owned(), place);
                } else {
                    self.places.remove(machine);
                }
            }
            (Some("state"), Some(machine)) => {
                let state = value.and_then(|value| serde_json::from_slice(value).ok());
                if let Some(state) = state {
                    self.states.insert(machine.to_owned(), state);
                } else {
                    self.states.remove(machine);
                }
            }
            _ => {}
        }
    }

    /// What is waited for is so.
    fn has_come_about(&self, wait: &WaitFor) -> bool {
        let is_nowhere = self.places.is_empty() && self.states.is_empty();
        let Some(unit) = &self.unit else { return is_nowhere };
        match wait.until {
            Until::Gone => false,
            Until::Inactive => is_nowhere,
            Until::Loaded | Until::Launched if unit.generation < wait.generation => false,
            // A global unit is to be where machines are, and those come and go: on one of them it has to be at least.
            Until::Loaded | Until::Launched => self.places.iter().any(|(machine, place)| {
                let state = self.states.get(machine);
                place.generation >= wait.generation
                    && state.is_some_and(|state| has_arrived(state, place, wait.until))
            }),
        }
    }

    /// Somebody wants something else.
    ///
    /// A wait without a revision is for what is to be one day, whoever asks for it: nothing of before can overtake it.
    fn is_overtaken(&self, wait: &WaitFor, revision: u64) -> bool {
        let asked = match wait.until {
            Until::Launched => Some(DesiredState::Launched),
            Until::Loaded => Some(DesiredState::Loaded),
            Until::Inactive => Some(DesiredState::Inactive),
            Until::Gone => None,
        };
        let unit = self.unit.as_ref().filter(|unit| unit.generation >= wait.generation);
        revision > 0 && unit.is_some_and(|unit| Some(unit.desired) != asked)
    }

    /// The wait can be over: it has come about, or is overtaken, or has failed on the one machine that has the unit.
    fn ends_wait(&self, wait: &WaitFor, revision: u64, is_global: bool) -> bool {
        if is_global {
            return self.unit.is_none() && self.has_come_about(wait);
        }
        let failed = || {
            let mut places = self.places.iter();
            let (Some((machine, place)), None) = (places.next(), places.next()) else {
                return false;
            };
            let failed = |state: &ObservedState| {
                state.generation >= place.generation
                    && state.desired == place.desired
                    && (state.active == ActiveState::Failed || state.problem.is_some())
            };
            wait.until == Until::Launched
                && place.generation >= wait.generation
                && place.desired == DesiredState::Launched
                && self.states.get(machine).is_some_and(failed)
        };
        // Which of two machines a unit that moves is at home on is not looked at here.
        let settled = self.places.len() <= 1;
        let is_over = self.has_come_about(wait) || self.is_overtaken(wait, revision);
        settled && (is_over || failed())
    }
}

fn has_arrived(state: &ObservedState, place: &WantedUnit, until: Until) -> bool {
    let is_as_asked = match until {
        // It is there. Whatever starts a unit that is loaded may do so, a socket, a timer or a person; that it is stopped where nobody does
        // is checked while all is calm.
        Until::Loaded => true,
        _ => {
            state.desired == DesiredState::Launched
                && !matches!(state.active, ActiveState::Failed | ActiveState::Activating)
        }
    };
    // Whoever is to be loaded only has arrived once it was stopped.
    is_as_asked
        && state.desired == place.desired
        && state.generation >= place.generation
        && state.problem.is_none()
        && state.file.is_none_or(|file| file == place.file)
}
