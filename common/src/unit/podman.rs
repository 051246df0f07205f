//! Which kind of runner a unit's file is for.
//!
//! Owns the rule: the unit's type says so, and of container units `Runner=` in `[X-Fleet]`. It also owns what a container unit for
//! Podman may say here: everything that Podman's own generator takes, but for what Muster could not keep its word about.

use super::{InvalidUnit, RequirementsTemplate, UnitFile, UnitName, UnitType};
use crate::machine::RunnerKind;

/// Options that name another file of Quadlet's, and the types of the files. What is no name of such a file is Podman's to read.
const REFERENCES: [(&str, &[&str]); 5] = [
    ("Image", &[".image", ".build"]),
    ("Mount", &[".volume", ".image", ".build"]),
    ("Network", &[".network", ".container"]),
    ("Pod", &[".pod"]),
    ("Volume", &[".volume"]),
];

/// The runner for a unit of this name made from this file. One whose `[X-Fleet]` section cannot be read has its type's.
pub fn runner_of(name: &UnitName, file: &UnitFile) -> RunnerKind {
    let asked = RequirementsTemplate::parse(file).ok().and_then(|template| template.runner());
    chosen_runner(name, asked)
}

/// The runner for a unit of this name whose file asks for this one.
pub(super) fn chosen_runner(name: &UnitName, asked: Option<RunnerKind>) -> RunnerKind {
    let by_type = name.runner_kind();
    match asked {
        Some(asked) if by_type != RunnerKind::Systemd => asked,
        _ => by_type,
    }
}

/// Checks a container unit that Podman's generator is to translate. What its sections say the generator reads, on the machine.
pub(super) fn check_for_podman(name: &UnitName, file: &UnitFile) -> Result<(), InvalidUnit> {
    let refuse =
        |line, problem: String| InvalidUnit { name: name.clone(), line, option: None, problem };
    if name.unit_type() != UnitType::Container {
        return Err(refuse(
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
            return Err(refuse(line, problem.to_owned()));
        }
        if let Some(named) = named_file(&option.name, value) {
            let problem = format!(
                "[Container] {}={named}: Muster brings no other file of Quadlet's to a machine with Podman; say the name that Podman has it under",
                option.name
            );
            return Err(refuse(line, problem));
        }
    }
    if !has_source {
        return Err(refuse(0, "[Container] has neither Image= nor Rootfs=".to_owned()));
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

    fn kind(name: &str, text: &str) -> RunnerKind {
        runner_of(&name.parse().unwrap(), &text.parse().unwrap())
    }

    #[test]
    fn a_container_may_choose_and_nothing_else() {
        let container = "[Container]\nImage=a\n";
        assert_eq!(kind("a.container", container), RunnerKind::Docker);
        assert_eq!(
            kind("a.container", &format!("{container}[X-Fleet]\nRunner=podman\n")),
            RunnerKind::Podman
        );
        assert_eq!(
            kind("a.container", &format!("{container}[X-Fleet]\nRunner=docker\n")),
            RunnerKind::Docker
        );
        let last = format!("{container}[X-Fleet]\nRunner=podman\nRunner=docker\n");
        assert_eq!(kind("a.container", &last), RunnerKind::Docker);
        assert_eq!(
            kind("a.service", "[Service]\nExecStart=a\n[X-Fleet]\nRunner=podman\n"),
            RunnerKind::Systemd
        );
    }

    #[test]
    fn what_muster_cannot_keep_its_word_about_is_refused_by_name() {
        let check = |lines: &str| {
            let text = format!("[Container]\n{lines}\n[X-Fleet]\nRunner=podman\n");
            check_for_podman(&"a.container".parse().unwrap(), &text.parse().unwrap())
                .map_err(|error| error.to_string())
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
