//! Units that may not run twice at a time.
//!
//! Owns which those are: what keeps data on its machine, a job, and what names itself in `Conflicts=`; a global unit is meant to
//! run on every machine. What follows from it for a move is [`crate::schedule`]'s, and for a machine that goes the daemon's.

use muster_common::unit::{Glob, Requirements, UnitFile, UnitName, kept_data, runner_demand_of};

/// True if a unit made from this file is one. What cannot be read may be.
pub fn is_single(unit: &UnitName, file: &UnitFile) -> bool {
    let kinds = runner_demand_of(unit, file).possible_kinds();
    let keeps_data = kinds.into_iter().any(|kind| kept_data(kind, file).is_some());
    Requirements::from_file(unit, file)
        .map_or(true, |asked| may_not_run_twice(unit, &asked, keeps_data))
}

/// The same of a unit of which it is known whether it keeps data.
pub(crate) fn may_not_run_twice(unit: &UnitName, asked: &Requirements, keeps_data: bool) -> bool {
    let name = unit.as_str();
    let own = |glob: &Glob| glob.as_str() == name && glob.matches_name(name);
    !asked.global && (keeps_data || asked.job || asked.conflicts.iter().any(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_run_twice_says_so_in_its_file() {
        for (text, single) in [
            ("[Service]\nExecStart=a\n", false),
            ("[Service]\nStateDirectory=a\n", true),
            ("[X-Fleet]\nJob=yes\n", true),
            ("[X-Fleet]\nConflicts=%n\n", true),
            ("[X-Fleet]\nConflicts=a*\n", false),
            ("[Service]\nStateDirectory=a\n[X-Fleet]\nGlobal=yes\n", false),
            ("[X-Fleet]\nNonsense=yes\n", true),
        ] {
            let unit = "a.service".parse().unwrap();
            assert_eq!(is_single(&unit, &text.parse().unwrap()), single, "{text}");
        }
    }
}
