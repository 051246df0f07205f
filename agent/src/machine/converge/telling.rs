//! What the loop says and keeps: observed states to the store, the last known placements to disk.
//!
//! Owns what is said of a unit. When it is said is `report`'s business.

use std::sync::Arc;

use muster_common::state::ObservedState;
use muster_common::unit::UnitName;
use muster_store::{RegistryError, StoreError};
use tokio::sync::oneshot;

use super::{Basis, Converge, RETRY};
use crate::machine::last_known::{self, LastKnown};
use crate::runner::UnitObservation;
use crate::stdx::errors::error_chain;

impl Converge {
    /// What is to be said of a unit; `None`: nothing, it is not here.
    pub(super) fn state(&self, unit: &UnitName) -> Option<ObservedState> {
        let ledger = self.hands.ledger();
        let entry = ledger.get(unit);
        let refused = self.refused.get(unit);
        if entry.is_none() && refused.is_none() {
            return None;
        }
        let nothing = UnitObservation::default();
        let seen = self.seen.get(unit).unwrap_or(&nothing);
        let (generation, desired, problem) = match (refused, entry) {
            (Some((generation, desired, problem)), _) => {
                (*generation, *desired, Some(problem.clone()))
            }
            (None, Some(entry)) => {
                let fell = || self.hands.steady().why(unit).map(str::to_owned);
                let problem = entry.problem.clone().or_else(fell);
                (entry.owned.generation, entry.owned.desired, problem)
            }
            (None, None) => return None,
        };
        let file = entry
            .map(|entry| entry.owned.file)
            .filter(|file| !seen.observed.foreign && seen.observed.file == Some(*file));
        let word = |word: &str, otherwise: &str| {
            if word.is_empty() { otherwise.to_owned() } else { word.to_owned() }
        };
        Some(ObservedState {
            load: word(&seen.observed.load, "loaded"),
            active: seen.observed.active.clone(),
            sub: word(&seen.observed.sub, "dead"),
            hash: file
                .and_then(|file| self.file(file))
                .map(|known| known.fleet_hash.clone())
                .unwrap_or_default(),
            file,
            generation,
            desired,
            since: seen.since,
            invocation: seen.invocation.clone(),
            problem,
            remark: seen.remark.clone(),
        })
    }

    pub(super) fn publish(&mut self) {
        let Some(presence) = self.presence.clone() else { return };
        // Nothing is said before it is known what runs.
        if self.basis == Basis::Unknown || !self.runner_up {
            self.report.wait();
            return;
        }
        let mut report = std::mem::take(&mut self.report);
        let states = report.take(|unit| self.state(unit));
        self.report = report;
        if states.is_empty() {
            return;
        }
        self.hands.health.update_counters(|c| c.published += states.len() as u64);
        let (registry, sender) = (self.registry.clone(), self.published.0.clone());
        tokio::spawn(async move {
            let outcome = registry.publish_states(&presence, states).await;
            let _ = sender.send(outcome).await;
        });
    }

    pub(super) fn published(&mut self, outcome: Result<(), RegistryError>) {
        self.report.answered(outcome.is_ok());
        match outcome {
            Ok(()) => {}
            Err(
                RegistryError::NotRegistered { .. }
                | RegistryError::Store(StoreError::LeaseGone { .. }),
            ) => self.doubt.notify_one(),
            Err(error) => tracing::warn!(error = error_chain(&error), "cannot publish states"),
        }
    }

    pub(super) async fn save(&mut self) {
        self.save = None;
        let texts = self.files.iter().filter_map(|(hash, known)| {
            known.as_ref().ok().map(|known| (*hash, known.file.text().to_owned()))
        });
        let known = LastKnown { places: self.desired.clone(), files: texts.collect() };
        let (disk, path) = (Arc::clone(&self.disk), self.placements.clone());
        let (sender, saved) = oneshot::channel();
        self.disk.run_apart(Box::new(move || {
            let _ = sender.send(last_known::save(&*disk, &path, &known));
        }));
        if let Ok(Err(error)) = saved.await {
            tracing::error!(path = %self.placements.display(), %error, "cannot save the placements");
        }
    }

    /// Says and saves what is left.
    pub(super) async fn close(&mut self) {
        if self.save.is_some() {
            self.save().await;
        }
        if self.presence.is_some() && self.report.due().is_some() {
            self.publish();
            let answer = self.published.1.recv();
            let _ = tokio::time::timeout(RETRY, answer).await;
        }
    }
}
