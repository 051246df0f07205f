//! The task of each container unit: its plan, its memory and the work it has under way.

pub(crate) mod memory;
pub(crate) mod plan;
pub(crate) mod task;
pub(crate) mod work;
