//! The metrics of all groups and hosts, as one daemon sees them in the store.
//!
//! Owns their names. Every daemon tells what belongs to a group, so that a stuck slot is seen whichever is scraped; that is
//! as much as there are groups and slots. What there is of each host is the leader's to tell, or a thousand hosts would tell
//! it a thousand times. What a machine says of itself is `metrics`' to name.

use std::collections::BTreeMap;

use muster_common::reboot::{HistoryEntry, Phase};
use muster_store::RebootRecords;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfGroup {
    group: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfHolder {
    group: String,
    holder: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPhase {
    group: String,
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfHost {
    group: String,
    machine: String,
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    group: String,
    outcome: &'static str,
}

/// The gauges of all groups, and of each host too if `hosts`.
pub fn group_gauges(records: &RebootRecords, hosts: bool) -> Registry {
    let mut registry = Registry::with_prefix("muster_reboot");
    slot_gauges(&mut registry, records);
    phase_gauges(&mut registry, records, hosts);
    history_gauges(&mut registry, records);
    registry
}

fn slot_gauges(registry: &mut Registry, records: &RebootRecords) {
    let max = register_gauges::<OfGroup>(registry, "slots_max", "Slots of a group");
    let free =
        register_gauges::<OfGroup>(registry, "slots_available", "Slots of a group that are free");
    let held = register_gauges::<OfGroup>(registry, "holders", "Who holds a slot of a group");
    let since = register_gauges::<OfHolder>(
        registry,
        "slot_taken_timestamp_seconds",
        "When a slot that is held was taken, since the Unix epoch",
    );
    for (group, semaphore) in &records.groups {
        let label = OfGroup { group: group.to_string() };
        set_to(&max, &label, u64::from(semaphore.max));
        set_to(&free, &label, u64::from(semaphore.free_slots()));
        set_to(&held, &label, semaphore.holders.len() as u64);
        for holder in &semaphore.holders {
            let label = OfHolder {
                group: group.to_string(),
                holder: holder.id.to_string(),
                kind: holder.kind.as_str(),
            };
            set_to(&since, &label, holder.since);
        }
    }
}

fn phase_gauges(registry: &mut Registry, records: &RebootRecords, hosts: bool) {
    let waiters = register_gauges::<OfGroup>(
        registry,
        "waiters",
        "Hosts of a group whose reboot is due and that hold no slot yet",
    );
    let count = register_gauges::<OfPhase>(registry, "hosts", "Hosts of a group in a phase");
    for group in records.groups.keys() {
        // A group nobody waits in is 0, not absent.
        set_to(&waiters, &OfGroup { group: group.to_string() }, 0);
    }
    for status in records.hosts.values() {
        let group = status.group.to_string();
        let phase = status.phase.as_str();
        add_to(&count, &OfPhase { group: group.clone(), phase }, 1);
        if matches!(status.phase, Phase::Due | Phase::Waiting | Phase::Warning | Phase::Locking) {
            add_to(&waiters, &OfGroup { group }, 1);
        }
    }
    if hosts {
        let each =
            register_gauges::<OfHost>(registry, "host_phase", "1 for the phase a host is in");
        let since = register_gauges::<OfHost>(
            registry,
            "host_phase_timestamp_seconds",
            "Since when a host is in its phase, since the Unix epoch",
        );
        for (machine, status) in &records.hosts {
            let label = OfHost {
                group: status.group.to_string(),
                machine: machine.to_string(),
                phase: status.phase.as_str(),
            };
            set_to(&each, &label, 1);
            set_to(&since, &label, status.since);
        }
    }
}

/// Of the slots that the store remembers, the last hundred of a group: gauges, since old ones are forgotten.
fn history_gauges(registry: &mut Registry, records: &RebootRecords) {
    let entries = register_gauges::<OfOutcome>(
        registry,
        "history_slots",
        "Slots freed of late, by how it ended",
    );
    let seconds = register_gauges::<OfOutcome>(
        registry,
        "history_slot_seconds",
        "How long those slots were held, taken together",
    );
    let phases = register_gauges::<OfPhase>(
        registry,
        "history_phase_seconds",
        "How long the reboots of late were in each phase, taken together",
    );
    let last = register_gauges::<OfGroup>(
        registry,
        "last_slot_seconds",
        "How long the slot was held that was freed last",
    );
    let freed = register_gauges::<OfGroup>(
        registry,
        "last_freed_timestamp_seconds",
        "When a slot was freed last, since the Unix epoch",
    );
    for (group, ended) in &records.histories {
        let group = || group.to_string();
        let mut spans: BTreeMap<Phase, u64> = BTreeMap::new();
        for entry in ended {
            let label = OfOutcome { group: group(), outcome: entry.outcome.as_str() };
            add_to(&entries, &label, 1);
            add_to(&seconds, &label, seconds_held(entry));
            for span in &entry.phases {
                let sum = spans.entry(span.phase).or_default();
                *sum = sum.saturating_add(span.seconds);
            }
        }
        for (phase, sum) in spans {
            set_to(&phases, &OfPhase { group: group(), phase: phase.as_str() }, sum);
        }
        if let Some(entry) = ended.last() {
            set_to(&last, &OfGroup { group: group() }, seconds_held(entry));
            set_to(&freed, &OfGroup { group: group() }, entry.freed);
        }
    }
}

/// Seconds for which a slot was held; none when the clocks of who took and who freed it disagree.
fn seconds_held(entry: &HistoryEntry) -> u64 {
    entry.freed.saturating_sub(entry.taken)
}

type GaugeFamily<L> = Family<L, Gauge>;

fn register_gauges<L>(registry: &mut Registry, name: &str, help: &str) -> GaugeFamily<L>
where
    L: EncodeLabelSet + Clone + std::fmt::Debug + Eq + std::hash::Hash + Send + Sync + 'static,
{
    let family = GaugeFamily::<L>::default();
    registry.register(name, help, family.clone());
    family
}

fn set_to<L: Clone + Eq + std::hash::Hash>(family: &GaugeFamily<L>, label: &L, value: u64) {
    family.get_or_create(label).set(i64::try_from(value).unwrap_or(i64::MAX));
}

fn add_to<L: Clone + Eq + std::hash::Hash>(family: &GaugeFamily<L>, label: &L, more: u64) {
    family.get_or_create(label).inc_by(i64::try_from(more).unwrap_or(0));
}
