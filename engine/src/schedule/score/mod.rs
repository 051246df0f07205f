//! Scores: which of the machines that may have a unit is the best.

mod least_units;

pub(crate) use least_units::LeastUnits;
