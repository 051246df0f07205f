//! What is right, and comes too late.
//!
//! Owns how long each lack may last while nothing is wrong. The time of a lack begins when it is seen first, and begins anew with
//! every fault and with every request for its unit.

use std::collections::BTreeMap;

use super::Findings;
use crate::facts::Facts;
use crate::moment::Micros;
use crate::plan::engines::is_container;

/// The pause between two looks.
pub(crate) const LOOK_INTERVAL: Micros = Micros::from_secs(2);

/// Lacks that were seen, and since when.
#[derive(Debug, Default)]
pub(crate) struct Lacks(BTreeMap<(&'static str, String), Micros>);

impl Lacks {
    /// True if nothing lacks.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Something has changed that any lack may come from.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Something was asked of a unit.
    pub(crate) fn forget_unit(&mut self, unit: &str) {
        self.0.retain(|(_, text), _| !text.contains(unit));
    }

    /// Takes note of what lacks now. Returns what has lacked for too long.
    pub(crate) fn note_lacks(&mut self, now: Micros, found: &Findings) -> Findings {
        let keys: BTreeMap<(&'static str, String), &String> =
            found.iter().map(|(word, text)| ((*word, subject_of(text)), text)).collect();
        self.0.retain(|key, _| keys.contains_key(key));
        let mut late = Findings::new();
        for (key, text) in keys {
            let word = key.0;
            let since = *self.0.entry(key).or_insert(now);
            if since + patience(word) <= now {
                late.push((word, format!("since {since} and all is calm: {text}")));
            }
        }
        late
    }
}

/// The beginning of the sentence, which names whom it is about.
fn subject_of(text: &str) -> String {
    text.split([':', ',']).next().unwrap_or(text).to_owned()
}

fn patience(word: &str) -> Micros {
    Micros::from_secs(match word {
        // Told as soon as it is seen: a message or two, and the pause between two publications.
        "state-stale" | "state-of-nothing" | "placed-unwanted" | "still-frozen" => 8,
        // A unit may have to stop before it can be placed anew.
        "not-placed" | "not-spread" | "left-behind" => 30,
        // Queue, stop and start, all of them slow, and once more.
        "not-running" | "runs-unwanted" | "not-there" | "wrong-file" => 80,
        _ => 20,
    })
}

/// Finds machines whose daemons say that the store is there when it cannot be, for longer than a question may take.
pub(crate) fn check_health(
    machine: &str,
    cut_for: Micros,
    store_ok: bool,
    ttl: Micros,
) -> Findings {
    // A renewal each fifth of the time to live, its limit, and once more.
    let noticed = Micros::from_secs(16) + Micros(ttl.0 * 2 / 5);
    if store_ok && cut_for > noticed {
        let text = format!("{machine} is cut off for {cut_for} and says that the store answers");
        return vec![("health-late", text)];
    }
    Findings::new()
}

/// Finds units that are still placed on the one machine that is gone, long after that was to be seen.
pub(crate) fn check_lost(facts: &Facts, ttl: Micros) -> Findings {
    let noticed = ttl + Micros::from_secs(15);
    // What vanished together stays, until it returns or a person says otherwise.
    if !facts.store_sound_for(noticed) || !facts.held_machines().is_empty() {
        return Findings::new();
    }
    let gone: Vec<&String> = facts
        .machines
        .iter()
        .filter(|(_, condition)| !condition.is_well)
        .map(|(machine, _)| machine)
        .collect();
    let [gone] = gone.as_slice() else { return Findings::new() };
    // Where nobody is left, nothing moves and nobody says so.
    if facts.machines.len() < 2 {
        return Findings::new();
    }
    let long = |since: Micros| since + noticed <= facts.now;
    let settled = facts.machines.values().all(|condition| long(condition.since));
    let registered = facts.find_record(&format!("machine/{gone}")).is_some();
    let silent_since = facts.machines.get(*gone).and_then(|condition| condition.silent_since);
    let silent = silent_since.is_some_and(long);
    if !settled || !silent {
        return Findings::new();
    }
    if registered {
        return vec![("registered-late", format!("{gone} is gone and still registered"))];
    }
    let mut found = Findings::new();
    for (unit, homes) in facts.current_places() {
        let name = unit.as_str();
        // What keeps data stays, as does a job that was begun; what conflicts may have no other place.
        // A container may have no other machine with an engine.
        let moves = name.starts_with("plain") && !is_container(&unit);
        // One whose record somebody has written by hand waits for a person.
        let waits = facts.any_cordon() || facts.is_by_hand(&unit);
        if moves && homes.contains_key(*gone) && !waits {
            found.push(("moved-late", format!("{unit} is still placed on {gone}, which is gone")));
        }
    }
    found
}
