//! The counts, for Prometheus.
//!
//! Owns names and labels of the metrics. What the daemon's parts count themselves is taken from their health at the
//! time of the scrape; nothing is counted twice.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::telemetry::health::Health;

/// The daemon's metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<MetricFamilies>);

struct MetricFamilies {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    connections: Family<ListenerLabels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: String,
}

/// A connection that is counted until this is dropped.
pub struct OpenConnection {
    open: Gauge,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.dec();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: String,
    status: u16,
}

/// The cluster's numbers as a scrape found them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterCounts {
    /// Machines with a live lease.
    pub machines: usize,
    /// Units, templates included.
    pub units: usize,
    /// Units that should be placed and are not.
    pub unplaced: usize,
}

/// Takes the numbers from the daemon's health when it is scraped.
#[derive(Debug)]
struct FromHealth(Health);

impl Metrics {
    /// Metrics of a daemon.
    pub fn new(health: Health) -> Self {
        Self::with_collectors(health, Vec::new())
    }

    /// The same with what other parts tell at a scrape.
    pub fn with_collectors(health: Health, others: Vec<Box<dyn Collector>>) -> Self {
        let mut registry = Registry::with_prefix("muster");
        let requests = Family::default();
        registry.register("http_requests", "HTTP requests answered", requests.clone());
        let refusals = Family::default();
        registry.register(
            "http_refusals",
            "Requests and connections that were turned away before any handler",
            refusals.clone(),
        );
        let connections = Family::default();
        registry.register("http_connections", "Open connections", connections.clone());
        registry.register(
            "plan_seconds",
            "Time taken by plans while leading",
            health.plan_seconds(),
        );
        registry.register_collector(Box::new(FromHealth(health)));
        for other in others {
            registry.register_collector(other);
        }
        Self(Arc::new(MetricFamilies { registry, requests, refusals, connections }))
    }

    /// Counts a request. `route` is the pattern that matched, never what the client sent.
    pub fn count_request(&self, route: &str, method: &str, status: u16) {
        // The method is whatever the client sent; only the known ones become a label.
        let method = match method {
            "GET" | "HEAD" | "PUT" | "POST" | "PATCH" | "DELETE" | "OPTIONS" => method,
            _ => "other",
        };
        let labels = RequestLabels { route: route.to_owned(), method: method.to_owned(), status };
        self.0.requests.get_or_create(&labels).inc();
    }

    /// Counts something that was turned away, by one of a few words for why.
    pub fn count_refusal(&self, reason: &'static str) {
        self.0.refusals.get_or_create(&RefusalLabels { reason }).inc();
    }

    /// Counts an open connection of a listener.
    pub fn open_connection(&self, listener: &str) -> OpenConnection {
        let labels = ListenerLabels { listener: listener.to_owned() };
        let open = self.0.connections.get_or_create_owned(&labels);
        open.inc();
        OpenConnection { open }
    }

    /// The text a scrape is answered with: what is counted here, the cluster, and more of the same form.
    pub fn render(
        &self,
        cluster: Option<ClusterCounts>,
        more: Option<&Registry>,
    ) -> Result<String, fmt::Error> {
        let mut text = String::new();
        if let Some(registry) = more {
            encode(&mut text, registry)?;
            strip_end_mark(&mut text);
        }
        if let Some(counts) = cluster {
            let mut registry = Registry::with_prefix("muster_cluster");
            registry.register("machines", "Machines with a live lease", gauge_of(counts.machines));
            registry.register("units", "Units known, templates included", gauge_of(counts.units));
            registry.register(
                "units_unplaced",
                "Units no machine takes",
                gauge_of(counts.unplaced),
            );
            encode(&mut text, &registry)?;
            strip_end_mark(&mut text);
        }
        encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

/// Takes the end mark away: one document has one.
fn strip_end_mark(text: &mut String) {
    let marker = text.rfind("# EOF").unwrap_or(text.len());
    text.truncate(marker);
}

fn gauge_of(value: usize) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    gauge
}

impl Collector for FromHealth {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = self.0.status();
        let mut gauge = |name: &str, help: &str, value: usize| {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        gauge("store_reachable", "Whether the store answers", usize::from(status.store.ok))?;
        gauge("lease_live", "Whether this machine is registered", usize::from(status.lease.ok))?;
        gauge("runner_connected", "Whether the runner answers", usize::from(status.runner.ok))?;
        gauge(
            "container_engine_up",
            "Whether a container engine answers",
            usize::from(status.containers.ok),
        )?;
        gauge("leader", "Whether this daemon leads", usize::from(status.leading))?;
        gauge("held_machines", "Vanished machines whose units stay", status.held.len())?;
        gauge("frozen", "Whether re-placement is frozen", usize::from(!status.held.is_empty()))?;
        gauge("units_owned", "Units this machine runs for the cluster", status.units)?;
        let counters = status.counters;
        let mut counter = |name: &str, help: &str, value: u64| {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        counter("unit_starts", "Units started or restarted", counters.starts)?;
        counter("unit_start_failures", "Starts that failed", counters.failed_starts)?;
        counter("unit_stops", "Units stopped", counters.stops)?;
        counter("states_published", "Observed states published", counters.published)?;
        counter("plans", "Plans made while leading", counters.plans)?;
        counter("decisions", "Placement decisions written", counters.decisions)?;
        counter("commit_conflicts", "Moves decided anew after a conflict", counters.conflicts)?;
        counter("elections_won", "Times this daemon became leader", counters.elections)
    }
}
