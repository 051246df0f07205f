//! What may happen, and what a round of it is.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::chance::Chance;
use super::kinds::{FaultKind, KINDS};

/// One fault of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// Which host, counted from 0.
    pub(super) host: usize,
    /// When it begins, counted from the round's beginning.
    pub(super) begins: Duration,
    /// For how long it lasts.
    pub(super) lasts: Duration,
}

/// Faults that overlap, and how many times users ask for something meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) faults: Vec<Fault>,
    pub(super) requests: usize,
}

/// Longest time of a fault: well beyond a machine's time to live, several passes long.
const LONGEST: usize = 12_000;
/// The time within which the faults of a round begin.
const SPREAD: usize = 6_000;
/// Most faults of a round.
const MOST: usize = 4;

impl Round {
    /// A round by chance. A third of them have only faults that may move nothing.
    pub(super) fn choose_faults(chance: &mut Chance, hosts: usize) -> Self {
        let gentle = chance.number_below(3) == 0;
        let kinds: Vec<FaultKind> =
            KINDS.into_iter().filter(|kind| !gentle || kind.keeps_everything()).collect();
        let count = 1 + chance.number_below(MOST);
        let mut faults: Vec<Fault> = Vec::new();
        for _ in 0..count {
            let Some(kind) = chance.pick_one(&kinds) else { continue };
            let fault = Fault {
                kind,
                host: chance.number_below(hosts),
                begins: milliseconds_of(chance.number_below(SPREAD)),
                lasts: if kind.is_instant() {
                    Duration::ZERO
                } else {
                    milliseconds_of(200 + chance.number_below(LONGEST))
                },
            };
            // A host that is off cannot be paused.
            let clashes =
                |other: &Fault| other.host == fault.host || other.kind.clashes_with(fault.kind);
            if !faults.iter().any(clashes) {
                faults.push(fault);
            }
        }
        faults.sort_by_key(|fault| fault.begins);
        Self { faults, requests: chance.number_below(4) }
    }

    /// True if nothing may stop, start or move in it but what users ask for.
    pub(super) fn keeps_everything(&self) -> bool {
        self.faults.iter().all(|fault| fault.kind.keeps_everything())
    }
}

pub(super) fn milliseconds_of(count: usize) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(0))
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let Fault { kind, host, begins, lasts } = fault;
            write!(f, "{comma}{kind:?} of host {} at {begins:?} for {lasts:?}", host + 1)?;
        }
        write!(f, "; {} requests", self.requests)
    }
}

/// The faults and requests that a run has had so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rounds: usize,
    faults: BTreeMap<FaultKind, usize>,
    requests: usize,
}

impl Tally {
    pub(super) fn add_round(&mut self, round: &Round) {
        self.rounds += 1;
        self.requests += round.requests;
        for fault in &round.faults {
            *self.faults.entry(fault.kind).or_default() += 1;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: usize = self.faults.values().sum();
        write!(f, "{} rounds, {all} faults, {} requests (", self.rounds, self.requests)?;
        for (index, (kind, count)) in self.faults.iter().enumerate() {
            write!(f, "{}{kind:?} {count}", if index == 0 { "" } else { ", " })?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_a_seed_are_the_same_and_touch_a_host_once() {
        for number in 0..200 {
            let round = Round::choose_faults(&mut Chance::new(1, number), 3);
            assert_eq!(round, Round::choose_faults(&mut Chance::new(1, number), 3));
            let mut hosts: Vec<usize> = round.faults.iter().map(|fault| fault.host).collect();
            hosts.sort_unstable();
            hosts.dedup();
            assert_eq!(hosts.len(), round.faults.len(), "{round}");
            assert!(!round.faults.is_empty());
            for (index, fault) in round.faults.iter().enumerate() {
                let others = round.faults.iter().skip(index + 1);
                assert!(
                    others.clone().all(|other| !fault.kind.clashes_with(other.kind)),
                    "{round}"
                );
            }
        }
    }

    #[test]
    fn every_kind_comes_and_so_do_gentle_rounds() {
        let rounds: Vec<Round> =
            (0..500).map(|n| Round::choose_faults(&mut Chance::new(2, n), 3)).collect();
        for kind in KINDS {
            assert!(
                rounds.iter().any(|round| round.faults.iter().any(|f| f.kind == kind)),
                "{kind:?}"
            );
        }
        assert!(rounds.iter().filter(|round| round.keeps_everything()).count() > 100);
    }
}
