//! Questions to systemd about the files it has in memory: how many, and what is made of the answers.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::future::join_all;
use muster_common::container::HostFacts;

use super::super::host::UnitGroups;
use super::super::manager::{JobId, JobKind, ListedUnit, PropertyValue};
use super::*;

/// A systemd that counts what it is asked, and has some units in memory.
#[derive(Default)]
struct CountingManager {
    /// Each with whether its file has changed since.
    loaded: Mutex<BTreeMap<UnitName, bool>>,
    lists: AtomicUsize,
    reads: AtomicUsize,
    reloads: AtomicUsize,
    /// Rung when a listing has been begun, which then waits for the other.
    pause: Option<(Notify, Notify)>,
}

impl CountingManager {
    fn counts(&self) -> [usize; 3] {
        [&self.lists, &self.reads, &self.reloads].map(|count| count.load(Ordering::Relaxed))
    }
}

#[async_trait]
impl SystemdManager for CountingManager {
    async fn keep_connected(&self) {}

    async fn list_units(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, ListedUnit>, RunnerError> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        let loaded = lock(&self.loaded).clone();
        if let Some((begun, go_on)) = &self.pause {
            begun.notify_one();
            go_on.notified().await;
        }
        tokio::task::yield_now().await;
        let listed = |active| ListedUnit { load: String::new(), active, sub: String::new() };
        let found = loaded.into_keys().filter(|unit| units.contains(unit));
        Ok(found.map(|unit| (unit, listed(ActiveState::Active))).collect())
    }

    async fn read_property(
        &self,
        unit: &UnitName,
        property: UnitProperty,
    ) -> Result<PropertyValue, RunnerError> {
        assert_eq!(property, UnitProperty::NeedDaemonReload);
        self.reads.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Ok(PropertyValue::Flag(lock(&self.loaded).get(unit).copied().unwrap_or(false)))
    }

    async fn reload_units(&self) -> Result<(), RunnerError> {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        lock(&self.loaded).values_mut().for_each(|outdated| *outdated = false);
        Ok(())
    }

    async fn enqueue_job(&self, _: JobKind, _: &UnitName) -> Result<JobId, RunnerError> {
        unreachable!("nothing is started here")
    }

    async fn enable_units(&self, _: &[UnitName]) -> Result<(), RunnerError> {
        unreachable!("nothing is enabled here")
    }

    async fn disable_units(&self, _: &[UnitName]) -> Result<(), RunnerError> {
        unreachable!("nothing is disabled here")
    }

    async fn reset_failed(&self, _: &UnitName) -> Result<(), RunnerError> {
        unreachable!("nothing has failed here")
    }

    async fn unit_path(&self) -> Result<Vec<String>, RunnerError> {
        unreachable!("nobody looks for files here")
    }

    async fn own_group(&self) -> Result<String, RunnerError> {
        unreachable!("nobody looks for groups here")
    }
}

/// A machine on which these units run.
#[derive(Debug, Default)]
struct RunningUnits(Mutex<BTreeMap<UnitName, String>>);

impl UnitHost for RunningUnits {
    fn groups_below(&self, _: &str) -> Arc<dyn UnitGroups> {
        unreachable!("nobody looks for groups here")
    }

    fn current_run(&self, unit: &UnitName, _: &ActiveState) -> (String, u64) {
        (lock(&self.0).get(unit).cloned().unwrap_or_default(), 0)
    }

    fn host_facts(&self) -> Option<HostFacts> {
        None
    }
}

fn units(count: usize) -> Vec<UnitName> {
    (0..count).map(|n| format!("a{n}.service").parse().unwrap()).collect()
}

/// The definitions, and whom they ask, which has these units in memory.
fn definitions(
    loaded: impl IntoIterator<Item = (UnitName, bool)>,
) -> (Definitions, Arc<CountingManager>) {
    let loaded = Mutex::new(loaded.into_iter().collect());
    let manager = Arc::new(CountingManager { loaded, ..CountingManager::default() });
    (definitions_of(&manager, &Arc::default()), manager)
}

fn definitions_of(manager: &Arc<CountingManager>, machine: &Arc<RunningUnits>) -> Definitions {
    let (manager, machine) = (Arc::clone(manager), Arc::clone(machine));
    Definitions::new(manager, machine)
}

async fn refresh_all(definitions: &Definitions, units: &[UnitName]) {
    for refreshed in join_all(units.iter().map(|unit| definitions.refresh_unit(unit))).await {
        refreshed.unwrap();
    }
}

#[tokio::test]
async fn a_hundred_new_units_cost_one_question() {
    let (definitions, manager) = definitions([]);
    let units = units(100);
    definitions.mark_units(&units);
    refresh_all(&definitions, &units).await;
    assert_eq!(manager.counts(), [1, 0, 0]);
    refresh_all(&definitions, &units).await;
    assert_eq!(manager.counts(), [1, 0, 0], "what has been answered is not asked again");
}

#[tokio::test]
async fn one_reload_serves_all_that_systemd_has_older_files_of() {
    let units = units(100);
    // Of three it has read what lies there, of three something older.
    let loaded = (0..6).map(|n| (units[n].clone(), n % 2 == 0));
    let (definitions, manager) = definitions(loaded);
    definitions.mark_units(&units);
    refresh_all(&definitions, &units).await;
    assert_eq!(manager.counts(), [1, 6, 1]);
    assert!(lock(&definitions.marks).units.is_empty());
}

#[tokio::test]
async fn a_file_that_changes_while_systemd_is_asked_is_asked_about_once_more() {
    let unit = units(1).remove(0);
    let pause = Some((Notify::new(), Notify::new()));
    let manager = Arc::new(CountingManager { pause, ..CountingManager::default() });
    let definitions = definitions_of(&manager, &Arc::default());
    definitions.mark_units([&unit]);
    let (begun, go_on) = manager.pause.as_ref().unwrap();
    let change_meanwhile = async {
        begun.notified().await;
        // It is read and written anew before the answer comes.
        lock(&manager.loaded).insert(unit.clone(), true);
        definitions.mark_units([&unit]);
        go_on.notify_one();
    };
    let (refreshed, ()) = tokio::join!(definitions.refresh_unit(&unit), change_meanwhile);
    refreshed.unwrap();
    assert_eq!(manager.counts(), [1, 1, 1], "the answer was of the file before");
    assert!(!definitions.is_marked(&unit));
}

#[tokio::test]
async fn a_run_of_an_earlier_text_is_known_for_as_long_as_it_lasts() {
    let units = units(4);
    let [same, other, down, reloaded] = &units[..] else { unreachable!("there are four") };
    let machine = Arc::new(RunningUnits::default());
    let runs = [same, other, reloaded].map(|unit| (unit.clone(), format!("run of {unit}")));
    lock(&machine.0).extend(runs);
    // What another has made systemd read is up to date for it.
    let loaded = units.iter().map(|unit| (unit.clone(), unit != reloaded)).collect();
    let loaded = Mutex::new(loaded);
    let manager = Arc::new(CountingManager { loaded, ..CountingManager::default() });
    let definitions = definitions_of(&manager, &machine);
    definitions.mark_unit(same, false);
    for unit in [other, down, reloaded] {
        definitions.mark_unit(unit, true);
    }
    // The text is written once more before systemd reads it.
    definitions.mark_unit(other, false);
    refresh_all(&definitions, &units).await;
    let earlier = units.iter().filter(|unit| definitions.runs_earlier_file(unit));
    assert_eq!(earlier.collect::<Vec<_>>(), [other, reloaded]);

    lock(&machine.0).insert(other.clone(), "a later run".to_owned());
    assert!(!definitions.runs_earlier_file(other));
    definitions.mark_unit(same, false);
    refresh_all(&definitions, &units).await;
    let kept: Vec<UnitName> = lock(&definitions.marks).earlier_runs.keys().cloned().collect();
    assert_eq!(kept.iter().collect::<Vec<_>>(), [reloaded], "what is over is forgotten");
}
