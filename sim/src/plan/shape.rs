//! The cluster of a run.
//!
//! Owns its size, its clocks, its network when nothing is wrong, and its units with what they are like.

use std::fmt::Write as _;

use muster_common::unit::UnitName;
use serde::{Deserialize, Serialize};

use crate::moment::Micros;
use crate::seed::Chance;

/// The cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// Machines.
    pub(crate) machines: usize,
    /// Seconds after which a silent machine is gone.
    pub(crate) ttl_seconds: u64,
    /// The longest time that a message takes when nothing is wrong.
    pub(crate) latency: Micros,
    /// By machine: millionths by which its clock is too fast.
    pub(crate) drifts: Vec<i64>,
    /// Units.
    pub(crate) units: Vec<UnitShape>,
    /// Starts and stops of a thousand that take seconds.
    pub(crate) slow_per_mille: u64,
    /// Starts of a thousand that fail.
    pub(crate) failing_per_mille: u64,
    /// The moment after which nothing goes wrong any more and nobody asks for anything.
    pub(crate) calm_from: Micros,
}

/// A unit that users may want.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnitShape {
    /// Its name.
    pub(crate) name: UnitName,
    /// Its kind.
    pub(crate) kind: UnitKind,
}

/// A kind of unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UnitKind {
    /// Anywhere, one of it.
    Plain,
    /// Never beside another of its kind.
    Spread,
    /// It may not run twice where that can be helped.
    Single,
    /// It keeps data on its machine, and stays where that is.
    Keeper,
    /// It runs to its end, once.
    Job,
    /// On every machine.
    Global,
}

impl UnitKind {
    /// The part of a unit's file that makes it one of this kind.
    fn options(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Spread => "\n[X-Fleet]\nConflicts=spread@*\n",
            Self::Single => "\n[X-Fleet]\nConflicts=%n\n",
            Self::Keeper => "StateDirectory=keeper\n",
            Self::Job => "Type=oneshot\n\n[X-Fleet]\nJob=yes\n",
            Self::Global => "\n[X-Fleet]\nGlobal=true\n",
        }
    }
}

impl Shape {
    /// A cluster by chance.
    pub(crate) fn draw_from(chance: &Chance) -> Self {
        let machines = chance.pick_one(3, &[2, 3, 3, 4, 5]);
        let drifts = (0..machines)
            .map(|_| if chance.happens_by_chance(500) { 0 } else { i64_within(chance, 2000) })
            .collect();
        let mut units = Vec::new();
        for (kind, most) in [
            (UnitKind::Plain, 5),
            (UnitKind::Spread, 4),
            (UnitKind::Single, 3),
            (UnitKind::Keeper, 2),
            (UnitKind::Job, 2),
            (UnitKind::Global, 2),
        ] {
            for number in 0..chance.number_within(u64::from(kind == UnitKind::Plain), most) {
                let name = match kind {
                    UnitKind::Plain => format!("plain{number}.service"),
                    UnitKind::Spread => format!("spread@{number}.service"),
                    UnitKind::Single => format!("single{number}.service"),
                    UnitKind::Keeper => format!("keeper{number}.service"),
                    UnitKind::Job => format!("job{number}.service"),
                    UnitKind::Global => format!("global{number}.service"),
                };
                units.extend(name.parse().ok().map(|name| UnitShape { name, kind }));
            }
        }
        Self {
            machines,
            ttl_seconds: chance.pick_one(10, &[3, 5, 10]),
            latency: Micros::from_millis(chance.pick_one(3, &[3, 20, 150])),
            drifts,
            units,
            slow_per_mille: chance.pick_one(0, &[50, 200]),
            failing_per_mille: chance.pick_one(0, &[0, 100]),
            calm_from: chance.time_within(Micros::from_secs(120), Micros::from_secs(500)),
        }
    }

    /// The text of a unit's file in one of its versions; empty for a unit that there is not.
    pub(crate) fn file_text(&self, unit: usize, version: u64) -> String {
        let mut text = String::new();
        if let Some(unit) = self.units.get(unit) {
            // A string takes everything.
            let _ = write!(
                text,
                "[Service]\nExecStart=/sim/run --version={version}\n{}",
                unit.kind.options()
            );
        }
        text
    }

    /// The name of a machine.
    pub(crate) fn machine_name(machine: usize) -> String {
        format!("m{machine}")
    }
}

fn i64_within(chance: &Chance, most: i64) -> i64 {
    let width = u64::try_from(most).unwrap_or(0) * 2;
    i64::try_from(chance.number_within(0, width)).unwrap_or(0) - most
}
