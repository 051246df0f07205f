//! When drains are to end.
//!
//! Owns the count of their time, by the leader's own clock from when it hears of them: no two clocks are compared, and a
//! new leader counts anew. It ends nothing itself.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::cordon::{Cordon, CordonHolder, Drain};
use muster_common::machine::MachineId;
use muster_common::probe::is_planted;

/// Drains with a deadline that has not been noted yet. Times are those of one clock that only goes forward.
#[derive(Debug, Clone, Default)]
pub struct DrainDeadlines {
    machines: BTreeMap<MachineId, BTreeMap<CordonHolder, (Drain, Duration)>>,
}

impl DrainDeadlines {
    /// Takes in all cordons there are, known before or not.
    pub fn set_all(&mut self, cordons: &BTreeMap<MachineId, Cordon>, now: Duration) {
        self.machines.retain(|machine, _| cordons.contains_key(machine));
        for (machine, cordon) in cordons {
            self.set(machine, Some(cordon), now);
        }
    }

    /// Takes in a machine's cordon that has come, changed or gone. A drain that is as it was keeps its time.
    pub fn set(&mut self, machine: &MachineId, cordon: Option<&Cordon>, now: Duration) {
        let before = self.machines.remove(machine).unwrap_or_default();
        let mut drains = BTreeMap::new();
        for (holder, hold) in cordon.into_iter().flat_map(|cordon| &cordon.holds) {
            let Some(drain) = hold.drain.as_ref().filter(|drain| drain.ended.is_none()) else {
                continue;
            };
            let Some(seconds) = drain.deadline else { continue };
            let known = before.get(holder).filter(|(known, _)| known == drain);
            // A deadline beyond all time is none.
            let at =
                known.map(|(_, at)| *at).or_else(|| now.checked_add(Duration::from_secs(seconds)));
            if let Some(at) = at {
                drains.insert(holder.clone(), (drain.clone(), at));
            }
        }
        if !drains.is_empty() {
            self.machines.insert(machine.clone(), drains);
        }
    }

    /// Drains whose time is over, by machine.
    pub fn due_drains(&self, now: Duration) -> Vec<(MachineId, Vec<(CordonHolder, Drain)>)> {
        let due = self.machines.iter().map(|(machine, drains)| {
            let is_over = |at: Duration| at <= now && !is_planted("drain-time-never-over");
            let over = drains.iter().filter(|(_, (_, at))| is_over(*at));
            let over = over.map(|(holder, (drain, _))| (holder.clone(), drain.clone()));
            (machine.clone(), over.collect::<Vec<_>>())
        });
        due.filter(|(_, drains)| !drains.is_empty()).collect()
    }

    /// Forgets drains whose end has been noted. One that was ordered anew meanwhile stays.
    pub fn remove_ended(&mut self, machine: &MachineId, drains: &[(CordonHolder, Drain)]) {
        if let Some(known) = self.machines.get_mut(machine) {
            known.retain(|holder, (drain, _)| {
                !drains.iter().any(|(other, ended)| other == holder && ended == drain)
            });
        }
    }

    /// The time at which the next one is due.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.machines.values().flat_map(BTreeMap::values).map(|(_, at)| *at).min()
    }
}

#[cfg(test)]
mod tests {
    use muster_common::cordon::{AtDeadline, DrainEnd, Hold};

    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn drain(began: u64, deadline: Option<u64>, ended: Option<DrainEnd>) -> Drain {
        Drain { began, deadline, then: AtDeadline::Force, ended }
    }

    fn cordon(drains: &[(CordonHolder, Drain)]) -> Cordon {
        let hold = |drain: &Drain| Hold { drain: Some(drain.clone()), ..Hold::default() };
        let holds = drains.iter().map(|(holder, drain)| (holder.clone(), hold(drain)));
        Cordon { holds: holds.collect(), revision: 1 }
    }

    fn id(text: &str) -> MachineId {
        text.parse().unwrap()
    }

    #[test]
    fn time_is_counted_from_when_a_drain_is_first_heard_of() {
        let mut deadlines = DrainDeadlines::default();
        let person = (CordonHolder::Person, drain(1, Some(60), None));
        deadlines.set(&id("a"), Some(&cordon(std::slice::from_ref(&person))), secs(10));
        assert_eq!(deadlines.next_deadline(), Some(secs(70)));
        // Another joins, and the first one's time goes on.
        let reboot = (CordonHolder::Reboot, drain(2, Some(20), None));
        let both = cordon(&[person.clone(), reboot.clone()]);
        deadlines.set(&id("a"), Some(&both), secs(40));
        assert_eq!(deadlines.next_deadline(), Some(secs(60)));
        assert_eq!(deadlines.due_drains(secs(59)), []);
        assert_eq!(deadlines.due_drains(secs(60)), [(id("a"), vec![reboot.clone()])]);
        assert_eq!(
            deadlines.due_drains(secs(70)),
            [(id("a"), vec![person.clone(), reboot.clone()])]
        );
        deadlines.remove_ended(&id("a"), std::slice::from_ref(&reboot));
        assert_eq!(deadlines.due_drains(secs(70)), [(id("a"), vec![person])]);
    }

    #[test]
    fn a_drain_that_is_ordered_anew_has_all_its_time_again() {
        let mut deadlines = DrainDeadlines::default();
        let first = cordon(&[(CordonHolder::Person, drain(1, Some(60), None))]);
        deadlines.set(&id("a"), Some(&first), secs(0));
        let second = cordon(&[(CordonHolder::Person, drain(50, Some(60), None))]);
        deadlines.set(&id("a"), Some(&second), secs(50));
        assert_eq!(deadlines.next_deadline(), Some(secs(110)));
    }

    #[test]
    fn nothing_is_due_without_a_deadline_or_after_the_end() {
        let mut deadlines = DrainDeadlines::default();
        let gave_up = drain(1, Some(1), Some(DrainEnd::GaveUp));
        for drain in [drain(1, None, None), gave_up, drain(1, Some(u64::MAX), None)] {
            deadlines.set(&id("a"), Some(&cordon(&[(CordonHolder::Person, drain)])), secs(5));
            assert_eq!(deadlines.due_drains(secs(1_000_000)), []);
        }
        deadlines.set(
            &id("a"),
            Some(&cordon(&[(CordonHolder::Person, drain(1, Some(1), None))])),
            secs(5),
        );
        deadlines.set_all(&BTreeMap::new(), secs(6));
        assert_eq!(deadlines.next_deadline(), None);
    }
}
