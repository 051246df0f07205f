//! Which machines of a run are copies of another for a time.
//!
//! Owns how a seed mixes them in, in a sequence of chance of its own: a run without has the same faults as before there were any.

use super::faults::{Fault, PlannedFault};
use super::shape::Shape;
use crate::moment::Micros;
use crate::seed::Chance;

/// Runs of a thousand in which somebody copies machines.
const RUNS: u64 = 100;

/// The copies of a run; most have none.
pub(crate) fn draw_faults(chance: &Chance, shape: &Shape) -> Vec<PlannedFault> {
    let mut faults = Vec::new();
    if shape.machines < 2 || !chance.happens_by_chance(RUNS) {
        return faults;
    }
    let pause = shape.stretch_pause(Micros::from_secs(100));
    let mut at = Micros::from_secs(15);
    loop {
        at += chance.time_within(Micros(pause.0 / 4), Micros(pause.0 * 2));
        if at >= shape.calm_from {
            return faults;
        }
        let machine = chance.pick_index(shape.machines);
        let of = (machine + 1 + chance.pick_index(shape.machines - 1)) % shape.machines;
        let lasts = chance.time_within(Micros::from_secs(5), Micros::from_secs(90));
        let lasts = lasts.min(shape.calm_from - at);
        // The containers of a machine lie with its engine, which no copy of its disk has here.
        let has_engine = |engines: &super::engines::EngineShape| {
            engines.list_machines().any(|with| with == machine)
        };
        if !shape.engines.as_ref().is_some_and(has_engine) {
            faults.push(PlannedFault { at, lasts, fault: Fault::Cloned { machine, of } });
        }
    }
}
