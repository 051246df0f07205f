//! Somebody who writes into the store by hand: records that cannot be read, of a later version, with hostile names, or too large; and
//! takes them away again.
//!
//! Owns the keys and the values. What they may harm is for the checks to say: the record itself, and nothing beside it.

use bytes::Bytes;
use muster_common::unit::UnitName;
use muster_store::Op;
use serde_json::{Map, Value, json};

use crate::fact_entries::ByHand;
use crate::facts::{Facts, UserAnswer, decode_wanted};
use crate::machine::PREFIX;
use crate::plan::shape::Shape;
use crate::world::World;

/// Names that are none.
const HOSTILE: [&str; 6] =
    ["..%2f..%2fetc.service", "a b.service", "/x.service", "\u{202e}.service", "-", "%"];

/// A record that somebody writes by hand.
#[derive(Debug, Clone)]
struct HandWritten {
    /// Its key below the prefix.
    key: String,
    /// The unit that it is about.
    unit: Option<UnitName>,
}

/// The record that a number stands for.
fn record_of(record: u64, number: usize, shape: &Shape) -> HandWritten {
    let machine = Shape::machine_name(number % shape.machines.max(1));
    let unit = shape.units.get(number % shape.units.len().max(1)).map(|unit| unit.name.clone());
    let name = unit.as_ref().map(ToString::to_string).unwrap_or_default();
    let hostile = HOSTILE.get(number % HOSTILE.len()).copied().unwrap_or_default();
    let (key, unit) = match record {
        0 => (format!("unit/{name}"), unit),
        1 => (format!("place/{machine}/{name}"), unit),
        2 => (format!("unit/{hostile}"), None),
        3 => (format!("place/{machine}/{hostile}"), None),
        // Where it is placed besides nobody can say, so it stays as it is.
        4 => (format!("place/{hostile}/{name}"), unit),
        5 => (format!("cordon/{machine}"), None),
        6 => (format!("metadata/{machine}/%zz"), None),
        7 => (format!("reboot-request/{machine}"), None),
        8 => (format!("file/{}", "0".repeat(64)), None),
        _ => (format!("quota/{machine}"), None),
    };
    HandWritten { key, unit }
}

/// The value that a number stands for, given the one that is there.
fn value_of(value: u64, is: Option<&Bytes>) -> Option<Bytes> {
    Some(match value {
        0 => Bytes::from_static(b"\xff\xfe\x00{"),
        1 => Bytes::from_static(b"{}"),
        2 => Bytes::from("[".repeat(20_000)),
        3 => Bytes::from(json!({"schema": 1, "text": "x".repeat(600_000)}).to_string()),
        4 => Bytes::from_static(b"null"),
        // As a later version would write it: more than is known, and nothing else.
        _ => {
            let mut record: Map<String, Value> = serde_json::from_slice(is?).ok()?;
            record.insert("schema".to_owned(), json!(9));
            record.insert("colour".to_owned(), json!({"is": "red"}));
            Bytes::from(Value::Object(record).to_string())
        }
    })
}

impl World {
    /// Somebody writes a record by hand.
    pub(crate) fn write_by_hand(&mut self, record: u64, number: usize, value: u64) {
        let written = record_of(record, number, &self.plan.shape);
        let is = self.facts.find_record(&written.key).map(|record| record.value.clone());
        let Some(value) = value_of(value, is.as_ref()) else { return };
        self.note_by_hand(&written);
        let key = format!("{PREFIX}{}", written.key);
        let by_hand = self.facts.by_hand.entry(written.key).or_default();
        by_hand.unit = written.unit;
        // A value whose writing failed does not take the place of one that is there.
        by_hand.values.push(value.clone());
        self.users.write_by_hand(vec![Op::Put { key, value, lease: None }]);
    }

    /// Takes away again what was written by hand and is there. It stays known: the store may be away, a write may still be under way, and
    /// a backup may bring back what was gone.
    pub(crate) fn take_away_by_hand(&mut self) {
        let is_there = |(key, by_hand): &(&String, &ByHand)| {
            let record = self.facts.records.get(&format!("{PREFIX}{key}"));
            record.is_some_and(|record| by_hand.values.contains(&record.value))
        };
        let there = self.facts.by_hand.iter().filter(is_there);
        let there: Vec<HandWritten> = there
            .map(|(key, found)| HandWritten { key: key.clone(), unit: found.unit.clone() })
            .collect();
        let mut ops = Vec::new();
        for written in there {
            ops.push(Op::Delete { key: format!("{PREFIX}{}", written.key) });
            self.note_by_hand(&written);
        }
        if !ops.is_empty() {
            self.users.write_by_hand(ops);
        }
    }

    /// Nobody's promise about the unit counts any more.
    fn note_by_hand(&mut self, written: &HandWritten) {
        if let Some(unit) = &written.unit {
            let promise = self.facts.promises.entry(unit.clone()).or_default();
            promise.take_answer(self.now, self.now, UserAnswer::Doubt);
            self.lacks.forget_unit(unit.as_str());
            // Whoever takes a job's placement away has it begun elsewhere; the machine that began it knows of it all the same.
            let there = self.facts.find_record(&written.key).map(|record| &record.value);
            let is_taken = there.is_some_and(|value| decode_wanted(value).is_some());
            if is_taken || !written.key.starts_with("place/") {
                self.facts.forget_starts_of(unit);
            }
        }
    }
}

impl Facts {
    /// True if a record about a unit is one that somebody wrote by hand.
    pub(crate) fn is_by_hand(&self, unit: &UnitName) -> bool {
        self.by_hand.iter().any(|(key, by_hand)| {
            by_hand.unit.as_ref() == Some(unit) && self.is_record_by_hand(key)
        })
    }

    /// True if the record of a key below the prefix is one that somebody wrote by hand.
    pub(crate) fn is_record_by_hand(&self, key: &str) -> bool {
        let is = self.find_record(key).map(|record| &record.value);
        let by_hand = self.by_hand.get(key);
        by_hand.zip(is).is_some_and(|(by_hand, value)| by_hand.values.contains(value))
    }
}
