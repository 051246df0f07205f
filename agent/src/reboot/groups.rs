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

/// What a scrape is told of all groups, and of each host too if `hosts`.
pub fn gauges(records: &RebootRecords, hosts: bool) -> Registry {
    let mut registry = Registry::with_prefix("muster_reboot");
    slots(&mut registry, records);
    phases(&mut registry, records, hosts);
    history(&mut registry, records);
    registry
}

fn slots(registry: &mut Registry, records: &RebootRecords) {
    let max = family::<OfGroup>(registry, "slots_max", "Slots of a group");
    let free = family::<OfGroup>(registry, "slots_available", "Slots of a group that are free");
    let held = family::<OfGroup>(registry, "holders", "Who holds a slot of a group");
    let since = family::<OfHolder>(
        registry,
        "slot_taken_timestamp_seconds",
        "When a slot that is held was taken, since the Unix epoch",
    );
    for (group, semaphore) in &records.groups {
        let label = OfGroup { group: group.to_string() };
        set(&max, &label, u64::from(semaphore.max));
        set(&free, &label, u64::from(semaphore.available()));
        set(&held, &label, semaphore.holders.len() as u64);
        for holder in &semaphore.holders {
            let label = OfHolder {
                group: group.to_string(),
                holder: holder.id.to_string(),
                kind: holder.kind.as_str(),
            };
            set(&since, &label, holder.since);
        }
    }
}

fn phases(registry: &mut Registry, records: &RebootRecords, hosts: bool) {
    let waiters = family::<OfGroup>(
        registry,
        "waiters",
        "Hosts of a group whose reboot is due and that hold no slot yet",
    );
    let count = family::<OfPhase>(registry, "hosts", "Hosts of a group in a phase");
    for group in records.groups.keys() {
        // A group nobody waits in is 0, not absent.
        set(&waiters, &OfGroup { group: group.to_string() }, 0);
    }
    for status in records.hosts.values() {
        let group = status.group.to_string();
        let phase = status.phase.as_str();
        add(&count, &OfPhase { group: group.clone(), phase }, 1);
        if matches!(status.phase, Phase::Due | Phase::Waiting | Phase::Warning | Phase::Locking) {
            add(&waiters, &OfGroup { group }, 1);
        }
    }
    if hosts {
        let each = family::<OfHost>(registry, "host_phase", "1 for the phase a host is in");
        let since = family::<OfHost>(
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
            set(&each, &label, 1);
            set(&since, &label, status.since);
        }
    }
}

/// Of the slots that the store remembers, the last hundred of a group: gauges, since old ones are forgotten.
fn history(registry: &mut Registry, records: &RebootRecords) {
    let entries =
        family::<OfOutcome>(registry, "history_slots", "Slots freed of late, by how it ended");
    let seconds = family::<OfOutcome>(
        registry,
        "history_slot_seconds",
        "How long those slots were held, taken together",
    );
    let phases = family::<OfPhase>(
        registry,
        "history_phase_seconds",
        "How long the reboots of late were in each phase, taken together",
    );
    let last = family::<OfGroup>(
        registry,
        "last_slot_seconds",
        "How long the slot was held that was freed last",
    );
    let freed = family::<OfGroup>(
        registry,
        "last_freed_timestamp_seconds",
        "When a slot was freed last, since the Unix epoch",
    );
    for (group, ended) in &records.histories {
        let group = || group.to_string();
        let mut spans: BTreeMap<Phase, u64> = BTreeMap::new();
        for entry in ended {
            let label = OfOutcome { group: group(), outcome: entry.outcome.as_str() };
            add(&entries, &label, 1);
            add(&seconds, &label, held(entry));
            for span in &entry.phases {
                let sum = spans.entry(span.phase).or_default();
                *sum = sum.saturating_add(span.seconds);
            }
        }
        for (phase, sum) in spans {
            set(&phases, &OfPhase { group: group(), phase: phase.as_str() }, sum);
        }
        if let Some(entry) = ended.last() {
            set(&last, &OfGroup { group: group() }, held(entry));
            set(&freed, &OfGroup { group: group() }, entry.freed);
        }
    }
}

/// Seconds for which a slot was held; none when the clocks of who took and who freed it disagree.
fn held(entry: &HistoryEntry) -> u64 {
    entry.freed.saturating_sub(entry.taken)
}

type Gauges<L> = Family<L, Gauge>;

fn family<L>(registry: &mut Registry, name: &str, help: &str) -> Gauges<L>
where
    L: EncodeLabelSet + Clone + std::fmt::Debug + Eq + std::hash::Hash + Send + Sync + 'static,
{
    let family = Gauges::<L>::default();
    registry.register(name, help, family.clone());
    family
}

fn set<L: Clone + Eq + std::hash::Hash>(family: &Gauges<L>, label: &L, value: u64) {
    family.get_or_create(label).set(i64::try_from(value).unwrap_or(i64::MAX));
}

fn add<L: Clone + Eq + std::hash::Hash>(family: &Gauges<L>, label: &L, more: u64) {
    family.get_or_create(label).inc_by(i64::try_from(more).unwrap_or(0));
}
