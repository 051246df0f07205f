//! What of a file Docker cannot do and Podman can.
//!
//! Owns finding the first option that the tables refuse for Docker's sake, so that the file goes to machines with Podman. A slip, or a
//! value that means nothing, is no such option: it is an error wherever the file would run.

use super::keys::{Section, Support};
use super::podman_args;
use crate::unit::words::{self, Backslash};
use crate::unit::{UnitFile, UnitType, list_references};

/// The sections that are read by whoever runs containers. What Docker's runner refuses of systemd's own is refused for other reasons.
const SECTIONS: [Section; 3] = [Section::Container, Section::Volume, Section::Network];

/// The first option, by line, that Docker has nothing for, and why.
pub(crate) fn find_docker_obstacle(file: &UnitFile) -> Option<(usize, String)> {
    for (line, option) in file.numbered_options() {
        let Some(section) = SECTIONS.iter().find(|section| section.as_str() == option.section)
        else {
            continue;
        };
        let value = option.joined_value();
        let Some(key) = section.own_keys().iter().find(|key| key.name == option.name) else {
            continue;
        };
        let why = match key.support {
            _ if value.is_empty() => continue,
            Support::Refused(why) => why.to_owned(),
            Support::Only(values, why)
                if !values.contains(&value.to_ascii_lowercase().as_str()) =>
            {
                why.to_owned()
            }
            _ if key.name == "PodmanArgs" => {
                let read = words::split(&value, Backslash::Escapes).map(podman_args::read);
                match read {
                    Ok(Err(why)) => why,
                    _ => continue,
                }
            }
            _ => continue,
        };
        return Some((line, format!("[{section}] {}: {why}", option.name)));
    }
    let mut named = list_references(file).into_iter();
    let is_podmans = |unit_type: UnitType| unit_type.needs_podman();
    let named = named.find(|named| is_podmans(named.unit.unit_type()))?;
    Some((named.line, format!("{} names {}, which Docker does not have", named.option, named.unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_has_nothing_for_is_told_from_a_slip() {
        let obstacle = |lines: &str| {
            find_docker_obstacle(&format!("[Container]\nImage=a\n{lines}\n").parse().unwrap())
                .map(|(line, why)| format!("{line}: {why}"))
        };
        for (lines, begins) in [
            ("Exec=a\nPod=p.pod", "4: [Container] Pod: Docker has no pods"),
            ("UIDMap=0:1:1", "3: [Container] UIDMap: "),
            ("PodmanArgs=--cgroup-conf=a=b", "3: [Container] PodmanArgs: Docker has nothing like"),
            ("Image=x.build", "3: [Container] Image names x.build, which Docker does not have"),
        ] {
            let found = obstacle(lines).unwrap_or_default();
            assert!(found.starts_with(begins), "{found}");
        }
        for lines in ["Exec=a", "Imag=b", "Memory=lots", "Pod=", "PodmanArgs=--cpus=2", "X-Pod=a"] {
            assert_eq!(obstacle(lines), None, "{lines}");
        }
    }
}
