//! The counts of containers, for Prometheus.
//!
//! Owns names and meanings. How many there are is looked up at a scrape; what has happened is counted where it happens.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::runner::docker::runner::Docker;
use crate::stdx::sync::lock;

/// Tells a scrape.
pub struct Gauges(Weak<Docker>);

impl Gauges {
    /// Of what runs containers here.
    pub fn new(docker: &Arc<Docker>) -> Self {
        Self(Arc::downgrade(docker))
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gauges").finish_non_exhaustive()
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(docker) = self.0.upgrade() else { return Ok(()) };
        let (known, running) = {
            let units = lock(&docker.units);
            (units.len(), units.values().filter(|unit| unit.status.borrow().runs).count())
        };
        let mut gauge = |name: &str, help: &str, value: usize| {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        gauge("containers", "Container units this machine looks after", known)?;
        gauge("containers_running", "Those whose container runs", running)?;
        let tally = &docker.context.engine.tally;
        let mut counter = |name: &str, help: &str, value: &AtomicU64| {
            let metric = ConstCounter::new(value.load(Ordering::Relaxed));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        counter("image_pulls", "Images fetched", &tally.pulls)?;
        counter("image_pull_failures", "Attempts to fetch one that failed", &tally.failed_pulls)?;
        counter("container_restarts", "Containers started again by themselves", &tally.restarts)
    }
}
