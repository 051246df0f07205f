//! Requests that come in over TCP.
//!
//! Owns the look at every request of a TCP listener before any handler sees it: that it is meant for this daemon, and
//! that no web page has sent it. A browser runs anybody's code and reaches whatever its machine reaches, so without this
//! a page on the internet could start units as root. Three things keep it out, each for its own reason:
//!
//! - `Host`: a page whose own name is made to lead to this machine (DNS rebinding) is same-origin with it, and may send
//!   and read whatever it likes, but it cannot hide the name it came by.
//! - `Origin` and `Sec-Fetch-Site`: a browser names the page that sends a request in them, and no page can change that.
//! - the content type: what a page may send without asking first ("simple" requests, Fetch standard) is of three content
//!   types, none of them JSON. It asks with `OPTIONS`, and no answer of ours ever allows it anything.
//!
//! Requests on a unix socket are not looked at: no browser connects to one.

pub mod host;
pub mod names;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};

use self::host::RequestHost;
use crate::http::error::ApiError;
use crate::http::extract::is_json;

/// A browser's word on where a request comes from; see the Fetch Metadata specification.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Below it are the requests of fleet's clients, which send no content type with a body-less `DELETE` (fleetctl) or with
/// any `PATCH` (fleet's own tests).
const FLEET: &str = "/fleet/v1/";

/// FleetLock's clients send no content type. Their own header, without which nothing is done, is one that a page may not
/// send without asking first.
const FLEETLOCK: &str = "/fleetlock/";

/// The paths that such a client asks for when its base URL lacks the last slash. Nothing is there but an answer that says so.
const LOST: [&str; 2] = ["/v1/pre-reboot", "/v1/steady-state"];

/// Most characters of what a client sent that an answer repeats.
const SHOWN: usize = 100;

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The word for it in metrics.
    pub reason: &'static str,
    /// The answer to the client.
    pub error: ApiError,
}

/// Looks at a request. `ours` says whether a host is this daemon.
pub fn check(request: &Parts, ours: impl Fn(&RequestHost) -> bool) -> Result<(), Refused> {
    let host = check_host(request, ours).map_err(|error| Refused { reason: "host", error })?;
    check_origin(&request.headers, &host).map_err(|error| Refused { reason: "origin", error })?;
    check_content_type(request).map_err(|error| Refused { reason: "content_type", error })
}

/// The host that a request is for. What the target says of it counts, and so does the header (RFC 9112, 3.2).
fn check_host(
    request: &Parts,
    ours: impl Fn(&RequestHost) -> bool,
) -> Result<RequestHost, ApiError> {
    let mut headers = request.headers.get_all(header::HOST).iter();
    let (Some(given), None) = (headers.next(), headers.next()) else {
        let count = request.headers.get_all(header::HOST).iter().count();
        return Err(ApiError::bad_request(format!("expected one Host header, got {count}")));
    };
    let text = String::from_utf8_lossy(given.as_bytes());
    let named = |text: &str| {
        let host: RequestHost = text.parse().map_err(|()| {
            ApiError::bad_request(format!("the host {} cannot be read", quote_short(text)))
        })?;
        if ours(&host) {
            return Ok(host);
        }
        Err(ApiError::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!(
                "this daemon is not known as {}; ask it by its address or its host name, or, if that is a name of it, \
                 add it to http.names (--http-names) on its machine",
                quote_short(&host.to_string())
            ),
        ))
    };
    let host = named(&text)?;
    match request.uri.authority() {
        // An absolute target: a proxy's form.
        Some(authority) => named(authority.as_str()),
        None => Ok(host),
    }
}

/// 403 for what a page of another origin sends.
fn check_origin(headers: &HeaderMap, host: &RequestHost) -> Result<(), ApiError> {
    let foreign = |what: String| Err(ApiError::new(StatusCode::FORBIDDEN, what));
    for origin in headers.get_all(header::ORIGIN) {
        let text = String::from_utf8_lossy(origin.as_bytes());
        if !is_own(&text, host) {
            return foreign(format!(
                "requests of web pages are not answered, and this one is sent by {}",
                quote_short(&text)
            ));
        }
    }
    for site in headers.get_all(FETCH_SITE) {
        // `same-site` is another port or a sibling's name: somebody else's page as well. A word that is not known may mean
        // anything.
        if !matches!(site.as_bytes(), b"none" | b"same-origin") {
            let text = String::from_utf8_lossy(site.as_bytes());
            return foreign(format!(
                "requests of web pages are not answered, and this one is from another ({FETCH_SITE}: {}); a link leads \
                 nowhere either: type the address",
                quote_short(&text)
            ));
        }
    }
    Ok(())
}

/// True if an origin is this daemon's, by the name it was asked by. Another port of the same host is another origin.
fn is_own(origin: &str, host: &RequestHost) -> bool {
    let (rest, port) = match (origin.strip_prefix("http://"), origin.strip_prefix("https://")) {
        (Some(rest), _) => (rest, 80),
        (None, Some(rest)) => (rest, 443),
        // `null` among them: a page that hides where it is from.
        (None, None) => return false,
    };
    rest.parse::<RequestHost>().is_ok_and(|origin| {
        origin.name == host.name && origin.port.unwrap_or(port) == host.port.unwrap_or(port)
    })
}

/// 415 for a change that a page could have sent without asking first.
fn check_content_type(request: &Parts) -> Result<(), ApiError> {
    let (method, path) = (&request.method, request.uri.path());
    if is_reading(method) || path.starts_with(FLEETLOCK) || LOST.contains(&path) {
        return Ok(());
    }
    let headers = &request.headers;
    // Any method but POST is asked for first, and a browser puts an origin into it: without one, no browser sent this.
    let marked = headers.contains_key(header::ORIGIN) || headers.contains_key(FETCH_SITE);
    let bare = !headers.contains_key(header::CONTENT_TYPE) && !marked;
    if bare && method != Method::POST && path.starts_with(FLEET) {
        return Ok(());
    }
    let patch: &[&str] = &["application/json", "application/json-patch+json"];
    let json: &[&str] = &["application/json"];
    is_json(headers, if method == Method::PATCH { patch } else { json }).map_err(|error| {
        let message = format!(
            "{}; over TCP a change needs the header Content-Type: application/json, even without a body",
            error.message
        );
        ApiError::new(error.status, message)
    })
}

fn is_reading(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method)
}

/// True if the answer to a request is FleetLock's to form.
pub fn is_fleetlocks(uri: &Uri) -> bool {
    uri.path().starts_with(FLEETLOCK)
}

fn quote_short(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests;
