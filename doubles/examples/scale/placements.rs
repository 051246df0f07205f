//! What the store says of placements and machines, followed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use muster_store::{KeyChange, Range, Store, WatchEvent};
use tokio::sync::watch;

use crate::figures::say;

/// When nothing has changed for so long, it is said how things stand.
const PROGRESS: Duration = Duration::from_secs(10);

/// Keys below the prefix, without their values.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Where each unit is placed.
    pub(crate) places: BTreeMap<String, BTreeSet<String>>,
    /// The machines that are registered.
    pub(crate) machines: BTreeSet<String>,
    /// The number of states that are published.
    pub(crate) states: BTreeSet<String>,
    /// The leader's record.
    pub(crate) leader: String,
    /// How many units each machine has.
    units: BTreeMap<String, usize>,
}

/// A follower of the store. It ends with its runtime.
#[derive(Clone)]
pub(crate) struct Followed {
    keys: Arc<Mutex<Keys>>,
    changed: watch::Receiver<u64>,
}

impl Followed {
    pub(crate) fn follow(store: &Arc<dyn Store>, prefix: &'static str) -> Self {
        let mut watch = store.watch(Range::Prefix(prefix.to_owned()));
        let keys = Arc::new(Mutex::new(Keys::default()));
        let (sender, changed) = watch::channel(0);
        let followed = Self { keys: Arc::clone(&keys), changed };
        tokio::spawn(async move {
            while let Some(event) = watch.events.recv().await {
                let mut keys = keys.lock().unwrap();
                match event {
                    WatchEvent::Reset(listing) => {
                        *keys = Keys::default();
                        for entry in &listing.entries {
                            keys.put(&entry.key, &entry.value, prefix);
                        }
                    }
                    WatchEvent::Changes { changes, .. } => {
                        for change in &changes {
                            match change {
                                KeyChange::Put(entry) => keys.put(&entry.key, &entry.value, prefix),
                                KeyChange::Delete { key } => keys.delete(key, prefix),
                            }
                        }
                    }
                    WatchEvent::Progress { .. } | WatchEvent::Lost { .. } => {}
                }
                drop(keys);
                sender.send_modify(|n| *n += 1);
            }
        });
        followed
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Keys) -> T) -> T {
        look(&self.keys.lock().unwrap())
    }

    /// Waits until the keys are so, and says when that was seen.
    pub(crate) async fn wait_until(&self, what: &str, holds: impl Fn(&Keys) -> bool) -> Instant {
        let mut changed = self.changed.clone();
        let wait = async {
            loop {
                changed.borrow_and_update();
                if self.look(&holds) {
                    return Instant::now();
                }
                match tokio::time::timeout(PROGRESS, changed.changed()).await {
                    Ok(changed) => changed.unwrap(),
                    Err(_) => self.look(|keys| say(&format!("still waiting until {what}; {keys}"))),
                }
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(600), wait).await;
        waited.unwrap_or_else(|_| panic!("never: {what}"))
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { places, machines, states, leader, units: _ } = self;
        let (places, machines, states) = (places.len(), machines.len(), states.len());
        write!(f, "{machines} machines, {places} units placed, {states} states; leader {leader}")
    }
}

impl Keys {
    fn put(&mut self, key: &str, value: &[u8], prefix: &str) {
        let Some(rest) = key.strip_prefix(prefix) else { return };
        match rest.split('/').collect::<Vec<_>>()[..] {
            ["place", machine, unit] => {
                let machines = self.places.entry(unit.to_owned()).or_default();
                if machines.insert(machine.to_owned()) {
                    *self.units.entry(machine.to_owned()).or_default() += 1;
                }
            }
            ["machine", id] => {
                self.machines.insert(id.to_owned());
            }
            ["state", ..] => {
                self.states.insert(rest.to_owned());
            }
            ["leader"] => self.leader = String::from_utf8_lossy(value).into_owned(),
            _ => {}
        }
    }

    fn delete(&mut self, key: &str, prefix: &str) {
        let Some(rest) = key.strip_prefix(prefix) else { return };
        match rest.split('/').collect::<Vec<_>>()[..] {
            ["place", machine, unit] => {
                if let Some(machines) = self.places.get_mut(unit) {
                    if machines.remove(machine)
                        && let Some(units) = self.units.get_mut(machine)
                    {
                        *units -= 1;
                    }
                    if machines.is_empty() {
                        self.places.remove(unit);
                    }
                }
            }
            ["machine", id] => {
                self.machines.remove(id);
            }
            ["state", ..] => {
                self.states.remove(rest);
            }
            ["leader"] => self.leader.clear(),
            _ => {}
        }
    }

    /// True if any unit is placed on a machine.
    pub(crate) fn has_units(&self, machine: &str) -> bool {
        self.units.get(machine).is_some_and(|units| *units > 0)
    }

    /// True if units of lost machines are held where they are.
    pub(crate) fn is_frozen(&self) -> bool {
        self.leader.contains("\"held\"")
    }

    /// The id of the daemon that leads.
    pub(crate) fn leader_id(&self) -> Option<String> {
        let record: serde_json::Value = serde_json::from_str(&self.leader).ok()?;
        record.get("machine")?.as_str().map(ToOwned::to_owned)
    }
}
