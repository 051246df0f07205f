//! The faults that are planted in the product on purpose.
//!
//! Owns the table: each fault's name, what it leaves out, and within how many seeds a run has to notice. A test compares the names
//! with those in the code.

/// A fault that is planted on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlantedFault {
    /// Its name in the code.
    pub name: &'static str,
    /// The rule that it leaves out.
    pub leaves_out: &'static str,
    /// Seeds within which it has to be found.
    pub budget: u64,
}

/// All planted faults.
pub const PLANTED: &[PlantedFault] = &[];

/// The branches of the product that are counted.
pub const BRANCHES: &[&str] = &[];
