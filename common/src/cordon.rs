//! Machines that are to take nothing new, and machines that are to be emptied.
//!
//! Owns the words: who holds a machine's cordon and why, and what a drain is to do at its deadline. A cordon belongs to
//! whoever asked for it. Several may hold one at a time, a person and the reboot role for example, and each takes back
//! only its own; the machine is cordoned until the last has. It reads no clock, and never decides what a cordon keeps away
//! or where a drained unit goes: that is the engine's business.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::{clean_text, fit_text};

/// Who may hold a cordon; one of each at the most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum CordonHolder {
    /// A person, by `musterctl`.
    Person,
    /// The reboot role of the machine's own daemon.
    Reboot,
    /// One of a later version.
    Other(String),
}

impl CordonHolder {
    /// The word in records and in the API.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Person => "person",
            Self::Reboot => "reboot",
            Self::Other(word) => word,
        }
    }
}

impl From<String> for CordonHolder {
    fn from(word: String) -> Self {
        match word.as_str() {
            "person" => Self::Person,
            "reboot" => Self::Reboot,
            _ => Self::Other(word),
        }
    }
}

impl From<CordonHolder> for String {
    fn from(holder: CordonHolder) -> Self {
        holder.as_str().to_owned()
    }
}

impl fmt::Display for CordonHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A cordoned machine takes nothing new. What runs there stays, unless it is drained too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cordon {
    /// Who holds it; never nobody, in a record that the store has.
    pub holds: BTreeMap<CordonHolder, Hold>,
    /// Store revision that last wrote the record; 0 outside the store. Guards what is placed on the machine.
    #[serde(skip)]
    pub revision: u64,
}

/// One holder's part in a cordon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Who it was, for people: a user's name, for example. May be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Why, in that one's own words. May be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Since when, in seconds since the Unix epoch, by the clock of the daemon that was asked; for people only.
    #[serde(default)]
    pub since: u64,
    /// The drain, if the machine is to be emptied too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
}

/// The order to empty a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// When it was given, in seconds since the Unix epoch; for people only.
    #[serde(default)]
    pub began: u64,
    /// Seconds that it may take, counted by the leader from when it hears of it; a new leader counts anew. Absent: it
    /// goes on until it is called off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// The fate of the units that are left then.
    #[serde(default)]
    pub then: AtDeadline,
    /// The end that it came to at the deadline; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<DrainEnd>,
}

/// The fate of the units that are left at a drain's deadline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AtDeadline {
    /// They stay and go on running.
    #[default]
    GiveUp,
    /// They are stopped, and start elsewhere, or here again after the cordon, when they can.
    Force,
}

/// The end of a drain at its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrainEnd {
    /// The units that were left stay.
    GaveUp,
    /// The units that were left were stopped.
    Forced,
}

impl Cordon {
    /// Tells whether units are to move away, first started elsewhere, then stopped here.
    pub fn is_draining(&self) -> bool {
        self.all_drains().any(|drain| drain.ended.is_none())
    }

    /// Tells whether units are to leave even if no other machine takes them.
    pub fn is_forced(&self) -> bool {
        self.all_drains().any(|drain| drain.ended == Some(DrainEnd::Forced))
    }

    /// Every holder's drain.
    fn all_drains(&self) -> impl Iterator<Item = &Drain> {
        self.holds.values().filter_map(|hold| hold.drain.as_ref())
    }
}

impl Hold {
    /// The same with texts that fit where they are kept; those of an older version may not.
    #[must_use]
    pub fn fit_texts(self) -> Self {
        Self { by: fit_text(&self.by), reason: fit_text(&self.reason), ..self }
    }
}

impl AtDeadline {
    /// The end that it leads to.
    pub fn end(self) -> DrainEnd {
        match self {
            Self::GiveUp => DrainEnd::GaveUp,
            Self::Force => DrainEnd::Forced,
        }
    }
}

impl fmt::Display for Cordon {
    /// `by root (new disk) and by the reboot role`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (holder, hold)) in self.holds.iter().enumerate() {
            if i > 0 {
                f.write_str(" and ")?;
            }
            match (holder, hold.by.as_str()) {
                (CordonHolder::Person, "") => f.write_str("by a person")?,
                (CordonHolder::Person, by) => write!(f, "by {}", clean_text(by))?,
                (CordonHolder::Reboot, _) => f.write_str("for its reboot")?,
                (CordonHolder::Other(word), _) => write!(f, "by {}", clean_text(word))?,
            }
            if !hold.reason.is_empty() {
                write!(f, " ({})", clean_text(&hold.reason))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    fn drain(ended: Option<DrainEnd>) -> Drain {
        Drain { began: 1, deadline: Some(300), then: AtDeadline::Force, ended }
    }

    fn hold(by: &str, reason: &str, drain: Option<Drain>) -> Hold {
        Hold { by: by.to_owned(), reason: reason.to_owned(), since: 1, drain }
    }

    fn cordon<const N: usize>(holds: [(CordonHolder, Hold); N]) -> Cordon {
        Cordon { holds: holds.into(), revision: 0 }
    }

    #[test]
    fn any_holders_drain_counts_and_an_ended_one_drains_no_more() {
        let plain = hold("", "", None);
        let both = cordon([
            (CordonHolder::Person, plain.clone()),
            (CordonHolder::Reboot, hold("", "", Some(drain(None)))),
        ]);
        assert!(both.is_draining() && !both.is_forced());
        let over =
            cordon([(CordonHolder::Reboot, hold("", "", Some(drain(Some(DrainEnd::Forced)))))]);
        assert!(!over.is_draining() && over.is_forced());
        let kept =
            cordon([(CordonHolder::Person, hold("", "", Some(drain(Some(DrainEnd::GaveUp)))))]);
        assert!(!kept.is_draining() && !kept.is_forced());
        assert!(!cordon([(CordonHolder::Person, plain)]).is_draining());
    }

    #[test]
    fn people_read_who_and_why() {
        let shown = cordon([
            (CordonHolder::Person, hold("root", "new disk", None)),
            (CordonHolder::Reboot, hold("", "", None)),
        ]);
        assert_eq!(shown.to_string(), "by root (new disk) and for its reboot");
        assert_eq!(cordon([(CordonHolder::Person, hold("", "", None))]).to_string(), "by a person");
    }

    #[test]
    fn a_record_of_a_newer_or_older_version_can_be_read() {
        let newer = json!({"holds": {"autoscaler": {"colour": "red"}, "person": {"by": "root"}}});
        let read: Cordon = from_value(newer).unwrap();
        let holders: Vec<&CordonHolder> = read.holds.keys().collect();
        assert_eq!(holders, [&CordonHolder::Person, &CordonHolder::Other("autoscaler".into())]);
        let full = json!({"holds": {"reboot": {
            "by": "n1", "reason": "due", "since": 1,
            "drain": {"began": 1, "deadline": 300, "then": "force", "ended": "forced"},
        }}});
        assert_eq!(to_value(from_value::<Cordon>(full.clone()).unwrap()).unwrap(), full);
    }
}
