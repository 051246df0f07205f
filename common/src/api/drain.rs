//! The part of `/v1` that is about drains.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `POST /v1/machines/ID/drain` | [`DrainRequest`] | 200 [`DrainAnswer`] |
//! | `GET /v1/machines/ID/drain` | | 200 [`DrainProgress`] |
//! | `GET /v1/machines/ID/drain/events?revision=N` | | server-sent events, each with a [`DrainEvent`] as its data; the stream ends when the drain does |
//!
//! `ID` is a whole machine id; 404 when nothing is known of it. A drain is called off by uncordoning the machine
//! ([`super::cordon`]).

use serde::{Deserialize, Serialize};

use crate::cordon::AtDeadline;
use crate::drain::DrainProgress;
use crate::machine::Machine;
use crate::text::FreeText;
use crate::unit::UnitName;

/// Cordons a machine and moves its units elsewhere, on a person's behalf.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Who asks, for people.
    #[serde(default)]
    pub by: FreeText,
    /// Why, for people.
    #[serde(default)]
    pub reason: FreeText,
    /// Seconds that it may take; absent: it goes on until the machine is uncordoned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// The end of the units that are left then.
    #[serde(default)]
    pub then: AtDeadline,
    /// Say what would become of the units, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Answer to [`DrainRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainAnswer {
    /// The account of each unit on the machine, as it is or as it would be.
    pub progress: DrainProgress,
    /// Store revision of the order, for the stream of events; 0 when it was only rehearsed.
    #[serde(default)]
    pub revision: u64,
}

/// One event of a drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DrainEvent {
    /// The drain's progress: told at the beginning, and whenever it changes.
    Progress {
        /// All of it.
        progress: DrainProgress,
    },
    /// A unit has left the machine.
    Left {
        /// The unit.
        name: UnitName,
        /// Where it is now, if anywhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Machine>,
    },
    /// The daemon lost the store; it goes on when it is back.
    Degraded {
        /// The problem.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;
    use serde_json::{from_value, json};

    use super::*;
    use crate::drain::DrainStatus;

    #[test]
    fn a_request_says_only_what_it_must() {
        let drain: DrainRequest = from_value(json!({})).unwrap();
        assert_eq!(drain, DrainRequest::default());
        assert_eq!(drain.then, AtDeadline::GiveUp);
        let strict = from_value::<DrainRequest>(json!({"dead_line": 1}));
        assert!(strict.unwrap_err().to_string().contains("dead_line"));
    }

    #[test]
    fn events_are_told_by_their_tags() {
        let course = DrainStatus::Moving { to: "m2".parse().unwrap() };
        let units = [("a.service".parse().unwrap(), course)].into();
        let progress = DrainProgress { machine: "m1".parse().unwrap(), cordon: None, units };
        assert_json_snapshot!(DrainEvent::Progress { progress }, @r#"
        {
          "event": "progress",
          "progress": {
            "machine": "m1",
            "units": {
              "a.service": {
                "course": "moving",
                "to": "m2"
              }
            }
          }
        }
        "#);
        let left = DrainEvent::Left { name: "a.service".parse().unwrap(), to: None };
        assert_json_snapshot!(left, @r#"
        {
          "event": "left",
          "name": "a.service"
        }
        "#);
    }
}
