//! Container units that Podman's own generator is to translate.
//!
//! Owns what such a unit may say here: everything that the generator takes, but for what Muster could not keep its word about.

use super::{UnitFile, UnitName, UnitType};

/// Options that name another file of Quadlet's, and the types of the files. What is no name of such a file is Podman's to read.
const REFERENCES: [(&str, &[&str]); 5] = [
    ("Image", &[".image", ".build"]),
    ("Mount", &[".volume", ".image", ".build"]),
    ("Network", &[".network", ".container"]),
    ("Pod", &[".pod"]),
    ("Volume", &[".volume"]),
];

/// Something that such a unit may not say: the line, or 0 where it is no single one's, and the problem.
pub(super) type PodmanProblem = (usize, String);

/// Checks a container unit that Podman's generator is to translate. What its sections say the generator reads, on the machine.
pub(super) fn check_for_podman(name: &UnitName, file: &UnitFile) -> Result<(), PodmanProblem> {
    if name.unit_type() != UnitType::Container {
        return Err((
            0,
            "Podman runs .container units only, as far as Muster takes them".to_owned(),
        ));
    }
    let mut has_source = false;
    for (line, option) in
        file.numbered_options().filter(|(_, option)| option.section == "Container")
    {
        let value = option.joined_value();
        let value = value.trim();
        has_source |= matches!(option.name.as_str(), "Image" | "Rootfs") && !value.is_empty();
        if option.name == "ServiceName" {
            let problem = "[Container] ServiceName: the service of a container unit has the unit's name, by which Muster finds it";
            return Err((line, problem.to_owned()));
        }
        if let Some(named) = named_file(&option.name, value) {
            let problem = format!(
                "[Container] {}={named}: Muster brings no other file of Quadlet's to a machine with Podman; say the name that Podman has it under",
                option.name
            );
            return Err((line, problem));
        }
    }
    if !has_source {
        return Err((0, "[Container] has neither Image= nor Rootfs=".to_owned()));
    }
    Ok(())
}

/// The file of Quadlet's that a value of an option names, if it does.
fn named_file<'a>(option: &str, value: &'a str) -> Option<&'a str> {
    let (_, types) = REFERENCES.iter().find(|(name, _)| *name == option)?;
    let sources =
        value.split([':', ',']).map(|part| part.rsplit_once('=').map_or(part, |(_, word)| word));
    // Of all but a mount, only what stands first is a name.
    let mut sources = sources.take(if option == "Mount" { usize::MAX } else { 1 });
    sources.find(|source| !source.contains('/') && types.iter().any(|of| source.ends_with(of)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_muster_cannot_keep_its_word_about_is_refused_by_name() {
        let check = |lines: &str| {
            let text = format!("[Container]\n{lines}\n[X-Fleet]\nRunner=podman\n");
            check_for_podman(&"a.container".parse().unwrap(), &text.parse().unwrap())
                .map_err(|(line, problem)| format!("line {line}: {problem}"))
        };
        assert_eq!(
            check("Image=a\nPodmanArgs=--x\nUserNS=keep-id\nVolume=data:/d\nNetwork=host"),
            Ok(())
        );
        assert_eq!(check("Rootfs=/srv/root"), Ok(()));
        assert_eq!(check("Image=a\nVolume=/srv/x.volume:/d"), Ok(()));
        for (lines, words) in [
            ("Exec=a", "neither Image= nor Rootfs="),
            ("Image=a\nServiceName=b", "line 3: [Container] ServiceName"),
            ("Image=a\nVolume=d.volume:/d", "line 3: [Container] Volume=d.volume"),
            ("Image=a\nPod=p.pod", "Pod=p.pod"),
            ("Image=a.image", "Image=a.image"),
            ("Image=a\nMount=type=volume,source=d.volume,target=/d", "Mount=d.volume"),
        ] {
            let refused = check(lines).expect_err(lines);
            assert!(refused.contains(words), "{refused}");
        }
    }
}
