//! The way out of what can come between a request and its answer.
//!
//! Owns the hints. What went wrong is the client's to say.

use muster_client::ClientError;

/// Returns the way out of a request that failed, where there is one.
pub(crate) fn hint_for(error: &ClientError) -> Option<String> {
    let hint = match error {
        ClientError::NoDaemon { route, .. } if route.endpoint.socket_path().is_some() => {
            "`systemctl start musterd` starts it on this machine; `--endpoint` names another"
        }
        ClientError::Exchange { route, .. } if route.tunnel.is_some() => {
            "what ssh says above may tell why; does musterd listen there, and may your user there ask it?"
        }
        ClientError::NoDaemon { .. }
        | ClientError::Connect { .. }
        | ClientError::NoneReachable { .. } => {
            "`--endpoint` or MUSTERCTL_ENDPOINT names the daemon to ask"
        }
        ClientError::Permission { .. } => "members of the group `muster` and root may",
        ClientError::Timeout { .. } => "`--request-timeout` allows more time",
        ClientError::UnknownPath { .. } => concat!(
            "it is no musterd, or one of another version than this musterctl ",
            env!("CARGO_PKG_VERSION")
        ),
        ClientError::NotDaemon { .. } | ClientError::TooLarge { .. } => {
            "is it a musterd that listens there?"
        }
        ClientError::Exchange { .. } | ClientError::Silent { .. } => {
            "the daemon's log (`journalctl -u musterd`) may say why"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}
