//! Groups, holders and the semaphore.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::machine::MachineId;
use crate::text::{self, quote_text};

/// Longest group name and longest holder id, in bytes: both become keys or parts of records, and no client of any
/// protocol we speak comes near it (FleetLock's ids are 32 digits).
const LONGEST: usize = text::LONGEST;

/// Most slots of a group. A roll that reboots more hosts at once than a cluster has is a slip of the hand.
pub const MAX_SLOTS: u32 = 100_000;

/// Hosts that share the slots of one semaphore. `[a-zA-Z0-9.-]+`, as FleetLock has it; `default` unless said otherwise.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Group(Arc<str>);

/// A text that names no group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a reboot group: expected 1 to 256 of the characters A-Z a-z 0-9 . -", quote_text(.0))]
pub struct InvalidGroup(pub String);

impl Group {
    /// The name of the group that always exists.
    pub const DEFAULT: &'static str = "default";

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether it is the group that always exists.
    pub fn is_default(&self) -> bool {
        &*self.0 == Self::DEFAULT
    }
}

impl Default for Group {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl FromStr for Group {
    type Err = InvalidGroup;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        if text.is_empty() || text.len() > LONGEST || !text.bytes().all(word) {
            return Err(InvalidGroup(text.to_owned()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Group {
    type Error = InvalidGroup;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Group> for String {
    fn from(group: Group) -> Self {
        group.0.as_ref().to_owned()
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who holds a slot: a machine id, a FleetLock client's id, or what a person wrote. Any text of 1 to 256 bytes without
/// control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HolderId(Arc<str>);

/// A text that identifies no holder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot hold a slot: expected 1 to 256 bytes without control characters", quote_text(.0))]
pub struct InvalidHolderId(pub String);

impl HolderId {
    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HolderId {
    type Err = InvalidHolderId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(InvalidHolderId(text.to_owned()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for HolderId {
    type Error = InvalidHolderId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<&MachineId> for HolderId {
    /// A machine id is a shorter and plainer word than a holder's may be.
    fn from(machine: &MachineId) -> Self {
        Self(machine.as_str().into())
    }
}

impl From<HolderId> for String {
    fn from(id: HolderId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for HolderId {
    /// For people; [`Self::as_str`] is the id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&text::clean_text(&self.0).to_string())
    }
}

impl fmt::Debug for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// The kind of client that took a slot.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HolderKind {
    /// A host of Muster; its id is the machine's.
    Host,
    /// A client that speaks FleetLock, such as Zincati.
    FleetLock,
    /// Somebody, by hand.
    Person,
    /// A kind of a later version.
    #[default]
    #[serde(other)]
    Unknown,
}

impl HolderKind {
    /// The word used in records, in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::FleetLock => "fleet-lock",
            Self::Person => "person",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for HolderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Somebody who holds a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who; the slot is taken and given back by this id alone.
    pub id: HolderId,
    /// The kind of client that it is.
    #[serde(default)]
    pub kind: HolderKind,
    /// When the slot was taken.
    #[serde(default)]
    pub since: u64,
}

/// The slots of one group: at most `max` hosts at a time are granted one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Semaphore {
    /// The number of slots; 0 lets nobody reboot.
    pub max: u32,
    /// Who holds one, by id. There can be more than `max` of them when `max` has been lowered: nobody is evicted.
    #[serde(default)]
    pub holders: Vec<Holder>,
}

impl Default for Semaphore {
    /// Of a group nobody has configured: one slot, free.
    fn default() -> Self {
        Self { max: 1, holders: Vec::new() }
    }
}

impl Semaphore {
    /// Slots that are free: never negative, whatever `max` was lowered to.
    pub fn free_slots(&self) -> u32 {
        self.max.saturating_sub(u32::try_from(self.holders.len()).unwrap_or(u32::MAX))
    }

    /// The holder of that id.
    pub fn find_holder(&self, id: &HolderId) -> Option<&Holder> {
        self.holders.iter().find(|holder| holder.id == *id)
    }
}

/// A number that cannot be the slots of a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a number of slots: expected 0 (nobody reboots) to 100000", quote_text(.0))]
pub struct InvalidMax(pub String);

/// Reads a number of slots.
pub fn parse_slots(text: &str) -> Result<u32, InvalidMax> {
    text.parse().ok().filter(|max| *max <= MAX_SLOTS).ok_or_else(|| InvalidMax(text.to_owned()))
}
