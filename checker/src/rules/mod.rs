//! The rules, by what they look at.
//!
//! Owns their list. A rule is a function that adds what it finds; each says nothing of what it cannot know: a machine that made no
//! report, a store that was not read, a record that cannot be.

mod leading;
mod machines;
mod placements;
mod plan;
mod reboots;
mod records;
mod runs;
mod states;

use crate::picture::ClusterPicture;
use crate::violation::Violation;

/// Violations found while each moment is looked at by itself; all that must never be are among them.
pub(crate) fn find_unsafe(picture: &ClusterPicture) -> Vec<Violation> {
    let mut found = Vec::new();
    if let Some(records) = &picture.records {
        records::check_records(records, &mut found);
        placements::check_placements(records, &mut found);
        reboots::check_slots(records, picture.wall, &mut found);
        runs::check_single_units(picture, records, &mut found);
        machines::check_stores(picture, records, &mut found);
    }
    found
}

/// The rest.
pub(crate) fn find_unsettled(picture: &ClusterPicture) -> Vec<Violation> {
    let mut found = Vec::new();
    if let Some(records) = &picture.records {
        leading::check_leader(picture, records, &mut found);
        plan::check_plan(records, &mut found);
        states::check_states(picture, records, &mut found);
        runs::check_runs(picture, records, &mut found);
        machines::check_registrations(picture, records, &mut found);
        records::check_leftovers(records, &mut found);
        reboots::check_leftovers(records, &mut found);
    }
    machines::check_health(picture, &mut found);
    found
}
