//! Launching many units, and destroying them.

use std::time::Instant;

use muster_client::Client;
use muster_common::api::v1::{
    ChangeAnswer, ChangeOutcome, ChangeRequest, DestroyAnswer, DestroyRequest, UnitChange,
};
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, UnitFile, UnitName};

use crate::placements::{Followed, Keys};

/// Units of one request.
const BATCH: usize = 1000;
/// Units that are in conflict with each other.
pub(crate) const GROUP: usize = 20;

/// Who is asked, and where it is seen what became of it.
pub(crate) struct Launcher {
    pub(crate) units: usize,
    pub(crate) client: Client,
    pub(crate) followed: Followed,
}

/// The moments of a launch.
pub(crate) struct Launched {
    /// The first request was sent.
    pub(crate) first: Instant,
    /// The last one was answered.
    pub(crate) submitted: Instant,
    /// The last placement was seen.
    pub(crate) placed: Instant,
}

impl Launcher {
    /// Launches all units, and waits until the last one is placed.
    pub(crate) async fn launch(&self, prefix: &str, group: Option<usize>) -> Launched {
        let units = self.units;
        let names: Vec<UnitName> = (0..units).map(|n| unit_name(prefix, group, n)).collect();
        let first = Instant::now();
        let mut number = 0;
        for batch in names.chunks(BATCH) {
            let mut request = ChangeRequest { queue: true, ..ChangeRequest::default() };
            for name in batch {
                let text = unit_text(prefix, group, number);
                number += 1;
                let file: UnitFile = text.parse().unwrap();
                let hash: FileHash = file.hash();
                request.files.insert(hash, text);
                request.units.push(UnitChange {
                    name: name.clone(),
                    file: Some(hash),
                    desired: Some(DesiredState::Launched),
                    restart: false,
                });
            }
            let answer: ChangeAnswer = self.client.post_json("/v1/units", &request).await.unwrap();
            for unit in answer.units {
                assert!(matches!(unit.outcome, ChangeOutcome::Created), "{unit:?}");
            }
        }
        let submitted = Instant::now();
        let placed =
            self.followed.wait_until("all units are placed", |keys| keys.places.len() == units);
        Launched { first, submitted, placed: placed.await }
    }

    /// Destroys them, and waits until nothing of them is left.
    pub(crate) async fn destroy(&self, prefix: &str) {
        let names: Vec<UnitName> = self.followed.look(|keys| {
            let ours = keys.places.keys().filter(|unit| unit.starts_with(prefix));
            ours.map(|unit| unit.parse().unwrap()).collect()
        });
        for batch in names.chunks(BATCH) {
            let request = DestroyRequest { names: batch.to_vec() };
            let _: DestroyAnswer =
                self.client.post_json("/v1/units/destroy", &request).await.unwrap();
        }
        let gone = |keys: &Keys| keys.places.is_empty() && keys.states.is_empty();
        self.followed.wait_until("all units are gone", gone).await;
    }
}

fn unit_name(prefix: &str, group: Option<usize>, number: usize) -> UnitName {
    let text = match group {
        Some(size) => format!("{prefix}{}@{}.service", number / size, number % size),
        None => format!("{prefix}@{number}.service"),
    };
    text.parse().unwrap()
}

fn unit_text(prefix: &str, group: Option<usize>, number: usize) -> String {
    let conflict = group.map_or_else(String::new, |size| {
        format!("[X-Fleet]\nConflicts={prefix}{}@*.service\n", number / size)
    });
    format!("[Service]\nExecStart=/usr/bin/sleep infinity\n{conflict}")
}
