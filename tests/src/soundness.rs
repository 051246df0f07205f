//! What must be true of a whole cluster, asked of the hosts as a user would ask: by `musterctl doctor`.
//!
//! Owns the asking and the waiting. The rules are the checker's, and the words are in docs/operations.md.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::cluster::Cluster;
use crate::lab::Host;

/// The findings of `musterctl doctor --json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Diagnosis {
    /// True if nothing is wrong.
    pub healthy: bool,
    /// Machines that answered.
    pub answered: usize,
    /// Everything that was found.
    pub violations: Vec<ViolationRow>,
}

/// One finding.
#[derive(Debug, Clone, Deserialize)]
pub struct ViolationRow {
    /// Its word.
    pub word: String,
    /// `unsafe`, `unsettled` or `remark`.
    pub severity: String,
    /// It, as a sentence.
    pub message: String,
}

impl Cluster {
    /// The findings of the doctor, asked on a host: those that last for two seconds.
    pub fn run_doctor(&self, host: &Host) -> Result<Diagnosis> {
        // It fails when it finds something, which is for the caller to judge.
        let output = self.run_shell(host, "musterctl doctor --json --wait 2s")?;
        let told = || format!("exit code {}\n{}{}", output.code, output.stdout, output.stderr);
        serde_json::from_str(&output.stdout).with_context(told)
    }

    /// An error unless the cluster is sound: nothing is found that must never be, and what may pass by itself does. Every host that has
    /// power answers.
    pub fn assert_sound(&self) -> Result<()> {
        self.step("the whole cluster is sound");
        let up = self.hosts().iter().filter(|host| host.is_up()).count();
        let host = self.hosts().iter().find(|host| host.is_up()).context("all hosts are down")?;
        let mut worst = Vec::new();
        let took = self.wait_for_condition("a sound cluster", || {
            let found = self.run_doctor(host)?;
            let rows = found.violations.iter();
            worst = rows.filter(|row| row.severity == "unsafe").cloned().collect();
            if !worst.is_empty() {
                return Ok(());
            }
            ensure!(found.healthy, "{:#?}", found.violations);
            ensure!(found.answered >= up, "{} of {up} hosts answered", found.answered);
            Ok(())
        })?;
        if !worst.is_empty() {
            bail!("what must never be is: {worst:#?}");
        }
        self.report_duration("sound after", took);
        Ok(())
    }
}
