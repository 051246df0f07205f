//! The cluster of a run.
//!
//! Owns its size, its clocks, its network when nothing is wrong, and its units with what they are like.

use std::fmt::Write as _;

use muster_common::seed::Seed;
use muster_common::unit::UnitName;
use muster_store::Liveness;
use serde::{Deserialize, Serialize};

use super::engines::{EngineShape, is_container};
use crate::etcd::LineOptions;
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
    /// Members of etcd: on the first machines, or one beside them all.
    #[serde(default = "one_member")]
    pub(crate) members: usize,
    /// True if a daemon asks the member on its own machine first.
    #[serde(default)]
    pub(crate) prefers_own_member: bool,
    /// True for members of an old release.
    #[serde(default)]
    pub(crate) has_old_members: bool,
    /// Millionths by which the clock of the members is too fast.
    #[serde(default)]
    pub(crate) members_drift: i64,
    /// The age at which members forget their history, if they do.
    #[serde(default)]
    pub(crate) compacts_every: Option<Micros>,
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
    /// True if daemons have the reboot role.
    #[serde(default)]
    pub(crate) reboots: bool,
    /// The container engines, if any machine has one.
    #[serde(default)]
    pub(crate) engines: Option<EngineShape>,
}

/// A unit that users may want.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnitShape {
    /// Its name.
    pub(crate) name: UnitName,
    /// Its kind.
    pub(crate) kind: UnitKind,
    /// True if it is hooked into a target, so that a boot would start it.
    #[serde(default)]
    pub(crate) installs: bool,
    /// A unit that it wants on its machine, and comes after.
    #[serde(default)]
    pub(crate) wants: Option<UnitName>,
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
    /// The service that a timer starts: it runs to its end, and again.
    Timed,
    /// A timer, beside what it starts.
    Timer,
    /// The service that a socket starts.
    Served,
    /// A socket, beside what it starts.
    Socket,
}

impl UnitKind {
    /// The options of its service that make a unit one of this kind.
    fn service_options(self) -> &'static str {
        match self {
            Self::Keeper => "Type=notify\nStateDirectory=keeper\n",
            Self::Job | Self::Timed => "Type=oneshot\n",
            Self::Spread | Self::Served => "Type=simple\n",
            Self::Plain | Self::Single | Self::Global | Self::Timer | Self::Socket => {
                "Type=notify\n"
            }
        }
    }

    /// The options for the cluster that do.
    fn cluster_options(self, name: &UnitName) -> String {
        match self {
            Self::Spread => "[X-Fleet]\nConflicts=spread@*\n".to_owned(),
            Self::Single => "[X-Fleet]\nConflicts=%n\n".to_owned(),
            Self::Job => "[X-Fleet]\nJob=yes\n".to_owned(),
            Self::Global => "[X-Fleet]\nGlobal=true\n".to_owned(),
            Self::Timer | Self::Socket => {
                format!("[X-Fleet]\nMachineOf={}.service\n", name.name_stem())
            }
            Self::Plain | Self::Keeper | Self::Timed | Self::Served => String::new(),
        }
    }
}

/// The length of a run in which faults and users come as often as their mixes say.
const SHORT_RUN: Micros = Micros::from_secs(500);

/// The longest latency for which a user sets the shortest time to live (docs/configuration.md).
const SHORT_LATENCY: Micros = Micros::from_millis(50);

/// The pause between an end and the next start by a timer, in a short run: shorter than most faults last.
const TICK: Micros = Micros::from_secs(7);
/// The pause between two clients of a socket, in a short run.
const CONNECT: Micros = Micros::from_secs(5);

impl Shape {
    /// A cluster by chance.
    pub(crate) fn draw_from(chance: &Chance) -> Self {
        let machines = chance.pick_one(3, &[1, 2, 3, 3, 3, 4, 5, 7]);
        let members = if machines >= 3 { chance.pick_one(3, &[3, 1]) } else { 1 };
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
                    _ => continue,
                };
                let installs = chance.happens_by_chance(300);
                units.extend(name.parse().ok().map(|name| UnitShape::new(name, kind, installs)));
            }
        }
        draw_pairs(chance, &mut units);
        draw_references(chance, &mut units);
        let ttl_seconds = chance.pick_one(10, &[5, 5, 10, 10, 20, 60]);
        let latency = Micros::from_millis(chance.pick_one(3, &[3, 20, 150]));
        // A late message takes 1.2 s where others take 150 ms: two of them last longer than a lease of three seconds has left.
        let ttl_seconds = if latency > SHORT_LATENCY { ttl_seconds.max(10) } else { ttl_seconds };
        Self {
            machines,
            members,
            prefers_own_member: chance.happens_by_chance(500),
            has_old_members: chance.happens_by_chance(250),
            members_drift: if chance.happens_by_chance(500) { 0 } else { i64_within(chance, 2000) },
            compacts_every: chance
                .pick_one(None, &[None, Some(Micros::from_secs(60)), Some(Micros::from_secs(300))]),
            ttl_seconds,
            latency,
            drifts,
            units,
            slow_per_mille: chance.pick_one(0, &[50, 200]),
            failing_per_mille: chance.pick_one(0, &[0, 100]),
            calm_from: draw_length(chance),
            reboots: chance.happens_by_chance(400),
            engines: None,
        }
    }

    /// The text of a unit's file in one of its versions; empty for a unit that there is not.
    pub(crate) fn file_text(&self, unit: usize, version: u64) -> String {
        let Some(shape) = self.units.get(unit) else { return String::new() };
        let UnitShape { name, kind, installs, wants } = shape;
        if is_container(name) {
            return self.container_text(shape, version) + &kind.cluster_options(name);
        }
        let mut text = String::new();
        // A string takes everything.
        let _ = writeln!(text, "# version {version}");
        if let Some(wanted) = wants {
            let _ = write!(text, "[Unit]\nWants={wanted}\nAfter={wanted}\n");
        }
        let _ = match kind {
            UnitKind::Timer => write!(
                text,
                "[Timer]\nOnActiveSec=3\nOnUnitInactiveSec={}s\n",
                self.stretch_pause(TICK).to_duration().as_secs()
            ),
            UnitKind::Socket => write!(
                text,
                "[Socket]\nListenStream=/sim/clients every={}s\n",
                self.stretch_pause(CONNECT).to_duration().as_secs()
            ),
            _ => write!(
                text,
                "[Service]\n{}ExecStart=/sim/run takes=1ms..300ms stops=1ms..200ms \
                 slow-per-mille={} slow=1s..15s fails-per-mille={}\n",
                kind.service_options(),
                self.slow_per_mille,
                self.failing_per_mille,
            ),
        };
        if *installs {
            text.push_str("[Install]\nWantedBy=multi-user.target\n");
        }
        text.push_str(&kind.cluster_options(name));
        text
    }

    /// A pause between two things that come from outside: longer in a long run, so that it is a quiet one.
    pub(crate) fn stretch_pause(&self, pause: Micros) -> Micros {
        Micros(pause.0 * (self.calm_from.0 / SHORT_RUN.0).max(1))
    }

    /// A line of a node to the members: those it knows, in the order in which it tries them.
    pub(crate) fn line_options(&self, line: u32, node: usize, seed: Seed) -> LineOptions {
        let first = if self.prefers_own_member { node } else { 0 };
        let members = (0..self.members).map(|at| (first + at) % self.members).collect();
        let seed = seed.for_purpose(&format!("line {line}"));
        LineOptions { line, members, liveness: Liveness::default(), seed }
    }

    /// The time that the cluster has to converge: a machine is lost (`ttl`, twice where an election comes in between), and then two
    /// passes of which each may stop and start slow units (35 s). An attempt at a reboot that is under way takes its course: drain,
    /// boot and proof.
    pub(crate) fn settling_time(&self) -> Micros {
        let reboots = if self.reboots { 90 } else { 0 };
        Micros::from_secs(90 + 3 * self.ttl_seconds + reboots)
    }

    /// One of the units, by a number.
    pub(crate) fn pick_unit(&self, number: u64) -> Option<&UnitName> {
        let index = usize::try_from(number.checked_rem(self.units.len() as u64)?).ok()?;
        self.units.get(index).map(|unit| &unit.name)
    }

    /// The name of a machine.
    pub(crate) fn machine_name(machine: usize) -> String {
        format!("m{machine}")
    }

    /// The number of a machine of that name.
    pub(crate) fn machine_number(name: &str) -> Option<usize> {
        name.strip_prefix('m')?.parse().ok()
    }
}

/// Most runs are short and wild. A third is long, for what comes of many hours is seldom, and what a short run shows has been seen often.
fn draw_length(chance: &Chance) -> Micros {
    let (shortest, longest) = match chance.number_below(20) {
        0..=6 => (3_600, 14_400),
        7..=9 => (500, 3_600),
        _ => (120, 500),
    };
    chance.time_within(Micros::from_secs(shortest), Micros::from_secs(longest))
}

const fn one_member() -> usize {
    1
}

impl UnitShape {
    fn new(name: UnitName, kind: UnitKind, installs: bool) -> Self {
        Self { name, kind, installs, wants: None }
    }
}

/// Timers and sockets, each with what it starts.
fn draw_pairs(chance: &Chance, units: &mut Vec<UnitShape>) {
    for (stem, starts, kinds) in [
        ("tick", "timer", [UnitKind::Timed, UnitKind::Timer]),
        ("sock", "socket", [UnitKind::Served, UnitKind::Socket]),
    ] {
        for number in 0..chance.number_below(3) {
            for (kind, suffix) in kinds.into_iter().zip(["service", starts]) {
                let name = format!("{stem}{number}.{suffix}").parse().ok();
                units.extend(name.map(|name| UnitShape::new(name, kind, false)));
            }
        }
    }
}

/// Some units want another one that stands behind them: wherever both are, systemd starts the one with the other. Their order has no
/// circles, which systemd would break by leaving one of them out.
fn draw_references(chance: &Chance, units: &mut [UnitShape]) {
    let may_be_wanted =
        |kind| matches!(kind, UnitKind::Plain | UnitKind::Single | UnitKind::Global);
    for index in 0..units.len() {
        let (before, behind) = units.split_at_mut(index + 1);
        let wanted: Vec<&UnitShape> =
            behind.iter().filter(|unit| may_be_wanted(unit.kind)).collect();
        let Some(unit) = before
            .last_mut()
            .filter(|unit| matches!(unit.kind, UnitKind::Plain | UnitKind::Global))
        else {
            continue;
        };
        if chance.happens_by_chance(200) {
            let other = wanted.get(chance.pick_index(wanted.len()));
            unit.wants = other.map(|other| other.name.clone());
        }
    }
}

fn i64_within(chance: &Chance, most: i64) -> i64 {
    let width = u64::try_from(most).unwrap_or(0) * 2;
    i64::try_from(chance.number_within(0, width)).unwrap_or(0) - most
}
