//! Files of Quadlet's that Podman's own generator is to translate.
//!
//! Owns what such a file may say here, which is everything that the generator takes, but for what Muster could not keep its word
//! about; which other files it names; and what its service is called. It never translates a word.

use super::{UnitFile, UnitName, UnitOption, UnitType, Warning};

/// Options that name another file of Quadlet's, by section, and the types of the files. What is no name of such a file is
/// Podman's to read.
const REFERENCES: [(&str, &str, &[UnitType]); 11] = [
    ("Build", "Network", &[UnitType::Network]),
    ("Build", "Volume", &[UnitType::Volume]),
    ("Container", "Image", &[UnitType::Image, UnitType::Build]),
    ("Container", "Mount", &[UnitType::Volume, UnitType::Image, UnitType::Build]),
    ("Container", "Network", &[UnitType::Network, UnitType::Container]),
    ("Container", "Pod", &[UnitType::Pod]),
    ("Container", "Volume", &[UnitType::Volume]),
    ("Kube", "Network", &[UnitType::Network]),
    ("Pod", "Network", &[UnitType::Network]),
    ("Pod", "Volume", &[UnitType::Volume]),
    ("Volume", "Image", &[UnitType::Image, UnitType::Build]),
];

/// Options with one value: the last counts. Every other adds up, until an empty value takes back what there was.
const SINGLE: [&str; 2] = ["Image", "Pod"];

/// The options of which a file of a type needs one.
const NEEDED: [(UnitType, &[&str]); 5] = [
    (UnitType::Artifact, &["Artifact"]),
    (UnitType::Build, &["ImageTag"]),
    (UnitType::Container, &["Image", "Rootfs"]),
    (UnitType::Image, &["Image"]),
    (UnitType::Kube, &["Yaml"]),
];

/// Another file of Quadlet's that one names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuadletReference {
    /// The line that names it.
    pub line: usize,
    /// The section and the option of that line, as in `[Container] Volume`.
    pub option: String,
    /// The unit.
    pub unit: UnitName,
    /// True if both can only be on one machine: a pod and its container, a container and another in its network. A volume, a network
    /// or an image is made wherever it is named.
    pub is_tied: bool,
}

/// Something that such a file may not say: the line, or 0 where it is no single one's, and the problem.
pub(super) type PodmanProblem = (usize, String);

/// An option of a file that is in force.
struct NamingOption<'a> {
    line: usize,
    section: &'a str,
    name: &'a str,
    value: String,
    types: &'static [UnitType],
}

/// The other files of Quadlet's that a file names, in the order of its lines.
pub fn list_references(file: &UnitFile) -> Vec<QuadletReference> {
    let given = naming_options(file);
    let reference = |given: &NamingOption<'_>| {
        let unit: UnitName = named_file(given)?.parse().ok()?;
        let is_tied = matches!(unit.unit_type(), UnitType::Pod | UnitType::Container);
        let option = format!("[{}] {}", given.section, given.name);
        Some(QuadletReference { line: given.line, option, unit, is_tied })
    };
    given.iter().filter_map(reference).collect()
}

/// The service that Podman's generator makes of a file; `None` of what is none of Quadlet's.
pub fn quadlet_service(name: &UnitName, file: &UnitFile) -> Option<UnitName> {
    let by_name = name.quadlet_service()?;
    let given = given_service(name, file).and_then(|(_, given)| given.parse().ok());
    Some(given.unwrap_or(by_name))
}

/// What `ServiceName=` makes of a file's service, and its line.
fn given_service(name: &UnitName, file: &UnitFile) -> Option<(usize, String)> {
    let (section, _) = name.unit_type().quadlet_parts()?;
    let options = file.numbered_options();
    let (line, option) =
        options.filter(|(_, o)| o.section == section && o.name == "ServiceName").last()?;
    let value = option.joined_value();
    let value = value.trim();
    (!value.is_empty()).then(|| (line, format!("{value}.service")))
}

/// Checks a file that Podman's generator is to translate. What its sections say the generator reads, on the machine.
pub(super) fn check_for_podman(name: &UnitName, file: &UnitFile) -> Result<(), PodmanProblem> {
    if let Some((line, service)) = given_service(name, file) {
        if name.instance_name().is_some() {
            let problem = "ServiceName: all instances of a template would be one service";
            return Err((line, problem.to_owned()));
        }
        if let Err(error) = service.parse::<UnitName>() {
            return Err((line, format!("ServiceName: {error}")));
        }
    }
    for given in naming_options(file) {
        let Some(named) = named_file(&given) else { continue };
        let shown = format!("[{}] {}={named}", given.section, given.name);
        let problem = match named.parse::<UnitName>() {
            _ if named.contains('%') => {
                "Podman looks for a file of this very name, with the specifier in it; say the name of one, or the name that Podman has \
                 it under, which may have specifiers"
                    .to_owned()
            }
            Ok(unit) if unit.is_template() => {
                "it is a template; say the name of an instance".to_owned()
            }
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        return Err((given.line, format!("{shown}: {problem}")));
    }
    let needed = NEEDED.iter().find(|(unit_type, _)| *unit_type == name.unit_type());
    if let (Some((_, options)), Some((section, _))) = (needed, name.unit_type().quadlet_parts()) {
        let is_given =
            |option: &&&str| file.values_of(section, option).any(|value| !value.is_empty());
        if !options.iter().any(|option| is_given(&option)) {
            let problem = match options {
                [one, other] => format!("[{section}] has neither {one}= nor {other}="),
                _ => format!("[{section}] has no {}=", options.concat()),
            };
            return Err((0, problem));
        }
    }
    Ok(())
}

/// The parts of such a file that are somebody else's to do, so that its author knows.
pub(super) fn podman_warnings(file: &UnitFile) -> Vec<Warning> {
    let said = |(line, option): (usize, &UnitOption)| {
        let value = option.joined_value();
        let problem = match (option.section.as_str(), option.name.as_str()) {
            _ if value.trim().is_empty() => return None,
            ("Container" | "Kube", "AutoUpdate") => {
                "left to Podman: podman-auto-update.timer on the machine, if that is enabled there"
            }
            _ => return None,
        };
        Some(Warning { line, problem: format!("[{}] {}: {problem}", option.section, option.name) })
    };
    file.numbered_options().filter_map(said).collect()
}

/// The options in force that may name another file.
fn naming_options(file: &UnitFile) -> Vec<NamingOption<'_>> {
    let mut in_force: Vec<NamingOption<'_>> = Vec::new();
    for (line, option) in file.numbered_options() {
        let (section, name) = (option.section.as_str(), option.name.as_str());
        let found = REFERENCES.iter().find(|(of, option, _)| *of == section && *option == name);
        let Some((_, _, types)) = found else { continue };
        let value = option.joined_value();
        let value = value.trim().to_owned();
        if value.is_empty() || SINGLE.contains(&name) {
            in_force.retain(|before| (before.section, before.name) != (section, name));
        }
        if !value.is_empty() {
            in_force.push(NamingOption { line, section, name, value, types });
        }
    }
    in_force
}

/// The file of Quadlet's that a value names, if it does.
fn named_file<'a>(given: &'a NamingOption<'_>) -> Option<&'a str> {
    let sources = given
        .value
        .split([':', ','])
        .map(|part| part.rsplit_once('=').map_or(part, |(_, word)| word));
    // Of all but a mount, only what stands first is a name.
    let mut sources = sources.take(if given.name == "Mount" { usize::MAX } else { 1 });
    let is_of = |source: &str, unit_type: &UnitType| {
        source.rsplit_once('.').is_some_and(|(_, suffix)| suffix == unit_type.as_str())
    };
    sources.find(|source| !source.contains('/') && given.types.iter().any(|of| is_of(source, of)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, text: &str) -> Result<(), String> {
        check_for_podman(&name.parse().unwrap(), &text.parse().unwrap())
            .map_err(|(line, problem)| format!("line {line}: {problem}"))
    }

    #[test]
    fn what_muster_cannot_keep_its_word_about_is_refused_by_name() {
        let container = |lines: &str| check("a.container", &format!("[Container]\n{lines}\n"));
        for lines in [
            "Image=a\nPodmanArgs=--x\nUserNS=keep-id\nVolume=data:/d\nNetwork=host",
            "Rootfs=/srv/root",
            "Image=a\nVolume=/srv/x.volume:/d",
            "Image=a.image\nPod=p.pod\nNetwork=n.network:ip=10.1.1.1\nServiceName=b",
            "Image=a\nVolume=d@%i.volume:/d\nVolume=\nVolume=systemd-d-%i:/d",
        ] {
            assert_eq!(container(lines), Ok(()), "{lines}");
        }
        for (lines, words) in [
            ("Exec=a", "line 0: [Container] has neither Image= nor Rootfs="),
            ("Image=a\nServiceName=a/b", "line 3: ServiceName: "),
            ("Image=a\nVolume=d@%i.volume:/d", "line 3: [Container] Volume=d@%i.volume: Podman"),
            ("Image=a\nPod=p@.pod", "line 3: [Container] Pod=p@.pod: it is a template"),
            ("Image=a\nPod=p q.pod", "line 3: [Container] Pod=p q.pod: "),
        ] {
            let refused = container(lines).expect_err(lines);
            assert!(refused.starts_with(words), "{refused}");
        }
        for (name, text, words) in [
            ("a.kube", "[Kube]\n", "line 0: [Kube] has no Yaml="),
            ("a.image", "[Image]\nImage=\n", "line 0: [Image] has no Image="),
            ("a.build", "[Build]\nFile=/a\n", "line 0: [Build] has no ImageTag="),
            ("a.artifact", "[Artifact]\n", "line 0: [Artifact] has no Artifact="),
            ("a@1.pod", "[Pod]\nServiceName=b\n", "line 2: ServiceName: all instances"),
        ] {
            let refused = check(name, text).expect_err(text);
            assert!(refused.starts_with(words), "{refused}");
        }
        assert_eq!(check("a.pod", "[Pod]\n"), Ok(()));
    }

    #[test]
    fn what_podman_does_by_itself_or_not_at_all_is_told() {
        let told = |text: &str| -> Vec<usize> {
            let warnings = podman_warnings(&text.parse().unwrap());
            warnings.into_iter().map(|warning| warning.line).collect()
        };
        assert_eq!(told("[Container]\nImage=a\nAutoUpdate=registry\n"), [3]);
        assert_eq!(told("[Volume]\n[X-Fleet]\nRunner=podman\nDeleteOnDestroy=yes\n"), [0; 0]);
        assert_eq!(told("[Container]\nImage=a\nAutoUpdate=\n"), [0; 0]);
    }

    #[test]
    fn the_files_that_a_file_names_are_found() {
        let named = |text: &str| -> Vec<(usize, String, bool)> {
            let references = list_references(&text.parse().unwrap());
            references.into_iter().map(|of| (of.line, of.unit.to_string(), of.is_tied)).collect()
        };
        let text = "[Container]\nImage=old.image\nImage=a.build\nVolume=d.volume:/d\nVolume=/e:/e\n\
                    Mount=type=volume,source=m.volume,target=/m\nNetwork=c.container\nNetwork=n.network\nPod=p.pod\n";
        let found = [
            (3, "a.build", false),
            (4, "d.volume", false),
            (6, "m.volume", false),
            (7, "c.container", true),
            (8, "n.network", false),
            (9, "p.pod", true),
        ];
        assert_eq!(named(text), found.map(|(line, unit, tied)| (line, unit.to_owned(), tied)));
        assert_eq!(
            named("[Volume]\nDriver=image\nImage=i.image\n"),
            [(3, "i.image".to_owned(), false)]
        );
        assert_eq!(named("[Container]\nVolume=a.volume:/a\nVolume=\n[Image]\nImage=b.image\n"), []);
    }

    #[test]
    fn a_service_has_the_name_that_its_file_says() {
        let service = |name: &str, text: &str| {
            quadlet_service(&name.parse().unwrap(), &text.parse().unwrap())
                .map(|service| service.to_string())
        };
        let given = |name: &str| Some(name.to_owned());
        assert_eq!(service("a.pod", "[Pod]\n"), given("a-pod.service"));
        assert_eq!(service("a.pod", "[Pod]\nServiceName=b\n"), given("b.service"));
        assert_eq!(service("a.pod", "[Container]\nServiceName=b\n"), given("a-pod.service"));
        assert_eq!(service("a.service", "[Service]\n"), None);
    }
}
