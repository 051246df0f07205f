//! A person who looks at a whole cluster twice, as `musterctl doctor` does, when it is to be well.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_checker::Violation;
use muster_runtime::sleep;
use serde::de::DeserializeOwned;

use super::errand::Errand;
use super::notes::UserNote;
use crate::api_call::ApiRequest;
use crate::invariants::whole::{compare_looks, look_at_cluster};

/// The time between two looks: as `musterctl doctor` has it.
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);

impl Errand {
    /// Looks twice, and tells what both looks show.
    pub(super) async fn ask_doctor(self) {
        let first = self.look_once().await;
        sleep(BETWEEN_LOOKS).await;
        let second = self.look_once().await;
        let found = match (first, second) {
            (Some(first), Some(second)) => compare_looks(&first, &second),
            _ => vec![("doctor-unanswered", "a daemon does not tell of its cluster".to_owned())],
        };
        self.notes.add_note(UserNote::Doctor { found });
    }

    async fn look_once(&self) -> Option<BTreeSet<Violation>> {
        // The records last, as a doctor reads them.
        let machines = self.fetch_json("/v1/inspect/machines").await?;
        let records = self.fetch_json("/v1/inspect/records").await?;
        Some(look_at_cluster(machines, records))
    }

    async fn fetch_json<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let (machine, patience) = (self.machine_at(0), self.patience_at(1));
        let (status, body) =
            self.line.ask_daemon(machine, ApiRequest::get(path), patience).await.ok()?;
        (status == 200).then(|| serde_json::from_slice(&body).ok())?
    }
}
