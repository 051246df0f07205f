//! What becomes of a job on its machine.
//!
//! Owns the rule that a job, a unit with `Job=yes`, is begun once for each time somebody starts it. Before it is begun its
//! machine notes so on its disk, with the generation; what is noted outlives the daemon, the boot and the store. A job that
//! was begun is not begun again at that generation, whether its end was seen or not: it may have done its work.
//!
//! | noted | the daemon remembers | it runs | becomes |
//! | --- | --- | --- | --- |
//! | nothing, or an earlier start | | | a unit like any other |
//! | this start, or a later one | that this one was carried out | | a unit like any other: nothing is done |
//! | the same, and has another file since | that this one was carried out | yes | carried out: nobody has asked for it to run anew |
//! | this start, or a later one | anything else | yes | carried out: it is adopted as it runs |
//! | the same, ended well | anything else | no | carried out |
//! | the same, ended badly | anything else | no | given up on, for what was wrong |
//! | the same, no end | anything else | no | given up on: nobody knows how it ended, or whether it comes yet |
//!
//! A later start than the one that is asked for was begun where a backup of the store was put back: whoever made it may want the
//! job as it was then, and has not asked for it to run.
//!
//! A run is remembered when its job is placed here no more, too: a backup may bring the placement of before back, and the start that
//! was made then was made.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::probe::is_planted;
use muster_common::state::{ActiveState, DesiredState, sub};
use muster_common::unit::{FileHash, UnitName};
use serde::{Deserialize, Serialize};

use crate::machine::converge::{Observed, Owned};

/// The jobs that are not placed here any more and whose runs are remembered. All runs are one file, written and synced before each
/// job begins; so many are 70 KB of it, and a day of a job a minute. A backup that is older than the last thousand jobs of one
/// machine is too old to be put back without a look at what ran since.
pub const REMOVED_RUNS_KEPT: usize = 1_000;

/// The last time a job was begun on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRun {
    /// The generation it was begun for.
    pub generation: u64,
    /// Its end; absent while it runs, or where its end was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<JobEnd>,
}

/// The end of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobEnd {
    /// Well.
    #[serde(rename = "well")]
    Succeeded,
    /// Otherwise; the problem.
    #[serde(rename = "badly")]
    Failed(String),
}

/// The way in which a job may be treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobVerdict {
    /// Like any unit.
    Unrestricted,
    /// It was begun for this start and runs, or has ended well: it is not begun again.
    CarriedOut,
    /// It is not begun again, for this reason.
    GivenUp(String),
}

/// The text where a job was begun and nobody has seen how it ended.
pub const END_UNKNOWN: &str = "it was begun, and how it ended is not known: its machine or its daemon went away meanwhile; \
                               `musterctl restart` runs it again";

/// Judges a job that is to be launched from a file at a generation.
pub fn verdict_on(
    run: Option<&JobRun>,
    (file, generation): (FileHash, u64),
    owned: Option<&Owned>,
    seen: &Observed,
) -> JobVerdict {
    let is_noted = |run: &&JobRun| run.generation >= generation && !is_planted("job-begun-again");
    let Some(run) = run.filter(is_noted) else {
        return JobVerdict::Unrestricted;
    };
    let is_settled = |owned: &Owned| {
        let is_this = if is_planted("later-job-start-counts-as-this") {
            owned.generation >= generation
        } else {
            owned.generation == generation
        };
        let is_cut_off = owned.starting || owned.stopping;
        // One that runs is not to run from a file that was merely submitted: like any unit it would be restarted.
        let is_replaced =
            owned.file != file && seen.is_up() && !is_planted("replaced-job-begun-again");
        !is_cut_off && !is_replaced && owned.desired == DesiredState::Launched && is_this
    };
    if owned.is_some_and(is_settled) {
        return JobVerdict::Unrestricted;
    }
    if owned.is_some_and(|owned| owned.starting) && is_planted("lost-job-start-repeated") {
        return JobVerdict::Unrestricted;
    }
    match &run.end {
        // Whether its start was answered or not, and whatever was carried out before: a restart would be a second beginning.
        _ if seen.is_up() => JobVerdict::CarriedOut,
        Some(JobEnd::Succeeded) => JobVerdict::CarriedOut,
        Some(JobEnd::Failed(problem)) => JobVerdict::GivenUp(problem.clone()),
        None => JobVerdict::GivenUp(END_UNKNOWN.to_owned()),
    }
}

/// The jobs whose runs are forgotten: of those that are not placed here, all but the latest. Starts of jobs are numbered by the
/// revisions of their store, so that a lower generation is an earlier start.
pub fn runs_to_forget(
    runs: &BTreeMap<UnitName, JobRun>,
    is_placed: impl Fn(&UnitName) -> bool,
) -> BTreeSet<UnitName> {
    let forgets_placed = is_planted("placed-jobs-run-forgotten");
    let forgets_removed = forgets_placed || is_planted("removed-jobs-run-forgotten");
    let kept = if forgets_removed { 0 } else { REMOVED_RUNS_KEPT };
    let is_removed = |unit: &UnitName| forgets_placed || !is_placed(unit);
    let removed = runs.iter().filter(|(unit, _)| is_removed(unit));
    let mut removed: Vec<(u64, &UnitName)> =
        removed.map(|(unit, run)| (run.generation, unit)).collect();
    removed.sort_unstable();
    let surplus = removed.len().saturating_sub(kept);
    removed.into_iter().take(surplus).map(|(_, unit)| unit.clone()).collect()
}

/// The end that a job that was begun has come to since, as its runner shows it; nothing while it runs.
pub fn observed_end(run: &JobRun, owned: &Owned, seen: &Observed) -> Option<JobEnd> {
    let settled = owned.generation == run.generation && owned.desired == DesiredState::Launched;
    if run.end.is_some() || !settled || owned.starting {
        return None;
    }
    let end = match (&seen.active, seen.sub.as_str()) {
        (ActiveState::Inactive, _) | (ActiveState::Active, sub::EXITED) => Some(JobEnd::Succeeded),
        (ActiveState::Failed, _) => Some(JobEnd::Failed("it failed".to_owned())),
        _ => None,
    };
    debug_assert!(
        end.as_ref().is_none_or(|end| is_begun_once(run.generation, end, seen)),
        "{run:?} would be begun again: {seen:?}"
    );
    end
}

/// An end is noted so that nobody begins the job again: neither a daemon that remembers nothing of it, nor one that is asked for an
/// earlier start. Only one that is up is left to the rules of every unit, which adopt it.
fn is_begun_once(generation: u64, end: &JobEnd, seen: &Observed) -> bool {
    let noted = JobRun { generation, end: Some(end.clone()) };
    let file = FileHash::of_text("");
    let is_free = |generation| {
        verdict_on(Some(&noted), (file, generation), None, seen) == JobVerdict::Unrestricted
    };
    seen.is_up() || !is_free(generation) && !is_free(generation.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> FileHash {
        FileHash::of_text("")
    }

    fn owned(generation: u64, desired: DesiredState) -> Owned {
        Owned {
            file: file(),
            generation,
            desired,
            enabled: false,
            starting: false,
            stopping: false,
        }
    }

    fn seen(active: &str) -> Observed {
        Observed { active: active.into(), sub: "dead".to_owned(), ..Observed::default() }
    }

    fn run(generation: u64, end: Option<JobEnd>) -> JobRun {
        JobRun { generation, end }
    }

    #[test]
    fn a_job_that_was_not_begun_for_this_start_is_free_to_begin() {
        assert_eq!(
            verdict_on(None, (file(), 2), None, &seen("inactive")),
            JobVerdict::Unrestricted
        );
        let earlier = run(1, Some(JobEnd::Succeeded));
        assert_eq!(
            verdict_on(Some(&earlier), (file(), 2), None, &seen("inactive")),
            JobVerdict::Unrestricted
        );
    }

    #[test]
    fn one_that_was_begun_is_not_begun_again_whatever_the_daemon_remembers() {
        for owned in
            [None, Some(owned(0, DesiredState::Inactive)), Some(owned(1, DesiredState::Launched))]
        {
            let judged = |end| {
                verdict_on(Some(&run(2, end)), (file(), 2), owned.as_ref(), &seen("inactive"))
            };
            assert_eq!(judged(Some(JobEnd::Succeeded)), JobVerdict::CarriedOut);
            let badly = JobEnd::Failed("exit status 1".to_owned());
            assert_eq!(judged(Some(badly)), JobVerdict::GivenUp("exit status 1".to_owned()));
            assert_eq!(judged(None), JobVerdict::GivenUp(END_UNKNOWN.to_owned()));
        }
    }

    #[test]
    fn one_that_runs_or_is_known_to_have_been_carried_out_is_left_alone() {
        let begun = run(2, None);
        assert_eq!(
            verdict_on(Some(&begun), (file(), 2), None, &seen("activating")),
            JobVerdict::CarriedOut
        );
        let earlier = owned(1, DesiredState::Launched);
        assert_eq!(
            verdict_on(Some(&begun), (file(), 2), Some(&earlier), &seen("activating")),
            JobVerdict::CarriedOut
        );
        let settled = owned(2, DesiredState::Launched);
        assert_eq!(
            verdict_on(Some(&begun), (file(), 2), Some(&settled), &seen("inactive")),
            JobVerdict::Unrestricted
        );
    }

    #[test]
    fn one_that_runs_is_not_begun_again_because_its_file_was_replaced() {
        let begun = run(2, None);
        let settled = owned(2, DesiredState::Launched);
        let judged = |active| {
            let wanted = (FileHash::of_text("another"), 2);
            verdict_on(Some(&begun), wanted, Some(&settled), &seen(active))
        };
        assert_eq!(judged("activating"), JobVerdict::CarriedOut);
        // The file is written, as for every unit.
        assert_eq!(judged("inactive"), JobVerdict::Unrestricted);
    }

    #[test]
    fn one_that_was_begun_for_a_later_start_is_not_begun_for_an_earlier_one() {
        let later = run(3, Some(JobEnd::Succeeded));
        let settled = owned(3, DesiredState::Launched);
        let judged = |active| verdict_on(Some(&later), (file(), 2), Some(&settled), &seen(active));
        assert_eq!(judged("inactive"), JobVerdict::CarriedOut);
        assert_eq!(judged("activating"), JobVerdict::CarriedOut);
        let lost = run(3, None);
        assert_eq!(
            verdict_on(Some(&lost), (file(), 2), Some(&settled), &seen("inactive")),
            JobVerdict::GivenUp(END_UNKNOWN.to_owned())
        );
    }

    #[test]
    fn the_runs_of_removed_jobs_are_kept_but_for_the_earliest_of_very_many() {
        let kept = u64::try_from(REMOVED_RUNS_KEPT).unwrap();
        let name = |number: u64| format!("job{number}.service").parse::<UnitName>().unwrap();
        let mut runs: BTreeMap<UnitName, JobRun> =
            (1..=kept).map(|generation| (name(generation), run(generation, None))).collect();
        assert_eq!(runs_to_forget(&runs, |_| false), BTreeSet::new());
        runs.insert(name(0), run(0, None));
        assert_eq!(runs_to_forget(&runs, |_| false), BTreeSet::from([name(0)]));
        assert_eq!(runs_to_forget(&runs, |unit| *unit == name(0)), BTreeSet::new());
    }

    #[test]
    fn one_whose_start_was_not_answered_is_not_begun_again() {
        let begun = run(2, None);
        for starting in [owned(0, DesiredState::Inactive), owned(2, DesiredState::Launched)] {
            let starting = Owned { starting: true, ..starting };
            let judged =
                |active| verdict_on(Some(&begun), (file(), 2), Some(&starting), &seen(active));
            assert_eq!(judged("activating"), JobVerdict::CarriedOut);
            // It has ended, or waits in systemd's queue, or systemd never heard of it.
            assert_eq!(judged("inactive"), JobVerdict::GivenUp(END_UNKNOWN.to_owned()));
        }
    }

    #[test]
    fn the_end_of_an_adopted_job_is_seen_when_it_comes() {
        let settled = owned(2, DesiredState::Launched);
        assert_eq!(observed_end(&run(2, None), &settled, &seen("activating")), None);
        assert_eq!(
            observed_end(&run(2, None), &settled, &seen("inactive")),
            Some(JobEnd::Succeeded)
        );
        assert!(matches!(
            observed_end(&run(2, None), &settled, &seen("failed")),
            Some(JobEnd::Failed(_))
        ));
        let unsettled = owned(0, DesiredState::Inactive);
        assert_eq!(observed_end(&run(2, None), &unsettled, &seen("inactive")), None);
    }
}
