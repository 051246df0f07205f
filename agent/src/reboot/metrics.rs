//! The role's metrics.
//!
//! Owns their names: which phase the machine is in, since when, and how long each phase before took. They are taken from what
//! the role last said when they are scraped.

use std::collections::BTreeMap;
use std::fmt;

use muster_common::reboot::{HostStatus, Phase};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::watch;

use crate::stdx::clock::Wall;

/// Tells a scrape what the role last said.
#[derive(Debug)]
pub struct RoleCollector {
    told: watch::Receiver<HostStatus>,
    wall: Wall,
}

impl RoleCollector {
    /// Of a role that says how far it is there.
    pub fn new(told: watch::Receiver<HostStatus>, wall: Wall) -> Self {
        Self { told, wall }
    }
}

impl Collector for RoleCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = self.told.borrow().clone();
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family = encoder.encode_descriptor(
            "reboot_phase",
            "1 for the phase of this machine's reboot, 0 for the others",
            None,
            kind,
        )?;
        for phase in Phase::ALL {
            let labels = [("phase", phase.as_str())];
            ConstGauge::new(i64::from(status.phase == phase))
                .encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "reboot_phase_seconds",
            "How long each phase of this machine's reboot took, since it became due",
            None,
            kind,
        )?;
        let now = (status.since > 0)
            .then(|| (status.phase, self.wall.unix_seconds().saturating_sub(status.since)));
        let before = status.passed.iter().map(|span| (span.phase, span.seconds));
        let mut spans: BTreeMap<_, u64> = BTreeMap::new();
        for (phase, seconds) in before.chain(now) {
            *spans.entry(phase).or_default() += seconds;
        }
        for (phase, seconds) in spans {
            let labels = [("phase", phase.as_str())];
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            ConstGauge::new(seconds).encode(family.encode_family(&labels)?)?;
        }
        let due = encoder.encode_descriptor(
            "reboot_due",
            "Reasons why this machine's reboot is due",
            None,
            kind,
        )?;
        let reasons = i64::try_from(status.due.len()).unwrap_or(i64::MAX);
        ConstGauge::new(reasons).encode(due)
    }
}
