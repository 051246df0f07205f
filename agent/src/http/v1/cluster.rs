//! Who belongs to the cluster: a host that joins.
//!
//! Owns who may ask, and what is answered. A token's secret is spoken over TLS only, to a server that has shown the authority which the
//! token names; over anything else it is not listened to.

use axum::extract::{Extension, State};
use axum::response::Response;
use http::StatusCode;
use muster_common::api::join::JoinMessage;

use crate::http::app::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::Body;
use crate::identity::MembershipError;
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
    let authority = app.cluster_authority().ok_or_else(|| {
        ApiError::in_conflict("this daemon lets nobody join; ask one of the cluster's servers")
    })?;
    let answer = authority.admit_host(&message).await?;
    Ok(json(StatusCode::OK, &answer))
}

impl From<MembershipError> for ApiError {
    fn from(error: MembershipError) -> Self {
        let status = match error {
            MembershipError::Registry(error) => return error.into(),
            MembershipError::Join(_) => StatusCode::FORBIDDEN,
            MembershipError::Token(_) | MembershipError::Request(_) | MembershipError::Order(_) => {
                StatusCode::BAD_REQUEST
            }
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
