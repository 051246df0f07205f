//! Whose record it is that is found under a machine's id.
//!
//! Owns how a machine is told from another with the same id: by its lease, its address and its boot. A record of another boot at our
//! own address is ours of before the machine booted, or that of a clone that has the address as well. The first is not kept alive by
//! anybody, and the second is: the time that its lease has left tells, looked at twice. No lease of before has to end first, so that a machine
//! that boots quickly stays a member.
//!
//! A record that is older than one that was ours is of a backup that was put back: whoever wrote it was gone when ours was written. It is replaced
//! at once, since its lease, which has its whole time again, is all that stands between this machine and a loss.

use std::time::Duration;

use muster_common::lease::{LeaseId, TimeLeft};
use muster_common::probe::{is_planted, reached};

use super::other_boot::{LeaseOwner, OtherBoot};
use super::{
    Attempt, FoundRecord, LeaseProblem, RENEWALS, RETRY, Registrar, RegistrarEffect,
    RegistrarRequest, RegistrationPhase,
};

impl Registrar {
    /// A record was found under our id.
    pub(super) fn on_record_found(
        &mut self,
        now: Duration,
        since: Duration,
        found: FoundRecord,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        let is_put_back = self.own_revision.is_some_and(|own| found.revision < own)
            && !is_planted("record-put-back-waited-for");
        if is_put_back {
            reached("record-was-put-back");
            self.replace_record(now, since, found.lease, effects);
            return;
        }
        let same_lease = self.lease.is_some() && found.lease == self.lease;
        let same_address =
            !self.machine.address.is_empty() && found.address == self.machine.address;
        if same_lease || (same_address && !self.is_of_other_boot(&found)) {
            self.replace_record(now, since, found.lease, effects);
        } else if let Some(lease) = found.lease.filter(|_| same_address) {
            let step = Attempt::Judging { lease, address: found.address };
            self.advance_attempt(now, since, step, RegistrarRequest::ReadTimeLeft(lease), effects);
        } else {
            self.refuse_id_in_use(now, found.address, effects);
        }
    }

    fn refuse_id_in_use(
        &mut self,
        now: Duration,
        address: String,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        let problem = LeaseProblem::IdInUse { machine: self.machine.id.clone(), address };
        self.refuse_registration(now, problem, effects);
    }

    /// Where nobody says which boot it is, it is taken for the same: so it was before records said it.
    fn is_of_other_boot(&self, found: &FoundRecord) -> bool {
        !found.boot.is_empty()
            && !self.machine.boot.is_empty()
            && found.boot != self.machine.boot
            && !is_planted("clone-at-one-address-taken-for-ours")
    }

    /// The time is told that the lease of another boot's record has left.
    pub(super) fn on_time_left(
        &mut self,
        now: Duration,
        since: Duration,
        (lease, address): (LeaseId, String),
        time: TimeLeft,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        let before = self.other_boot.filter(|before| before.lease == lease);
        let first = before.unwrap_or(OtherBoot { lease, at: now, left: time.left });
        self.other_boot = Some(first);
        match first.judge_lease(now, time, time.granted / RENEWALS + RETRY) {
            LeaseOwner::Nobody => self.replace_record(now, since, Some(lease), effects),
            LeaseOwner::Clone => {
                reached("clone-refused");
                self.other_boot = Some(OtherBoot { lease, at: now, left: time.left });
                self.refuse_id_in_use(now, address, effects);
            }
            LeaseOwner::NotKnown => {
                effects.push(RegistrarEffect::SetStoreHealth(None));
                self.phase = RegistrationPhase::Resting { until: now + RETRY };
            }
        }
    }
}
