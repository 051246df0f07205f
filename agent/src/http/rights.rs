//! What a host may ask over TLS.
//!
//! Owns that one rule: a host of the cluster may read, which is what daemons ask each other, and have its certificate renewed; one whose
//! certificate is over may do the latter only; and whoever has shown no certificate may join. Everything else is for people, who come by the unix socket. That a certificate is of a host of the cluster is said by
//! its record, so that a host that was removed is nobody from then on. Connections without TLS are none of its business.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use muster_identity::{AccessRefusal, CertificateAge, authorize_host};

use super::app::App;
use super::error::ApiError;
use crate::net::tls::TlsPeer;

/// Where a host joins: it has nothing yet to show.
const JOIN: &str = "/v1/cluster/join";

/// Where a host asks for its next certificate, with one that may be over.
const RENEW: &str = "/v1/cluster/renew";

/// Lets a request in, or says why not.
pub(super) async fn check_host(State(app): State<App>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<TlsPeer>();
    match peer.cloned() {
        Some(peer) if request.uri().path() != JOIN => {
            match check_peer(&app, &peer, request.method(), request.uri().path()).await {
                Ok(()) => next.run(request).await,
                Err(refused) => refused.into_response(),
            }
        }
        _ => next.run(request).await,
    }
}

async fn check_peer(
    app: &App,
    TlsPeer(shown): &TlsPeer,
    method: &Method,
    path: &str,
) -> Result<(), ApiError> {
    let Some(certificate) = shown else {
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "only hosts of this cluster are answered here, and this client has shown no certificate of one",
        ));
    };
    let found = app.registry.host_record(certificate.name.machine()).await?;
    authorize_host(certificate, found.as_ref().map(|found| &found.record))?;
    if path == RENEW {
        return Ok(());
    }
    if certificate.validity.age_at(app.wall.unix_seconds()) == CertificateAge::Expired {
        let end = certificate.validity.not_after;
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            format!(
                "this host's certificate ended at {end} (Unix seconds): it may ask for the next one and for nothing else"
            ),
        ));
    }
    if method != Method::GET {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "a host may read and change nothing; changes are for people, on the unix socket of any daemon",
        ));
    }
    Ok(())
}

impl From<AccessRefusal> for ApiError {
    fn from(refusal: AccessRefusal) -> Self {
        Self::new(StatusCode::FORBIDDEN, refusal.to_string())
    }
}
