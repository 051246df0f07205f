//! The names under which the engine has what other units make.

use std::collections::BTreeMap;

use muster_common::container::NamedResource;
use muster_common::unit::UnitName;

/// A unit that has to be there first, and of which no name is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is named and not known")]
pub struct MissingUnit(pub UnitName);

/// The names of what other units make.
#[derive(Clone, Copy)]
pub(super) struct Lookup<'a>(pub(super) &'a BTreeMap<UnitName, String>);

impl Lookup<'_> {
    pub(super) fn name(self, named: &NamedResource) -> Result<String, MissingUnit> {
        match named {
            NamedResource::Engine(name) => Ok(name.clone()),
            NamedResource::Unit(unit) => {
                self.0.get(unit).cloned().ok_or_else(|| MissingUnit(unit.clone()))
            }
        }
    }
}
