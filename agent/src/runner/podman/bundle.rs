//! The files of Quadlet's that go together: those that a unit names, the ones that these name, and the members of a pod.
//!
//! Owns bringing the files of units that others name to this machine, as the cluster has them, else as this machine last had them; which
//! files the generator has to see for one unit; and which that were brought nobody names any more. It starts and stops nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use muster_common::unit::{QuadletReference, UnitFile, UnitName, UnitType, list_references};

use super::generator::GeneratorInput;
use super::units::PodmanUnits;
use crate::runner::unit_sources::UnitFileCopies;

/// Most files that one unit may bring along, itself included: a pod of containers with a volume each is far below it.
const MOST_FILES: usize = 200;

/// The files that go together with a unit's.
#[derive(Debug)]
pub(super) struct UnitBundle {
    /// The unit, and all that it names, directly or not.
    pub(super) needed: BTreeSet<UnitName>,
    /// The files that the generator is to see.
    pub(super) input: GeneratorInput,
}

/// Gathers what goes together with a unit whose file lies here, and brings what is not here yet.
///
/// # Errors
///
/// What is named and cannot be brought, for the user.
pub(super) async fn gather_bundle(
    unit: &UnitName,
    units: &PodmanUnits,
    cluster: &UnitFileCopies,
) -> Result<UnitBundle, String> {
    let mut needed = BTreeSet::from([unit.clone()]);
    let mut next = vec![unit.clone()];
    while !next.is_empty() {
        let mut named: BTreeMap<UnitName, (UnitName, QuadletReference)> = BTreeMap::new();
        for by in next.drain(..) {
            for reference in units.read_file(&by).iter().flat_map(list_references) {
                if !needed.contains(&reference.unit) {
                    named.insert(reference.unit.clone(), (by.clone(), reference));
                }
            }
        }
        if needed.len() + named.len() > MOST_FILES {
            return Err(format!("it names more than {MOST_FILES} other units, directly or not"));
        }
        bring_units(unit, &named, units, cluster).await?;
        needed.extend(named.keys().cloned());
        next.extend(named.into_keys());
    }
    let members = pod_members(&needed, units);
    let shown = needed.iter().chain(members.iter().filter(|member| !needed.contains(*member)));
    let directories: Vec<PathBuf> = shown.map(|unit| units.unit_directory(unit)).collect();
    let sources = needed.iter().map(|unit| units.source_path(unit)).collect();
    let input = GeneratorInput { unit: unit.clone(), needed: sources, directories };
    Ok(UnitBundle { needed, input })
}

/// Brings units that are named, and by whom, unless they are here for their own sake.
async fn bring_units(
    unit: &UnitName,
    named: &BTreeMap<UnitName, (UnitName, QuadletReference)>,
    units: &PodmanUnits,
    cluster: &UnitFileCopies,
) -> Result<(), String> {
    let missing: Vec<UnitName> =
        named.keys().filter(|named| !units.has_file(named)).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let files = cluster.files_of(&missing).await;
    for named in missing.iter().filter_map(|missing| named.get(missing)) {
        let (by, QuadletReference { line, option, unit: name, .. }) = named;
        let said = || {
            let whose = if by == unit { String::new() } else { format!("{by}: ") };
            format!("{whose}line {line}: {option} names {name}")
        };
        match files.as_ref().map(|files| files.get(name)) {
            Ok(Some(file)) => units
                .bring_file(name, file.text())
                .map_err(|error| format!("{}, whose file cannot be written: {error}", said()))?,
            // The one that is here will do.
            Err(_) if units.is_shown(name) => {}
            Ok(None) => {
                return Err(format!(
                    "{}, which the cluster does not know; submit it first",
                    said()
                ));
            }
            Err(problem) => return Err(format!("{}, which is not known: {problem}", said())),
        }
    }
    Ok(())
}

/// The units here that are part of one of these pods, and what those name that is here too: without it they would be no part of it.
fn pod_members(among: &BTreeSet<UnitName>, units: &PodmanUnits) -> BTreeSet<UnitName> {
    if !among.iter().any(|unit| unit.unit_type() == UnitType::Pod) {
        return BTreeSet::new();
    }
    let files: BTreeMap<UnitName, UnitFile> = units
        .list_units()
        .into_iter()
        .filter_map(|unit| Some((unit.clone(), units.read_file(&unit)?)))
        .collect();
    let is_member = |file: &UnitFile| {
        let mut references = list_references(file).into_iter();
        references.any(|of| of.unit.unit_type() == UnitType::Pod && among.contains(&of.unit))
    };
    let mut members: BTreeSet<UnitName> =
        files.iter().filter(|(_, file)| is_member(file)).map(|(unit, _)| unit.clone()).collect();
    let mut next: Vec<UnitName> = members.iter().cloned().collect();
    while let Some(unit) = next.pop() {
        for reference in files.get(&unit).into_iter().flat_map(list_references) {
            if files.contains_key(&reference.unit) && members.insert(reference.unit.clone()) {
                next.push(reference.unit);
            }
        }
    }
    members
}

/// The units here that one names, directly or not: those that are named come before those that name them.
pub(super) fn named_units(unit: &UnitName, units: &PodmanUnits) -> Vec<UnitName> {
    let mut seen = BTreeSet::from([unit.clone()]);
    let mut named = Vec::new();
    let mut next = vec![unit.clone()];
    while let Some(by) = next.pop() {
        for reference in units.read_file(&by).iter().flat_map(list_references) {
            if seen.len() <= MOST_FILES && seen.insert(reference.unit.clone()) {
                named.push(reference.unit.clone());
                next.push(reference.unit);
            }
        }
    }
    named.reverse();
    named
}

/// The units here that name this one.
pub(super) fn naming_units(unit: &UnitName, units: &PodmanUnits) -> Vec<UnitName> {
    let names = |other: &UnitName| {
        units.read_file(other).iter().flat_map(list_references).any(|of| of.unit == *unit)
    };
    units.list_units().into_iter().filter(|other| other != unit && names(other)).collect()
}

/// The units that are here only because others name them, and that none that stays does, directly or not.
pub(super) fn unnamed_units(units: &PodmanUnits) -> Vec<UnitName> {
    let (own, brought): (Vec<UnitName>, Vec<UnitName>) =
        units.list_units().into_iter().partition(|unit| units.has_file(unit));
    let mut kept: BTreeSet<UnitName> = own.iter().cloned().collect();
    let mut next = own;
    while let Some(unit) = next.pop() {
        for reference in units.read_file(&unit).iter().flat_map(list_references) {
            if kept.insert(reference.unit.clone()) {
                next.push(reference.unit);
            }
        }
    }
    brought.into_iter().filter(|unit| !kept.contains(unit)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;

    use super::*;
    use crate::runner::Sources;
    use crate::stdx::disk::HostDisk;

    /// A store that knows these.
    struct Known(&'static [(&'static str, &'static str)]);

    #[async_trait]
    impl Sources for Known {
        async fn fetch_files(
            &self,
            units: &[UnitName],
        ) -> Result<BTreeMap<UnitName, Arc<UnitFile>>, String> {
            let known = self.0.iter().map(|(name, text)| {
                (name.parse().unwrap(), Arc::new(text.parse::<UnitFile>().unwrap()))
            });
            Ok(known.filter(|(name, _)| units.contains(name)).collect())
        }
    }

    const KNOWN: Known = Known(&[
        ("d.volume", "[Volume]\nDriver=image\nImage=i.image\n"),
        ("i.image", "[Image]\nImage=i\n"),
        ("p.pod", "[Pod]\nNetwork=n.network\n"),
        ("n.network", "[Network]\n"),
    ]);

    fn names(units: impl IntoIterator<Item = UnitName>) -> Vec<String> {
        units.into_iter().map(String::from).collect()
    }

    #[tokio::test]
    async fn what_a_unit_names_is_brought_and_goes_with_the_last_that_names_it() {
        let place = tempfile::tempdir().unwrap();
        let units = PodmanUnits::in_directory(place.path().join("quadlet"));
        let cluster =
            UnitFileCopies::new(Arc::new(KNOWN), Arc::new(HostDisk), place.path().join("copies"));
        let [a, b, pod]: [UnitName; 3] =
            ["a.container", "b.container", "p.pod"].map(|name| name.parse().unwrap());
        units
            .write_file(&a, "[Container]\nImage=i.image\nVolume=d.volume:/d\nPod=p.pod\n")
            .unwrap();
        units.write_file(&b, "[Container]\nImage=b\nPod=p.pod\n").unwrap();

        let bundle = gather_bundle(&a, &units, &cluster).await.unwrap();
        let needed = ["a.container", "d.volume", "i.image", "n.network", "p.pod"];
        assert_eq!(names(bundle.needed), needed);
        let directories = bundle.input.directories;
        assert_eq!(
            directories.len(),
            needed.len() + 1,
            "the other member is shown: {directories:?}"
        );
        assert_eq!(names(naming_units(&pod, &units)), ["a.container", "b.container"]);

        units.remove_file(&a).unwrap();
        assert_eq!(names(unnamed_units(&units)), ["d.volume", "i.image"]);
        units.remove_file(&b).unwrap();
        assert_eq!(names(unnamed_units(&units)), ["d.volume", "i.image", "n.network", "p.pod"]);

        units.write_file(&pod, "[Pod]\nNetwork=n.network\nVolume=x.volume:/x\n").unwrap();
        let refused = gather_bundle(&pod, &units, &cluster).await.unwrap_err();
        assert_eq!(
            refused,
            "line 3: [Pod] Volume names x.volume, which the cluster does not know; submit it first"
        );
    }
}
