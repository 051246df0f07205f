//! Requests about machines: cordons, drains, reboots and slots, and the end of a freeze.

use muster_common::api::cordon::{CordonRequest, UncordonRequest};
use muster_common::api::drain::DrainRequest;
use muster_runtime::sleep;
use serde_json::json;

use super::errand::{AGAIN, ATTEMPTS, Errand};
use super::notes::UserNote;
use crate::api_call::ApiRequest;
use crate::api_line::NoAnswer;
use crate::plan::shape::Shape;
use crate::plan::users::UserRequest;

impl Errand {
    /// Makes a request about a machine, until it is done where its user insists.
    pub(super) async fn ask_about_machines(self, request: &UserRequest) {
        let Some(asked) = machine_request(request) else { return };
        for attempt in 0..ATTEMPTS {
            let machine = self.machine_at(attempt);
            let answered =
                self.line.ask_daemon(machine, asked.clone(), self.patience_at(attempt)).await;
            let status = answered.map_or(0, |(status, _)| status);
            self.notes.add_note(UserNote::Machine { request: self.number, status });
            // What cannot be is not asked for again.
            if !self.manner.insists || (200..300).contains(&status) {
                return;
            }
            sleep(AGAIN).await;
        }
    }

    /// Looks at all that there is, as a person does who wonders. Nothing is promised by that.
    pub(super) async fn look_around(self) {
        let machine = self.machine_at(0);
        for path in ["/v1/units", "/v1/states", "/v1/machines", "/v1/inspect/machines", "/v1/plan"]
        {
            let looked =
                self.line.ask_daemon(machine, ApiRequest::get(path), self.patience_at(1)).await;
            let status = looked.map_or_else(|NoAnswer| 0, |(status, _)| status);
            self.notes.add_note(UserNote::Machine { request: self.number, status });
        }
    }
}

/// The request to the API; `None` for one that is not about machines.
fn machine_request(request: &UserRequest) -> Option<ApiRequest> {
    let path = |machine: usize, what: &str| {
        format!("/v1/machines/{}/{what}", Shape::machine_name(machine))
    };
    Some(match *request {
        UserRequest::Cordon { machine } => {
            ApiRequest::post_to(path(machine, "cordon"), &CordonRequest::default())
        }
        UserRequest::Drain { machine } => {
            ApiRequest::post_to(path(machine, "drain"), &DrainRequest::default())
        }
        UserRequest::Uncordon { machine } => {
            ApiRequest::post_to(path(machine, "uncordon"), &UncordonRequest::default())
        }
        UserRequest::Unfreeze => ApiRequest::post_to("/v1/unfreeze", &json!(null)),
        UserRequest::Reboot { machine } => {
            ApiRequest::post_to("/v1/reboot/request", &json!({"id": Shape::machine_name(machine)}))
        }
        UserRequest::CancelReboot { machine } => {
            ApiRequest::post_to("/v1/reboot/cancel", &json!({"id": Shape::machine_name(machine)}))
        }
        UserRequest::SetSlots { max } => {
            ApiRequest::post_to("/v1/reboot/max", &json!({"max": max}))
        }
        _ => return None,
    })
}
