//! The parts of a request that handlers take, each with an error a person can act on.
//!
//! Owns the checks every request passes: content type, body limit, JSON, names and query parameters.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use muster_common::text::{cut_text, quote_text};
use muster_common::unit::UnitName;
use serde::de::DeserializeOwned;

use super::app::App;
use super::body::{BodyError, read_whole};
use super::error::ApiError;

/// Most bytes of what an answer says of a body that cannot be read: longer than anything that is said of one that was meant.
const LONGEST_PROBLEM: usize = 1024;

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

/// The unit named in the path.
pub(crate) struct Name(pub(crate) UnitName);

/// Query parameters in order.
pub(crate) struct Params(Vec<(String, String)>);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        is_json(request.headers(), &["application/json"])?;
        read_json(request, app).await.map(Self)
    }
}

/// Reads a body as JSON, whatever its content type says.
pub(crate) async fn read_json<T: DeserializeOwned>(
    request: Request,
    app: &App,
) -> Result<T, ApiError> {
    let (parts, body) = request.into_parts();
    let body = read_whole(&parts.headers, body, app.body_limit()).await?;
    // With the path to what is wrong: a value that is refused does not know the name of its field.
    let mut reader = serde_json::Deserializer::from_slice(&body);
    let refuse = |error: String| {
        // It repeats names that it does not know, of any length.
        let shown = cut_text(&error, LONGEST_PROBLEM);
        let dots = if shown.len() < error.len() { "..." } else { "" };
        ApiError::bad_request(format!("unable to decode body: {shown}{dots}"))
    };
    let value =
        serde_path_to_error::deserialize(&mut reader).map_err(|error| refuse(error.to_string()))?;
    reader.end().map_err(|error| refuse(error.to_string()))?;
    Ok(value)
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        let hint = match &error {
            BodyError::TooLarge(_) => "; send fewer units at a time, or raise http.body_limit",
            _ => "",
        };
        Self::new(error.status(), format!("{error}{hint}"))
    }
}

/// 415 unless there is one content type and it is one of these, parameters aside.
pub(crate) fn is_json(headers: &HeaderMap, accepted: &[&str]) -> Result<(), ApiError> {
    let wrong = |message: String| Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        let count = headers.get_all(header::CONTENT_TYPE).iter().count();
        return wrong(format!("expected 1 Content-Type, got {count}"));
    };
    let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !accepted.iter().any(|a| a.eq_ignore_ascii_case(kind)) {
        return wrong(format!("only acceptable Content-Type is {}", accepted.join(" or ")));
    }
    Ok(())
}

impl FromRequestParts<App> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Path(name): Path<String> = Path::from_request_parts(parts, app)
            .await
            .map_err(|error| ApiError::bad_request(error.body_text()))?;
        name.parse().map(Self).map_err(|error: muster_common::unit::InvalidUnitName| {
            ApiError::bad_request(error.to_string())
        })
    }
}

impl FromRequestParts<App> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Query(pairs) = Query::from_request_parts(parts, app)
            .await
            .map_err(|error| ApiError::bad_request(error.body_text()))?;
        Ok(Self(pairs))
    }
}

impl Params {
    /// The values of a parameter.
    pub(crate) fn values_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The parameter, empty counting as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// The parameter as a value of some type, or an error that says what was expected.
    pub(crate) fn parse<T: std::str::FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, ApiError> {
        self.get(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    ApiError::bad_request(format!(
                        "{name}={}: expected {expected}",
                        quote_text(text)
                    ))
                })
            })
            .transpose()
    }

    /// 400 for a parameter that means nothing, which is most likely misspelt.
    pub(crate) fn allow_only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.0.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, _)) => Err(ApiError::bad_request(format!(
                "unknown parameter {key:?}; expected {}",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            ))),
            None => Ok(()),
        }
    }
}
