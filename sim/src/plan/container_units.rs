//! The units of a run that are containers.
//!
//! Owns which machines get an engine, which units become containers, and what is in their files. It is drawn from a sequence of chance
//! of its own: a run without engines is as it was before there were any.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use muster_common::unit::UnitName;

use super::engines::{EngineSetup, EngineShape, IMAGE};
use super::shape::{Shape, UnitKind, UnitShape};
use crate::seed::Chance;

/// Gives the machines of some runs engines, and makes containers of some of their units.
pub(crate) fn add_engines(shape: &mut Shape, chance: &Chance) {
    if !chance.happens_by_chance(300) {
        return;
    }
    let machines = (0..shape.machines)
        .map(|machine| {
            let setup = EngineSetup {
                live_restore: chance.happens_by_chance(600),
                has_image: chance.happens_by_chance(500),
            };
            // The first one has one: what is to run has to have a place.
            let has_engine = machine == 0 || chance.happens_by_chance(850);
            has_engine.then_some(setup)
        })
        .collect();
    shape.engines = Some(EngineShape {
        machines,
        slow_per_mille: chance.pick_one(0, &[10, 80]),
        failing_per_mille: chance.pick_one(0, &[0, 10, 50]),
    });
    let wanted: BTreeSet<UnitName> =
        shape.units.iter().filter_map(|unit| unit.wants.clone()).collect();
    for unit in &mut shape.units {
        if chance.happens_by_chance(600)
            && is_possible(unit)
            && !wanted.contains(&unit.name)
            && let Ok(name) = format!("{}.container", unit.name.name_stem()).parse()
        {
            unit.name = name;
        }
    }
}

/// True for a unit that may be a container: nothing about it is systemd's.
fn is_possible(unit: &UnitShape) -> bool {
    let kind =
        matches!(unit.kind, UnitKind::Plain | UnitKind::Single | UnitKind::Job | UnitKind::Global);
    kind && !unit.installs && unit.wants.is_none()
}

impl Shape {
    /// The file of a container, without the cluster's section.
    pub(super) fn container_text(&self, unit: &UnitShape, version: u64) -> String {
        let mut text = format!(
            "# version {version}\n[Container]\nImage={IMAGE}\n\
             Exec=/sim/run stops=1ms..300ms slow-per-mille={} slow=1s..15s fails-per-mille={}",
            self.slow_per_mille, self.failing_per_mille
        );
        if unit.kind == UnitKind::Job {
            text.push_str(" runs=1ms..4s");
        }
        text.push_str("\n[Service]\n");
        if unit.kind == UnitKind::Job {
            text.push_str("Type=oneshot\n");
        } else if version == 1 {
            // A string takes everything.
            let _ = writeln!(text, "Restart=always\nRestartSec=2");
        }
        text
    }
}
