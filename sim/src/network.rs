//! The network between hosts.
//!
//! Owns which way is cut, how long a message takes, and whether the connection that carries it breaks. A host is a machine, the users, or
//! the one that a lone member of etcd has for itself. Each host's line can be cut either way, and so can the way between two hosts. It carries
//! nothing itself.
//!
//! Messages go over connections, as with TCP: one that is lost is sent again and comes late, and none overtakes another. So a cut delays, and
//! what it breaks for good are whole connections.

use std::collections::BTreeMap;

use muster_common::seed::Seed;

use crate::moment::Micros;
use crate::seed::Chance;

/// Messages of a thousand that take up to eight times as long as the others, when nothing is wrong.
const LATE_PER_MILLE: u64 = 30;
/// Messages of a thousand that are lost on a line that loses some, and sent again.
const LOST_PER_MILLE: u64 = 200;
/// Connections of a thousand that break with a message that is lost.
const BROKEN_PER_MILLE: u64 = 30;
/// The longest that the loss of a message costs: a few repetitions.
const REPETITION: Micros = Micros::from_millis(1600);
/// The longest that a message takes on a line that lags: longer than a client waits, so that requests are carried out after it
/// has given up.
const LAG: Micros = Micros::from_secs(7);
/// The longest that a message takes when all is calm.
const CALM_LATENCY: Micros = Micros::from_millis(20);
/// The shortest that any message takes.
const LEAST_LATENCY: Micros = Micros(200);
/// The longest that a message takes within a host.
const LOCAL_LATENCY: Micros = Micros(500);

/// The network.
#[derive(Debug)]
pub(crate) struct Network {
    links: Vec<Link>,
    /// Cuts between two hosts, one way.
    pair_cuts: BTreeMap<(usize, usize), u32>,
    latency: Micros,
}

#[derive(Debug)]
struct Link {
    chance: Chance,
    cuts_out: u32,
    cuts_in: u32,
    lags: u32,
    losses: u32,
}

/// A fault of a host's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkFault {
    /// Nothing of the host gets out.
    CutOut,
    /// Nothing gets in to it.
    CutIn,
    /// Messages take seconds.
    Lag,
    /// Messages are lost and sent again.
    Loss,
}

/// The way of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trip {
    /// The time it takes.
    pub(crate) takes: Micros,
    /// True if the connection breaks with it.
    pub(crate) breaks: bool,
}

impl Network {
    /// A network of so many hosts in which nothing is wrong.
    pub(crate) fn new(seed: Seed, hosts: usize, latency: Micros) -> Self {
        let links = (0..hosts).map(|host| Link {
            chance: Chance::for_purpose(seed, &format!("link {host}")),
            cuts_out: 0,
            cuts_in: 0,
            lags: 0,
            losses: 0,
        });
        Self { links: links.collect(), pair_cuts: BTreeMap::new(), latency }
    }

    /// From now on messages take as long as they do when all is calm.
    pub(crate) fn calm_down(&mut self) {
        self.latency = self.latency.min(CALM_LATENCY);
    }

    /// A fault begins.
    pub(crate) fn begin_fault(&mut self, host: usize, fault: LinkFault) {
        if let Some(count) = self.fault_count(host, fault) {
            *count += 1;
        }
    }

    /// A fault is over.
    pub(crate) fn end_fault(&mut self, host: usize, fault: LinkFault) {
        if let Some(count) = self.fault_count(host, fault) {
            *count = count.saturating_sub(1);
        }
    }

    fn fault_count(&mut self, host: usize, fault: LinkFault) -> Option<&mut u32> {
        let link = self.links.get_mut(host)?;
        Some(match fault {
            LinkFault::CutOut => &mut link.cuts_out,
            LinkFault::CutIn => &mut link.cuts_in,
            LinkFault::Lag => &mut link.lags,
            LinkFault::Loss => &mut link.losses,
        })
    }

    /// Nothing passes between two hosts from now on, as far as this fault goes; or it does again.
    pub(crate) fn set_pair_cut(&mut self, one: usize, other: usize, is_cut: bool) {
        for pair in [(one, other), (other, one)] {
            let count = self.pair_cuts.entry(pair).or_default();
            *count = if is_cut { *count + 1 } else { count.saturating_sub(1) };
        }
    }

    /// True if messages pass from one host to another.
    pub(crate) fn is_open(&self, from: usize, to: usize) -> bool {
        if from == to {
            return true;
        }
        let gets_out = self.links.get(from).is_some_and(|link| link.cuts_out == 0);
        let gets_in = self.links.get(to).is_some_and(|link| link.cuts_in == 0);
        gets_out && gets_in && self.pair_cuts.get(&(from, to)).is_none_or(|cuts| *cuts == 0)
    }

    /// True if messages pass both ways, as quickly as always.
    pub(crate) fn is_quick(&self, one: usize, other: usize) -> bool {
        let lags = |host: usize| self.links.get(host).is_none_or(|link| link.lags > 0);
        let slow = one != other && (lags(one) || lags(other));
        self.is_open(one, other) && self.is_open(other, one) && !slow
    }

    /// True if nothing is wrong with a host's line.
    pub(crate) fn is_sound(&self, host: usize) -> bool {
        self.links
            .get(host)
            .is_some_and(|link| link.cuts_out + link.cuts_in + link.lags + link.losses == 0)
    }

    /// The way of a message between a node's host and another one.
    pub(crate) fn draw_trip(&self, node: usize, other: usize) -> Trip {
        let Some(link) = self.links.get(node) else {
            return Trip { takes: LEAST_LATENCY, breaks: false };
        };
        let chance = &link.chance;
        if node == other {
            let takes = chance.time_within(Micros(LOCAL_LATENCY.0 / 10), LOCAL_LATENCY);
            return Trip { takes, breaks: false };
        }
        let longest = self.latency.max(LEAST_LATENCY);
        let mut takes = if chance.happens_by_chance(LATE_PER_MILLE) {
            chance.time_within(LEAST_LATENCY, Micros(longest.0 * 8))
        } else {
            chance.time_within(LEAST_LATENCY, longest)
        };
        let far = self.links.get(other);
        if link.lags > 0 || far.is_some_and(|far| far.lags > 0) {
            takes += chance.time_within(Micros(LAG.0 / 10), LAG);
        }
        let mut breaks = false;
        if (link.losses > 0 || far.is_some_and(|far| far.losses > 0))
            && chance.happens_by_chance(LOST_PER_MILLE)
        {
            takes += chance.time_within(Micros(REPETITION.0 / 8), REPETITION);
            breaks = chance.happens_by_chance(BROKEN_PER_MILLE);
        }
        Trip { takes, breaks }
    }

    /// Some time that a host needs for something of its own.
    pub(crate) fn draw_delay(&self, host: usize, shortest: Micros, longest: Micros) -> Micros {
        self.links.get(host).map_or(shortest, |link| link.chance.time_within(shortest, longest))
    }

    /// True this often of a thousand times.
    pub(crate) fn draw_luck(&self, host: usize, per_mille: u64) -> bool {
        self.links.get(host).is_some_and(|link| link.chance.happens_by_chance(per_mille))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network {
        Network::new(Seed(1), 4, Micros::from_millis(3))
    }

    #[test]
    fn a_cut_of_one_way_leaves_the_other_and_what_passes_within_the_host() {
        let mut network = network();
        network.begin_fault(1, LinkFault::CutOut);
        assert!(!network.is_open(1, 0));
        assert!(network.is_open(0, 1));
        assert!(network.is_open(1, 1));
        assert!(network.is_open(0, 2));
        network.end_fault(1, LinkFault::CutOut);
        assert!(network.is_sound(1));
    }

    #[test]
    fn a_way_between_two_hosts_is_open_once_every_cut_of_it_is_mended() {
        let mut network = network();
        network.set_pair_cut(0, 2, true);
        network.set_pair_cut(2, 0, true);
        assert!(!network.is_open(0, 2) && !network.is_open(2, 0));
        assert!(network.is_open(0, 1), "others are reached");
        network.set_pair_cut(0, 2, false);
        assert!(!network.is_open(0, 2));
        network.set_pair_cut(0, 2, false);
        assert!(network.is_open(0, 2) && network.is_quick(0, 2));
    }

    #[test]
    fn a_message_that_is_lost_comes_late_and_breaks_its_connection_now_and_then() {
        let mut network = network();
        network.begin_fault(1, LinkFault::Loss);
        let trips: Vec<Trip> = (0..5_000).map(|_| network.draw_trip(0, 1)).collect();
        let late = trips.iter().filter(|trip| trip.takes > Micros::from_millis(100)).count();
        let broken = trips.iter().filter(|trip| trip.breaks).count();
        assert!((500..1_500).contains(&late), "{late} come late");
        assert!((1..200).contains(&broken), "{broken} break");
    }
}
