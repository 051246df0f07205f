//! `/fleet/v1/machines`, and run-time metadata by JSON Patch (RFC 6902).

use axum::extract::{Request, State};
use axum::response::Response;
use http::{StatusCode, header};
use muster_common::api::fleet::{Machine, MachinePage};
use muster_common::machine::MachineId;
use muster_common::text::{self, is_hidden, quoted};
use serde::Deserialize;

use super::page::Page;
use crate::http::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::{Params, is_json, read_json};

pub(super) async fn list(State(app): State<App>, params: Params) -> Result<Response, ApiError> {
    let page = Page::asked_for(&params, app.token_limit)?;
    let reader = app.view.fresh().await?;
    let answer = reader.read(|snapshot| {
        let (machines, next_page_token) = page.cut(snapshot.machines.values());
        let machines = machines.into_iter().map(|machine| Machine {
            id: machine.id.to_string(),
            primary_ip: machine.address.clone(),
            metadata: snapshot.metadata_of(&machine.id),
        });
        MachinePage { machines: machines.collect(), next_page_token }
    });
    Ok(json(StatusCode::OK, &answer))
}

/// Longest key, in bytes: it becomes a part of a record's key, escaped.
const LONGEST_KEY: usize = 128;

/// One operation of a patch.
#[derive(Deserialize)]
struct Operation {
    op: String,
    path: String,
    #[serde(default)]
    value: Option<serde_json::Value>,
}

/// One change of one machine's metadata; `None` removes the key.
type MetadataChange = (MachineId, String, Option<String>);

pub(super) async fn patch(
    State(app): State<App>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    // fleet looked at no content type here, so a request without one passes.
    if request.headers().contains_key(header::CONTENT_TYPE) {
        is_json(request.headers(), &["application/json", "application/json-patch+json"])?;
    }
    let operations: Vec<Operation> = read_json(request, &app).await?;
    let changes: Vec<MetadataChange> = operations.iter().map(change).collect::<Result<_, _>>()?;
    if !changes.is_empty() {
        app.registry.set_metadata(&changes).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

fn change(operation: &Operation) -> Result<MetadataChange, ApiError> {
    let path = &operation.path;
    let wrong_path = || {
        ApiError::bad_request(format!(
            "machine metadata path invalid: {}; expected /MACHINE/metadata/KEY",
            quoted(path)
        ))
    };
    let mut parts = path.split('/');
    let (Some(""), Some(machine), Some("metadata"), Some(key), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong_path());
    };
    let machine: MachineId = machine.parse().map_err(|_| wrong_path())?;
    // JSON Pointer's escapes (RFC 6901); the tilde last.
    let key = key.replace("~1", "/").replace("~0", "~");
    let plain = |c: char| !is_hidden(c) && !c.is_whitespace() && c != '=' && c != ',';
    if key.len() > LONGEST_KEY {
        return Err(ApiError::bad_request(format!(
            "metadata key {}: a key of {} bytes, and at most {LONGEST_KEY} are taken",
            quoted(&key),
            key.len()
        )));
    }
    if key.is_empty() || !key.chars().all(plain) {
        return Err(wrong_path());
    }
    let value = match operation.op.as_str() {
        "remove" => None,
        "add" | "replace" => match &operation.value {
            Some(serde_json::Value::String(value)) if !value.is_empty() => {
                text::check(value).map_err(|error| {
                    ApiError::bad_request(format!("invalid value for {}: {error}", quoted(path)))
                })?;
                Some(value.clone())
            }
            _ => {
                return Err(ApiError::bad_request(format!(
                    "invalid value for {path}: add and replace require a value that is a string"
                )));
            }
        },
        other => {
            return Err(ApiError::bad_request(format!(
                "invalid op {}: expect add, remove, or replace",
                quoted(other)
            )));
        }
    };
    Ok((machine, key, value))
}
