//! Podman as a runner: files of Quadlet's as the services that Podman's own generator makes of them.
//!
//! Declares where their files lie, who translates them, and the runner that stands before systemd's. There is no second life cycle and
//! no translation of ours: what is written for systemd is what the generator says, and from there on the unit is a service.

mod bundle;
mod discard;
mod drafts;
pub mod generator;
mod made;
mod problem;
mod progress;
mod rename;
mod runner;
mod sameness;
mod units;

pub use self::drafts::QuadletDrafts;
pub use self::made::{MadeResources, PodmanProgram};
pub use self::progress::{ActivityWatch, HostProcesses, ServiceActivity};
pub use self::runner::{Podman, PodmanSettings};
pub use self::units::PodmanUnits;
