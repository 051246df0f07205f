//! A `PUT` of fleet's API, as a change of a unit.
//!
//! Owns the ways of fleet that differ from ours: a file is the same if its options are, a start that no machine can take is queued, and a
//! new file without a word on what is wanted of it makes the unit inactive.

use std::sync::Arc;

use muster_common::api::v1::UnitChange;
use muster_common::snapshot::Snapshot;
use muster_common::state::DesiredState;
use muster_common::unit::{UnitFile, UnitName};

use super::change::ParsedChange;

/// A change that creates a unit, replaces its file, or changes what is wanted of it.
pub struct FleetPut {
    /// The change.
    pub change: ParsedChange,
    /// The unit is new, or has another file afterwards.
    pub replaces: bool,
}

/// Why a unit cannot be put, in fleet's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FleetPutError {
    /// A new unit needs a file.
    #[error("unit does not exist and options field empty")]
    NoOptions,
    /// A known unit with the file it has needs a desired state.
    #[error("must provide DesiredState to update existing unit")]
    NoDesiredState,
    /// A template is never loaded or started.
    #[error("cannot activate template {:?}", .0.as_str())]
    Template(UnitName),
}

impl FleetPut {
    /// Decides what becomes of a unit, given the file and the state that came with the request.
    ///
    /// # Errors
    ///
    /// The request says too little, or asks for what a template cannot be.
    pub fn plan(
        snapshot: &Snapshot,
        name: UnitName,
        file: Option<Arc<UnitFile>>,
        desired: Option<DesiredState>,
    ) -> Result<Self, FleetPutError> {
        // fleet knows no comments: a file with the same options is the same file.
        let same =
            snapshot.units.get(&name).map(|unit| match (&file, snapshot.files.get(&unit.file)) {
                (Some(given), Some(stored)) => given.options() == stored.options(),
                (given, _) => given.is_none(),
            });
        let replaces = match same {
            None if file.is_none() => return Err(FleetPutError::NoOptions),
            Some(true) if desired.is_none() => return Err(FleetPutError::NoDesiredState),
            None => true,
            Some(same) => !same,
        };
        if name.is_template() && desired.is_some_and(|desired| desired > DesiredState::Inactive) {
            return Err(FleetPutError::Template(name));
        }
        let desired = desired.or(replaces.then_some(DesiredState::Inactive));
        let unit = UnitChange { name, file: None, desired, restart: false };
        Ok(Self { change: ParsedChange::of_file(file.filter(|_| replaces), unit), replaces })
    }
}

#[cfg(test)]
mod tests {
    use muster_common::snapshot::Unit;

    use super::*;

    fn file(text: &str) -> Arc<UnitFile> {
        Arc::new(text.parse().unwrap())
    }

    /// A cluster that has `a.service`.
    fn snapshot() -> Snapshot {
        let file = file("[Service]\nExecStart=/bin/true\n");
        let unit = Unit {
            name: "a.service".parse().unwrap(),
            file: file.hash(),
            desired: DesiredState::Inactive,
            generation: 1,
            revision: 1,
        };
        let mut snapshot = Snapshot::default();
        snapshot.files.insert(file.hash(), file);
        snapshot.units.insert(unit.name.clone(), unit);
        snapshot
    }

    fn replaces(
        name: &str,
        text: Option<&str>,
        desired: Option<DesiredState>,
    ) -> Result<bool, FleetPutError> {
        let put = FleetPut::plan(&snapshot(), name.parse().unwrap(), text.map(file), desired);
        put.map(|put| put.replaces)
    }

    #[test]
    fn a_file_is_another_if_its_options_are() {
        let launched = Some(DesiredState::Launched);
        let same = "# a comment\n[Service]\nExecStart=/bin/true\n";
        assert_eq!(replaces("a.service", Some(same), launched), Ok(false));
        assert_eq!(replaces("a.service", Some(same), None), Err(FleetPutError::NoDesiredState));
        let other = "[Service]\nExecStart=/bin/false\n";
        assert_eq!(replaces("a.service", Some(other), None), Ok(true));
        assert_eq!(replaces("a.service", None, launched), Ok(false));
    }

    #[test]
    fn a_new_unit_needs_a_file_and_a_template_never_starts() {
        let launched = Some(DesiredState::Launched);
        assert_eq!(replaces("b.service", None, launched), Err(FleetPutError::NoOptions));
        let file = "[Service]\nExecStart=/bin/true\n";
        assert_eq!(replaces("b.service", Some(file), launched), Ok(true));
        let template = replaces("b@.service", Some(file), launched).unwrap_err();
        assert_eq!(template.to_string(), "cannot activate template \"b@.service\"");
    }
}
