//! The orders that the cluster gives a container unit.

use crate::container::life::LifeEvent;

/// An order of the cluster to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitOrder {
    /// It is to run.
    Start,
    /// It is to run anew.
    Restart,
    /// It is not to run any more.
    Stop,
}

impl UnitOrder {
    /// The word that is used of it in sentences.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Stop => "stop",
        }
    }

    pub(super) fn life_event(self) -> LifeEvent {
        match self {
            Self::Start => LifeEvent::Start,
            Self::Restart => LifeEvent::Restart,
            Self::Stop => LifeEvent::Stop,
        }
    }
}
