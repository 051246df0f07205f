//! The host's power: what keeps it up, who is on it, whether it goes down, and the request to reboot.
//!
//! Owns the seam between the daemon and the machine: [`super::systemd_host::SystemdHost`] is the real one. Whoever
//! stands behind it decides nothing.

use async_trait::async_trait;
use muster_common::reboot::RebootMethod;
use muster_engine::reboot::phase::Inhibitor;

/// The host under the daemon, as far as its power goes.
#[async_trait]
pub trait HostPower: Send + Sync {
    /// This boot; another word after every reboot.
    fn boot_id(&self) -> String;

    /// This boot of the machine's userspace: another word after every soft-reboot, too, which leaves [`Self::boot_id`] as it was.
    /// `None` where it cannot be told.
    async fn userspace_id(&self) -> Option<String> {
        None
    }

    /// Milliseconds since the boot, suspend included.
    fn up_millis(&self) -> u64;

    /// Programs that must not be interrupted by a shutdown.
    async fn shutdown_inhibitors(&self) -> Result<Vec<Inhibitor>, HostError>;

    /// Sessions of logged-in users.
    async fn user_sessions(&self) -> Result<u64, HostError>;

    /// Tells whether it is going down, whoever asked it to.
    async fn is_stopping(&self) -> bool;

    /// Tells whether it goes down softly: its userspace alone.
    async fn goes_softly(&self) -> bool {
        false
    }

    /// Waits until whether it goes down is another than `known`, and tells. A shutdown may be called off.
    async fn wait_for_shutdown(&self, known: bool) -> bool;

    /// Waits until it has slept and is awake again: its clock has stood still meanwhile, and that of everybody else has not. What has come
    /// since the last call is told at once. Never over where that cannot be told.
    async fn wait_for_wake(&self) {
        std::future::pending::<()>().await;
    }

    /// Says something to everybody who is logged in.
    async fn tell_users(&self, text: &str) -> Result<(), HostError>;

    /// Tells whether it can reboot in that way; an error says why not, and what to do about it.
    async fn check_reboot(&self, method: RebootMethod) -> Result<(), HostError> {
        let _ = method;
        Ok(())
    }

    /// Asks it to reboot in that way; it goes down some time after.
    async fn reboot(&self, method: RebootMethod) -> Result<(), HostError>;
}

/// Why the machine does not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// logind cannot be reached, or does not answer in time.
    #[error("cannot ask logind to {during}: {problem}")]
    Away {
        /// The question.
        during: &'static str,
        /// The problem.
        problem: String,
    },
    /// logind said no.
    #[error("logind refuses to {during}: {problem}")]
    Refused {
        /// The question.
        during: &'static str,
        /// Its words.
        problem: String,
    },
    /// The machine cannot do it in the way that is wanted.
    #[error("{0}")]
    Impossible(String),
    /// `wall` cannot be run.
    #[error("cannot tell logged-in users")]
    Tell {
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
