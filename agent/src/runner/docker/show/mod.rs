//! Views of container units for others: the converge loop, a person, the journal, Prometheus.

pub(crate) mod gauges;
pub(crate) mod inspect;
pub(crate) mod observe;
pub(crate) mod output;
