//! What goes wrong, and when.
//!
//! Owns the kinds of faults and how a seed mixes them: each mix leaves some kinds out and has others often, for a mix of
//! everything hides what a single kind would show.

use serde::{Deserialize, Serialize};

use super::container_faults::ContainerFault;
use super::host_faults::HostFault;
use super::shape::Shape;
use crate::moment::Micros;
use crate::seed::Chance;

/// A fault, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedFault {
    /// The moment at which it begins.
    pub(crate) at: Micros,
    /// The time after which it is over; none for one that is over at once.
    pub(crate) lasts: Micros,
    /// The fault.
    pub(crate) fault: Fault,
}

/// Something that goes wrong. Machines are named by their number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// Nothing passes between a machine and the store.
    Cut(usize),
    /// Nothing passes from a machine to the store; what the store says arrives.
    CutToStore(usize),
    /// Nothing passes from the store to a machine; what it asks for is done.
    CutFromStore(usize),
    /// Nothing passes between several machines and the store.
    CutMany(Vec<usize>),
    /// Messages of a machine take seconds.
    Lag(usize),
    /// Messages of a machine are lost at times.
    Loss(usize),
    /// The store stands still. Leases that end meanwhile have ended when it is back.
    StorePaused,
    /// The store is away, and gives leases their time again when it is back.
    StoreAway,
    /// The store takes no writes but removals.
    StoreFull,
    /// A member of etcd is killed, and started again after a time.
    MemberKilled(usize),
    /// A member of etcd stands still.
    MemberPaused(usize),
    /// The member that leads is killed, and started again after a time.
    LeaderKilled,
    /// The member that leads stands still.
    LeaderPaused,
    /// The members elect another leader, without anything being wrong.
    Election,
    /// A member does not reach the others; daemons reach it.
    MemberCut(usize),
    /// A machine does not reach one member.
    PairCut(usize, usize),
    /// The members forget their history.
    Compaction,
    /// All members are stopped, and a backup is put back.
    StoreRestored {
        /// Its age.
        age: Micros,
        /// True if its revision is put ahead of what there was.
        bump: bool,
        /// True if the cluster calls itself as before.
        keeps_id: bool,
    },
    /// The members are started on an empty directory, until a person finds the mistake.
    StoreEmptied,
    /// The members are those of another cluster, until a person finds the mistake.
    StoreForeign,
    /// A machine's lease ends, whoever renews it.
    LeaseEnds(usize),
    /// A machine's daemon is killed, and started again after a time.
    DaemonKilled(usize),
    /// A machine's daemon is stopped as an upgrade does, and started again after a time.
    DaemonRestarted(usize),
    /// A machine's daemon stands still.
    DaemonPaused(usize),
    /// A machine loses its power, and boots when it is back.
    PowerCut(usize),
    /// A machine shuts down in order, and boots after a time.
    Shutdown(usize),
    /// Something goes wrong between a machine's daemon and its systemd.
    Host(usize, HostFault),
    /// Something goes wrong with a machine's container engine.
    Container(usize, ContainerFault),
    /// A machine is switched off, and on again with a copy of another's disk: it takes itself for that one, until somebody notices.
    Cloned {
        /// The machine.
        machine: usize,
        /// The one whose disk is copied.
        of: usize,
    },
    /// A machine's time of day is set.
    WallJump(usize, i64),
}

/// The kinds, without what each is about.
const KINDS: [&str; 39] = [
    "cut",
    "cut-to-store",
    "cut-from-store",
    "cut-many",
    "lag",
    "loss",
    "store-paused",
    "store-away",
    "store-full",
    "member-killed",
    "member-paused",
    "leader-killed",
    "leader-paused",
    "election",
    "member-cut",
    "pair-cut",
    "compaction",
    "store-restored",
    "store-emptied",
    "store-foreign",
    "lease-ends",
    "daemon-killed",
    "daemon-restarted",
    "daemon-paused",
    "power-cut",
    "shutdown",
    "wall-jump",
    "runner-lost",
    "systemd-busy",
    "systemd-reloaded",
    "systemd-reexecuted",
    "unit-fails",
    "stopped-by-hand",
    "started-by-hand",
    "job-cancelled",
    "file-edited",
    "name-taken",
    "suspended",
    "soft-reboot",
];

/// The kinds after which much is allowed that is forbidden otherwise: most runs are without them.
const SELDOM: [&str; 3] = ["store-restored", "store-emptied", "store-foreign"];

/// Ten years in seconds, the most by which a time of day jumps.
const TEN_YEARS: u64 = 315_000_000;

impl Fault {
    /// The kind, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Cut(_) => "cut",
            Self::CutToStore(_) => "cut-to-store",
            Self::CutFromStore(_) => "cut-from-store",
            Self::CutMany(_) => "cut-many",
            Self::Lag(_) => "lag",
            Self::Loss(_) => "loss",
            Self::StorePaused => "store-paused",
            Self::StoreAway => "store-away",
            Self::StoreFull => "store-full",
            Self::MemberKilled(_) => "member-killed",
            Self::MemberPaused(_) => "member-paused",
            Self::LeaderKilled => "leader-killed",
            Self::LeaderPaused => "leader-paused",
            Self::Election => "election",
            Self::MemberCut(_) => "member-cut",
            Self::PairCut(..) => "pair-cut",
            Self::Compaction => "compaction",
            Self::StoreRestored { .. } => "store-restored",
            Self::StoreEmptied => "store-emptied",
            Self::StoreForeign => "store-foreign",
            Self::LeaseEnds(_) => "lease-ends",
            Self::DaemonKilled(_) => "daemon-killed",
            Self::DaemonRestarted(_) => "daemon-restarted",
            Self::DaemonPaused(_) => "daemon-paused",
            Self::PowerCut(_) => "power-cut",
            Self::Shutdown(_) => "shutdown",
            Self::Host(_, fault) => fault.kind(),
            Self::Container(_, fault) => fault.kind(),
            Self::Cloned { .. } => "cloned",
            Self::WallJump(..) => "wall-jump",
        }
    }

    /// All kinds.
    pub(crate) fn kind_names() -> &'static [&'static str] {
        &KINDS
    }
}

/// The frequency of each kind.
#[derive(Debug)]
pub(crate) struct FaultMix {
    /// A kind as often as it stands here.
    urn: Vec<&'static str>,
    /// The middle of the pause between two faults.
    pause: Micros,
    /// Faults of a thousand that come right on another's heels.
    hasty_per_mille: u64,
}

impl FaultMix {
    /// A mix by chance.
    pub(crate) fn draw_from(chance: &Chance) -> Self {
        let mut urn = Vec::new();
        for kind in KINDS {
            let frequency = if SELDOM.contains(&kind) { 100 } else { 350 };
            let weight = if chance.happens_by_chance(frequency) {
                chance.pick_one(1, &[1, 2, 6])
            } else {
                0
            };
            urn.extend(std::iter::repeat_n(kind, weight));
        }
        Self {
            urn,
            pause: Micros::from_secs(chance.pick_one(12, &[4, 12, 40, 100])),
            hasty_per_mille: chance.pick_one(0, &[50, 300]),
        }
    }

    /// The faults of a run.
    pub(crate) fn draw_faults(&self, chance: &Chance, shape: &Shape) -> Vec<PlannedFault> {
        let mut faults = Vec::new();
        if self.urn.is_empty() {
            return faults;
        }
        let pause = shape.stretch_pause(self.pause);
        // The cluster comes up first.
        let mut at = Micros::from_secs(15);
        loop {
            at += if chance.happens_by_chance(self.hasty_per_mille) {
                chance.time_within(Micros::ZERO, Micros::from_millis(500))
            } else {
                chance.time_within(Micros(pause.0 / 4), Micros(pause.0 * 2))
            };
            if at >= shape.calm_from {
                return faults;
            }
            let kind = self.urn.get(chance.pick_index(self.urn.len())).copied().unwrap_or_default();
            let (fault, lasts) = draw_fault(kind, at, chance, shape);
            let lasts = lasts.min(shape.calm_from - at);
            faults.push(PlannedFault { at, lasts, fault });
        }
    }
}

fn draw_fault(kind: &str, at: Micros, chance: &Chance, shape: &Shape) -> (Fault, Micros) {
    let machine = chance.pick_index(shape.machines);
    let member = chance.pick_index(shape.members);
    let moments = chance.time_within(Micros::from_millis(10), Micros::from_secs(1));
    let seconds = chance.time_within(Micros::from_secs(1), Micros::from_secs(12));
    let long = chance.time_within(Micros::from_secs(10), Micros::from_secs(60));
    let lasts = chance.pick_one(moments, &[seconds, long]);
    let number = chance.number_below(TEN_YEARS * 2);
    match kind {
        "cut" => (Fault::Cut(machine), lasts),
        "cut-to-store" => (Fault::CutToStore(machine), lasts),
        "cut-from-store" => (Fault::CutFromStore(machine), lasts),
        "cut-many" => (Fault::CutMany(draw_half(chance, shape)), lasts),
        "lag" => (Fault::Lag(machine), lasts),
        "loss" => (Fault::Loss(machine), lasts),
        "store-paused" => (Fault::StorePaused, lasts),
        "store-away" => (Fault::StoreAway, lasts),
        "store-full" => (Fault::StoreFull, lasts),
        "member-killed" => (Fault::MemberKilled(member), lasts),
        "member-paused" => (Fault::MemberPaused(member), lasts),
        "leader-killed" => (Fault::LeaderKilled, lasts),
        "leader-paused" => (Fault::LeaderPaused, lasts),
        "election" => (Fault::Election, moments),
        "member-cut" => (Fault::MemberCut(member), lasts),
        "pair-cut" => (Fault::PairCut(machine, member), lasts),
        "compaction" => (Fault::Compaction, Micros::ZERO),
        "store-restored" => {
            let age = chance.time_within(Micros::from_secs(1), Micros::from_secs(60)).min(at);
            let (bump, keeps_id) = (number.is_multiple_of(2), number % 4 < 2);
            (Fault::StoreRestored { age, bump, keeps_id }, lasts)
        }
        "store-emptied" => (Fault::StoreEmptied, lasts),
        "store-foreign" => (Fault::StoreForeign, lasts),
        "lease-ends" => (Fault::LeaseEnds(machine), Micros::ZERO),
        "daemon-killed" => (Fault::DaemonKilled(machine), lasts.min(Micros::from_secs(20))),
        "daemon-restarted" => (Fault::DaemonRestarted(machine), moments),
        "daemon-paused" => (Fault::DaemonPaused(machine), lasts),
        "power-cut" => (Fault::PowerCut(machine), lasts.max(Micros::from_secs(2))),
        "shutdown" => (Fault::Shutdown(machine), lasts.max(Micros::from_secs(2))),
        kind => {
            if let Some((fault, lasts)) = HostFault::draw_from(kind, chance, lasts) {
                return (Fault::Host(machine, fault), lasts);
            }
            let seconds = i64::try_from(number).unwrap_or(0);
            let ten_years = i64::try_from(TEN_YEARS).unwrap_or(0);
            (Fault::WallJump(machine, seconds - ten_years), Micros::ZERO)
        }
    }
}

/// Half of the machines at least, and two.
fn draw_half(chance: &Chance, shape: &Shape) -> Vec<usize> {
    let mut all: Vec<usize> = (0..shape.machines).collect();
    for index in (1..all.len()).rev() {
        all.swap(index, chance.pick_index(index + 1));
    }
    all.truncate(shape.machines.div_ceil(2).max(2));
    all.sort_unstable();
    all
}
