//! From a power cut to the last unit running elsewhere.

use std::time::Instant;

use anyhow::{Context, Result};
use muster_tests::lab::{Host, Lab};

use super::cluster::{
    MEASURED, clear_units, etcd_leader, launch_units, move_etcd_leader, muster_leader,
    wait_for_machines, wait_for_running,
};
use super::figure::{Figure, FigureLimit, Spread};

const UNITS: usize = 30;

/// The part that the lost host had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// It led nothing.
    Follower,
    /// Its daemon led Muster, another host's member etcd.
    Leader,
    /// Its member led etcd, another host's daemon Muster.
    EtcdLeader,
}

impl Victim {
    fn describe(self) -> &'static str {
        match self {
            Self::Follower => "a follower",
            Self::Leader => "Muster's leader",
            Self::EtcdLeader => "etcd's leader",
        }
    }

    /// Arranges who leads what, and names the host to lose.
    fn choose_host(self, lab: &Lab) -> Result<&Host> {
        let leader = muster_leader(lab)?;
        let mut followers = lab.hosts().iter().filter(|host| host.name() != leader.name());
        let (one, other) = (followers.next(), followers.next());
        let (one, other) = one.zip(other).context("fewer than three hosts")?;
        match self {
            Self::Follower => {
                move_etcd_leader(lab, leader)?;
                Ok(one)
            }
            Self::Leader => {
                move_etcd_leader(lab, other)?;
                Ok(leader)
            }
            Self::EtcdLeader => {
                move_etcd_leader(lab, one)?;
                etcd_leader(lab)
            }
        }
    }
}

/// Repeats: thirty units on three hosts, one host lost, all thirty on two, the host back.
pub(crate) fn measure_failover(
    lab: &Lab,
    victim: Victim,
    ttl: f64,
    repetitions: usize,
) -> Result<Figure> {
    let mut times = Vec::new();
    let mut moved = Vec::new();
    for _ in 0..repetitions {
        launch_units(lab, 1, UNITS)?;
        let lost = victim.choose_host(lab)?;
        moved.push(lost.count_instances(MEASURED));
        let begin = Instant::now();
        lost.power_cut()?;
        times.push(wait_for_running(lab, MEASURED, UNITS, begin)?.as_secs_f64());
        lost.power_on()?;
        lab.wait_for_etcd()?;
        lab.wait_for_daemons()?;
        wait_for_machines(lab, lab.hosts().len())?;
        clear_units(lab, 1, UNITS)?;
    }
    Ok(Figure {
        what: format!("power cut of {}, TTL {ttl} s, to all active elsewhere", victim.describe()),
        unit: "s",
        raw: None,
        muster: Spread::from_values(times).context("nothing was measured")?,
        must: Some(FigureLimit::AtMost(ttl + 1.0)),
        aim: Some(FigureLimit::AtMost(ttl + 0.5)),
        notes: vec![format!("units lost each time: {moved:?} of {UNITS}")],
    })
}
