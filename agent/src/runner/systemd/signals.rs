//! The content of systemd's signals.
//!
//! Owns reading them into events and job ends. Called from the task that drains the socket, so nothing here waits:
//! an event that finds its queue full is dropped, and a relist makes up for it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use muster_common::state::{ActiveState, sub};
use muster_common::unit::UnitName;
use tokio::sync::{Notify, mpsc};
use zbus::message::Body;
use zbus::{ObjectPath, Variant};

use super::groups::{ControlGroups, Leftovers};
use super::jobs::JobWaiters;
use crate::runner::RunnerEvent;
use crate::telemetry::health::unix_seconds;

/// Events that wait for the converge loop. A start makes about four; a thousand units at once fit.
const QUEUE: usize = 4096;

/// The interface whose properties are read: every unit has it, and systemd's word of a unit's state is there.
const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// Prefix of the object paths of units.
const UNIT_PATH: &str = "/org/freedesktop/systemd1/unit/";

/// systemd's words for a unit that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndedState {
    /// `inactive`, `dead`.
    Dead,
    /// `failed`, `failed`.
    Failed,
}

/// The state of a unit that has ended for systemd and is not empty.
pub(super) const LINGERS: ActiveState = ActiveState::Deactivating;

/// The reader's end.
#[derive(Debug)]
pub(super) struct SignalReader {
    pub(super) jobs: JobWaiters,
    /// Units whose changes are reported: those the converge loop has asked for.
    interest: HashSet<UnitName>,
    /// Number of changes of such units that were heard of, and at which count each last was.
    changes: u64,
    changed: HashMap<UnitName, u64>,
    /// Where processes of units are; not known before units are first asked for.
    groups: Option<ControlGroups>,
    /// Units that systemd has done with and that are not empty, with systemd's word for how they ended and what was last
    /// said of them.
    lingering: BTreeMap<UnitName, (EndedState, Leftovers)>,
    /// The notice that there are such units.
    lingers: Arc<Notify>,
    events: mpsc::Sender<RunnerEvent>,
    missed: bool,
    up: bool,
}

impl SignalReader {
    /// A reader, and where its events arrive.
    pub(super) fn new() -> (Self, mpsc::Receiver<RunnerEvent>) {
        let (events, receiver) = mpsc::channel(QUEUE);
        let signals = Self {
            jobs: JobWaiters::default(),
            interest: HashSet::new(),
            changes: 0,
            changed: HashMap::new(),
            groups: None,
            lingering: BTreeMap::new(),
            lingers: Arc::default(),
            events,
            missed: false,
            up: true,
        };
        (signals, receiver)
    }

    /// Reports a unit's changes from now on.
    pub(super) fn watch_unit(&mut self, unit: &UnitName) {
        if !self.interest.contains(unit) {
            self.interest.insert(unit.clone());
        }
    }

    /// Reports them no more.
    pub(super) fn unwatch_unit(&mut self, unit: &UnitName) {
        self.interest.remove(unit);
        self.changed.remove(unit);
        self.lingering.remove(unit);
    }

    /// Where processes of units are to be looked for.
    pub(super) fn look_in(&mut self, groups: ControlGroups) {
        self.groups = Some(groups);
    }

    /// The notice that a unit lingers: somebody has to look whether it still does.
    pub(super) fn lingering_notice(&self) -> Arc<Notify> {
        Arc::clone(&self.lingers)
    }

    /// Number of changes that were heard of so far.
    pub(super) fn change_count(&self) -> u64 {
        self.changes
    }

    /// Takes in what was seen when so many changes had been heard of: what is left of a unit that has ended. What was heard
    /// of it since is newer.
    pub(super) fn on_observed(
        &mut self,
        unit: &UnitName,
        at: u64,
        ended: Option<(EndedState, Leftovers)>,
    ) {
        if self.changed.get(unit).is_some_and(|last| *last > at) {
            return;
        }
        match ended {
            Some(ended) => {
                self.lingering.insert(unit.clone(), ended);
                self.lingers.notify_one();
            }
            None => {
                self.lingering.remove(unit);
            }
        }
    }

    /// Looks at the units that linger, and says which of them are gone and what has changed. Returns whether any is left.
    pub(super) fn look_again(&mut self) -> bool {
        let Some(groups) = &self.groups else { return false };
        let found = groups.find(self.lingering.keys());
        let mut news = Vec::new();
        self.lingering.retain(|unit, (ended, told)| {
            let Some(left) = found.leftovers_of(unit) else {
                news.push(ended.into_event(unit.clone(), unix_seconds(), None));
                return false;
            };
            if left != *told {
                news.push(ended.into_event(unit.clone(), 0, Some(&left)));
                *told = left;
            }
            true
        });
        for event in news {
            self.send_event(event);
        }
        !self.lingering.is_empty()
    }

    /// Changes may have been missed.
    pub(super) fn ask_for_relist(&mut self) {
        self.up = true;
        self.send_event(RunnerEvent::Relist);
    }

    /// The line broke or could not be made.
    pub(super) fn on_connection_lost(&mut self, problem: &str) {
        self.jobs.clear();
        if self.up {
            self.up = false;
            self.send_event(RunnerEvent::Lost { problem: problem.to_owned() });
        }
    }

    /// `JobRemoved(u id, o job, s unit, s result)`.
    pub(super) fn job_removed(&mut self, body: &Body) {
        if let Ok((_, job, _, result)) = body.deserialize::<(u32, ObjectPath<'_>, &str, &str)>() {
            self.jobs.on_job_removed(job.as_str(), result);
        }
    }

    /// `PropertiesChanged` of a unit's Unit interface: a hint that carries all we report.
    pub(super) fn properties_changed(&mut self, path: &str, body: &Body) {
        let Some(unit) = unit_of(path) else { return };
        if !self.interest.contains(&unit) {
            return;
        }
        let changed = body.deserialize::<(&str, HashMap<&str, Variant<'_>>, Vec<&str>)>();
        let Ok((interface, properties, _)) = changed else { return };
        if interface != UNIT {
            return;
        }
        let text = |name: &str| match properties.get(name) {
            Some(Variant::Str(text)) => Some(text.as_str().to_owned()),
            _ => None,
        };
        // A change that says nothing of the state is one of the job's alone.
        let (Some(active), Some(sub)) = (text("ActiveState"), text("SubState")) else { return };
        let since = match properties.get("StateChangeTimestamp") {
            Some(Variant::U64(microseconds)) => microseconds / 1_000_000,
            _ => 0,
        };
        let invocation = properties.get("InvocationID").map(read_invocation).unwrap_or_default();
        self.changes += 1;
        self.changed.insert(unit.clone(), self.changes);
        // systemd forgets what is left of a unit that has ended; that is looked for before anybody hears that it has.
        let active = ActiveState::from(active.as_str());
        let ended = EndedState::from_active_state(&active);
        let left =
            ended.and_then(|ended| Some((ended, self.groups.as_ref()?.leftovers_of(&unit)?)));
        if let Some((ended, left)) = left {
            self.send_event(ended.into_event(unit.clone(), since, Some(&left)));
            self.lingering.insert(unit, (ended, left));
            self.lingers.notify_one();
            return;
        }
        self.lingering.remove(&unit);
        self.send_event(RunnerEvent::Changed {
            unit,
            active,
            sub,
            invocation,
            since,
            remark: String::new(),
        });
    }

    fn send_event(&mut self, event: RunnerEvent) {
        if self.missed {
            self.missed = self.events.try_send(RunnerEvent::Relist).is_err();
        }
        if self.events.try_send(event).is_err() {
            self.missed = true;
        }
    }
}

impl EndedState {
    /// Of a unit's `ActiveState`; `None` when it has not ended.
    pub(super) fn from_active_state(active: &ActiveState) -> Option<Self> {
        match active {
            ActiveState::Inactive => Some(Self::Dead),
            ActiveState::Failed => Some(Self::Failed),
            _ => None,
        }
    }

    fn into_event(self, unit: UnitName, since: u64, left: Option<&Leftovers>) -> RunnerEvent {
        let (active, sub) = match self {
            Self::Dead => (ActiveState::Inactive, sub::DEAD),
            Self::Failed => (ActiveState::Failed, sub::FAILED),
        };
        RunnerEvent::Changed {
            unit,
            active: if left.is_some() { LINGERS } else { active },
            sub: sub.to_owned(),
            invocation: String::new(),
            since,
            remark: left.map(Leftovers::remark_text).unwrap_or_default(),
        }
    }
}

/// The unit an object path stands for. systemd writes every byte that is not a letter or a digit as `_` and two
/// hexadecimal digits.
fn unit_of(path: &str) -> Option<UnitName> {
    let escaped = path.strip_prefix(UNIT_PATH)?;
    let mut name = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'_' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            name.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            name.push(byte);
        }
    }
    String::from_utf8(name).ok()?.parse().ok()
}

/// An object path for a unit, the reverse of [`unit_of`].
pub(super) fn path_of(unit: &UnitName) -> String {
    use std::fmt::Write as _;
    let mut path = UNIT_PATH.to_owned();
    for (index, byte) in unit.as_str().bytes().enumerate() {
        // A digit in the first place is escaped as well, since labels of other buses must not begin with one.
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && index > 0) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "_{byte:02x}");
        }
    }
    path
}

/// An `InvocationID` as 32 hexadecimal digits; empty when there is none.
fn read_invocation(value: &Variant<'_>) -> String {
    let Variant::Array(bytes) = value else { return String::new() };
    let bytes = bytes.iter().filter_map(|byte| match byte {
        Variant::U8(byte) => Some(*byte),
        _ => None,
    });
    to_hexadecimal(&bytes.collect::<Vec<u8>>())
}

/// Two hexadecimal digits for each byte.
pub(super) fn to_hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_names_are_each_others_reverse() {
        for (name, path) in [
            ("web@1.service", "web_401_2eservice"),
            ("a-b\\x2dc.mount", "a_2db_5cx2dc_2emount"),
            ("0a.service", "_30a_2eservice"),
        ] {
            let unit: UnitName = name.parse().unwrap();
            let path = format!("{UNIT_PATH}{path}");
            assert_eq!(path_of(&unit), path);
            assert_eq!(unit_of(&path), Some(unit));
        }
    }

    #[test]
    fn paths_that_stand_for_no_unit_are_passed_over() {
        for path in [
            "/",
            "/org/freedesktop/systemd1",
            "/org/freedesktop/systemd1/unit/a_2",
            "/org/freedesktop/systemd1/unit/_zz",
        ] {
            assert_eq!(unit_of(path), None, "{path}");
        }
    }

    #[test]
    fn an_overfull_queue_ends_in_a_relist() {
        let (mut signals, mut events) = SignalReader::new();
        for _ in 0..=QUEUE {
            signals.send_event(RunnerEvent::Lost { problem: String::new() });
        }
        while events.try_recv().is_ok() {}
        signals.send_event(RunnerEvent::Lost { problem: "next".to_owned() });
        assert_eq!(events.try_recv(), Ok(RunnerEvent::Relist));
        assert_eq!(events.try_recv(), Ok(RunnerEvent::Lost { problem: "next".to_owned() }));
    }

    #[test]
    fn a_line_that_stays_down_is_reported_once() {
        let (mut signals, mut events) = SignalReader::new();
        signals.on_connection_lost("no bus");
        signals.on_connection_lost("no bus");
        signals.ask_for_relist();
        assert!(matches!(events.try_recv(), Ok(RunnerEvent::Lost { .. })));
        assert_eq!(events.try_recv(), Ok(RunnerEvent::Relist));
        assert!(events.try_recv().is_err());
    }
}
