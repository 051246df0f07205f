//! What users install: `cargo xtask man`, `cargo xtask dist`.

pub(crate) mod man;
