//! Who belongs to the cluster: a host that joins, and one that has its certificate renewed.
//!
//! Owns who may ask, and what is answered. A token's secret is spoken over TLS only, to a server that has shown the authority which the
//! token names; over anything else it is not listened to.

use axum::extract::{Extension, State};
use axum::response::Response;
use http::StatusCode;
use muster_common::api::join::{JoinMessage, RenewMessage};

use crate::http::app::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::Body;
use crate::identity::{ClusterAuthority, MembershipError};
use crate::net::tls::TlsPeer;
use crate::stdx::errors::error_chain;

pub(super) async fn join_cluster(
    State(app): State<App>,
    peer: Option<Extension<TlsPeer>>,
    Body(message): Body<JoinMessage>,
) -> Result<Response, ApiError> {
    if peer.is_none() {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "a host joins over TLS: musterd join TOKEN HOST:PORT on that host",
        ));
    }
    let answer = known_authority(&app)?.admit_host(&message).await?;
    Ok(json(StatusCode::OK, &answer))
}

pub(super) async fn renew_certificate(
    State(app): State<App>,
    peer: Option<Extension<TlsPeer>>,
    Body(message): Body<RenewMessage>,
) -> Result<Response, ApiError> {
    let Some(Extension(TlsPeer(Some(certificate)))) = peer else {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "a certificate is renewed over TLS, for a host that shows the one it has",
        ));
    };
    let answer = known_authority(&app)?.renew_host(&certificate, &message).await?;
    Ok(json(StatusCode::OK, &answer))
}

fn known_authority(app: &App) -> Result<&ClusterAuthority, ApiError> {
    app.cluster_authority().ok_or_else(|| {
        ApiError::in_conflict(
            "this daemon issues no certificates; ask one of the cluster's servers",
        )
    })
}

impl From<MembershipError> for ApiError {
    fn from(error: MembershipError) -> Self {
        let status = match error {
            MembershipError::Registry(error) => return error.into(),
            MembershipError::Join(_) | MembershipError::Access(_) => StatusCode::FORBIDDEN,
            MembershipError::Token(_)
            | MembershipError::Request(_)
            | MembershipError::OtherRequest
            | MembershipError::Order(_) => StatusCode::BAD_REQUEST,
            MembershipError::Begin(_)
            | MembershipError::NoAuthority
            | MembershipError::NoCluster
            | MembershipError::NoKeyHere { .. }
            | MembershipError::Contended => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error_chain(&error))
    }
}
