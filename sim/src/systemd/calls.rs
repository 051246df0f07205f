//! What can be asked of systemd, and its answers, as data.
//!
//! Owns the one way in: a call at a moment gives an answer, and leaves signals and a next deadline behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::unit::UnitName;
use musterd::runner::systemd::manager::{JobId, JobKind, ListedUnit, PropertyValue, UnitProperty};

use super::queue::job_path;
use super::state::{LoadedUnit, SystemdModel, UNIT_PATH};

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemdCall {
    /// Those of these units that are loaded.
    ListUnits(BTreeSet<UnitName>),
    /// A property of a unit.
    ReadProperty(UnitName, UnitProperty),
    /// A job.
    EnqueueJob(JobKind, UnitName),
    /// To hook units into others.
    EnableUnits(Vec<UnitName>),
    /// To take that back.
    DisableUnits(Vec<UnitName>),
    /// To forget a failure.
    ResetFailed(UnitName),
    /// To read all files anew.
    ReloadUnits,
    /// Where files are looked for.
    UnitPath,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemdAnswer {
    /// Units that are loaded.
    Units(BTreeMap<UnitName, ListedUnit>),
    /// A property.
    Property(PropertyValue),
    /// A job.
    Job(JobId),
    /// Directories.
    Paths(Vec<String>),
    /// It has been done.
    Done,
}

impl SystemdModel {
    /// Answers a call, or refuses it in systemd's words. What follows is in [`Self::take_signals`] and [`Self::next_deadline`].
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn step(
        &mut self,
        now: Duration,
        wall: u64,
        call: SystemdCall,
    ) -> Result<SystemdAnswer, String> {
        self.advance_to(now, wall);
        let answer = self.answer(call);
        self.collect_garbage();
        answer
    }

    fn answer(&mut self, call: SystemdCall) -> Result<SystemdAnswer, String> {
        Ok(match call {
            SystemdCall::ListUnits(asked) => SystemdAnswer::Units(self.list_loaded(&asked)),
            SystemdCall::ReadProperty(unit, property) => {
                self.load_unit(&unit);
                SystemdAnswer::Property(self.property_of(&unit, property)?)
            }
            SystemdCall::EnqueueJob(kind, unit) => {
                SystemdAnswer::Job(JobId(job_path(self.request_job(kind, &unit)?)))
            }
            SystemdCall::EnableUnits(units) => {
                self.enable_units(&units)?;
                SystemdAnswer::Done
            }
            SystemdCall::DisableUnits(units) => {
                self.disable_units(&units);
                SystemdAnswer::Done
            }
            SystemdCall::ResetFailed(unit) => {
                self.forget_failure(&unit)?;
                SystemdAnswer::Done
            }
            SystemdCall::ReloadUnits => {
                self.reload_units();
                SystemdAnswer::Done
            }
            SystemdCall::UnitPath => {
                SystemdAnswer::Paths(UNIT_PATH.iter().map(|path| (*path).to_owned()).collect())
            }
        })
    }

    fn list_loaded(&self, asked: &BTreeSet<UnitName>) -> BTreeMap<UnitName, ListedUnit> {
        let loaded = asked.iter().filter_map(|unit| Some((unit, self.units.get(unit)?)));
        let listed = loaded.map(|(unit, found)| {
            let (load, active, sub) =
                (found.load.to_owned(), found.active_state(), found.sub_state().to_owned());
            (unit.clone(), ListedUnit { load, active, sub })
        });
        listed.collect()
    }

    fn property_of(
        &self,
        unit: &UnitName,
        property: UnitProperty,
    ) -> Result<PropertyValue, String> {
        let found = self.units.get(unit).ok_or_else(|| format!("Unit {unit} not found."))?;
        let text = |text: &str| PropertyValue::Text(text.to_owned());
        let service = || match unit.unit_type() {
            muster_common::unit::UnitType::Service => Ok(found),
            _ => Err(format!("Unknown interface of {unit}.")),
        };
        Ok(match property {
            UnitProperty::LoadState => text(found.load),
            UnitProperty::ActiveState => text(found.active_state().as_str()),
            UnitProperty::SubState => text(found.sub_state()),
            UnitProperty::FragmentPath => PropertyValue::Text(fragment_path(found)),
            UnitProperty::NeedDaemonReload => PropertyValue::Flag(self.is_outdated(unit)),
            UnitProperty::JobNumber => {
                let number = self.jobs.get(unit).map_or(0, |job| job.number);
                PropertyValue::Number(i64::try_from(number).unwrap_or(i64::MAX))
            }
            UnitProperty::InvocationId => {
                PropertyValue::Bytes(u128::from(found.run).to_be_bytes().to_vec())
            }
            UnitProperty::Result => text(service()?.exit.result),
            UnitProperty::ExecMainCode => PropertyValue::Number(service()?.exit.code),
            UnitProperty::ExecMainStatus => PropertyValue::Number(service()?.exit.status),
            UnitProperty::RestartCount => PropertyValue::Number(service()?.restarts),
        })
    }

    fn forget_failure(&mut self, unit: &UnitName) -> Result<(), String> {
        let found = self.units.get_mut(unit).ok_or_else(|| format!("Unit {unit} not loaded."))?;
        found.started.clear();
        if found.phase == super::state::Phase::Failed {
            found.exit = super::state::MainExit::SUCCESS;
            self.set_phase(unit, super::state::Phase::Down);
        }
        Ok(())
    }
}

fn fragment_path(unit: &LoadedUnit) -> String {
    unit.fragment.as_ref().map(|(path, _)| path.display().to_string()).unwrap_or_default()
}
