//! The phases of a container's life.

use std::time::Duration;

use super::judge::LifeResult;

/// The state that a container is in, as its life has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It does not run, and nothing is wrong with that.
    Dead,
    /// Image, volumes and networks are being fetched.
    Prepare {
        /// When that has taken too long.
        deadline: Option<Duration>,
    },
    /// It is being started, or runs and is not well yet, or has work to do that ends.
    Start {
        /// True when it runs.
        running: bool,
        /// When that has taken too long.
        deadline: Option<Duration>,
    },
    /// It runs.
    Running,
    /// Its work is done, and it counts as active.
    Exited,
    /// It has been asked to stop.
    Stop {
        /// When it is killed.
        deadline: Option<Duration>,
        /// The consequence once it has ended.
        then: AfterStop,
    },
    /// It has been killed.
    Kill {
        /// When it is killed again, should the engine have missed it.
        again: Duration,
        /// True when that was because it did not stop in time.
        late: bool,
        /// The consequence once it has ended.
        then: AfterStop,
    },
    /// It waits to be started again.
    Wait {
        /// Until then.
        until: Duration,
    },
    /// Its run was cut off while no daemon looked after it, by whatever `Restart=` or its engine's going would have it start again after.
    /// Whether it still belongs here is for others to say first: see [`super::ContainerLife::adopt_container`].
    Interrupted,
    /// It does not run, and should.
    Failed(LifeResult),
}

/// The consequence once a container that is being stopped has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterStop {
    /// Nothing: it was to stop.
    Rest,
    /// A start.
    Start,
    /// The answer of `Restart=`, for this result or, without, for how it ended.
    Judge(Option<LifeResult>),
}
