//! `/fleet/v1/discovery`: what fleet's API offers, as a Google-style discovery document.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::http::error;

pub(super) async fn get() -> Response {
    error::json(StatusCode::OK, &document())
}

fn document() -> Value {
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
        "schemas": schemas(),
        "resources": resources(),
    })
}

/// An object type with its properties.
fn object(id: &str, properties: &Value) -> (String, Value) {
    (id.to_owned(), json!({ "id": id, "type": "object", "properties": properties }))
}

/// A page of a list.
fn page(id: &str, field: &str, of: &str) -> (String, Value) {
    let mut properties = Map::new();
    properties.insert(field.to_owned(), json!({ "type": "array", "items": { "$ref": of } }));
    properties.insert("nextPageToken".to_owned(), string());
    object(id, &Value::Object(properties))
}

fn string() -> Value {
    json!({ "type": "string" })
}

fn schemas() -> Value {
    let state = json!({ "type": "string", "enum": ["inactive", "loaded", "launched"] });
    let metadata = json!({
        "type": "object",
        "properties": {},
        "additionalProperties": { "type": "string" },
    });
    let all = [
        object("Machine", &json!({ "id": string(), "primaryIP": string(), "metadata": metadata })),
        page("MachinePage", "machines", "Machine"),
        object("UnitOption", &json!({ "section": string(), "name": string(), "value": string() })),
        object(
            "Unit",
            &json!({
                "name": string(),
                "options": { "type": "array", "items": { "$ref": "UnitOption" } },
                "desiredState": state,
                "currentState": state,
                "machineID": { "type": "string", "required": true },
            }),
        ),
        page("UnitPage", "units", "Unit"),
        object(
            "UnitState",
            &json!({
                "name": string(),
                "hash": string(),
                "machineID": string(),
                "systemdLoadState": string(),
                "systemdActiveState": string(),
                "systemdSubState": string(),
            }),
        ),
        page("UnitStatePage", "states", "UnitState"),
    ];
    Value::Object(all.into_iter().collect())
}

/// One method; `{name}` in its path and the query parameters become its parameters.
fn method(id: &str, verb: &str, path: &str, query: &[&str], about: &str, body: Value) -> Value {
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

fn resources() -> Value {
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
            "List": method("Machine.List", "GET", "machines", token, list_machines, answers("MachinePage")),
        } },
        "Units": { "methods": {
            "List": method("Unit.List", "GET", "units", token, list_units, answers("UnitPage")),
            "Get": method("Unit.Get", "GET", unit, &[], "Retrieve a single Unit object.", answers("Unit")),
            "Delete": method("Unit.Delete", "DELETE", unit, &[], "Delete the referenced Unit object.", json!({})),
            "Set": method("Unit.Set", "PUT", unit, &[], "Create or update a Unit.", set),
        } },
        "UnitState": { "methods": {
            "Get": method("UnitState.Get", "GET", "state/{unitName}", &[], get_state, answers("UnitState")),
            "List": method("UnitState.List", "GET", "state", filters, list_states, answers("UnitStatePage")),
        } },
    })
}
