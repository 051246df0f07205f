//! Names and bodies as fleet took them.
//!
//! Owns two habits of the language fleet is written in: a name that is no unit's is one that is not there, and the keys
//! of a JSON object are matched whatever their case.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use muster_common::unit::{InvalidUnitName, UnitName};
use serde_json::Value;

use crate::http::app::App;
use crate::http::error::ApiError;

/// The last part of a path, whatever it says.
pub(super) struct LastSegment(String);

impl FromRequestParts<App> for LastSegment {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let path: Result<Path<String>, _> = Path::from_request_parts(parts, app).await;
        // What is not UTF-8 is no name either, and stays escaped.
        let raw = || parts.uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Self(path.map_or_else(|_| raw(), |Path(name)| name)))
    }
}

impl LastSegment {
    /// As written.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of a unit that is to be written.
    pub(super) fn unit(&self) -> Result<UnitName, ApiError> {
        self.0.parse().map_err(|error: InvalidUnitName| ApiError::bad_request(error.to_string()))
    }

    /// The name of a unit that is looked for: fleet looked, and did not find it.
    pub(super) fn known_unit(&self) -> Result<UnitName, ApiError> {
        self.0.parse().map_err(|_| not_there())
    }
}

/// fleet's word for a unit that does not exist.
pub(super) fn not_there() -> ApiError {
    ApiError::not_found("unit does not exist")
}

/// Gives the keys of an object the case they are known in. A key in that case already wins over others.
pub(super) fn fold_keys(value: &mut Value, known: &[&str]) {
    let Some(object) = value.as_object_mut() else { return };
    for key in known {
        if object.contains_key(*key) {
            continue;
        }
        let found = object.keys().find(|given| given.eq_ignore_ascii_case(key)).cloned();
        if let Some(value) = found.and_then(|found| object.remove(&found)) {
            object.insert((*key).to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_known_in_any_case() {
        let mut value = json!({"DesiredState": "loaded", "NAME": "a", "Name": "b", "other": 1});
        fold_keys(&mut value, &["name", "desiredState"]);
        assert_eq!(value["desiredState"], "loaded");
        assert!(value["name"].is_string());
        assert_eq!(value["other"], 1);
        let mut exact = json!({"value": 1, "Value": 2});
        fold_keys(&mut exact, &["value"]);
        assert_eq!(exact["value"], 1);
        fold_keys(&mut json!([]), &["value"]);
    }
}
