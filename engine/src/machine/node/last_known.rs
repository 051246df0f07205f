//! The last known placements: what a machine starts when nobody can tell it what it is to run.
//!
//! Owns the rule which of them are taken up, and that nothing of theirs undoes what this boot has carried out. A unit that this
//! machine ran last may have been moved since, unless nobody could move it: an outage of the store began while the machine still
//! held its units. That is noted on disk when the lease has run out in silence, or could not be handed over; a machine that held
//! its lease until it went finds no note, and starts nothing before it is told what it is to run.

use std::sync::Arc;
use std::time::Duration;

use muster_common::probe::{is_planted, reached};
use muster_common::snapshot::Placement;
use muster_common::unit::UnitFile;

use super::io::{NodeEffect, NodeFact};
use super::model::{Basis, Node, Outlook, PASS_RETRY, SAVE_DELAY, STORE_GRACE};
use crate::machine::converge::Owned;
use crate::machine::memory::{CachedFile, FoundLastKnown};
use crate::machine::registration::Registration;

impl Node {
    /// The store has had time to answer. The last known placements are asked for if it has not.
    pub(super) fn on_store_silent(&mut self, now: Duration) {
        self.store_grace = None;
        if self.basis != Basis::Unknown {
            return;
        }
        match self.registration {
            // It has answered, and what it wants of us is on its way.
            Registration::Registered(_) => self.store_grace = Some(now + STORE_GRACE),
            Registration::Unreachable | Registration::Pending if self.presence.is_none() => {
                self.effects.push(NodeEffect::ReadLastKnown);
            }
            Registration::Unreachable | Registration::Pending | Registration::Refused => {}
        }
    }

    pub(super) fn on_last_known(&mut self, now: Duration, found: Option<FoundLastKnown>) {
        let Some(found) = found else { return };
        // Whatever has been heard while the disk was read is newer.
        if self.basis != Basis::Unknown || self.presence.is_some() || self.joining.is_some() {
            return;
        }
        let count = found.known.places.len();
        if !is_still_ours(&found) {
            reached("last-known-withheld");
            // A person may say so at any time.
            self.store_grace = Some(now + STORE_GRACE);
            if self.withheld != count {
                self.withheld = count;
                self.report_fact(NodeFact::LastKnownWithheld(count));
            }
            return;
        }
        self.withheld = 0;
        self.report_fact(NodeFact::UsingLastKnown(count));
        for (hash, text) in found.known.files {
            if let Ok(file) = text.parse::<UnitFile>() {
                self.files.insert(hash, Ok(CachedFile::from(Arc::new(file))));
            }
        }
        self.desired = found.known.places;
        self.basis = Basis::LastKnown;
        self.pass.due = true;
    }

    /// Tells whether a unit that is ours on this boot is left as it is, because all that is known of the cluster's wish is what lies
    /// on disk. What was carried out may be newer than that: nothing is stopped, and nothing put back.
    pub(super) fn outdates_disk(&self, owned: Option<&Owned>, place: Option<&Placement>) -> bool {
        let (Basis::LastKnown, Some(owned)) = (self.basis, owned) else { return false };
        if is_planted("disk-undoes-what-runs") {
            return false;
        }
        place.is_none_or(|place| {
            owned.stopping
                || owned.file != place.file
                || owned.generation > place.generation
                || (owned.generation == place.generation && owned.desired != place.desired)
        })
    }

    pub(super) fn on_placements_saved(&mut self, now: Duration, saved: bool) {
        self.save.under_way = false;
        // Older ones than what runs must not be what the machine starts with.
        if !saved && self.outlook != Outlook::Closes {
            reached("placements-not-saved");
            let retry_at = now + SAVE_DELAY.max(PASS_RETRY);
            self.save.at = Some(self.save.at.map_or(retry_at, |at| at.max(retry_at)));
        }
    }
}

/// True where what was placed here last cannot run elsewhere, as far as a machine can know, or a person answers for it.
fn is_still_ours(found: &FoundLastKnown) -> bool {
    found.ordered || (found.is_newest && found.outage_noted) || is_planted("old-placements-started")
}
