//! Which units of container engines name another, before that is destroyed.
//!
//! Owns the refusal: like an engine, which removes nothing that is in use. Without its file what names it
//! could start on no other machine. Pure; it reads the files of units that a container engine runs and nothing else.

use std::collections::BTreeSet;

use muster_common::container::{HostFacts, Quadlet, read};
use muster_common::machine::RunnerKind;
use muster_common::snapshot::Snapshot;
use muster_common::unit::{UnitFile, UnitName, UnitType, list_references, runner_of};

/// Why these units cannot be destroyed, if a unit that stays names one of them.
pub fn destroy_refusal(snapshot: &Snapshot, destroyed: &[UnitName]) -> Option<String> {
    let made: BTreeSet<&UnitName> =
        destroyed.iter().filter(|unit| unit.unit_type().is_quadlet()).collect();
    if made.is_empty() {
        return None;
    }
    let going: BTreeSet<&UnitName> = destroyed.iter().collect();
    for (name, unit) in &snapshot.units {
        if !name.unit_type().is_quadlet() || name.is_template() || going.contains(name) {
            continue;
        }
        let Some(file) = snapshot.files.get(&unit.file) else { continue };
        let named = named_units(name, file).into_iter().find_map(|reference| {
            let template = reference.template_name();
            let own = made.get(&reference).copied();
            // An instance that has no file of its own is made from its template's.
            own.or_else(|| {
                let unknown = !snapshot.units.contains_key(&reference);
                template.filter(|_| unknown).and_then(|template| made.get(&template).copied())
            })
        });
        if let Some(named) = named {
            return Some(format!(
                "{named} is in use: {name} names it; destroy {name} first, or both at once"
            ));
        }
    }
    None
}

/// The units that a unit of a container engine names.
fn named_units(name: &UnitName, file: &UnitFile) -> Vec<UnitName> {
    if runner_of(name, file) == RunnerKind::Podman {
        return list_references(file).into_iter().map(|named| named.unit).collect();
    }
    if name.unit_type() != UnitType::Container {
        return Vec::new();
    }
    match read(name, file, &HostFacts::stand_in()) {
        Ok((Quadlet::Container(spec), _)) => {
            let named = spec.referenced_units().into_iter();
            named.filter(|unit| !unit.unit_type().starts_by_itself()).cloned().collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_common::snapshot::Unit;
    use muster_common::state::DesiredState;
    use muster_common::unit::UnitFile;

    use super::*;

    fn snapshot(units: &[(&str, &str)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (name, text) in units {
            let file: UnitFile = text.parse().unwrap();
            let unit = Unit {
                name: name.parse().unwrap(),
                file: file.hash(),
                desired: DesiredState::Inactive,
                generation: 1,
                revision: 1,
            };
            snapshot.units.insert(name.parse().unwrap(), unit);
            snapshot.files.insert(file.hash(), Arc::new(file));
        }
        snapshot
    }

    #[test]
    fn what_a_container_names_is_kept_until_the_container_goes() {
        let snapshot = snapshot(&[
            ("a.volume", "[Volume]\n"),
            ("b@.volume", "[Volume]\nLabel=b=1\n"),
            ("n.network", "[Network]\n"),
            (
                "web@1.container",
                "[Container]\nImage=i\nVolume=b@%i.volume:/b\nVolume=a.volume:/a\n",
            ),
            ("web@.container", "[Container]\nImage=i\nNetwork=n.network\n"),
            ("own.service", "[Service]\nExecStart=/bin/true\n"),
            ("p.pod", "[Pod]\nVolume=p.volume:/p\n"),
            ("p.volume", "[Volume]\n"),
            ("member.container", "[Container]\nImage=i\nPod=p.pod\n[X-Fleet]\nRunner=podman\n"),
        ]);
        let refusal = |units: &[&str]| {
            let units: Vec<UnitName> = units.iter().map(|unit| unit.parse().unwrap()).collect();
            destroy_refusal(&snapshot, &units)
        };
        let used = |unit: &str| {
            Some(format!(
                "{unit} is in use: web@1.container names it; destroy web@1.container first, or both at once"
            ))
        };
        assert_eq!(refusal(&["a.volume"]), used("a.volume"));
        assert_eq!(refusal(&["own.service", "b@.volume"]), used("b@.volume"));
        assert_eq!(refusal(&["a.volume", "web@1.container"]), None);
        assert_eq!(refusal(&["n.network"]), None, "only a template names it, and no template runs");
        assert_eq!(refusal(&["web@1.container", "own.service"]), None);
        let pod = refusal(&["p.pod"]).unwrap();
        assert!(pod.starts_with("p.pod is in use: member.container names it"), "{pod}");
        let volume = refusal(&["member.container", "p.volume"]).unwrap();
        assert!(volume.starts_with("p.volume is in use: p.pod names it"), "{volume}");
        assert_eq!(refusal(&["p.pod", "member.container", "p.volume"]), None);
    }
}
