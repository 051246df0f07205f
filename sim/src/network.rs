//! The network between the nodes and the store.
//!
//! Owns which way is cut, how long a message takes and whether it is lost. Each node has a way to the store and one back, and
//! either can be cut alone. It carries nothing itself.

use muster_common::seed::Seed;

use crate::moment::Micros;
use crate::seed::Chance;

/// Messages of a thousand that take up to eight times as long as the others, when nothing is wrong.
const LATE_PER_MILLE: u64 = 30;
/// Messages of a thousand that are lost on a way that loses some.
const LOST_PER_MILLE: u64 = 200;
/// The longest that a message takes on a way that lags: longer than a client waits, so that requests are carried out after it
/// has given up.
const LAG: Micros = Micros::from_secs(7);
/// The longest that a message takes when all is calm.
const CALM_LATENCY: Micros = Micros::from_millis(20);
/// The shortest that any message takes.
const LEAST_LATENCY: Micros = Micros(200);

/// The network.
#[derive(Debug)]
pub(crate) struct Network {
    links: Vec<Link>,
    latency: Micros,
}

#[derive(Debug)]
struct Link {
    chance: Chance,
    cuts_to_store: u32,
    cuts_from_store: u32,
    lags: u32,
    losses: u32,
}

/// A fault of a node's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkFault {
    CutToStore,
    CutFromStore,
    Lag,
    Loss,
}

/// The way of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    ToStore,
    FromStore,
}

impl Network {
    /// A network of so many nodes in which nothing is wrong.
    pub(crate) fn new(seed: Seed, nodes: usize, latency: Micros) -> Self {
        let links = (0..nodes).map(|node| Link {
            chance: Chance::for_purpose(seed, &format!("link {node}")),
            cuts_to_store: 0,
            cuts_from_store: 0,
            lags: 0,
            losses: 0,
        });
        Self { links: links.collect(), latency }
    }

    /// From now on messages take as long as they do when all is calm.
    pub(crate) fn calm_down(&mut self) {
        self.latency = self.latency.min(CALM_LATENCY);
    }

    /// A fault begins.
    pub(crate) fn begin_fault(&mut self, node: usize, fault: LinkFault) {
        if let Some(count) = self.fault_count(node, fault) {
            *count += 1;
        }
    }

    /// A fault is over.
    pub(crate) fn end_fault(&mut self, node: usize, fault: LinkFault) {
        if let Some(count) = self.fault_count(node, fault) {
            *count = count.saturating_sub(1);
        }
    }

    fn fault_count(&mut self, node: usize, fault: LinkFault) -> Option<&mut u32> {
        let link = self.links.get_mut(node)?;
        Some(match fault {
            LinkFault::CutToStore => &mut link.cuts_to_store,
            LinkFault::CutFromStore => &mut link.cuts_from_store,
            LinkFault::Lag => &mut link.lags,
            LinkFault::Loss => &mut link.losses,
        })
    }

    /// True if a way is cut.
    pub(crate) fn is_cut(&self, node: usize, way: Way) -> bool {
        self.links.get(node).is_none_or(|link| match way {
            Way::ToStore => link.cuts_to_store > 0,
            Way::FromStore => link.cuts_from_store > 0,
        })
    }

    /// True if nothing is wrong with a node's link.
    pub(crate) fn is_sound(&self, node: usize) -> bool {
        self.links.get(node).is_some_and(|link| {
            link.cuts_to_store + link.cuts_from_store + link.lags + link.losses == 0
        })
    }

    /// The time that a message takes; `None` if it is lost.
    pub(crate) fn carry_message(&self, node: usize, way: Way) -> Option<Micros> {
        let link = self.links.get(node)?;
        let longest = self.latency.max(LEAST_LATENCY);
        let mut takes = if link.chance.happens_by_chance(LATE_PER_MILLE) {
            link.chance.time_within(LEAST_LATENCY, Micros(longest.0 * 8))
        } else {
            link.chance.time_within(LEAST_LATENCY, longest)
        };
        if link.lags > 0 {
            takes += link.chance.time_within(Micros(LAG.0 / 10), LAG);
        }
        let lost = link.losses > 0 && link.chance.happens_by_chance(LOST_PER_MILLE);
        (!lost && !self.is_cut(node, way)).then_some(takes)
    }

    /// Some time that a node needs for something of its own, such as to notice that its line is silent.
    pub(crate) fn draw_delay(&self, node: usize, shortest: Micros, longest: Micros) -> Micros {
        self.links.get(node).map_or(shortest, |link| link.chance.time_within(shortest, longest))
    }

    /// True this often of a thousand times.
    pub(crate) fn draw_luck(&self, node: usize, per_mille: u64) -> bool {
        self.links.get(node).is_some_and(|link| link.chance.happens_by_chance(per_mille))
    }
}
