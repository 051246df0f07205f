//! systemd's `SubState`: the words that anything here depends on.
//!
//! There are some hundred of them, each unit type has its own, and systemd adds more. They stay text; those that decisions rest
//! on are named here once.

/// Nothing of the unit is there.
pub const DEAD: &str = "dead";
/// It has failed; a service that is deactivating and `failed` is one that has left something behind.
pub const FAILED: &str = "failed";
/// The main process runs.
pub const RUNNING: &str = "running";
/// The main process has ended well and the unit remains active.
pub const EXITED: &str = "exited";
/// It has failed and waits to be started again.
pub const AUTO_RESTART: &str = "auto-restart";
/// A container's run was cut off while no daemon looked after it. It goes on once it is known that the unit still belongs here. Ours, and no
/// word of systemd's.
pub const INTERRUPTED: &str = "interrupted";

/// True for the states in which a unit that has failed waits for its service manager to start it again: `auto-restart` and,
/// since systemd 254, `auto-restart-queued`.
pub fn awaits_restart(sub: &str) -> bool {
    sub.starts_with(AUTO_RESTART)
}
