//! The members of etcd as faults find them.
//!
//! Owns the end and the begin of each member, by faults and with its machine. What that does to the cluster is [`crate::etcd`]'s business.

use crate::member_faults::MemberFault;
use crate::world::World;

impl World {
    /// A fault of a member begins.
    pub(crate) fn begin_member_fault(&mut self, member: usize, fault: MemberFault) {
        let Some(faults) = self.member_faults.get_mut(member) else { return };
        match fault {
            MemberFault::Down => {
                faults.downs += 1;
                if faults.downs == 1 {
                    self.with_etcd(|etcd, now| etcd.kill_member(now, member));
                }
            }
            MemberFault::Paused => {
                faults.pauses += 1;
                if faults.pauses == 1 && faults.downs == 0 {
                    self.with_etcd(|etcd, now| etcd.pause_member(now, member));
                }
            }
        }
    }

    /// A fault of a member is over.
    pub(crate) fn end_member_fault(&mut self, member: usize, fault: MemberFault) {
        let Some(faults) = self.member_faults.get_mut(member) else { return };
        match fault {
            // One that was never down is there already, as at the first boot of its machine.
            MemberFault::Down if faults.downs != 1 => faults.downs = faults.downs.saturating_sub(1),
            MemberFault::Down => {
                faults.downs = 0;
                // Whoever stopped a process did not stop the one that is started now.
                faults.pauses = 0;
                self.with_etcd(|etcd, now| etcd.start_member(now, member));
            }
            MemberFault::Paused => {
                let was_paused = faults.pauses > 0;
                faults.pauses = faults.pauses.saturating_sub(1);
                if was_paused && faults.pauses == 0 && faults.downs == 0 {
                    self.with_etcd(|etcd, now| etcd.resume_member(now, member));
                }
            }
        }
    }

    /// The member on a machine, if there is one.
    pub(crate) fn member_on(&self, machine: usize) -> Option<usize> {
        let members = self.plan.shape.members;
        (members > 1 && machine < members).then_some(machine)
    }

    /// Lets members know who of them reaches whom now. Messages that take seconds are no heartbeats.
    pub(crate) fn update_peers(&mut self) {
        let members = self.plan.shape.members;
        for one in 0..members {
            for other in one + 1..members {
                let (here, there) = (self.host_of_member(one), self.host_of_member(other));
                let is_cut = !self.network.is_quick(here, there);
                if self.etcd.is_peer_cut(one, other) != is_cut {
                    self.with_etcd(|etcd, now| etcd.set_peer_cut(now, one, other, is_cut));
                }
            }
        }
    }

    /// All members at once, as one fault has it.
    pub(crate) fn set_all_members(&mut self, fault: MemberFault, begins: bool) {
        for member in 0..self.plan.shape.members {
            if begins {
                self.begin_member_fault(member, fault);
            } else {
                self.end_member_fault(member, fault);
            }
        }
    }

    /// Members whose machines are off, or that somebody keeps down, are not started by another state.
    pub(crate) fn keep_members_down(&mut self) {
        for member in 0..self.plan.shape.members {
            let faults = self.member_faults.get(member).copied().unwrap_or_default();
            if faults.downs > 0 {
                self.with_etcd(|etcd, now| etcd.kill_member(now, member));
            } else if faults.pauses > 0 {
                self.with_etcd(|etcd, now| etcd.pause_member(now, member));
            }
        }
    }

    /// True if every member is there, and reaches the others.
    pub(crate) fn all_members_well(&self) -> bool {
        let up = self.member_faults.iter().all(|faults| faults.downs + faults.pauses == 0);
        let members = self.plan.shape.members;
        up && (0..members).all(|one| (0..one).all(|other| !self.etcd.is_peer_cut(one, other)))
    }
}
