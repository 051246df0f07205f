//! How far a start is whose service Podman makes: what is fetched, which unit is waited for, and that a container is not healthy yet.
//!
//! Owns the words of it, and reading it off a service's processes. Podman tells nobody how far it is; but what it fetches it puts
//! into files below one directory until it is whole, and these can be counted. It asks Podman nothing and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_common::state::ActiveState;
use muster_common::unit::{UnitFile, UnitName, UnitType};
use tokio::sync::mpsc;

use super::bundle::named_units;
use super::units::PodmanUnits;
use crate::runner::systemd::processes_of;
use crate::runner::{Runner, RunnerError, RunnerEvent, UnitObservation};
use crate::stdx::sync::lock;

/// Pause between two looks at a start. The first one comes after what most starts take, so that these cost nothing.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How the directory begins in which Podman has the parts of an image that it fetches.
const FETCHING: &str = "container_images_";

/// The program that stays with a container.
const MONITOR: &str = "conmon";

/// Most processes that are looked at: a service that starts has few.
const MOST_PROCESSES: usize = 64;

/// The doings of a service's processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServiceActivity {
    /// The bytes that are there of images being fetched, if any are.
    pub fetched: Option<u64>,
    /// True if a container of it runs.
    pub has_container: bool,
}

/// Whoever sees what the processes of a service are doing.
pub trait ActivityWatch: Send + Sync + 'static {
    /// The doings of this service's processes now.
    fn read_activity(&self, service: &UnitName) -> ServiceActivity;
}

/// The processes of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostProcesses;

impl ActivityWatch for HostProcesses {
    fn read_activity(&self, service: &UnitName) -> ServiceActivity {
        let processes = processes_of(service);
        let mut activity = ServiceActivity::default();
        let mut directories = BTreeSet::new();
        for process in processes.into_iter().take(MOST_PROCESSES) {
            let process = PathBuf::from(format!("/proc/{process}"));
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            activity.has_container |= name.trim_end() == MONITOR;
            directories.extend(fetching_directories(&process.join("fd")));
        }
        if !directories.is_empty() {
            let bytes = directories.iter().map(|directory| count_bytes(directory));
            activity.fetched = Some(bytes.sum());
        }
        activity
    }
}

/// The directories of images being fetched that lie above what a process has open.
fn fetching_directories(open_files: &Path) -> BTreeSet<PathBuf> {
    let Ok(entries) = fs::read_dir(open_files) else { return BTreeSet::new() };
    let directory = |entry: fs::DirEntry| -> Option<PathBuf> {
        let target = fs::read_link(entry.path()).ok()?;
        let is_fetching = |part: &Path| {
            let name = part.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(FETCHING))
        };
        target.ancestors().skip(1).find(|part| is_fetching(part)).map(Path::to_owned)
    };
    entries.filter_map(|entry| directory(entry.ok()?)).collect()
}

/// The bytes of the files in a directory.
fn count_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let size =
        |entry: fs::DirEntry| Some(entry.metadata().ok().filter(fs::Metadata::is_file)?.len());
    entries.filter_map(|entry| size(entry.ok()?)).sum()
}

/// A unit on its way, as far as it is seen.
#[derive(Debug, Clone)]
pub(super) struct StartingUnit {
    pub(super) unit: UnitName,
    pub(super) file: UnitFile,
    pub(super) active: ActiveState,
    pub(super) activity: ServiceActivity,
}

/// The words on a start, where there are any: on the unit itself, or on the one among those it names that it waits for.
pub(super) fn progress_text(unit: &StartingUnit, named: &[StartingUnit]) -> Option<String> {
    // systemd starts what a unit names before it, in its own order.
    let waited = named.iter().find(|named| named.active == ActiveState::Activating);
    if let Some(waited) = waited {
        let about =
            own_progress(waited).map_or_else(String::new, |about| format!(", which {about}"));
        return Some(format!("waits for {}{about}", waited.unit));
    }
    (unit.active == ActiveState::Activating).then(|| own_progress(unit)).flatten()
}

/// The words on a unit by itself.
fn own_progress(unit: &StartingUnit) -> Option<String> {
    let last = |name: &str| -> Option<String> {
        let mut options = unit.file.options().iter().filter(|option| option.name == name);
        options.next_back().map(|option| option.joined_value().into_owned())
    };
    if let Some(bytes) = unit.activity.fetched {
        let image = last("Image").filter(|image| !image.is_empty());
        let image = image.unwrap_or_else(|| "an image".to_owned());
        let megabytes = bytes.div_ceil(1_000_000);
        return Some(format!("fetches {image}: {megabytes} MB so far"));
    }
    match unit.unit.unit_type() {
        UnitType::Container if unit.activity.has_container => match last("Notify")?.as_str() {
            "healthy" => Some("waits until it is healthy".to_owned()),
            "yes" | "true" | "on" | "1" => Some("waits until it says that it is ready".to_owned()),
            _ => None,
        },
        UnitType::Build => Some("builds an image".to_owned()),
        _ => None,
    }
}

/// The last words on each unit that is being started.
#[derive(Debug, Clone, Default)]
pub(super) struct ProgressRemarks(Arc<Mutex<BTreeMap<UnitName, StartRemark>>>);

/// What is said of one start.
#[derive(Debug, Default)]
struct StartRemark {
    /// Those who look at it: whoever waits for it here, or whoever found it under way.
    tellers: usize,
    text: Option<String>,
}

impl ProgressRemarks {
    /// The words on a unit that is in this state; empty where there are none. systemd may be done with a start
    /// before whoever waits for it has heard.
    pub(super) fn find_remark(&self, unit: &UnitName, active: &ActiveState) -> String {
        let is_starting = matches!(active, ActiveState::Activating | ActiveState::Inactive);
        let starts = lock(&self.0);
        let remark = starts.get(unit).filter(|_| is_starting);
        remark.and_then(|remark| remark.text.clone()).unwrap_or_default()
    }

    /// Takes note of it; true if it is news.
    fn set_remark(&self, unit: &UnitName, remark: Option<String>) -> bool {
        let mut starts = lock(&self.0);
        let Some(known) = starts.get_mut(unit) else { return false };
        let is_news = known.text != remark;
        known.text = remark;
        is_news
    }

    /// One more who looks at a start.
    fn begin_telling(&self, unit: &UnitName) -> StartTelling {
        lock(&self.0).entry(unit.clone()).or_default().tellers += 1;
        StartTelling { remarks: self.clone(), unit: unit.clone() }
    }

    /// The first who looks at a start; `None` where somebody does.
    fn begin_first(&self, unit: &UnitName) -> Option<StartTelling> {
        if lock(&self.0).contains_key(unit) { None } else { Some(self.begin_telling(unit)) }
    }
}

/// Takes back what was said of a start once nobody looks at it any more.
struct StartTelling {
    remarks: ProgressRemarks,
    unit: UnitName,
}

impl Drop for StartTelling {
    fn drop(&mut self) {
        let mut starts = lock(&self.remarks.0);
        let Some(known) = starts.get_mut(&self.unit) else { return };
        known.tellers = known.tellers.saturating_sub(1);
        if known.tellers == 0 {
            starts.remove(&self.unit);
        }
    }
}

/// Whoever looks how far starts are, and says so.
pub(super) struct ProgressTeller {
    pub(super) systemd: Arc<dyn Runner>,
    pub(super) units: PodmanUnits,
    pub(super) watch: Arc<dyn ActivityWatch>,
    pub(super) remarks: ProgressRemarks,
    /// Where it is said. Ended by whoever passes on what systemd says.
    pub(super) events: mpsc::WeakSender<RunnerEvent>,
}

impl ProgressTeller {
    /// Waits for a start, and says meanwhile how far it is.
    pub(super) async fn tell_until<T>(&self, unit: &UnitName, start: impl Future<Output = T>) -> T {
        let _telling = self.remarks.begin_telling(unit);
        // The start's end is first: what would be said then is over. Both may be dropped.
        tokio::select! {
            biased;
            ended = start => ended,
            never = self.keep_telling(unit) => match never {},
        }
    }

    /// Looks now and then, for as long as somebody waits.
    async fn keep_telling(&self, unit: &UnitName) -> std::convert::Infallible {
        loop {
            muster_runtime::sleep(LOOK_INTERVAL).await;
            self.look_and_tell(unit).await;
        }
    }

    /// Says how far a start is that was found under way: an earlier daemon has asked for it, or systemd starts the service again by
    /// itself. Until it is over; where somebody looks at it already, that is enough.
    pub(super) fn follow_start(self: &Arc<Self>, unit: &UnitName) {
        let Some(telling) = self.remarks.begin_first(unit) else { return };
        let teller = Arc::downgrade(self);
        muster_runtime::spawn(async move {
            loop {
                muster_runtime::sleep(LOOK_INTERVAL).await;
                let Some(teller) = teller.upgrade() else { return };
                if teller.look_and_tell(&telling.unit).await == Some(ActiveState::Activating) {
                    continue;
                }
                return;
            }
        });
    }

    /// Looks at a unit once and says what there is to say; the state that it is in. One that cannot be looked at has a reason of its
    /// own, which others say.
    async fn look_and_tell(&self, unit: &UnitName) -> Option<ActiveState> {
        let (text, seen) = self.look_at(unit).await.ok()?;
        let active = seen.observed.active.clone();
        self.tell(unit, (text, seen)).await;
        Some(active)
    }

    /// A unit and those that it names, as they are now.
    async fn look_at(
        &self,
        unit: &UnitName,
    ) -> Result<(Option<String>, UnitObservation), RunnerError> {
        let named = named_units(unit, &self.units);
        let services: BTreeMap<&UnitName, UnitName> = [unit]
            .into_iter()
            .chain(&named)
            .filter_map(|unit| Some((unit, self.units.expected_service(unit)?)))
            .collect();
        let mut seen = self.systemd.observe_units(&services.values().cloned().collect()).await?;
        let mut starting = |unit: &UnitName| -> Option<(StartingUnit, UnitObservation)> {
            let service = services.get(unit)?;
            let observation = seen.remove(service)?;
            let active = observation.observed.active.clone();
            let is_starting = active == ActiveState::Activating;
            let activity = is_starting.then(|| self.watch.read_activity(service));
            let starting = StartingUnit {
                unit: unit.clone(),
                file: self.units.read_file(unit)?,
                active,
                activity: activity.unwrap_or_default(),
            };
            Some((starting, observation))
        };
        let Some((own, observation)) = starting(unit) else {
            return Ok((None, UnitObservation::default()));
        };
        let named: Vec<StartingUnit> =
            named.iter().filter_map(|named| Some(starting(named)?.0)).collect();
        Ok((progress_text(&own, &named), observation))
    }

    /// Says what there is to say of a unit, if that is news.
    async fn tell(&self, unit: &UnitName, (text, seen): (Option<String>, UnitObservation)) {
        let remark = text.clone().unwrap_or_default();
        if !self.remarks.set_remark(unit, text) || seen.observed.load.is_empty() {
            return;
        }
        let Some(events) = self.events.upgrade() else { return };
        let event = RunnerEvent::Changed {
            unit: unit.clone(),
            active: seen.observed.active,
            sub: seen.observed.sub,
            invocation: seen.invocation,
            since: seen.since,
            remark,
        };
        let _ = events.send(event).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starting(name: &str, text: &str, active: ActiveState) -> StartingUnit {
        StartingUnit {
            unit: name.parse().unwrap(),
            file: text.parse().unwrap(),
            active,
            activity: ServiceActivity::default(),
        }
    }

    #[test]
    fn a_start_says_what_it_waits_for() {
        let mut unit = starting(
            "a.container",
            "[Container]\nImage=localhost/a:1\nNotify=healthy\n",
            ActiveState::Activating,
        );
        assert_eq!(progress_text(&unit, &[]), None);
        unit.activity.fetched = Some(34_200_000);
        let text = progress_text(&unit, &[]);
        assert_eq!(text.as_deref(), Some("fetches localhost/a:1: 35 MB so far"));
        unit.activity = ServiceActivity { fetched: None, has_container: true };
        assert_eq!(progress_text(&unit, &[]).as_deref(), Some("waits until it is healthy"));
        unit.active = ActiveState::Active;
        assert_eq!(progress_text(&unit, &[]), None);

        unit.active = ActiveState::Inactive;
        let done = starting("d.volume", "[Volume]\n", ActiveState::Active);
        let mut image = starting("i.image", "[Image]\nImage=b\n", ActiveState::Activating);
        let text = progress_text(&unit, &[done.clone(), image.clone()]);
        assert_eq!(text.as_deref(), Some("waits for i.image"));
        image.activity.fetched = Some(1);
        let text = progress_text(&unit, &[done, image]);
        assert_eq!(text.as_deref(), Some("waits for i.image, which fetches b: 1 MB so far"));
    }

    #[test]
    fn what_is_fetched_is_counted_in_its_files() {
        let place = tempfile::tempdir().unwrap();
        let (fetching, open) =
            (place.path().join("container_images_storage12"), place.path().join("fd"));
        for directory in [&fetching, &open] {
            fs::create_dir(directory).unwrap();
        }
        for (name, bytes) in [("1", 5), ("2", 7)] {
            fs::write(fetching.join(name), vec![0; bytes]).unwrap();
        }
        std::os::unix::fs::symlink(fetching.join("2"), open.join("3")).unwrap();
        std::os::unix::fs::symlink("/dev/null", open.join("0")).unwrap();
        let found = fetching_directories(&open);
        assert_eq!(found, BTreeSet::from([fetching.clone()]));
        assert_eq!(count_bytes(&fetching), 12);
        assert_eq!(fetching_directories(Path::new("/nowhere")), BTreeSet::new());
    }
}
