//! What holds of one machine's steps, whatever is wanted, remembered and running there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[path = "support/one_machine.rs"]
mod one_machine;

use std::collections::BTreeMap;

use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, UnitName};
use muster_engine::machine::converge::{Desired, Observed, Owned, Step, Steps, next_steps};
use proptest::prelude::*;

use one_machine::Machine;

const UNITS: [&str; 3] = ["a.service", "b@1.service", "c.timer"];

fn desired_states() -> impl Strategy<Value = DesiredState> {
    prop_oneof![
        Just(DesiredState::Inactive),
        Just(DesiredState::Loaded),
        Just(DesiredState::Launched)
    ]
}

fn files() -> impl Strategy<Value = FileHash> {
    prop_oneof![Just(FileHash::of_text("A")), Just(FileHash::of_text("B"))]
}

fn wanted() -> impl Strategy<Value = Desired> {
    (files(), desired_states(), 1..4_u64, any::<bool>()).prop_map(
        |(file, desired, generation, install)| Desired { file, desired, generation, install },
    )
}

fn remembered() -> impl Strategy<Value = Owned> {
    let cut_off = || prop::bool::weighted(0.2);
    (files(), 0..4_u64, desired_states(), any::<bool>(), cut_off(), cut_off()).prop_map(
        |(file, generation, desired, enabled, starting, stopping)| Owned {
            file,
            generation,
            desired,
            enabled,
            starting,
            stopping,
        },
    )
}

fn seen() -> impl Strategy<Value = Observed> {
    let active = prop::sample::select(vec![
        "",
        "inactive",
        "active",
        "activating",
        "deactivating",
        "failed",
        "reloading",
        "maintenance",
    ]);
    (active, prop::bool::weighted(0.2), prop::option::of(files())).prop_map(
        |(active, foreign, file)| Observed {
            active: active.into(),
            foreign,
            obstacle: String::new(),
            file,
            ..Observed::default()
        },
    )
}

fn machines() -> impl Strategy<Value = Machine> {
    let unit =
        || (prop::option::of(wanted()), prop::option::of(remembered()), prop::option::of(seen()));
    [unit(), unit(), unit()].prop_map(|units| {
        let mut machine = Machine::default();
        for (name, (wanted, remembered, seen)) in UNITS.iter().zip(units) {
            let name: UnitName = name.parse().unwrap();
            machine.desired.extend(wanted.map(|wanted| (name.clone(), wanted)));
            machine.owned.extend(remembered.map(|owned| (name.clone(), owned)));
            machine.observed.extend(seen.map(|seen| (name.clone(), seen)));
        }
        machine
    })
}

fn steps_of(machine: &Machine) -> Steps {
    next_steps(&machine.desired, &machine.observed, &machine.owned)
}

/// Every step with its unit.
fn each(steps: &Steps) -> impl Iterator<Item = (&UnitName, &Step)> {
    let chains = steps.removals.iter().chain(&steps.others);
    chains.flat_map(|chain| chain.steps.iter().map(|step| (&chain.unit, step)))
}

fn touches(step: &Step) -> bool {
    matches!(
        step,
        Step::Start { .. }
            | Step::Restart { .. }
            | Step::Stop
            | Step::Write { .. }
            | Step::Load
            | Step::Enable
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Carried out once there is nothing left to do, but to say again what is refused.
    #[test]
    fn it_comes_to_rest(machine in machines()) {
        let mut machine = machine;
        machine.carry_out(&steps_of(&machine));
        let again = steps_of(&machine);
        prop_assert!(each(&again).all(|(_, step)| matches!(step, Step::Refuse { .. })), "{again:?}");
    }

    #[test]
    fn what_is_not_ours_is_never_touched(machine in machines()) {
        for (unit, step) in each(&steps_of(&machine)) {
            let foreign = machine.observed.get(unit).is_some_and(|seen| seen.foreign);
            prop_assert!(!(foreign && touches(step)), "{unit}: {step:?}");
        }
    }

    /// What is neither wanted nor remembered is nobody's business here.
    #[test]
    fn only_what_is_wanted_or_remembered_has_steps(machine in machines()) {
        for (unit, step) in each(&steps_of(&machine)) {
            let known = machine.desired.contains_key(unit) || machine.owned.contains_key(unit);
            prop_assert!(known, "{unit}: {step:?}");
        }
    }

    /// Nothing that is forgotten goes on, or begins later.
    #[test]
    fn what_is_removed_has_stopped(machine in machines()) {
        let steps = steps_of(&machine);
        for (unit, step) in each(&steps).filter(|(_, step)| matches!(step, Step::Remove)) {
            let (owned, seen) = (machine.owned.get(unit), machine.observed.get(unit));
            let chains = steps.removals.iter().filter(|chain| chain.unit == *unit);
            let stopped = chains.flat_map(|chain| &chain.steps).any(|step| *step == Step::Stop);
            let foreign = seen.is_some_and(|seen| seen.foreign);
            let ran = seen.is_some_and(|seen| !seen.active.is_down());
            let begun = owned.is_some_and(|owned| owned.starting);
            prop_assert!(foreign || stopped || !(ran || begun), "{unit}: {step:?}");
        }
    }

    /// A daemon that has lost its memory stops and restarts nothing that runs from the file that is wanted.
    #[test]
    fn adoption_restarts_nothing(machine in machines()) {
        let forgetful = Machine { owned: BTreeMap::default(), ..machine };
        for (unit, step) in each(&steps_of(&forgetful)) {
            let in_place = forgetful.desired.get(unit).map(|wanted| wanted.file)
                == forgetful.observed.get(unit).and_then(|seen| seen.file);
            prop_assert!(!matches!(step, Step::Stop), "{unit}: a stop of what it does not remember");
            prop_assert!(!(in_place && matches!(step, Step::Restart { .. })), "{unit}: {step:?}");
        }
    }

    /// What ended by itself, at the generation and in the file that were asked for, is its author's business.
    #[test]
    fn what_ended_by_itself_is_not_started_again(machine in machines()) {
        for (unit, step) in each(&steps_of(&machine)) {
            let (Some(wanted), Some(owned)) = (machine.desired.get(unit), machine.owned.get(unit)) else { continue };
            let settled = (wanted.generation, wanted.desired, wanted.file) == (owned.generation, owned.desired, owned.file);
            let settled = settled && wanted.desired != DesiredState::Inactive && !owned.starting && !owned.stopping;
            prop_assert!(!(settled && matches!(step, Step::Start { .. } | Step::Restart { .. } | Step::Stop)), "{unit}: {step:?}");
        }
    }

    /// What goes is gone before what comes begins.
    #[test]
    fn removals_are_those_that_leave_or_stop(machine in machines()) {
        let steps = steps_of(&machine);
        for chain in &steps.removals {
            prop_assert!(matches!(chain.steps.first(), Some(Step::Stop | Step::Remove | Step::Disable)), "{chain:?}");
        }
        for chain in &steps.others {
            prop_assert!(!matches!(chain.steps.first(), None | Some(Step::Stop | Step::Remove)), "{chain:?}");
        }
    }
}
