//! Unit names, unit files and what `[X-Fleet]` asks of the scheduler.

pub(crate) mod blank;
mod check;
mod claims;
mod data;
pub(crate) mod directive_names;
mod directives;
mod file;
pub mod glob;
mod hash;
mod name;
mod podman;
mod requirements;
mod requirements_error;
mod reserved;
mod section;
mod service_type;
mod specifier;
pub(crate) mod suggestion;
mod survival;
mod syntax;
pub(crate) mod words;

pub use check::{
    Checked, InvalidUnit, check, check_bytes, check_container, choice_warnings, file_warnings,
};
pub use claims::{Claim, ClaimKind, Facts, list_claims};
pub use data::{KeptData, kept_data};
pub use directives::Warning;
pub use file::{MAX_FILE_BYTES, ParseError, UnitFile, UnitOption};
pub use glob::{Glob, GlobError};
pub use hash::{FileHash, InvalidFileHash};
pub use name::{InvalidUnitName, UnitName, UnitType};
pub use podman::{QuadletReference, list_references, quadlet_service};
pub use requirements::{
    Requirements, RequirementsTemplate, docker_obstacle, is_startable, runner_demand_of, runner_of,
};
pub use requirements_error::RequirementsError;
pub use reserved::{is_reserved, reserved_warnings};
pub use service_type::{is_oneshot, is_up_at_birth};
pub use survival::survives_soft_reboot;
pub(crate) use syntax::BROKEN_OFF;
