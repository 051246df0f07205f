//! Which faults of container engines a run has.
//!
//! Owns how a seed mixes them, in a sequence of chance of its own: a run without engines has the same faults as before there were any.

use super::container_faults::ContainerFault;
use super::faults::{Fault, PlannedFault};
use super::shape::Shape;
use crate::moment::Micros;
use crate::seed::Chance;

/// The faults of a run with engines; none without.
pub(crate) fn draw_faults(chance: &Chance, shape: &Shape) -> Vec<PlannedFault> {
    let mut faults = Vec::new();
    let Some(engines) = &shape.engines else { return faults };
    let mut urn = Vec::new();
    for kind in ContainerFault::kind_names().iter().copied() {
        if chance.happens_by_chance(500) {
            urn.extend(std::iter::repeat_n(kind, chance.pick_one(1, &[1, 2, 5])));
        }
    }
    let machines: Vec<usize> = engines.list_machines().collect();
    if urn.is_empty() || machines.is_empty() {
        return faults;
    }
    let pause = shape.stretch_pause(Micros::from_secs(chance.pick_one(15, &[6, 15, 40])));
    let mut at = Micros::from_secs(15);
    loop {
        at += chance.time_within(Micros(pause.0 / 4), Micros(pause.0 * 2));
        if at >= shape.calm_from {
            return faults;
        }
        let kind = urn.get(chance.pick_index(urn.len())).copied().unwrap_or_default();
        let machine = machines.get(chance.pick_index(machines.len())).copied().unwrap_or_default();
        let moments = chance.time_within(Micros::from_millis(100), Micros::from_secs(2));
        let seconds = chance.time_within(Micros::from_secs(1), Micros::from_secs(15));
        let long = chance.time_within(Micros::from_secs(10), Micros::from_secs(60));
        let lasts = chance.pick_one(moments, &[seconds, long]).min(shape.calm_from - at);
        let fault = ContainerFault::of_kind(kind, chance.number_below(1 << 32));
        faults.push(PlannedFault { at, lasts, fault: Fault::Container(machine, fault) });
    }
}
