//! Containers: what Docker is asked to make of a unit, and what happens to it while it lives.
//!
//! Owns the decisions about them. [`translate()`] turns what a unit's file says into the body of Docker's create call,
//! once and completely: a daemon sends it and adds only what no one but the machine knows ([`MachineInputs`]). [`ContainerLife`]
//! decides what to do when a container starts, ends, falls ill or takes too long, with the clock passed in.
//! [`plan_fetch()`] says whether an image is needed first, [`choose_log_config()`] who keeps its output,
//! [`owner_by_labels()`] and [`FoundContainer`] what a daemon makes of the containers it finds, [`missing_ability()`] what
//! an engine is too old for. None of them talks to an engine.
//!
//! Translation is here and not beside the parser because it chooses: which of Docker's ways stands for an option that
//! Docker does not have. Docker's own types would tie the engine to a client library; [`body`] has the few that are
//! needed, by Docker's names.

mod attempt;
pub mod body;
mod conditions;
mod environment;
mod fetch;
mod found;
mod life;
mod logging;
mod lookup;
mod mounts;
mod needs;
mod networks;
mod sessions;
mod translate;
pub mod unit;

pub use attempt::StartAttempt;
pub use conditions::{ConditionAnswer, StartVerdict, weigh_conditions};
pub use environment::{
    BadEnvironment, EnvironmentInputs, assemble_environment, withheld_variables,
};
pub use fetch::{ImageFetch, plan_fetch, retry_after};
pub use found::{Inspected, Owner, owner_by_labels};
pub use life::{
    ContainerAction, ContainerLife, ContainerPolicy, Ended, FoundContainer, HealthState, LifeEvent,
    LifeMemory, LifeResult, Phase, RestState,
};
pub use logging::{JOURNALD, Logging, choose_log_config, journal_field};
pub use lookup::MissingUnit;
pub use needs::{Abilities, ApiVersion, EngineNeed, list_needs, missing_ability};
pub use sessions::{EngineRun, EngineSessions};
pub use translate::{
    Creation, Identity, LABEL_CLUSTER, LABEL_FILE, LABEL_GENERATION, LABEL_UNIT, MachineInputs,
    cdi_request, translate, translate_network, translate_volume,
};
