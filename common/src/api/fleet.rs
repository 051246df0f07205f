//! fleet's API, `/fleet/v1`, field by field as the real fleetctl reads and writes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::unit::UnitOption;

/// A unit, in `PUT /units/NAME` and in answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Unit {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its file, option by option.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<UnitOption>,
    /// `inactive`, `loaded` or `launched`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub desired_state: String,
    /// `inactive`, `loaded` or `launched`: how far the machine has come.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_state: String,
    /// Where it is placed.
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
}

/// `GET /units`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitPage {
    /// The units of this page.
    pub units: Vec<Unit>,
    /// Token for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// One machine's report of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "fleet's own field names")]
pub struct UnitState {
    pub name: String,
    pub hash: String,
    #[serde(rename = "machineID")]
    pub machine_id: String,
    pub systemd_load_state: String,
    pub systemd_active_state: String,
    pub systemd_sub_state: String,
}

/// `GET /state`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitStatePage {
    /// The states of this page.
    pub states: Vec<UnitState>,
    /// Token for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// A machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Machine {
    /// Its id, in full.
    pub id: String,
    /// The address it shows.
    #[serde(rename = "primaryIP")]
    pub primary_ip: String,
    /// Its metadata, configured and set at run time.
    pub metadata: BTreeMap<String, String>,
}

/// `GET /machines`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MachinePage {
    /// The machines of this page.
    pub machines: Vec<Machine>,
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

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// The HTTP status code, repeated.
    pub code: u16,
    /// What is wrong and, where there is one, the way out.
    pub message: String,
}
