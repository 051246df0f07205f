//! Faults of the store as a whole: what it holds is another's, or older than it was.
//!
//! Owns which state the members were put on, and what the facts make of it: a backup that was put back is what is true from then on, while an
//! empty directory or another's cluster is a mistake that a person puts right.

use std::collections::BTreeSet;

use muster_common::seed::Seed;
use muster_store::{KeyChange, Op};

use crate::etcd::{EtcdModel, EtcdRequest};
use crate::invariants::reboots;
use crate::machine::PREFIX;
use crate::member_faults::MemberFault;
use crate::world::World;

/// The revisions by which a backup is put ahead: more than there were since it was made.
const BUMP: u64 = 1_000_000_000;

impl World {
    /// A backup is made for the fault that will put it back.
    pub(crate) fn make_backup(&mut self, fault: usize) {
        // A backup of what is not ours is not one, and one of before there was a cluster is not known again.
        if !self.store.is_foreign() && self.facts.find_record("cluster").is_some() {
            self.store.backups.insert(fault, (self.now, self.etcd.take_snapshot()));
            self.trace.note_event(self.now, format_args!("a backup is made"));
        }
    }

    /// All members are stopped for another state to be put in place. False if they are already.
    pub(crate) fn begin_replacement(&mut self, fault: usize) -> bool {
        if self.store.replaced_by.is_some() {
            return false;
        }
        self.store.replaced_by = Some(fault);
        self.set_all_members(MemberFault::Down, true);
        true
    }

    /// A person puts a backup back.
    pub(crate) fn restore_backup(&mut self, fault: usize, bump: bool, keeps_id: bool) {
        if self.store.replaced_by != Some(fault) {
            return;
        }
        self.store.replaced_by = None;
        self.set_all_members(MemberFault::Down, false);
        let Some((made, mut backup)) = self.store.backups.remove(&fault) else { return };
        let revision = backup.revision();
        if bump {
            backup.bump_revision(BUMP);
        }
        if !keeps_id {
            self.store.renamed += 1;
            self.store.own_id = self.store.renamed;
        }
        self.put_state(backup, self.store.own_id);
        self.facts.now = self.now;
        let changes = self.records_changed_to();
        self.trace.note_event(self.now, format_args!("the backup of revision {revision} is back"));
        self.facts.apply_changes(revision, &changes);
        // The slots of a backup are as they are: nobody has taken or given back one.
        let _ = reboots::check_slots(&mut self.facts, &changes);
        self.facts.note_restore(revision, made);
        // A revision that users were told of is one of another history.
        self.waits.clear();
    }

    /// The members are started on what is not ours: nothing, or another cluster.
    pub(crate) fn begin_mistake(&mut self, fault: usize, is_empty: bool) {
        if !self.begin_replacement(fault) {
            return;
        }
        self.store.own_data = Some(self.etcd.take_snapshot());
        self.set_all_members(MemberFault::Down, false);
        let mut other = self.etcd.agreed_model().clone_empty();
        if !is_empty {
            let id = Seed(self.plan.seed).for_purpose("another cluster").random_sequence().next();
            let value = format!(r#"{{"schema":1,"id":"{:032x}"}}"#, u128::from(id));
            let put = Op::Put { key: format!("{PREFIX}cluster"), value: value.into(), lease: None };
            let request = EtcdRequest::Transact { guards: Vec::new(), ops: vec![put] };
            // An empty store takes everything.
            other.step(self.members_clock.shown_at(self.now), &request).ok();
        }
        self.store.renamed += 1;
        self.put_state(other, self.store.renamed);
        self.note_conditions();
    }

    /// A person finds the mistake, and puts the data back as it was.
    pub(crate) fn end_mistake(&mut self, fault: usize) {
        if self.store.replaced_by != Some(fault) {
            return;
        }
        self.store.replaced_by = None;
        let Some(own) = self.store.own_data.take() else { return };
        self.store.foreign_until = Some(self.now);
        self.put_state(own, self.store.own_id);
        self.note_conditions();
    }

    /// Puts the members on a state, as the cluster of an id. The first has 1.
    fn put_state(&mut self, state: EtcdModel, id: u64) {
        // The facts follow by themselves what comes after.
        if !self.store.is_foreign() {
            self.store.known_revision = state.revision();
        }
        let is_full = self.store.full > 0;
        self.with_etcd(|etcd, now| {
            etcd.set_cluster_id(id + 1);
            let deliveries = etcd.restore_snapshot(now, state);
            // The disk is as full as it is, whatever it was when the state was written.
            etcd.set_full(is_full);
            deliveries
        });
        self.keep_members_down();
    }

    /// The changes from the records that the facts know to those that there are.
    fn records_changed_to(&self) -> Vec<KeyChange> {
        let records = self.etcd.agreed_model().all_records();
        let keys: BTreeSet<&str> = records.iter().map(|record| record.key.as_str()).collect();
        let gone = self.facts.records.keys().filter(|key| !keys.contains(key.as_str()));
        let mut changes: Vec<KeyChange> =
            gone.map(|key| KeyChange::Delete { key: key.clone() }).collect();
        let is_known = |record: &muster_store::KeyValue| {
            let known = self.facts.records.get(&record.key);
            known.is_some_and(|known| known.value == record.value && known.lease == record.lease)
        };
        changes.extend(records.iter().filter(|r| !is_known(r)).cloned().map(KeyChange::Put));
        changes
    }
}

#[cfg(test)]
mod tests {
    use crate::moment::Micros;
    use crate::plan::Plan;
    use crate::plan::faults::{Fault, PlannedFault};
    use crate::run::run_plan;

    /// A cluster of a seed in which everything is launched, nobody asks for anything later, and one thing goes wrong.
    fn plan_with(seed: u64, fault: Fault) -> Plan {
        let mut plan = Plan::for_seed(seed);
        plan.shape.calm_from = Micros::from_secs(120);
        plan.requests.retain(|planned| planned.at < Micros::from_secs(12));
        let (at, lasts) = (Micros::from_secs(60), Micros::from_secs(8));
        plan.faults = vec![PlannedFault { at, lasts, fault }];
        plan
    }

    #[test]
    fn a_backup_of_what_is_there_still_is_put_back_and_nothing_happens() {
        for seed in 1..6 {
            for (bump, keeps_id) in [(false, true), (true, false)] {
                let age = Micros::from_secs(20);
                let plan = plan_with(seed, Fault::StoreRestored { age, bump, keeps_id });
                assert_eq!(run_plan(&plan, false).violations, [], "seed {seed}");
            }
        }
    }

    #[test]
    fn a_leader_of_etcd_that_is_lost_costs_nobody_anything() {
        for seed in 1..6 {
            for fault in [Fault::LeaderKilled, Fault::Election, Fault::MemberCut(0)] {
                assert_eq!(run_plan(&plan_with(seed, fault), false).violations, [], "seed {seed}");
            }
        }
    }
}
