//! `/fleet/v1/machines`, and run-time metadata by JSON Patch (RFC 6902).

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use muster_common::api::fleet::MachinePage;
use muster_common::machine::MachineId;
use muster_common::text::{self, is_hidden, quote_text};
use muster_engine::cluster::fleet::fleet_machine;
use muster_store::MAX_GUARDS;
use serde::Deserialize;
use serde_json::Value;

use super::item::fold_keys;
use super::page::Page;
use crate::http::app::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::{Params, is_json, read_json};

pub(super) async fn list(State(app): State<App>, params: Params) -> Result<Response, ApiError> {
    let page = Page::asked_for(&params, app.token_limit)?;
    let reader = app.view.fresh_reader().await?;
    let answer = reader.read(|snapshot| {
        let (machines, next_page_token) = page.cut_page(snapshot.machines.values());
        let machines = machines.into_iter().map(|machine| fleet_machine(snapshot, machine));
        MachinePage { machines: machines.collect(), next_page_token }
    });
    Ok(json(StatusCode::OK, &answer))
}

/// Longest key, in bytes: it becomes a part of a record's key, escaped.
const LONGEST_KEY: usize = 128;

/// One operation of a patch.
#[derive(Deserialize)]
struct Operation {
    #[serde(default)]
    op: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    value: Option<Value>,
}

/// One change of one machine's metadata; `None` removes the key.
type MetadataChange = ((MachineId, String), Option<String>);

/// Sets and removes metadata: all of a patch, or nothing where one operation is at fault.
pub(super) async fn patch_metadata(
    State(app): State<App>,
    request: Request,
) -> Result<Response, ApiError> {
    // fleet looked at no content type here, so a request without one passes.
    if request.headers().contains_key(header::CONTENT_TYPE) {
        is_json(request.headers(), &["application/json", "application/json-patch+json"])?;
    }
    let operations: Vec<Value> = read_json(request, &app).await?;
    if operations.len() > MAX_GUARDS {
        return Err(ApiError::bad_request(format!(
            "a patch of {} operations, and at most {MAX_GUARDS} are carried out at once; send several",
            operations.len()
        )));
    }
    // One after the other, so the last word on a key counts.
    let changes: BTreeMap<(MachineId, String), Option<String>> =
        operations.into_iter().map(read).collect::<Result<_, _>>()?;
    if !changes.is_empty() {
        let reader = app.view.fresh_reader().await?;
        let limits = &app.client_quotas().store;
        if let Some(beyond) = reader.read(|snapshot| limits.metadata_refusal(snapshot, &changes)) {
            return Err(ApiError::new(StatusCode::INSUFFICIENT_STORAGE, beyond));
        }
        let changes: Vec<_> =
            changes.into_iter().map(|((machine, key), value)| (machine, key, value)).collect();
        app.registry.set_metadata(&changes).await?;
    }
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((StatusCode::NO_CONTENT, content_type).into_response())
}

fn read(mut operation: Value) -> Result<MetadataChange, ApiError> {
    fold_keys(&mut operation, &["op", "path", "value"]);
    let operation: Operation = serde_json::from_value(operation)
        .map_err(|error| ApiError::bad_request(format!("unable to decode body: {error}")))?;
    metadata_change(operation)
}

fn metadata_change(operation: Operation) -> Result<MetadataChange, ApiError> {
    let path = &operation.path;
    let wrong_path = || {
        ApiError::bad_request(format!(
            "machine metadata path invalid: {}; expected /MACHINE/metadata/KEY",
            quote_text(path)
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
            quote_text(&key),
            key.len()
        )));
    }
    if key.is_empty() || !key.chars().all(plain) {
        return Err(wrong_path());
    }
    let value = match operation.op.as_str() {
        "remove" => None,
        "add" | "replace" => match operation.value.and_then(plain_text) {
            Some(value) if !value.is_empty() => {
                text::check(&value).map_err(|error| {
                    ApiError::bad_request(format!(
                        "invalid value for {}: {error}",
                        quote_text(path)
                    ))
                })?;
                Some(value)
            }
            _ => {
                return Err(ApiError::bad_request(format!(
                    "invalid value for {}: add and replace require a value, \"x\" or {{\"value\": \"x\"}}",
                    quote_text(path)
                )));
            }
        },
        other => {
            return Err(ApiError::bad_request(format!(
                "invalid op {}: expect add, remove, or replace",
                quote_text(other)
            )));
        }
    };
    Ok(((machine, key), value))
}

/// The text of a value: fleetd took it inside an object, fleet's documentation and RFC 6902 show it plain.
fn plain_text(mut value: Value) -> Option<String> {
    fold_keys(&mut value, &["value"]);
    match value {
        Value::String(text) => Some(text),
        Value::Object(mut object) => match object.remove("value") {
            Some(Value::String(text)) => Some(text),
            _ => None,
        },
        _ => None,
    }
}
