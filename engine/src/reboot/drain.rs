//! Draining as the reboot role sees it.
//!
//! Owns the order the role gives, and how far it has come, in the engine's words. The moves themselves are the leader's.

use std::time::Duration;

use muster_common::cordon::{AtDeadline, Cordon, CordonHolder, Drain, Hold};
use muster_common::drain::{DrainProgress, DrainStatus};
use muster_common::machine::MachineId;
use muster_common::reboot::StuckUnit;

use super::phase::{DrainState, WhenStuck};
use crate::cluster::Cluster;

/// The hold the role takes, with the order to empty the machine.
pub fn drain_hold(now: u64, time: Duration, stuck: WhenStuck) -> Hold {
    Hold {
        by: String::new(),
        reason: String::new(),
        since: now,
        drain: Some(Drain {
            began: now,
            deadline: Some(time.as_secs()),
            then: match stuck {
                WhenStuck::Force => AtDeadline::Force,
                WhenStuck::GiveUp => AtDeadline::GiveUp,
            },
            ended: None,
        }),
    }
}

/// Tells whether the role has cordoned a machine.
pub fn holds_cordon(cordon: Option<&Cordon>) -> bool {
    cordon.is_some_and(|cordon| cordon.holds.contains_key(&CordonHolder::Reboot))
}

/// Tells whether the role has ordered its machine to be emptied.
pub fn is_drain_ordered(cordon: &Cordon) -> bool {
    cordon.holds.get(&CordonHolder::Reboot).is_some_and(|hold| hold.drain.is_some())
}

/// The state of the machine's drain. Units that are global or name this machine stay: they go down and come back with it.
pub fn drain_state(cluster: &mut Cluster, machine: &MachineId) -> DrainState {
    if !cluster.current_snapshot().cordons.get(machine).is_some_and(is_drain_ordered) {
        return DrainState::No;
    }
    state_of(&cluster.drain_progress(machine))
}

/// The leader's account of a drain in the phases' words.
fn state_of(progress: &DrainProgress) -> DrainState {
    let (mut moving, mut stuck) = (0, Vec::new());
    for (unit, course) in &progress.units {
        let why = match course {
            DrainStatus::Global | DrainStatus::Pinned => continue,
            course if course.is_on_its_way() => {
                moving += 1;
                continue;
            }
            // The leader has come to the deadline and has given up, a moment before us.
            DrainStatus::Stays => "it did not move away in time".to_owned(),
            course => course.to_string(),
        };
        stuck.push(StuckUnit { unit: unit.clone(), why });
    }
    if moving == 0 && stuck.is_empty() {
        DrainState::Done
    } else {
        DrainState::Going { moving, stuck }
    }
}

#[cfg(test)]
mod tests {
    use muster_common::refusal::{Refusal, UnitReason};

    use super::*;

    fn state(courses: &[(&str, DrainStatus)]) -> DrainState {
        let units = courses.iter().map(|(name, c)| (name.parse().unwrap(), c.clone())).collect();
        state_of(&DrainProgress { machine: "m1".parse().unwrap(), cordon: None, units })
    }

    #[test]
    fn what_stays_by_its_nature_does_not_hold_a_reboot_up() {
        assert_eq!(state(&[]), DrainState::Done);
        let stays = [("a.service", DrainStatus::Global), ("b.service", DrainStatus::Pinned)];
        assert_eq!(state(&stays), DrainState::Done);
    }

    #[test]
    fn what_moves_is_counted_and_what_does_not_is_named() {
        let refusal = Refusal::from_unit_reason(UnitReason::NoMachines);
        let all = [
            ("a.service", DrainStatus::Moving { to: "m2".parse().unwrap() }),
            ("b.service", DrainStatus::Stopping),
            ("c.service", DrainStatus::Stuck { refusal: refusal.clone() }),
            ("d.service", DrainStatus::Stays),
        ];
        let DrainState::Going { moving: 2, stuck } = state(&all) else {
            panic!("{:?}", state(&all))
        };
        let stuck_units: Vec<String> = stuck.iter().map(ToString::to_string).collect();
        let refused = format!("c.service ({refusal})");
        assert_eq!(stuck_units, [&*refused, "d.service (it did not move away in time)"]);
    }
}
