//! The part of `/v1` that is about cordons.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `POST /v1/machines/ID/cordon` | [`CordonRequest`] | 200 [`CordonAnswer`] |
//! | `POST /v1/machines/ID/uncordon` | [`UncordonRequest`] | 200 [`CordonAnswer`] |
//!
//! `ID` is a whole machine id. A machine that is absent may be cordoned as long as anything is known of it; 404 otherwise.

use serde::{Deserialize, Serialize};

use crate::cordon::Cordon;
use crate::machine::MachineId;
use crate::text::FreeText;

/// Keeps a machine from taking anything new, on a person's behalf.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CordonRequest {
    /// Who asks, for people.
    #[serde(default)]
    pub by: FreeText,
    /// Why, for people.
    #[serde(default)]
    pub reason: FreeText,
}

/// Takes a person's cordon back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UncordonRequest {
    /// Everyone's, that of a reboot under way too.
    #[serde(default)]
    pub all: bool,
}

/// A machine's cordon after a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CordonAnswer {
    /// The machine.
    pub machine: MachineId,
    /// Who cordons it now; absent when nobody does any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<Cordon>,
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn a_request_says_only_what_it_must() {
        let nothing: CordonRequest = from_value(json!({})).unwrap();
        assert_eq!(nothing, CordonRequest::default());
        let strict = from_value::<UncordonRequest>(json!({"al": true}));
        assert!(strict.unwrap_err().to_string().contains("al"));
    }
}
