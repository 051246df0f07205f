//! The end of a daemon on its machine.
//!
//! Owns the one difference that matters, as a state machine: a daemon that is stopped, restarted or upgraded leaves its units and
//! its lease behind; one whose host shuts down, or that Muster is removed from, takes its leave and gives its units up first, so
//! that the others need not wait for a lease, and nothing runs twice. It stops nothing, and asks nobody itself.
//!
//! The lease is kept until the last unit is down, and is left to end by itself where one is not; after a minute that is so for
//! units that may run twice for a moment. What nobody could be told is still this machine's: its placements stay on disk, with a
//! note that an outage had begun, and are taken up after the boot. Such a machine does not end its lease either: a request that
//! reached the store late would give its units to others, and the note says that nobody has them.

use std::time::Duration;

use muster_common::lease::{LeaseId, Presence};
use muster_common::machine::MachineId;
use muster_common::probe::{is_planted, reached};

/// Time that units have to stop before others are started in their place, though these still run.
const STOP_GRACE: Duration = Duration::from_secs(60);

/// The same for units that may not run twice. The host does not go before they are down either, unless their own
/// `TimeoutStopSec=` ends first, which is 90 s where nobody says otherwise; ten minutes are what a database with a large cache is
/// given. systemd lets the daemon live that long (`TimeoutStopSec=` in musterd.service).
const SINGLE_STOP_GRACE: Duration = Duration::from_secs(600);

/// Time that the store has for each word of a machine that goes: the host waits for it.
const PARTING_WORD_TIMEOUT: Duration = Duration::from_secs(3);

/// Time that the store has to prolong the lease of a daemon that stops: an upgrade is not to be held up by an outage.
const PROLONG_TIMEOUT: Duration = Duration::from_secs(1);

/// The reason for which units are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveReason {
    /// Whoever removes Muster from the machine has left a mark.
    Removed,
    /// The host goes down.
    HostStops,
}

/// A question to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DepartureRequest {
    /// Prolong the lease: the next daemon has all of its time before it.
    ProlongLease(LeaseId),
    /// Remove the machine from the members: it goes, and is not lost.
    TakeLeave(MachineId),
    /// Leave the lead to others, if this daemon has it: the lease lasts as long as the units do, and nobody is to wait so long.
    ResignLeadership(Presence),
    /// End the lease, with everything under it.
    RevokeLease(LeaseId),
}

/// The store's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DepartureAnswer {
    /// It has done so.
    Done,
    /// The lease is gone.
    LeaseGone,
    /// It could not, and why.
    Failed(String),
    /// It said nothing in time.
    TimedOut,
}

/// News for a departure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DepartureInput {
    /// The daemon stops; `reason`: the machine is left as well.
    Stopping {
        /// Why it is left.
        reason: Option<LeaveReason>,
    },
    /// The store's answer to the last request.
    Answer(DepartureAnswer),
    /// The units have stopped, all of them or not, in the time they had.
    UnitsStopped {
        /// Each of them is down and has left no process behind.
        all_down: bool,
    },
}

/// The next thing to be done. What is to be waited for comes last, and its outcome is the next input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DepartureEffect {
    /// Say in the log that units are given up.
    LogLeaving(LeaveReason),
    /// Let nothing new come, from now on: it would have to go again.
    SetLeaving,
    /// Ask the store.
    Ask {
        /// The request.
        request: DepartureRequest,
        /// The time that it may take.
        within: Duration,
    },
    /// Say in the log that a request came to nothing.
    LogUnanswered {
        /// The request.
        request: DepartureRequest,
        /// The answer.
        answer: DepartureAnswer,
    },
    /// Stop every unit.
    StopUnits {
        /// The time for units that may run twice for a moment.
        grace: Duration,
        /// The time for those that may not.
        single_grace: Duration,
    },
    /// Forget the last known placements.
    ForgetPlacements,
    /// Note on disk that an outage had begun.
    NoteOutage,
    /// Say in the log that the lease is left to end by itself, since not every unit is down.
    LogNotDown,
}

/// The departure of a machine from the cluster, or of a daemon from its machine: a state machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// The registration, if the machine has one.
    presence: Option<Presence>,
    /// An outage of the store was noted before.
    in_outage: bool,
    /// The others have been told that the machine goes.
    is_told: bool,
    asked: Option<DepartureRequest>,
}

impl Departure {
    /// One that has not begun, of a machine that is registered or not, in an outage of the store that was noted or not.
    pub fn new(presence: Option<Presence>, in_outage: bool) -> Self {
        Self { presence, in_outage, is_told: false, asked: None }
    }

    /// Takes an input. Nothing to be waited for among the effects: it is over.
    pub fn step(&mut self, input: DepartureInput) -> Vec<DepartureEffect> {
        match input {
            DepartureInput::Stopping { reason: None } if is_planted("stop-taken-for-shutdown") => {
                self.step(DepartureInput::Stopping { reason: Some(LeaveReason::HostStops) })
            }
            DepartureInput::Stopping { reason: None } => self.leave_units_running(),
            DepartureInput::Stopping { reason: Some(reason) } => {
                let machine = self.presence.as_ref().map(|presence| presence.machine.clone());
                let next = match machine {
                    Some(machine) => self.ask_for(DepartureRequest::TakeLeave(machine)),
                    None => stop_units(),
                };
                vec![DepartureEffect::LogLeaving(reason), DepartureEffect::SetLeaving, next]
            }
            DepartureInput::Answer(answer) => self.on_answer(&answer),
            DepartureInput::UnitsStopped { all_down } => self.on_units_stopped(all_down),
        }
    }

    fn leave_units_running(&mut self) -> Vec<DepartureEffect> {
        // In an outage the lease is no promise to anybody, and is not to become one while the note is there.
        match self.lease() {
            Some(lease) if !self.in_outage && !is_planted("lease-left-half-over") => {
                vec![self.ask_for(DepartureRequest::ProlongLease(lease))]
            }
            _ => Vec::new(),
        }
    }

    fn on_answer(&mut self, answer: &DepartureAnswer) -> Vec<DepartureEffect> {
        use DepartureRequest::{ProlongLease, ResignLeadership, RevokeLease, TakeLeave};
        let Some(request) = self.asked.take() else { return Vec::new() };
        let is_done = *answer == DepartureAnswer::Done;
        let mut effects = Vec::new();
        if !is_done && !matches!(request, ProlongLease(_)) {
            let (request, answer) = (request.clone(), answer.clone());
            effects.push(DepartureEffect::LogUnanswered { request, answer });
        }
        match request {
            // One that is gone is told to the next daemon as well. A store that does not answer now has not heard of a loss of this
            // machine either, and an outage has begun.
            ProlongLease(_) if is_done || *answer == DepartureAnswer::LeaseGone => {}
            ProlongLease(_) => effects.push(DepartureEffect::NoteOutage),
            TakeLeave(_) => {
                self.is_told = is_done;
                effects
                    .extend(self.presence.clone().map(|own| self.ask_for(ResignLeadership(own))));
            }
            ResignLeadership(_) => effects.push(stop_units()),
            RevokeLease(_) => {}
        }
        effects
    }

    fn on_units_stopped(&mut self, all_down: bool) -> Vec<DepartureEffect> {
        let mut effects = Vec::new();
        if self.is_told || is_planted("reboot-forgets-placements") {
            effects.push(DepartureEffect::ForgetPlacements);
            self.end_lease(all_down, &mut effects);
        } else if self.presence.is_some() {
            // Whoever places units elsewhere has not heard that this machine goes. One that was not registered, since it came up in
            // the outage for example, held nothing that it could keep.
            reached("leaves-in-an-outage");
            effects.push(DepartureEffect::NoteOutage);
            if is_planted("lease-ended-under-a-note") {
                self.end_lease(all_down, &mut effects);
            }
        }
        effects
    }

    fn end_lease(&mut self, all_down: bool, effects: &mut Vec<DepartureEffect>) {
        let Some(lease) = self.lease() else { return };
        effects.push(if all_down {
            self.ask_for(DepartureRequest::RevokeLease(lease))
        } else {
            DepartureEffect::LogNotDown
        });
    }

    fn lease(&self) -> Option<LeaseId> {
        self.presence.as_ref().map(|presence| presence.lease.id)
    }

    fn ask_for(&mut self, request: DepartureRequest) -> DepartureEffect {
        debug_assert!(self.asked.is_none(), "one request at a time");
        self.asked = Some(request.clone());
        let within = match request {
            DepartureRequest::ProlongLease(_) => PROLONG_TIMEOUT,
            _ => PARTING_WORD_TIMEOUT,
        };
        DepartureEffect::Ask { request, within }
    }
}

fn stop_units() -> DepartureEffect {
    DepartureEffect::StopUnits { grace: STOP_GRACE, single_grace: SINGLE_STOP_GRACE }
}
