//! A Docker engine as a runner, over its API.
//!
//! Declares the rooms. `runner` is the runner itself, `watch` keeps the connection to the engine; `unit` has the task of each
//! unit, `make` all that a container is made of, `clean` what goes, `show` what others read of it, and `api` the calls to the
//! engine. Who speaks for the engine is behind [`client::EngineClient`], and the machine around it behind
//! [`host::ContainerHost`].

mod api;
mod clean;
pub mod client;
mod context;
mod events;
pub mod host;
mod make;
mod runner;
mod show;
mod this_machine;
mod unit;
mod watch;

pub use self::context::{ContainerWorld, Settings};
pub use self::runner::Docker;
pub use self::show::gauges::Gauges;
pub use self::show::inspect::{Container, InspectedUnit};
pub use self::show::output::{Line as OutputLine, Output, OutputError};
