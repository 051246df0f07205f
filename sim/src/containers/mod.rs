//! A container engine as it means: a model of one machine's, and the real runner on it.
//!
//! Owns what Docker's API promises, as far as containers of ours can meet it: what is asked for and when it is done, names, images,
//! lives and exit codes, events, and what is left when the engine, the machine's userspace or its power goes. It has no rule of the
//! product's: the runner that talks to it is the daemon's own.
//!
//! Time comes in as an argument and is the world's; the same calls at the same moments give the same answers.

mod books;
mod calls;
mod container;
mod engine_power;
mod line;
mod program;
mod state;
mod work;

pub use self::books::ContainerStart;
pub(crate) use self::line::EngineNews;
pub use self::line::{FILE_DIRECTORY, SimulatedEngine};
pub use self::state::{EngineModel, EngineOptions};
