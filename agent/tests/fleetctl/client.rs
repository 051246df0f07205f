//! What fleetctl asks the API, call by call.
//!
//! Owns fleetctl's reading of answers: lists page by page to their end, 404 of a unit is no unit, 404 of a unit's state
//! is no state, of which fleetctl then takes a field.

use muster_common::api::fleet::{
    FleetMachine, FleetUnit, MachinePage, UnitPage, UnitState, UnitStatePage,
};
use serde_json::{Value, json};

use super::wire::{Endpoint, Failure, escape};

pub struct Client {
    pub wire: Endpoint,
}

impl Client {
    pub fn units(&self) -> Result<Vec<FleetUnit>, Failure> {
        let mut units = Vec::new();
        self.pages("units", |page| {
            let page: UnitPage = serde_json::from_value(page).unwrap();
            units.extend(page.units);
            page.next_page_token
        })?;
        Ok(units)
    }

    pub fn unit_states(&self) -> Result<Vec<UnitState>, Failure> {
        let mut states = Vec::new();
        self.pages("state", |page| {
            let page: UnitStatePage = serde_json::from_value(page).unwrap();
            states.extend(page.states);
            page.next_page_token
        })?;
        Ok(states)
    }

    pub fn machines(&self) -> Result<Vec<FleetMachine>, Failure> {
        let mut machines = Vec::new();
        self.pages("machines", |page| {
            let page: MachinePage = serde_json::from_value(page).unwrap();
            machines.extend(page.machines);
            page.next_page_token
        })?;
        Ok(machines)
    }

    fn pages(
        &self,
        what: &str,
        mut take: impl FnMut(Value) -> Option<String>,
    ) -> Result<(), Failure> {
        let mut token = take(self.wire.get(what, &[])?);
        while let Some(next) = token {
            token = take(self.wire.get(what, &[("nextPageToken", &next)])?);
        }
        Ok(())
    }

    pub fn unit(&self, name: &str) -> Result<Option<FleetUnit>, Failure> {
        match self.wire.get(&format!("units/{}", escape(name)), &[]) {
            Ok(unit) => Ok(Some(serde_json::from_value(unit).unwrap())),
            Err(Failure::Status(404, _)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// # Panics
    ///
    /// Where fleetctl does: it looks into a state that is not there.
    pub fn unit_state(&self, name: &str) -> Result<UnitState, Failure> {
        match self.wire.get(&format!("state/{}", escape(name)), &[]) {
            Ok(state) => Ok(serde_json::from_value(state).unwrap()),
            Err(Failure::Status(404, _)) => panic!("fleetctl crashes: {name} has no state"),
            Err(failure) => Err(failure),
        }
    }

    pub fn create_unit(&self, name: &str, options: &Value) -> Result<(), Failure> {
        self.wire
            .put(&format!("units/{}", escape(name)), &json!({"name": name, "options": options}))
    }

    pub fn set_target(&self, name: &str, state: &str) -> Result<(), Failure> {
        let body = json!({"desiredState": state, "name": name});
        self.wire.put(&format!("units/{}", escape(name)), &body)
    }

    pub fn destroy(&self, name: &str) -> Result<(), Failure> {
        self.wire.delete(&format!("units/{}", escape(name)))
    }
}
