//! One pass over the units that have to be looked at.

mod consider;
mod state;

pub(crate) use state::PlanPass;
