//! A replicated service, asked again and again while something else happens.
//!
//! Owns the asking and what came of it. What is right about it is for the caller to say.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::http::{self, Request};
use super::network;
use super::wait::wait_closely;

/// Pause between two looks: well below what a reboot takes, well above what a look costs.
const INTERVAL: Duration = Duration::from_millis(100);

/// Longer than any test.
const ENDLESS: Duration = Duration::from_secs(86_400);

/// A host that takes no connection for so long is away. One that has taken it is there, however long it takes to answer
/// while the machine below is busy.
const WAIT_LIMIT: Duration = Duration::from_secs(2);

/// One look at all replicas.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it began.
    pub at: Instant,
    /// Of each replica, in the order asked for: the hosts it answered from.
    pub homes: Vec<BTreeSet<String>>,
}

impl Sample {
    /// The number of replicas that answered.
    pub fn count_answering(&self) -> usize {
        self.homes.iter().filter(|homes| !homes.is_empty()).count()
    }
}

/// All looks, in order.
#[derive(Debug, Clone, Default)]
pub struct Samples(pub Vec<Sample>);

impl Samples {
    /// The fewest replicas that ever answered at once.
    pub fn fewest_answering(&self) -> usize {
        self.0.iter().map(Sample::count_answering).min().unwrap_or_default()
    }

    /// The looks at the first so many replicas, and those at the others.
    pub fn split_replicas(&self, first: usize) -> (Self, Self) {
        let looks = self.0.iter().map(|sample| {
            let mut homes = sample.homes.clone();
            let others = homes.split_off(first.min(homes.len()));
            (Sample { at: sample.at, homes }, Sample { at: sample.at, homes: others })
        });
        let (first, others) = looks.unzip();
        (Self(first), Self(others))
    }

    /// The longest time between the beginnings of two looks: what may have been missed.
    pub fn longest_gap(&self) -> Duration {
        let times = self.0.iter().zip(self.0.iter().skip(1));
        times.map(|(one, next)| next.at - one.at).max().unwrap_or_default()
    }

    /// For how long a replica, counted from 0, answered from nowhere: from the look that missed it to the one that had it again.
    pub fn time_away(&self, replica: usize) -> Duration {
        let there = |sample: &Sample| sample.homes.get(replica).is_some_and(|h| !h.is_empty());
        let times = self.0.iter().zip(self.0.iter().skip(1));
        times.filter(|(one, _)| !there(one)).map(|(one, next)| next.at - one.at).sum()
    }

    /// For how long no replica at all answered, which is what a client that tries all of them sees.
    pub fn time_silent(&self) -> Duration {
        let times = self.0.iter().zip(self.0.iter().skip(1));
        times
            .filter(|(one, _)| one.count_answering() == 0)
            .map(|(one, next)| next.at - one.at)
            .sum()
    }

    /// The looks at which a replica answered from more than one host.
    pub fn doubled_samples(&self) -> Vec<&Sample> {
        self.0.iter().filter(|sample| sample.homes.iter().any(|homes| homes.len() > 1)).collect()
    }
}

/// Looks until told to stop. Runs inside the lab's network; a replica is a port, which it has on whatever host it is.
pub(super) fn sample_until(
    hosts: &[(String, Ipv4Addr)],
    ports: &[u16],
    stop: &AtomicBool,
) -> Result<Samples> {
    let mut samples = Samples::default();
    let mut broken = None;
    wait_closely("the end of the sampling", ENDLESS, INTERVAL, || {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let at = Instant::now();
        match once(hosts, ports) {
            Ok(homes) => samples.0.push(Sample { at, homes }),
            Err(error) => {
                broken = Some(error);
                return Ok(());
            }
        }
        Err("it goes on")
    })?;
    broken.map_or(Ok(samples), Err)
}

/// Asks every host for every replica, at once: one that is silent holds up no other.
fn once(hosts: &[(String, Ipv4Addr)], ports: &[u16]) -> Result<Vec<BTreeSet<String>>> {
    std::thread::scope(|scope| {
        let asked: Vec<Vec<_>> = ports
            .iter()
            .map(|port| {
                hosts
                    .iter()
                    .map(|(name, address)| {
                        let to = network::socket_address(*address, *port);
                        let request = Request { timeout: WAIT_LIMIT, ..Request::get("/") };
                        let asking = scope.spawn(move || http::send_request(to, request));
                        (name, asking)
                    })
                    .collect()
            })
            .collect();
        asked
            .into_iter()
            .map(|hosts| {
                let mut homes = BTreeSet::new();
                for (name, asking) in hosts {
                    let answer = asking.join().map_err(|_| anyhow!("a thread panicked"))?;
                    if answer.is_ok_and(|answer| answer.status == 200) {
                        homes.insert(name.clone());
                    }
                }
                Ok(homes)
            })
            .collect()
    })
}
