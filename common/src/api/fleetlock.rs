//! FleetLock, to the letter: what Zincati and other hosts that are none of Muster's ask before they reboot.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /fleetlock/v1/pre-reboot` | 200: the slot is the client's, now or still; else an [`Rejection`] |
//! | `POST /fleetlock/v1/steady-state` | 200: the client holds no slot, any longer or anyway; else an [`Rejection`] |
//!
//! Both take the header `fleet-lock-protocol: true` and a body of [`Identity`]'s form, whatever its content type.
//!
//! Owns the reading of a request and the words of a rejection. It never decides who gets a slot.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::reboot::{Group, HolderId, InvalidGroup, InvalidHolderId};
use crate::text::{self, InvalidText};

/// The header every request has; its value is [`PROTOCOL`].
pub const HEADER: &str = "fleet-lock-protocol";

/// The one value of [`HEADER`].
pub const PROTOCOL: &str = "true";

/// Most bytes of a body. The longest id and group, every character of them escaped, take three thousand.
pub const BODY_LIMIT: usize = 8 * 1024;

/// Who asks, and for which group: `{"client_params":{"id":"…","group":"…"}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The client: Zincati sends its machine's app-specific id.
    pub id: HolderId,
    /// Its group.
    pub group: Group,
}

/// A request that does not say who asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// The header is missing, or there are several, or it has another value.
    #[error("expected one header {HEADER}: {PROTOCOL}")]
    Header,
    /// The body is not of the form.
    #[error("expected the body {{\"client_params\":{{\"id\":\"...\",\"group\":\"...\"}}}}: {0}")]
    Body(String),
    /// The id cannot be a holder's.
    #[error("client_params.id: {0}")]
    Id(InvalidHolderId),
    /// The id cannot be seen.
    #[error("client_params.id: {0}")]
    Hidden(InvalidText),
    /// The group cannot be one.
    #[error("client_params.group: {0}")]
    Group(InvalidGroup),
}

#[derive(Deserialize)]
struct Body {
    client_params: Params,
}

#[derive(Deserialize)]
struct Params {
    id: String,
    group: String,
}

impl Identity {
    /// Reads a request: all values of [`HEADER`], and the body.
    pub fn read<'a>(
        header: impl IntoIterator<Item = &'a [u8]>,
        body: &[u8],
    ) -> Result<Self, InvalidIdentity> {
        let mut values = header.into_iter();
        if (values.next(), values.next()) != (Some(PROTOCOL.as_bytes()), None) {
            return Err(InvalidIdentity::Header);
        }
        let Body { client_params } = serde_json::from_slice(body)
            .map_err(|error| InvalidIdentity::Body(error.to_string()))?;
        let id: HolderId = client_params.id.parse().map_err(InvalidIdentity::Id)?;
        text::check(id.as_str()).map_err(InvalidIdentity::Hidden)?;
        Ok(Self { id, group: client_params.group.parse().map_err(InvalidIdentity::Group)? })
    }
}

/// The problem, for programs. The first four are airlock's, the reference server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectionKind {
    /// The request does not say who asks.
    InvalidClientIdentity,
    /// There is no such group.
    UnknownGroup,
    /// No slot is free; or it could be neither taken nor freed among so many who tried.
    FailedLock,
    /// The group's semaphore cannot be read.
    FailedSemInit,
    /// FleetLock knows only POST.
    MethodNotAllowed,
    /// FleetLock has no such path.
    NotFound,
    /// The request is not for this server, or a web page has sent it.
    Refused,
}

impl fmt::Display for RejectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidClientIdentity => "invalid_client_identity",
            Self::UnknownGroup => "unknown_group",
            Self::FailedLock => "failed_lock",
            Self::FailedSemInit => "failed_sem_init",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
        })
    }
}

/// The body of every answer but 200.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// For programs.
    pub kind: RejectionKind,
    /// For people: what is wrong, and who holds the slots where that is it.
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        r#"{"client_params":{"id":"c988d2509fdf5cdcbed39037c56406fb","group":"workers"}}"#;

    fn read(header: &[&str], body: &str) -> Result<Identity, InvalidIdentity> {
        Identity::read(header.iter().map(|value| value.as_bytes()), body.as_bytes())
    }

    #[test]
    fn a_request_names_client_and_group() {
        let identity = read(&["true"], GOOD).unwrap();
        assert_eq!(identity.id.as_str(), "c988d2509fdf5cdcbed39037c56406fb");
        assert_eq!(identity.group.as_str(), "workers");
        let spaced = "{\n  \"client_params\": { \"group\": \"a\", \"id\": \"b\", \"more\": 1 },\n  \"more\": {}\n}\n";
        assert_eq!(read(&["true"], spaced).unwrap().id.as_str(), "b");
    }

    #[test]
    fn the_header_has_one_value_and_one_spelling() {
        for header in [&[][..], &[""], &["TRUE"], &["true "], &["1"], &["false"], &["true", "true"]]
        {
            assert_eq!(read(header, GOOD), Err(InvalidIdentity::Header), "{header:?}");
        }
    }

    #[test]
    fn a_rejection_is_written_as_airlock_does() {
        let kinds = [
            RejectionKind::InvalidClientIdentity,
            RejectionKind::UnknownGroup,
            RejectionKind::FailedLock,
            RejectionKind::FailedSemInit,
            RejectionKind::MethodNotAllowed,
            RejectionKind::NotFound,
        ];
        for kind in kinds {
            let rejection = Rejection { kind, value: "v".to_owned() };
            let text = serde_json::to_string(&rejection).unwrap();
            assert_eq!(text, format!(r#"{{"kind":"{kind}","value":"v"}}"#));
        }
    }
}
