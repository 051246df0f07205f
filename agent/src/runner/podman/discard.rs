//! Volumes and networks that go with their units.
//!
//! Owns the occasion: what a `.volume` or `.network` with `DeleteOnDestroy=` has made here is deleted once the cluster knows its unit no more,
//! also on a machine that was away meanwhile. Everything else is kept, and so is all while it is not known. The last file that the
//! cluster had of a unit, of which this machine has a copy, says what is to become of it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use muster_common::unit::{Requirements, UnitFile, UnitName, UnitType};
use muster_runtime::Instant;
use tokio::sync::Notify;

use super::made::MadeResources;
use super::units::PodmanUnits;
use crate::runner::unit_sources::UnitFileCopies;

/// Pause between two looks whether something has to go.
const TIDY_INTERVAL: Duration = Duration::from_secs(30);

/// Whoever deletes what is to go with its unit.
pub(super) struct Discarder {
    pub(super) units: PodmanUnits,
    /// The files of units that make something here, as the cluster last had them.
    pub(super) files: Arc<UnitFileCopies>,
    /// The cluster, as it stands in marks.
    pub(super) cluster: String,
    pub(super) made: Arc<dyn MadeResources>,
    /// Notified when something may have to go.
    pub(super) request: Arc<Notify>,
}

/// True of a unit that makes something that outlives its service, so that its file has to be known for as long.
pub(super) fn makes_what_stays(unit: &UnitName) -> bool {
    matches!(unit.unit_type(), UnitType::Volume | UnitType::Network)
}

/// Looks whether something has to go, now and then and when it is asked to. Ends after whoever discards is gone.
pub(super) async fn keep_tidy(discarder: Weak<Discarder>, request: Arc<Notify>) {
    let mut again = Instant::now();
    loop {
        // Both mean the same. A request is first, so that one that came with the tick is answered by this look as well.
        tokio::select! {
            biased;
            () = request.notified() => {}
            () = muster_runtime::sleep_until(again) => again = Instant::now() + TIDY_INTERVAL,
        }
        let Some(discarder) = discarder.upgrade() else { return };
        discarder.discard_destroyed().await;
    }
}

impl Discarder {
    /// Deletes what is to go, where its unit is gone. Not knowing whether it is deletes nothing.
    async fn discard_destroyed(&self) {
        let mut copies = self.files.load_all();
        // What a unit here still names may not be gone yet, and is brought anew with its file.
        copies.retain(|unit, _| makes_what_stays(unit) && !self.units.is_shown(unit));
        if copies.is_empty() {
            return;
        }
        let units: Vec<UnitName> = copies.keys().cloned().collect();
        let known = match self.files.fetch_from_cluster(&units).await {
            Ok(known) => known,
            Err(problem) => {
                tracing::debug!(problem, "whether volumes are to go is not known");
                return;
            }
        };
        for (unit, copy) in copies {
            match known.get(&unit) {
                Some(file) => self.files.keep_copy(&unit, file),
                None => self.discard_unit(&unit, &copy).await,
            }
        }
    }

    /// Deletes what a unit that is gone has made, if its last file says so, and forgets the file.
    async fn discard_unit(&self, unit: &UnitName, file: &UnitFile) {
        let goes = Requirements::from_file(unit, file).is_ok_and(|asked| asked.delete_on_destroy);
        if goes {
            match self.made.delete_made(unit, &self.cluster).await {
                Ok(names) => {
                    for name in names {
                        tracing::info!(%unit, name, "deleted what a unit had made");
                    }
                }
                Err(problem) => {
                    tracing::debug!(%unit, problem, "cannot delete what a unit made yet");
                    return;
                }
            }
        }
        self.files.forget_copy(unit);
    }
}
