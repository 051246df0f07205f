//! Containers are made from the file that is in its place, and one of a unit at a time.

use muster_common::unit::FileHash;

use super::Findings;
use crate::containers::ContainerStart;

/// Checks a container that a daemon has started. `in_place` is its unit's file on the machine.
pub(crate) fn check_start(
    machine: &str,
    start: &ContainerStart,
    in_place: Option<FileHash>,
) -> Findings {
    let ContainerStart { unit, file, others_up, .. } = start;
    let mut found = Findings::new();
    if in_place.is_none() {
        let text = format!("{machine} runs a container of {unit} from a file that was removed");
        found.push(("removed-text-runs", text));
    } else if in_place != Some(*file) && start.is_file_settled {
        let text = format!("{machine} runs a container of {unit} from a file that was replaced");
        found.push(("replaced-text-runs", text));
    }
    if *others_up > 0 {
        found.push(("runs-twice", format!("{unit} runs in two containers on {machine}")));
    }
    found
}
