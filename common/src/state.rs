//! Desired and observed states.
//!
//! Owns the words for what a user wants and for what a machine reports. It never compares the two: that is the
//! engine's business.

mod active;
pub mod load;
pub mod sub;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::active::{ActiveState, UnknownState};
use crate::text::quote_text;
use crate::unit::FileHash;

/// The state that a user wants of a unit. The order is the order of commitment: inactive, loaded, launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DesiredState {
    /// Known to the cluster, placed nowhere.
    Inactive,
    /// Placed, its file on the machine, not started.
    Loaded,
    /// Placed and started.
    Launched,
}

/// A word that is none of the three desired states.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a desired state: expected inactive, loaded or launched", quote_text(.0))]
pub struct InvalidDesiredState(pub String);

impl DesiredState {
    /// The word used in records, in fleet's API and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Loaded => "loaded",
            Self::Launched => "launched",
        }
    }
}

impl FromStr for DesiredState {
    type Err = InvalidDesiredState;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "inactive" => Ok(Self::Inactive),
            "loaded" => Ok(Self::Loaded),
            "launched" => Ok(Self::Launched),
            _ => Err(InvalidDesiredState(word.to_owned())),
        }
    }
}

impl fmt::Display for DesiredState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The state of one unit as the runner on one machine reports it, in systemd's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedState {
    /// systemd's `LoadState`: `loaded`, `not-found`, `bad-setting`, `error`, `masked`.
    pub load: String,
    /// systemd's `ActiveState`; `deactivating` for as long as processes of the unit are left.
    pub active: ActiveState,
    /// systemd's `SubState`: `running`, `dead`, `exited`, ...
    pub sub: String,
    /// File the unit runs from; absent when the machine does not run the file the cluster knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileHash>,
    /// fleet's hash (SHA-1 of the canonical form) of that file, for `list-units`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
    /// Generation of the placement that the machine has carried out, or given up on (see `problem`).
    #[serde(default)]
    pub generation: u64,
    /// The desired state the machine has carried out, or given up on (see `problem`), at that generation.
    pub desired: DesiredState,
    /// Seconds since the Unix epoch at which `active` last changed, on the machine's own clock; for people only.
    #[serde(default)]
    pub since: u64,
    /// systemd's `InvocationID`, 32 hexadecimal digits; empty when it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub invocation: String,
    /// Why the machine could not do what it was asked: the unit belongs to the host, the start job failed, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// A remark for people: how far a download is, what a start waits for, how the unit ended.
    /// Empty when nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remark: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn the_three_words_and_no_others() {
        for state in [DesiredState::Inactive, DesiredState::Loaded, DesiredState::Launched] {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(to_value(state).unwrap(), json!(state.as_str()));
        }
        assert_eq!(
            "started".parse::<DesiredState>().unwrap_err().to_string(),
            "\"started\" is not a desired state: expected inactive, loaded or launched"
        );
        assert!(DesiredState::Inactive < DesiredState::Loaded);
        assert!(DesiredState::Loaded < DesiredState::Launched);
    }

    #[test]
    fn a_report_of_a_newer_or_older_version_can_be_read() {
        let least =
            json!({"load": "loaded", "active": "active", "sub": "running", "desired": "launched"});
        let state: ObservedState = from_value(least.clone()).unwrap();
        assert_eq!((state.file, state.generation, state.since), (None, 0, 0));
        assert_eq!(state.remark, "");
        let mut newer = least;
        newer["colour"] = json!("red");
        assert_eq!(from_value::<ObservedState>(newer.clone()).unwrap(), state);
        newer["active"] = json!("levitating");
        let state: ObservedState = from_value(newer).unwrap();
        assert_eq!(to_value(state).unwrap()["active"], "levitating");
    }
}
