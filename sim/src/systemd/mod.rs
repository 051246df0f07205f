//! systemd as it means: a model of one machine's, and the real runner on it.
//!
//! Owns what systemd.unit(5), systemd.service(5), systemd.timer(5), systemd.socket(5) and org.freedesktop.systemd1(5) promise, as far as
//! units of ours can meet it: files and what is loaded of them, jobs, lives, timers and sockets, reloads, boots. It has no rule of the
//! product's: the runner that talks to it is the daemon's own.
//!
//! Time comes in as an argument and is the world's; the same calls at the same moments give the same answers.

mod administrator;
mod books;
mod bus;
mod calls;
mod definition;
mod line;
mod lives;
mod loading;
mod power;
mod queue;
mod state;

pub(crate) use self::books::NotedStart;
pub use self::calls::{SystemdAnswer, SystemdCall};
pub(crate) use self::line::SystemdNews;
pub use self::line::{SimulatedSystemd, UNIT_DIRECTORY};
pub use self::state::{ProgramStart, SystemdModel};
