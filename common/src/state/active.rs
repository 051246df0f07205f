//! systemd's `ActiveState`, as a type.
//!
//! Owns the words and what is asked of them everywhere: one definition of "up" and one of "down" for all crates.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The high-level state of a unit, in systemd's words (`org.freedesktop.systemd1(5)`, `ActiveState`). Container units are
/// reported in the same words.
///
/// It is written and read as the bare word. A word that this version does not know is kept as it was read, so that a record of
/// a newer version survives being read and written here.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActiveState {
    /// It runs, or remains after a oneshot that has ended well.
    Active,
    /// It runs and reads its configuration anew.
    Reloading,
    /// It runs and its mounts or credentials are being refreshed.
    Refreshing,
    /// It is not there, and has not failed.
    #[default]
    Inactive,
    /// It is not there, and has failed.
    Failed,
    /// It is being started, or waits to be started again.
    Activating,
    /// It is being stopped, or something of it is left after its stop.
    Deactivating,
    /// It is held for repair, as a mount whose file system is checked.
    Maintenance,
    /// A word of a newer version.
    Unknown(UnknownState),
}

/// A word for a state that this version does not know. It is none of the known words and not empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnknownState(String);

impl ActiveState {
    /// The word in records, in the API and in tables.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Active => "active",
            Self::Reloading => "reloading",
            Self::Refreshing => "refreshing",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
            Self::Activating => "activating",
            Self::Deactivating => "deactivating",
            Self::Maintenance => "maintenance",
            Self::Unknown(UnknownState(word)) => word,
        }
    }

    /// True while the unit runs and is not on its way out (systemd's `UNIT_IS_ACTIVE_OR_RELOADING`).
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Active | Self::Reloading | Self::Refreshing)
    }

    /// True while the unit runs, is being started or waits to be started again (systemd's `UNIT_IS_ACTIVE_OR_ACTIVATING`).
    pub fn is_up_or_starting(&self) -> bool {
        self.is_up() || *self == Self::Activating
    }

    /// True when nothing of the unit is there (systemd's `UNIT_IS_INACTIVE_OR_FAILED`). A unit in a state that is not known is
    /// not taken to be down.
    pub fn is_down(&self) -> bool {
        matches!(self, Self::Inactive | Self::Failed)
    }

    /// True when the unit is up or down and not on its way from the one to the other.
    pub fn is_settled(&self) -> bool {
        self.is_up() || self.is_down()
    }
}

/// The empty word, which is what a runner says that knows nothing of a unit, is `inactive`.
impl From<&str> for ActiveState {
    fn from(word: &str) -> Self {
        match word {
            "active" => Self::Active,
            "reloading" => Self::Reloading,
            "refreshing" => Self::Refreshing,
            "" | "inactive" => Self::Inactive,
            "failed" => Self::Failed,
            "activating" => Self::Activating,
            "deactivating" => Self::Deactivating,
            "maintenance" => Self::Maintenance,
            _ => Self::Unknown(UnknownState(word.to_owned())),
        }
    }
}

impl fmt::Display for ActiveState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for ActiveState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ActiveState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|word| Self::from(word.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    const WORDS: [&str; 8] = [
        "active",
        "reloading",
        "refreshing",
        "inactive",
        "failed",
        "activating",
        "deactivating",
        "maintenance",
    ];

    fn words_that(holds: fn(&ActiveState) -> bool) -> Vec<&'static str> {
        WORDS.into_iter().filter(|word| holds(&ActiveState::from(*word))).collect()
    }

    #[test]
    fn words_are_written_as_they_were_read() {
        for word in WORDS {
            let state: ActiveState = from_value(json!(word)).unwrap();
            assert!(!matches!(state, ActiveState::Unknown(_)), "{word}");
            assert_eq!(to_value(&state).unwrap(), json!(word));
            assert_eq!(format!("{state:>14}"), format!("{word:>14}"));
        }
    }

    #[test]
    fn a_word_of_a_newer_version_survives_and_is_neither_up_nor_down() {
        let state: ActiveState = from_value(json!("levitating")).unwrap();
        assert_eq!(to_value(&state).unwrap(), json!("levitating"));
        assert_eq!(state, ActiveState::from("levitating"));
        assert!(!state.is_up() && !state.is_down() && !state.is_settled());
    }

    #[test]
    fn a_state_that_is_no_word_is_refused_as_any_text_is() {
        let refused = from_value::<ActiveState>(json!(7)).unwrap_err();
        assert_eq!(refused.to_string(), from_value::<String>(json!(7)).unwrap_err().to_string());
    }

    #[test]
    fn nothing_said_is_inactive() {
        assert_eq!(ActiveState::from(""), ActiveState::Inactive);
        assert_eq!(ActiveState::default(), ActiveState::Inactive);
    }

    #[test]
    fn up_down_and_settled_are_systemds_sets() {
        assert_eq!(words_that(ActiveState::is_up), ["active", "reloading", "refreshing"]);
        assert_eq!(
            words_that(ActiveState::is_up_or_starting),
            ["active", "reloading", "refreshing", "activating"]
        );
        assert_eq!(words_that(ActiveState::is_down), ["inactive", "failed"]);
        assert_eq!(
            words_that(ActiveState::is_settled),
            ["active", "reloading", "refreshing", "inactive", "failed"]
        );
    }
}
