//! The part of `/v1` that is about rolling reboots.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `GET /v1/reboot[?group=GROUP]` | | 200 [`Reboots`]; 404 for a group that does not exist |
//! | `GET /v1/reboot/watch[?group=GROUP]` | | server-sent events, each with a [`RebootEvent`] as its data, until the client goes |
//! | `GET /v1/reboot/history[?group=GROUP]` | | 200 [`History`] |
//! | `POST /v1/reboot/lock` | [`LockRequest`] | 200 [`Locked`]; 409 [`SlotRefused`] while there is no slot |
//! | `POST /v1/reboot/unlock` | [`UnlockRequest`] | 200 [`Unlocked`] |
//! | `POST /v1/reboot/max` | [`MaxRequest`] | 200 [`MaxSet`]; it makes the group if there is none of that name |
//! | `POST /v1/reboot/request` | [`RebootRequest`] | 200 [`Requested`]; 404 for a machine of which nothing is known |
//! | `POST /v1/reboot/cancel` | [`CancelRequest`] | 200 [`Cancelled`] |
//!
//! A body may leave out everything but `max`: the group is `default` then, and the id that of the machine whose daemon is
//! asked. What cannot be understood is 400, what a body has that means nothing too, and so is a text that is no
//! [`FreeText`]; a store that does not answer is 503,
//! and asking again is safe: locking what is held and freeing what is free change nothing.
//!
//! Other errors have fleet's shape, [`super::fleet::ErrorBody`], and [`SlotRefused`] has it too, with more.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::fleet::ErrorDetail;
use crate::machine::{Machine, MachineId};
use crate::reboot::{
    Group, HistoryEntry, Holder, HolderId, HostStatus, InvalidMax, MAX_SLOTS, RebootMethod,
    Request, Semaphore, WaitReason, parse_slots,
};
use crate::snapshot::Unreadable;
use crate::text::{self, FreeText};

/// All there is to know of reboots, or of those of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reboots {
    /// The machine whose daemon answers.
    pub machine: MachineId,
    /// The group of that machine. Events leave it out, and so do daemons of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// The store's revision that this is of.
    #[serde(default)]
    pub revision: u64,
    /// The groups that exist, by name.
    pub groups: Vec<GroupSlots>,
    /// The hosts that ever said how far they are, by id; of one group: those that are in it.
    #[serde(default)]
    pub hosts: Vec<RebootHost>,
    /// The wishes that machines reboot, by machine; of one group: those of its hosts and of machines that never said
    /// which group is theirs.
    #[serde(default)]
    pub requests: Vec<RebootWish>,
    /// Records of reboots that cannot be read, of any group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
    /// The machines of the cluster, so that a client can name them. Events leave them out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<Machine>,
}

/// The slots of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSlots {
    /// The group.
    pub name: Group,
    /// The number of its slots.
    pub max: u32,
    /// The number of free ones; never negative, though there may be more holders than slots.
    pub available: u32,
    /// Who holds one, by id.
    #[serde(default)]
    pub holders: Vec<Holder>,
}

impl GroupSlots {
    /// The slots of a semaphore.
    pub fn new(name: Group, semaphore: Semaphore) -> Self {
        let available = semaphore.free_slots();
        Self { name, max: semaphore.max, available, holders: semaphore.holders }
    }

    /// The holder of that id.
    pub fn find_holder(&self, id: &HolderId) -> Option<&Holder> {
        self.holders.iter().find(|holder| holder.id == *id)
    }
}

/// The status of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebootHost {
    /// The host.
    pub machine: MachineId,
    /// The status that it published.
    #[serde(flatten)]
    pub status: HostStatus,
}

/// Somebody's wish that a machine reboots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebootWish {
    /// The machine.
    pub machine: MachineId,
    /// Who, when and what for.
    #[serde(flatten)]
    pub request: Request,
}

/// One of the events of a watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RebootEvent {
    /// The status: at first, and whenever something has changed. Changes that follow each other closely are told as
    /// one.
    Status(Reboots),
    /// The store cannot be reached; a status follows when it can.
    Degraded {
        /// The problem.
        message: String,
    },
}

/// Takes a slot by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockRequest {
    /// Of which group.
    #[serde(default)]
    pub group: Group,
    /// For whom; absent: for the machine whose daemon is asked. Nobody new comes by an id that cannot be seen.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "visible_holder")]
    pub id: Option<HolderId>,
    /// Who asks, for people.
    #[serde(default)]
    pub by: FreeText,
}

/// Reads the id of a new holder. Ids that are kept already may have characters that are refused by now, and whoever has
/// one must still be freed: that is why [`HolderId`] itself takes them.
fn visible_holder<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<HolderId>, D::Error> {
    use serde::de::Error as _;

    let id: Option<HolderId> = Option::deserialize(deserializer)?;
    if let Some(id) = &id {
        text::check(id.as_str()).map_err(D::Error::custom)?;
    }
    Ok(id)
}

/// Frees a slot by hand, whoever took it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnlockRequest {
    /// Of which group.
    #[serde(default)]
    pub group: Group,
    /// Whose; absent: that of the machine whose daemon is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<HolderId>,
    /// Who asks, for people; the history remembers it.
    #[serde(default)]
    pub by: FreeText,
}

/// Sets how many slots a group has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxRequest {
    /// Which group.
    #[serde(default)]
    pub group: Group,
    /// The number; 0 lets nobody reboot, and more than [`MAX_SLOTS`] is refused. Nobody is evicted.
    pub max: Slots,
    /// Who asks, for people.
    #[serde(default)]
    pub by: FreeText,
}

/// A number of slots, at most [`MAX_SLOTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Slots(u32);

/// A number of slots that no group has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a number of slots: expected 0 (nobody reboots) to {MAX_SLOTS}")]
pub struct TooManySlots(pub u32);

impl FromStr for Slots {
    type Err = InvalidMax;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_slots(text).map(Self)
    }
}

impl TryFrom<u32> for Slots {
    type Error = TooManySlots;

    fn try_from(slots: u32) -> Result<Self, Self::Error> {
        if slots > MAX_SLOTS { Err(TooManySlots(slots)) } else { Ok(Self(slots)) }
    }
}

impl From<Slots> for u32 {
    fn from(slots: Slots) -> Self {
        slots.0
    }
}

/// Asks a machine to reboot when its turn comes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RebootRequest {
    /// Which machine; absent: that whose daemon is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MachineId>,
    /// Who asks, for people.
    #[serde(default)]
    pub by: FreeText,
    /// The purpose, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<FreeText>,
    /// The way in which it is to reboot; absent: as it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known_method")]
    pub method: Option<RebootMethod>,
}

/// Reads a way to reboot that is asked for. Records may have one of a later version; nobody asks for what is not understood.
fn known_method<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<RebootMethod>, D::Error> {
    use serde::de::Error as _;

    let word: Option<String> = Option::deserialize(deserializer)?;
    word.map(|word| word.parse().map_err(D::Error::custom)).transpose()
}

/// Takes such a wish back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Which machine; absent: that whose daemon is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MachineId>,
    /// Who asks, for people.
    #[serde(default)]
    pub by: FreeText,
}

/// A slot that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    /// Of which group.
    pub group: Group,
    /// By whom.
    pub id: HolderId,
    /// Since when.
    pub since: u64,
    /// True if this request took it; otherwise it was held before.
    pub anew: bool,
}

/// The answer to somebody who frees a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlocked {
    /// Of which group.
    pub group: Group,
    /// Whose.
    pub id: HolderId,
    /// Who held it until now; absent when nobody of that id did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freed: Option<Holder>,
}

/// The number of slots that a group had and has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaxSet {
    /// The group.
    pub group: Group,
    /// The number that it had; 0 when it was not there.
    pub old: u32,
    /// The number that it has.
    pub new: u32,
}

/// A machine that is asked to reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// The machine.
    pub id: MachineId,
    /// The wish that stands.
    pub request: Request,
    /// True if it is this one; otherwise an earlier one stands, and one reboot fulfils both.
    pub anew: bool,
    /// The machine's status when it was asked; absent when it never published one: it may have no reboot role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostStatus>,
}

/// The answer to somebody who takes a wish back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// The machine.
    pub id: MachineId,
    /// True if there was one.
    pub cancelled: bool,
    /// The machine's status; absent when it never published one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostStatus>,
}

/// The last slots that were freed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Of which group.
    pub group: Group,
    /// One slot each, the newest first.
    pub entries: Vec<HistoryEntry>,
}

/// An error that says why there is no slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRefused {
    /// As in all errors.
    pub error: ErrorDetail,
    /// Why.
    pub wait: WaitReason,
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn a_request_says_only_what_it_must() {
        assert_eq!(from_value::<LockRequest>(json!({})).unwrap(), LockRequest::default());
        assert_eq!(from_value::<UnlockRequest>(json!({})).unwrap(), UnlockRequest::default());
        assert_eq!(from_value::<RebootRequest>(json!({})).unwrap(), RebootRequest::default());
        assert_eq!(from_value::<CancelRequest>(json!({})).unwrap(), CancelRequest::default());
        assert!(from_value::<MaxRequest>(json!({})).is_err());
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for body in [json!({"grp": "a"}), json!({"group": "a b"}), json!({"id": ""})] {
            assert!(from_value::<LockRequest>(body.clone()).is_err(), "{body}");
            assert!(from_value::<UnlockRequest>(body.clone()).is_err(), "{body}");
        }
        for max in [json!(-1), json!(100_001), json!("2"), json!(1.5), json!(null)] {
            assert!(from_value::<MaxRequest>(json!({"max": max})).is_err(), "{max}");
        }
        for body in [json!({"method": "warp"}), json!({"method": "unknown"}), json!({"method": 1})]
        {
            assert!(from_value::<RebootRequest>(body.clone()).is_err(), "{body}");
        }
        for body in [json!({"group": "a"}), json!({"id": "a/b"})] {
            assert!(from_value::<RebootRequest>(body.clone()).is_err(), "{body}");
            assert!(from_value::<CancelRequest>(body.clone()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_group_says_what_is_free_even_with_more_holders_than_slots() {
        let holder = |id: &str| Holder {
            id: id.parse().unwrap(),
            kind: crate::reboot::HolderKind::Person,
            since: 7,
        };
        let semaphore = Semaphore { max: 1, holders: vec![holder("a"), holder("b")] };
        let group = GroupSlots::new(Group::default(), semaphore);
        let expected = json!({
            "name": "default", "max": 1, "available": 0,
            "holders": [
                {"id": "a", "kind": "person", "since": 7}, {"id": "b", "kind": "person", "since": 7}
            ],
        });
        assert_eq!(to_value(group).unwrap(), expected);
    }

    #[test]
    fn a_status_is_an_event_too() {
        let status = Reboots {
            machine: "m1".parse().unwrap(),
            group: None,
            revision: 3,
            groups: Vec::new(),
            hosts: vec![RebootHost {
                machine: "m1".parse().unwrap(),
                status: HostStatus::default(),
            }],
            requests: Vec::new(),
            unreadable: Vec::new(),
            machines: Vec::new(),
        };
        let event = RebootEvent::Status(status);
        let text = to_value(&event).unwrap();
        assert_eq!(text["event"], "status");
        assert_eq!(text["hosts"][0]["phase"], "idle");
        assert_eq!(from_value::<RebootEvent>(text).unwrap(), event);
    }
}
