//! When a daemon campaigns for the lead, and when it begins a term.
//!
//! Owns the rules before a term as a state machine without I/O: who leads as far as is known, whether this machine is
//! registered, and what became of a campaign come in; a campaign, or a term to begin, goes out. It does not lead: a term is
//! [`super::term`]'s. `now` is any monotonic time the caller keeps.

use std::time::Duration;

use muster_common::lease::{Leadership, Presence};
use muster_common::machine::MachineId;
use muster_common::probe::is_planted;
use muster_common::snapshot::{Change, ClusterEvent, Leader};

use crate::machine::registration::Registration;

/// Pause before the next campaign, unless the leader record changes before. Whoever was quicker is in the watch by then.
const RETRY: Duration = Duration::from_millis(500);

/// An input of an [`Election`].
#[derive(Debug, Clone, PartialEq)]
pub enum ElectionInput {
    /// Nothing but that time has passed; see [`Election::next_deadline`].
    Tick,
    /// An event of the watch over the leader record.
    LeaderRecord(ClusterEvent),
    /// Where this machine stands.
    Registration(Registration),
    /// The campaign under way is over.
    Campaigned(CampaignOutcome),
    /// The term that was begun is over. A new watch over the leader record has been opened.
    TermEnded,
}

/// The end of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CampaignOutcome {
    /// The leader record is ours.
    Won(Leadership),
    /// Somebody else was quicker.
    Lost,
    /// The store could not, for this reason.
    Failed(String),
    /// The store has no room.
    Full(String),
}

/// Something that an [`Election`] wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum ElectionEffect {
    /// Try to become leader under this presence. Exactly one [`ElectionInput::Campaigned`] follows.
    Campaign(Presence),
    /// Lead until the term is over, then say so with [`ElectionInput::TermEnded`].
    BeginTerm {
        /// The presence the leader record lives under.
        presence: Presence,
        /// The proof that guards what is written.
        leadership: Leadership,
        /// The machine that led before, and when its record was seen going. None where that was not seen.
        predecessor: Option<(MachineId, Duration)>,
        /// When the store took a write again, where it was seen without room.
        room_since: Option<Duration>,
    },
    /// For the log: the store could not take our campaign.
    LogCampaignFailed(String),
}

/// A daemon that may lead, as long as it does not.
#[derive(Debug, Clone, Default)]
pub struct Election {
    /// The leader record as the watch has it.
    leader: LeaderRecord,
    /// Who led before, and when that record was seen going.
    predecessor: Option<(MachineId, Duration)>,
    /// Our registration, while it is good.
    presence: Option<Presence>,
    /// No campaign before.
    retry_at: Option<Duration>,
    /// The last campaign found no room in the store.
    store_full: bool,
    /// When the store took a campaign again after that.
    room_since: Option<Duration>,
    stage: ElectionStage,
}

#[derive(Debug, Clone, Default)]
enum LeaderRecord {
    /// Not known, so that there is nobody to succeed.
    #[default]
    Unknown,
    Vacant,
    Held(Leader),
}

#[derive(Debug, Clone, Default, PartialEq)]
enum ElectionStage {
    #[default]
    Watching,
    Campaigning(Presence),
    Leading,
}

impl Election {
    /// Takes one input at a time that does not go back.
    pub fn step(&mut self, now: Duration, input: ElectionInput) -> Vec<ElectionEffect> {
        let mut effects = Vec::new();
        match input {
            ElectionInput::Tick => {
                if self.retry_at.is_some_and(|at| at <= now) {
                    self.retry_at = None;
                }
            }
            ElectionInput::LeaderRecord(event) => self.follow_leader_record(now, event),
            ElectionInput::Registration(registration) => {
                self.presence = match registration {
                    Registration::Registered(presence) => Some(presence),
                    _ => None,
                };
            }
            ElectionInput::Campaigned(outcome) => {
                effects.extend(self.on_campaign_over(now, outcome));
            }
            ElectionInput::TermEnded => {
                debug_assert_eq!(self.stage, ElectionStage::Leading, "a term that was not begun");
                self.stage = ElectionStage::Watching;
                self.leader = LeaderRecord::Unknown;
            }
        }
        if let Some(presence) = self.campaign_due() {
            self.stage = ElectionStage::Campaigning(presence.clone());
            effects.push(ElectionEffect::Campaign(presence));
        }
        effects
    }

    /// When [`ElectionInput::Tick`] is due, if nothing comes before.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.retry_at.filter(|_| self.stage == ElectionStage::Watching)
    }

    fn follow_leader_record(&mut self, now: Duration, event: ClusterEvent) {
        self.retry_at = None;
        match event {
            // How long ago it went is not known.
            ClusterEvent::Reset(snapshot) => self.set_leader(snapshot.leader, None),
            ClusterEvent::Changes { changes, .. } => {
                for change in changes {
                    if let Change::Leader(leader) = change {
                        self.set_leader(leader, Some(now));
                    }
                }
            }
            ClusterEvent::Lost { .. } => {}
        }
    }

    /// Takes the leader record in, which was seen changing at that time or is found as it is.
    fn set_leader(&mut self, leader: Option<Leader>, seen_at: Option<Duration>) {
        self.predecessor = match (&self.leader, &leader, seen_at) {
            (LeaderRecord::Held(before), None, Some(at)) => Some((before.machine.clone(), at)),
            _ => None,
        };
        self.leader = leader.map_or(LeaderRecord::Vacant, LeaderRecord::Held);
    }

    fn on_campaign_over(&mut self, now: Duration, outcome: CampaignOutcome) -> Vec<ElectionEffect> {
        let ElectionStage::Campaigning(presence) = std::mem::take(&mut self.stage) else {
            debug_assert!(false, "no campaign was under way: {outcome:?}");
            return Vec::new();
        };
        let full = matches!(outcome, CampaignOutcome::Full(_));
        if self.store_full && matches!(outcome, CampaignOutcome::Won(_) | CampaignOutcome::Lost) {
            self.room_since = Some(now);
            self.store_full = false;
        }
        self.store_full |= full;
        match outcome {
            // A record under a lease that is not ours any more is nobody's soon.
            CampaignOutcome::Won(leadership) if self.is_current(&presence) => {
                self.stage = ElectionStage::Leading;
                let predecessor = self.predecessor.take();
                let room_since = self.room_since;
                vec![ElectionEffect::BeginTerm { presence, leadership, predecessor, room_since }]
            }
            // Somebody was quicker, and the watch is about to say who.
            CampaignOutcome::Won(_) | CampaignOutcome::Lost => {
                self.retry_at = Some(now + RETRY);
                Vec::new()
            }
            CampaignOutcome::Failed(problem) | CampaignOutcome::Full(problem) => {
                self.retry_at = Some(now + RETRY);
                vec![ElectionEffect::LogCampaignFailed(problem)]
            }
        }
    }

    fn is_current(&self, presence: &Presence) -> bool {
        is_planted("won-under-an-earlier-lease")
            || self.presence.as_ref().is_some_and(|now| now.lease.id == presence.lease.id)
    }

    /// The presence to campaign under now, if any.
    fn campaign_due(&self) -> Option<Presence> {
        let presence = self.presence.as_ref()?;
        let vacant = match &self.leader {
            LeaderRecord::Unknown => false,
            LeaderRecord::Vacant => true,
            // Our own record: an earlier daemon of this machine led under the lease we have taken over.
            LeaderRecord::Held(leader) => leader.machine == presence.machine,
        };
        let idle = self.stage == ElectionStage::Watching && self.retry_at.is_none();
        (vacant && idle).then(|| presence.clone())
    }
}
