//! The part of `/v1` that is about machines that are gone for good.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `POST /v1/machines/ID/forget` | none | 200 [`ForgetAnswer`]; 409 while the machine is registered; 404 when nothing is known of it |
//!
//! `ID` is a whole machine id. Its placements, cordon, metadata and reboot records are removed. Units that were placed there are free to
//! go elsewhere.

use serde::{Deserialize, Serialize};

use crate::machine::MachineId;

/// A machine that is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetAnswer {
    /// The machine.
    pub machine: MachineId,
    /// Records that were removed.
    pub records: usize,
}
