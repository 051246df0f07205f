//! Faults of container engines, carried out.
//!
//! Owns what each kind does to an engine when it begins and when it is over. Which come when is the plan's.

use crate::containers::{EngineModel, SimulatedEngine};
use crate::machine::Machine;
use crate::moment::Micros;
use crate::plan::container_faults::ContainerFault;
use crate::plan::engines::is_container;
use crate::plan::shape::Shape;
use crate::world::World;

impl World {
    /// Such a fault begins. True if it is over at once.
    pub(crate) fn begin_container_fault(
        &mut self,
        number: usize,
        fault: &ContainerFault,
        lasts: Micros,
    ) -> bool {
        let now = self.now;
        // Nothing happens to an engine on a machine that sleeps, and nobody does anything there.
        let is_awake = |found: &&mut Machine| found.is_on && !found.clock.is_asleep();
        let Some(machine) = self.machines.get_mut(number).filter(is_awake) else {
            return true;
        };
        machine.advance_host(now);
        let Some(engine) = machine.engine.clone() else { return true };
        let away = lasts.to_duration();
        match *fault {
            ContainerFault::EngineRestarted => {
                engine.with_model(|model| model.restart_engine(away));
            }
            ContainerFault::EngineKilled => engine.with_model(|model| model.kill_engine(away)),
            ContainerFault::EngineHung => engine.with_model(|model| model.set_hung(true)),
            ContainerFault::EngineLost => engine.set_line(false),
            ContainerFault::EventsLost => engine.with_model(|model| model.set_losing_events(true)),
            ContainerFault::RegistryAway => {
                engine.with_model(|model| model.set_registry_away(true));
            }
            ContainerFault::ImagesPruned => engine.with_model(EngineModel::prune_images),
            ContainerFault::ContainerKilled(pick) => {
                engine.with_model(|model| model.kill_by_hand(pick));
            }
            ContainerFault::ContainerOutOfMemory(pick) => {
                engine.with_model(|model| model.run_out_of_memory(pick));
            }
            ContainerFault::ContainerStopped(pick) => {
                engine.with_model(|model| model.stop_by_hand(pick));
            }
            // An engine that goes down with its machine takes nothing up any more.
            ContainerFault::ContainerStarted(_) if machine.going_down.is_some() => return true,
            ContainerFault::ContainerStarted(pick) => {
                engine.with_model(|model| model.start_by_hand(pick));
            }
            ContainerFault::ContainerRemoved(pick) => {
                engine.with_model(|model| model.remove_by_hand(pick));
            }
            ContainerFault::ContainerPaused(pick) => {
                engine.with_model(|model| model.pause_by_hand(pick));
            }
            ContainerFault::ContainerNameTaken(pick) => {
                if let Some(name) = container_name(&self.plan.shape, pick) {
                    engine.with_model(|model| model.make_foreign(&name));
                }
            }
        }
        machine.engine_faults += 1;
        self.take_host_news(number);
        false
    }

    /// Such a fault is over.
    pub(crate) fn end_container_fault(&mut self, number: usize, fault: &ContainerFault) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(number) else { return };
        machine.engine_faults = machine.engine_faults.saturating_sub(1);
        machine.advance_host(now);
        let Some(engine) = machine.engine.clone() else { return };
        match *fault {
            ContainerFault::EngineHung => engine.with_model(|model| model.set_hung(false)),
            ContainerFault::EngineLost => engine.set_line(true),
            ContainerFault::EventsLost => engine.with_model(|model| model.set_losing_events(false)),
            ContainerFault::RegistryAway => {
                engine.with_model(|model| model.set_registry_away(false));
            }
            ContainerFault::ContainerPaused(_) => engine.with_model(EngineModel::unpause_all),
            ContainerFault::ContainerNameTaken(pick) => {
                remove_foreign(&engine, container_name(&self.plan.shape, pick));
            }
            _ => {}
        }
        self.take_host_news(number);
    }
}

fn remove_foreign(engine: &SimulatedEngine, name: Option<String>) {
    if let Some(name) = name {
        engine.with_model(|model| model.remove_foreign(&name));
    }
}

/// The name of the container of one of the units that are containers.
fn container_name(shape: &Shape, pick: u64) -> Option<String> {
    let units: Vec<_> = shape.units.iter().filter(|unit| is_container(&unit.name)).collect();
    let index = usize::try_from(pick.checked_rem(units.len() as u64)?).ok()?;
    units.get(index).map(|unit| format!("systemd-{}", unit.name.name_stem()))
}
