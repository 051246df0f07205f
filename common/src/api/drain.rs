//! The part of `/v1` that is about cordons and drains.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `POST /v1/machines/ID/cordon` | [`CordonRequest`] | 200 [`Cordoned`] |
//! | `POST /v1/machines/ID/uncordon` | [`UncordonRequest`] | 200 [`Cordoned`] |
//! | `POST /v1/machines/ID/drain` | [`DrainRequest`] | 200 [`Draining`] |
//! | `GET /v1/machines/ID/drain` | | 200 [`Progress`] |
//! | `GET /v1/machines/ID/drain/events?revision=N` | | server-sent events, each with a [`DrainEvent`] as its data; the stream ends when the drain does |
//!
//! `ID` is a whole machine id. A machine that is absent may be cordoned as long as anything is known of it; 404 otherwise.

use serde::{Deserialize, Serialize};

use crate::cordon::{AtDeadline, Cordon, DrainEnd};
use crate::drain::{Course, Progress};
use crate::machine::{Machine, MachineId};
use crate::unit::UnitName;

/// Keeps a machine from taking anything new, on a person's behalf.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CordonRequest {
    /// Who asks, for people.
    #[serde(default)]
    pub by: String,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}

/// Takes a person's cordon back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UncordonRequest {
    /// Everyone's, that of a reboot under way too.
    #[serde(default)]
    pub all: bool,
}

/// Cordons a machine and moves its units elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Who asks, for people.
    #[serde(default)]
    pub by: String,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
    /// Seconds that it may take; absent: it goes on until the machine is uncordoned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// What becomes of the units that are left then.
    #[serde(default)]
    pub then: AtDeadline,
    /// Say what would become of the units, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// A machine's cordon after a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cordoned {
    /// The machine.
    pub machine: MachineId,
    /// Who cordoned it now; absent when nobody does any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<Cordon>,
}

/// Answer to [`DrainRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// What becomes of each unit on the machine, or what would.
    pub progress: Progress,
    /// Store revision after the order, for the stream of events; 0 when it was only rehearsed.
    pub revision: u64,
}

/// One event of a drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DrainEvent {
    /// What becomes of a unit on the machine: told of each at the beginning, and whenever it changes.
    Unit {
        /// The unit.
        name: UnitName,
        /// What becomes of it.
        course: Course,
    },
    /// The unit has left the machine.
    Left {
        /// The unit.
        name: UnitName,
        /// Where it is now, if anywhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Machine>,
    },
    /// Nothing moves, and as things stand nothing will; what was told last of the units that are left says why. More may
    /// follow when things change.
    Rest,
    /// Nothing is left but global units; the last event.
    Done,
    /// The deadline was reached; the last event.
    Ended {
        /// What becomes of what is left.
        end: DrainEnd,
    },
    /// The drain was called off; the last event.
    CalledOff,
    /// The daemon lost the store; it goes on when it is back.
    Degraded {
        /// What is wrong.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;
    use serde_json::{from_value, json};

    use super::*;

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
        let name: UnitName = "a.service".parse().unwrap();
        let course = Course::Moving { to: "m2".parse().unwrap() };
        assert_json_snapshot!(DrainEvent::Unit { name, course }, @r#"
        {
          "event": "unit",
          "name": "a.service",
          "course": {
            "course": "moving",
            "to": "m2"
          }
        }
        "#);
        assert_json_snapshot!(DrainEvent::Ended { end: DrainEnd::GaveUp }, @r#"
        {
          "event": "ended",
          "end": "gave-up"
        }
        "#);
    }
}
