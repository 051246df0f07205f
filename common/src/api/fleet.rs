//! fleet's API, `/fleet/v1`, field by field as the real fleetctl reads and writes it.
//!
//! fleet leaves out every field that is empty, and takes a field that is absent or `null` for an empty one; so do these
//! records. Fields unknown here are ignored, as fleet ignores them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::unit::UnitOption;

/// A unit, in `PUT /units/NAME` and in answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FleetUnit {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_null")]
    pub name: String,
    /// Its file, option by option.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub options: Vec<UnitOption>,
    /// `inactive`, `loaded` or `launched`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_null")]
    pub desired_state: String,
    /// `inactive`, `loaded` or `launched`: how far the machine has come.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_null")]
    pub current_state: String,
    /// Where it is placed.
    #[serde(
        rename = "machineID",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_null"
    )]
    pub machine_id: String,
}

/// `GET /units`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitPage {
    /// The units of this page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<FleetUnit>,
    /// Token for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// One machine's report of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "fleet's own field names")]
pub struct UnitState {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hash: String,
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub systemd_load_state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub systemd_active_state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub systemd_sub_state: String,
}

/// `GET /state`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitStatePage {
    /// The states of this page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<UnitState>,
    /// Token for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// A machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FleetMachine {
    /// Its id, in full.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The address it shows.
    #[serde(rename = "primaryIP", skip_serializing_if = "String::is_empty")]
    pub primary_ip: String,
    /// Its metadata, configured and set at run time.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// `GET /machines`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MachinePage {
    /// The machines of this page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<FleetMachine>,
    /// Token for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// Body of every error answer, of both APIs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// The error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// The HTTP status code, repeated.
    pub code: u16,
    /// The problem and, where there is one, the way out.
    pub message: String,
}

/// A field whose `null` means the same as its absence.
fn or_null<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    fn option(name: &str, value: &str) -> UnitOption {
        UnitOption { section: "Service".into(), name: name.into(), value: value.into() }
    }

    #[test]
    fn a_unit_is_written_as_fleet_writes_it() {
        let unit = FleetUnit {
            name: "web@1.service".into(),
            options: vec![option("ExecStart", "/bin/true"), option("Environment", "")],
            desired_state: "launched".into(),
            current_state: "loaded".into(),
            machine_id: "0123".into(),
        };
        let expected = json!({
            "name": "web@1.service",
            "options": [
                {"section": "Service", "name": "ExecStart", "value": "/bin/true"},
                {"section": "Service", "name": "Environment"},
            ],
            "desiredState": "launched",
            "currentState": "loaded",
            "machineID": "0123",
        });
        assert_eq!(to_value(&unit).unwrap(), expected);
        assert_eq!(from_value::<FleetUnit>(expected).unwrap(), unit);
    }

    #[test]
    fn states_and_machines_are_written_as_fleet_writes_them() {
        let page = UnitStatePage {
            states: vec![UnitState {
                name: "a.service".into(),
                hash: "abc".into(),
                machine_id: "0123".into(),
                systemd_load_state: "loaded".into(),
                systemd_active_state: "active".into(),
                systemd_sub_state: "running".into(),
            }],
            next_page_token: Some("token".into()),
        };
        let expected = json!({
            "states": [{
                "name": "a.service",
                "hash": "abc",
                "machineID": "0123",
                "systemdLoadState": "loaded",
                "systemdActiveState": "active",
                "systemdSubState": "running",
            }],
            "nextPageToken": "token",
        });
        assert_eq!(to_value(&page).unwrap(), expected);
        let page = MachinePage {
            machines: vec![FleetMachine {
                id: "0123".into(),
                primary_ip: "192.0.2.1".into(),
                metadata: BTreeMap::from([("disk".into(), "ssd".into())]),
            }],
            next_page_token: None,
        };
        let expected = json!({
            "machines": [{"id": "0123", "primaryIP": "192.0.2.1", "metadata": {"disk": "ssd"}}],
        });
        assert_eq!(to_value(&page).unwrap(), expected);
    }

    #[test]
    fn what_is_empty_is_left_out() {
        assert_eq!(to_value(FleetUnit::default()).unwrap(), json!({}));
        assert_eq!(to_value(UnitPage::default()).unwrap(), json!({}));
        assert_eq!(to_value(UnitState::default()).unwrap(), json!({}));
        assert_eq!(to_value(UnitStatePage::default()).unwrap(), json!({}));
        assert_eq!(to_value(FleetMachine::default()).unwrap(), json!({}));
        assert_eq!(to_value(MachinePage::default()).unwrap(), json!({}));
    }

    #[test]
    fn what_is_absent_null_or_unknown_is_no_error() {
        let unit =
            from_value(json!({"desiredState": "loaded", "options": null, "new": 1})).unwrap();
        assert_eq!(FleetUnit { desired_state: "loaded".into(), ..FleetUnit::default() }, unit);
        assert!(from_value::<FleetUnit>(json!({"name": 1})).is_err());
    }

    #[test]
    fn an_error_has_fleets_shape() {
        let error = ErrorBody { error: ErrorDetail { code: 404, message: "no such unit".into() } };
        let expected = json!({"error": {"code": 404, "message": "no such unit"}});
        assert_eq!(to_value(&error).unwrap(), expected);
    }
}
