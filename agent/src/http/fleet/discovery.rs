//! `/fleet/v1/discovery`: what fleet's API offers, as a Google-style discovery document.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::http::error;

pub(super) async fn get() -> Response {
    error::json(StatusCode::OK, &discovery_document())
}

fn discovery_document() -> Value {
    json!({
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": "fleet:v1",
        "name": "schema",
        "version": "v1",
        "title": "fleet API",
        "description": "",
        "documentationLink": "https://github.com/coreos/fleet",
        "protocol": "rest",
        "icons": { "x16": "", "x32": "" },
        "labels": [],
        "baseUrl": "$ENDPOINT/fleet/v1/",
        "basePath": "/fleet/v1/",
        "rootUrl": "$ENDPOINT/",
        "servicePath": "fleet/v1/",
        "batchPath": "batch",
        "parameters": {},
        "auth": {},
        "schemas": all_schemas(),
        "resources": all_resources(),
    })
}

/// An object type with its properties.
fn object_schema(id: &str, properties: &Value) -> (String, Value) {
    (id.to_owned(), json!({ "id": id, "type": "object", "properties": properties }))
}

/// A page of a list.
fn page_schema(id: &str, field: &str, of: &str) -> (String, Value) {
    let mut properties = Map::new();
    properties.insert(field.to_owned(), json!({ "type": "array", "items": { "$ref": of } }));
    properties.insert("nextPageToken".to_owned(), string_schema());
    object_schema(id, &Value::Object(properties))
}

fn string_schema() -> Value {
    json!({ "type": "string" })
}

fn all_schemas() -> Value {
    let state = json!({ "type": "string", "enum": ["inactive", "loaded", "launched"] });
    let metadata = json!({
        "type": "object",
        "properties": {},
        "additionalProperties": { "type": "string" },
    });
    let all = [
        object_schema(
            "Machine",
            &json!({ "id": string_schema(), "primaryIP": string_schema(), "metadata": metadata }),
        ),
        page_schema("MachinePage", "machines", "Machine"),
        object_schema(
            "UnitOption",
            &json!({ "section": string_schema(), "name": string_schema(), "value": string_schema() }),
        ),
        object_schema(
            "Unit",
            &json!({
                "name": string_schema(),
                "options": { "type": "array", "items": { "$ref": "UnitOption" } },
                "desiredState": state,
                "currentState": state,
                "machineID": { "type": "string", "required": true },
            }),
        ),
        page_schema("UnitPage", "units", "Unit"),
        object_schema(
            "UnitState",
            &json!({
                "name": string_schema(),
                "hash": string_schema(),
                "machineID": string_schema(),
                "systemdLoadState": string_schema(),
                "systemdActiveState": string_schema(),
                "systemdSubState": string_schema(),
            }),
        ),
        page_schema("UnitStatePage", "states", "UnitState"),
    ];
    Value::Object(all.into_iter().collect())
}

/// One method; `{name}` in its path and the query parameters become its parameters.
fn method_entry(
    id: &str,
    verb: &str,
    path: &str,
    query: &[&str],
    about: &str,
    body: Value,
) -> Value {
    let mut parameters = Map::new();
    let mut order = Vec::new();
    if path.ends_with("{unitName}") {
        let parameter = json!({ "type": "string", "location": "path", "required": true });
        parameters.insert("unitName".to_owned(), parameter);
        order.push("unitName");
    }
    for name in query {
        parameters.insert((*name).to_owned(), json!({ "type": "string", "location": "query" }));
    }
    let mut method = json!({
        "id": format!("fleet.{id}"),
        "description": about,
        "httpMethod": verb,
        "path": path,
        "parameters": parameters,
        "parameterOrder": order,
    });
    if let (Value::Object(method), Value::Object(body)) = (&mut method, body) {
        method.extend(body);
    }
    method
}

fn all_resources() -> Value {
    let answers = |of: &str| json!({ "response": { "$ref": of } });
    let token = &["nextPageToken"];
    let filters = &["nextPageToken", "unitName", "machineID"];
    let unit = "units/{unitName}";
    let list_machines = "Retrieve a page of Machine objects.";
    let list_units = "Retrieve a page of Unit objects.";
    let get_state = "Retrieve a single UnitState object.";
    let list_states = "Retrieve a page of UnitState objects.";
    let set = json!({ "request": { "$ref": "Unit" } });
    json!({
        "Machines": { "methods": {
            "List": method_entry("Machine.List", "GET", "machines", token, list_machines, answers("MachinePage")),
        } },
        "Units": { "methods": {
            "List": method_entry("Unit.List", "GET", "units", token, list_units, answers("UnitPage")),
            "Get": method_entry("Unit.Get", "GET", unit, &[], "Retrieve a single Unit object.", answers("Unit")),
            "Delete": method_entry("Unit.Delete", "DELETE", unit, &[], "Delete the referenced Unit object.", json!({})),
            "Set": method_entry("Unit.Set", "PUT", unit, &[], "Create or update a Unit.", set),
        } },
        "UnitState": { "methods": {
            "Get": method_entry("UnitState.Get", "GET", "state/{unitName}", &[], get_state, answers("UnitState")),
            "List": method_entry("UnitState.List", "GET", "state", filters, list_states, answers("UnitStatePage")),
        } },
    })
}
