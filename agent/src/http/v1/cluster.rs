//! Who belongs to the cluster: root who begins it and lets others join, a host that joins, and one that has its certificate renewed.
//!
//! Owns who may ask, and what is answered. A token's secret is spoken over TLS only, to a server that has shown the authority which the
//! token names; over anything else it is not listened to.

use std::time::Duration;

use axum::extract::{Extension, State};
use axum::response::Response;
use http::StatusCode;
use muster_common::api::join::{
    BeginAnswer, BeginMessage, JoinMessage, RenewMessage, TokenAnswer, TokenMessage,
};
use muster_identity::TokenOrder;

use crate::http::app::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::Body;
use crate::identity::{ClusterAuthority, MembershipError};
use crate::net::quota::LocalUser;
use crate::net::tls::TlsPeer;
use crate::stdx::errors::error_chain;

pub(super) async fn begin_cluster(
    State(app): State<App>,
    user: Option<Extension<LocalUser>>,
    Body(message): Body<BeginMessage>,
) -> Result<Response, ApiError> {
    check_root(user)?;
    let authority = known_authority(&app)?;
    let begun = authority.begin_cluster(&message.by).await?;
    let own = begun.own_certificate();
    let issuer = begun.trust_bundle().trusted_authorities().first();
    let answer = BeginAnswer {
        cluster: own.name.cluster_id(),
        machine: own.name.machine().clone(),
        pin: issuer.map_or(own.key, |issuer| issuer.pin),
        not_after: own.validity.not_after,
    };
    tracing::info!(cluster = %answer.cluster, pin = %answer.pin, by = %message.by, "the cluster's authority is on this machine");
    Ok(json(StatusCode::OK, &answer))
}

pub(super) async fn make_token(
    State(app): State<App>,
    user: Option<Extension<LocalUser>>,
    Body(message): Body<TokenMessage>,
) -> Result<Response, ApiError> {
    check_root(user)?;
    let TokenMessage { role, ttl_seconds, uses, replaces, by } = message;
    let ttl = Duration::from_secs(ttl_seconds);
    let order = TokenOrder { role, ttl, uses, replaces, by };
    let token = known_authority(&app)?.order_token(&order).await?;
    tracing::info!(token = %token.id, role = %order.role, uses, ttl_seconds, by = %order.by, "a join token is made");
    Ok(json(StatusCode::OK, &TokenAnswer { token: token.to_text() }))
}

/// Whoever lets others join makes them root everywhere, so it is root's to do, on a machine of the cluster.
fn check_root(user: Option<Extension<LocalUser>>) -> Result<(), ApiError> {
    match user {
        Some(Extension(LocalUser { uid: 0 })) => Ok(()),
        Some(Extension(LocalUser { uid })) => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            format!("this is root's to do, and user {uid} asks; use sudo"),
        )),
        None => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "this is root's to do, on the unix socket of a machine of the cluster",
        )),
    }
}

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
