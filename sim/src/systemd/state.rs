//! The state of the model: units that are loaded, their jobs, and what it remembers besides.
//!
//! Owns the data and the words that states go by. What changes them is in the files beside this one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_common::seed::{RandomSequence, Seed};
use muster_common::state::{ActiveState, load, sub};
use muster_common::unit::{FileHash, UnitName};
use musterd::runner::systemd::manager::{JobKind, ManagerSignal};
use musterd::stdx::disk::{Disk, FileStamp};

use super::definition::{Definition, Program, Span, TypePart};

/// The directories of unit files, the first of which wins.
pub(super) const UNIT_PATH: [&str; 3] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"];

/// systemd on one machine.
#[derive(Debug)]
pub struct SystemdModel {
    pub(super) seed: Seed,
    pub(super) disk: Arc<dyn Disk>,
    /// The moment of the last step, and the second since the Unix epoch that it was by the machine's clock.
    pub(super) now: Duration,
    pub(super) wall: u64,
    pub(super) units: BTreeMap<UnitName, LoadedUnit>,
    /// By unit: one at most.
    pub(super) jobs: BTreeMap<UnitName, QueuedJob>,
    pub(super) next_job: u64,
    pub(super) runs: u64,
    /// Processes that units have left behind, and until when.
    pub(super) leftovers: BTreeMap<UnitName, Duration>,
    /// Units that `[Install]` sections have hooked into others. They lie in `/run` as links.
    pub(super) hooks: BTreeMap<UnitName, BTreeSet<UnitName>>,
    pub(super) boots: u64,
    pub(super) soft_reboots: u64,
    pub(super) reloads: u64,
    /// The machine goes down: nothing is started any more.
    pub(super) stopping: bool,
    pub(super) signals: Vec<ManagerSignal>,
    pub(super) starts: Vec<ProgramStart>,
    /// Units that have gone down, and whether by themselves.
    pub(super) ends: Vec<(UnitName, bool)>,
    /// The hashes of files that were read.
    pub(super) hashes: BTreeMap<PathBuf, (FileStamp, FileHash)>,
}

/// A program that was started: what a checker wants to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramStart {
    /// The moment.
    pub at: Duration,
    /// The unit.
    pub unit: UnitName,
    /// The file that it was started from.
    pub file: FileHash,
    /// The file that lay in the unit's place at that moment.
    pub in_place: Option<FileHash>,
}

/// A unit that systemd has in memory.
#[derive(Debug, Clone)]
pub(super) struct LoadedUnit {
    pub(super) load: &'static str,
    pub(super) definition: Option<Arc<Definition>>,
    /// The file it was read from, as it was.
    pub(super) fragment: Option<(PathBuf, FileStamp)>,
    pub(super) phase: Phase,
    /// The moment at which the phase is over by itself.
    pub(super) due: Option<Duration>,
    /// The moment at which a timer elapses next, or somebody connects to a socket.
    pub(super) fires: Option<Duration>,
    /// The seconds since the Unix epoch at which its state last changed.
    pub(super) since: u64,
    /// The number of the run it is in, or was in last; 0 for none.
    pub(super) run: u64,
    /// The definition its processes were started from.
    pub(super) running: Option<Arc<Definition>>,
    pub(super) exit: MainExit,
    pub(super) restarts: i64,
    pub(super) started: VecDeque<Duration>,
}

/// The way in which a service's main process has ended, and what systemd makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MainExit {
    pub(super) result: &'static str,
    pub(super) code: i64,
    pub(super) status: i64,
}

impl MainExit {
    pub(super) const SUCCESS: Self = Self { result: "success", code: 0, status: 0 };

    pub(super) fn by_itself(status: i64) -> Self {
        let result = if status == 0 { "success" } else { "exit-code" };
        Self { result, code: 1, status }
    }

    pub(super) fn has_failed(self) -> bool {
        self.result != "success"
    }
}

/// Where a unit is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Down,
    Failed,
    /// Its start is under way.
    Starting,
    Up,
    /// A oneshot that has ended well and remains.
    Remains,
    Stopping,
    /// systemd is about to start it again.
    AwaitsRestart,
}

/// A job.
#[derive(Debug, Clone)]
pub(super) struct QueuedJob {
    pub(super) number: u64,
    pub(super) kind: JobKind,
    /// It has begun.
    pub(super) running: bool,
}

impl LoadedUnit {
    /// One that has just been loaded, with nothing of it running.
    pub(super) fn new() -> Self {
        Self {
            load: load::NOT_FOUND,
            definition: None,
            fragment: None,
            phase: Phase::Down,
            due: None,
            fires: None,
            since: 0,
            run: 0,
            running: None,
            exit: MainExit::SUCCESS,
            restarts: 0,
            started: VecDeque::new(),
        }
    }

    pub(super) fn active_state(&self) -> ActiveState {
        match self.phase {
            Phase::Down => ActiveState::Inactive,
            Phase::Failed => ActiveState::Failed,
            Phase::Starting | Phase::AwaitsRestart => ActiveState::Activating,
            Phase::Up | Phase::Remains => ActiveState::Active,
            Phase::Stopping => ActiveState::Deactivating,
        }
    }

    pub(super) fn sub_state(&self) -> &'static str {
        let part = self.definition.as_ref().map(|definition| &definition.part);
        match (self.phase, part) {
            (Phase::Down, _) => sub::DEAD,
            (Phase::Failed, _) => sub::FAILED,
            (Phase::Starting, _) => "start",
            (Phase::AwaitsRestart, _) => "auto-restart",
            (Phase::Up, Some(TypePart::Timer(_))) => "waiting",
            (Phase::Up, Some(TypePart::Socket(_))) => "listening",
            (Phase::Up, Some(TypePart::Plain)) => "active",
            (Phase::Up, _) => sub::RUNNING,
            (Phase::Remains, _) => "exited",
            (Phase::Stopping, _) => "stop-sigterm",
        }
    }

    /// True while anything of it is there.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self.phase, Phase::Down | Phase::Failed)
    }

    /// The run it is in, or was in last (`InvocationID`); empty for one that never ran.
    pub(super) fn last_run(&self) -> String {
        if self.run > 0 { format!("{:032x}", self.run) } else { String::new() }
    }
}

impl SystemdModel {
    /// A machine that is switched on for the first time, with the unit files that its disk has.
    pub fn new(seed: Seed, disk: Arc<dyn Disk>) -> Self {
        let mut model = Self {
            seed,
            disk,
            now: Duration::ZERO,
            wall: 0,
            units: BTreeMap::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
            runs: 0,
            leftovers: BTreeMap::new(),
            hooks: BTreeMap::new(),
            boots: 0,
            soft_reboots: 0,
            reloads: 0,
            stopping: false,
            signals: Vec::new(),
            starts: Vec::new(),
            ends: Vec::new(),
            hashes: BTreeMap::new(),
        };
        model.begin_boot();
        model
    }

    /// The signals sent since this was called last, in order.
    pub fn take_signals(&mut self) -> Vec<ManagerSignal> {
        std::mem::take(&mut self.signals)
    }

    /// The programs that were started since this was called last, in order.
    pub fn take_starts(&mut self) -> Vec<ProgramStart> {
        std::mem::take(&mut self.starts)
    }

    /// The file that a unit's processes were started from, while there are any.
    pub(crate) fn running_file(&self, unit: &UnitName) -> Option<FileHash> {
        let found = self.units.get(unit).filter(|found| found.is_there())?;
        found.running.as_ref().map(|running| running.file)
    }

    /// The number of times that all files were read anew.
    pub fn count_reloads(&self) -> u64 {
        self.reloads
    }

    /// Units of which anything is there, and the file that each was started from.
    pub fn list_running(&self) -> BTreeMap<UnitName, FileHash> {
        let there = self.units.iter().filter(|(_, unit)| unit.is_there());
        let file = |unit: &LoadedUnit| Some(unit.running.as_ref()?.file);
        let running = there.filter_map(|(name, unit)| Some((name.clone(), file(unit)?)));
        running.collect()
    }

    /// The state of a unit: `ActiveState`; inactive for one that is not loaded.
    pub fn active_state(&self, unit: &UnitName) -> ActiveState {
        self.units.get(unit).map(LoadedUnit::active_state).unwrap_or_default()
    }

    /// A length of time of a range: by the machine, the unit, the number of its run and the purpose alone.
    pub(super) fn draw_span(&self, span: Span, unit: &UnitName, purpose: &str) -> Duration {
        let width = span.longest.saturating_sub(span.shortest).as_micros();
        let drawn = u128::from(self.chance_of(unit, purpose).next());
        let more = u64::try_from(drawn % (width + 1)).unwrap_or(0);
        span.shortest + Duration::from_micros(more)
    }

    /// The time that a program takes for something that usually takes as long as a range says, and is slow at times.
    pub(super) fn draw_time(
        &self,
        program: &Program,
        usual: Span,
        unit: &UnitName,
        purpose: &str,
    ) -> Duration {
        let is_slow = program.slow_per_mille > 0
            && self.chance_of(unit, "slow").next() % 1000 < program.slow_per_mille;
        self.draw_span(if is_slow { program.slow } else { usual }, unit, purpose)
    }

    pub(super) fn chance_of(&self, unit: &UnitName, purpose: &str) -> RandomSequence {
        let run = self.units.get(unit).map_or(0, |unit| unit.started.len() as u64 + unit.run);
        self.seed.for_purpose(&format!("{purpose} {unit} {run}")).random_sequence()
    }
}
