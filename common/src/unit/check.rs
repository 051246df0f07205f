//! The one door a unit goes through before it is stored, in the client and in the daemon alike.

use std::collections::BTreeSet;
use std::fmt;

use super::podman::{check_for_podman, podman_warnings};
use super::{
    ParseError, Requirements, RequirementsError, UnitFile, UnitName, UnitType, Warning, blank,
    directives, docker_obstacle, requirements, reserved_warnings, runner_of,
};
use crate::container::ContainerError;
use crate::machine::RunnerKind;

/// A unit that may be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The requirements it has of the scheduler; see [`Requirements::from_file`] for a template.
    pub requirements: Requirements,
    /// The parts of it that its runner would ignore.
    pub warnings: Vec<Warning>,
}

/// A unit that must not be stored, with the place of the fault.
///
/// It reads `web.service: line 7: [X-Fleet] MachineOff: unknown option; did you mean MachineOf?`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidUnit {
    /// The unit.
    pub name: UnitName,
    /// Line of its file, from 1; 0 when the file as a whole is at fault.
    pub line: usize,
    /// The `[X-Fleet]` option at fault, as written, if it is one.
    pub option: Option<String>,
    /// The problem, and the way out where one is likely.
    pub problem: String,
}

impl fmt::Display for InvalidUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if let Some(option) = &self.option {
            write!(f, "[X-Fleet] {option}: ")?;
        }
        f.write_str(&self.problem)
    }
}

/// Checks a file that is to be a unit of this name.
pub fn check(name: &UnitName, file: &UnitFile) -> Result<Checked, InvalidUnit> {
    let requirements = Requirements::from_file(name, file)
        .map_err(|error| InvalidUnit::from_requirements(name, error))?;
    let mut warnings = reserved_warnings(name, file);
    warnings.extend(self::file_warnings(name, file));
    warnings.extend(check_container(name, file)?);
    Ok(Checked { requirements, warnings })
}

/// True when a file without options is one: Podman makes a volume, a network or a pod of it, and to systemd a target or a slice is there
/// once it has a file, unless that is empty to the last byte, which is how it is told of a masked unit.
fn nothing_said(unit_type: UnitType, text: &str) -> Result<(), String> {
    match unit_type {
        UnitType::Volume | UnitType::Network | UnitType::Pod => Ok(()),
        UnitType::Target | UnitType::Slice if !text.is_empty() => Ok(()),
        UnitType::Target | UnitType::Slice => {
            Err("it is empty, which systemd takes for a masked unit; write [Unit] into it"
                .to_owned())
        }
        _ if blank::is_blank(text) => Err("it is empty".to_owned()),
        _ => Err("it has no options, only comments or section headers".to_owned()),
    }
}

/// Warnings about what systemd would ignore of a file, and last about what of its `[X-Fleet]` section means nothing.
pub fn file_warnings(name: &UnitName, file: &UnitFile) -> Vec<Warning> {
    let mut warnings = directives::directive_warnings(name, file);
    warnings.extend(requirements::requirement_warnings(name, file));
    warnings
}

/// Checks what the unit's type asks of a file: that it says something where something has to be said, and the part that a
/// container engine runs; a unit that is systemd's has none.
pub fn check_container(name: &UnitName, file: &UnitFile) -> Result<Vec<Warning>, InvalidUnit> {
    if file.options().is_empty()
        && let Err(problem) = nothing_said(name.unit_type(), file.text())
    {
        return Err(InvalidUnit { name: name.clone(), line: 0, option: None, problem });
    }
    if !name.unit_type().is_quadlet() {
        return Ok(Vec::new());
    }
    if runner_of(name, file) == RunnerKind::Podman {
        let warning = |(line, obstacle)| Warning {
            line,
            problem: format!("{obstacle}; only machines with Podman take it"),
        };
        let obstacle = docker_obstacle(name, file).map(warning);
        let warnings = obstacle.into_iter().chain(podman_warnings(file)).collect();
        return check_for_podman(name, file).map(|()| warnings).map_err(|(line, problem)| {
            InvalidUnit { name: name.clone(), line, option: None, problem }
        });
    }
    crate::container::check(name, file).map_err(|error| InvalidUnit::from_container(name, &error))
}

/// Warnings about the part of a file that names no runner, in the words of those that may run it: `choices` are the runners that
/// machines have for such files.
pub fn choice_warnings(
    name: &UnitName,
    file: &UnitFile,
    choices: &BTreeSet<RunnerKind>,
) -> Vec<Warning> {
    let by_docker = || check_container(name, file).unwrap_or_default();
    if !choices.contains(&RunnerKind::Podman) {
        return by_docker();
    }
    let refused = check_for_podman(name, file).err();
    let refused = refused.map(|(line, problem)| Warning {
        line,
        problem: format!("Podman does not take it: {problem}"),
    });
    let by_podman = refused.into_iter().chain(podman_warnings(file));
    if !choices.contains(&RunnerKind::Docker) {
        return by_podman.collect();
    }
    let whose = |who: &'static str| {
        move |Warning { line, problem }: Warning| Warning {
            line,
            problem: format!("{problem} (where {who} runs it)"),
        }
    };
    let by_docker = by_docker().into_iter().map(whose("Docker"));
    by_docker.chain(by_podman.map(whose("Podman"))).collect()
}

/// Reads and checks a file that is to be a unit of this name.
pub fn check_bytes(name: &UnitName, bytes: &[u8]) -> Result<(UnitFile, Checked), InvalidUnit> {
    let file = UnitFile::parse(bytes).map_err(|error| InvalidUnit::from_parse(name, error))?;
    let checked = check(name, &file)?;
    Ok((file, checked))
}

impl InvalidUnit {
    /// A file that cannot be read, of the unit it was meant for.
    pub fn from_parse(name: &UnitName, error: ParseError) -> Self {
        let ParseError { line, problem } = error;
        Self { name: name.clone(), line, option: None, problem }
    }

    /// A file whose `[X-Fleet]` section cannot be used, of the unit it was meant for.
    pub fn from_requirements(name: &UnitName, error: RequirementsError) -> Self {
        let RequirementsError { line, option, problem } = error;
        Self { name: name.clone(), line, option: Some(option), problem }
    }

    /// A file that no container engine can run, of the unit it was meant for.
    pub fn from_container(name: &UnitName, error: &ContainerError) -> Self {
        let line = error.line;
        Self { name: name.clone(), line, option: None, problem: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, bytes: &[u8]) -> String {
        check_bytes(&name.parse().unwrap(), bytes).expect_err("it is accepted").to_string()
    }

    #[test]
    fn a_fault_names_unit_line_and_option() {
        assert_eq!(
            refused(
                "web.service",
                b"[Service]\nExecStart=/a\n\n[X-Fleet]\n# here:\n\nMachineOff=b\n"
            ),
            "web.service: line 7: [X-Fleet] MachineOff: unknown option; did you mean MachineOf?"
        );
        assert_eq!(
            refused("web.service", b"[Service]\nExecStart\n"),
            "web.service: line 2: expected [Section], Name=value or a comment"
        );
        assert_eq!(refused("web.service", b""), "web.service: it is empty");
    }

    #[test]
    fn a_file_may_say_nothing_where_there_is_nothing_to_say() {
        for text in ["", "\n", "# ours\n", "[Volume]\n", "[Network]\n", "[Unit]\n[X-Fleet]\n"] {
            for name in ["a.volume", "a.network", "a@.volume", "a@1.network", "a.target", "a.slice"]
            {
                let checked = check_bytes(&name.parse().unwrap(), text.as_bytes());
                let masked = text.is_empty() && (name.contains("target") || name.contains("slice"));
                assert_eq!(checked.is_err(), masked, "{name} {text:?}");
            }
            for name in ["a.service", "a.timer", "a.socket", "a.path", "a.mount", "a.container"] {
                let problem = refused(name, text.as_bytes());
                assert!(problem.starts_with(&format!("{name}: it ")), "{problem}");
            }
        }
        assert_eq!(
            refused("a.target", b""),
            "a.target: it is empty, which systemd takes for a masked unit; write [Unit] into it"
        );
        assert_eq!(
            refused("a.container", b"# a\n[Container]\n"),
            "a.container: it has no options, only comments or section headers"
        );
    }

    #[test]
    fn a_container_is_told_in_the_same_words() {
        assert_eq!(
            refused("web.container", b"[Container]\nImage=a\n\nMemory=lots\n"),
            "web.container: line 4: [Container] Memory: \"lots\" is not a size such as 512m or 20g"
        );
    }

    #[test]
    fn what_docker_cannot_run_is_told_and_taken() {
        let text = b"[Container]\nImage=a\nUIDMap=0:1:1\n";
        let (_, checked) = check_bytes(&"web.container".parse().unwrap(), text).unwrap();
        let warnings: Vec<_> = checked.warnings.iter().map(Warning::to_string).collect();
        assert_eq!(
            warnings,
            [
                "line 3: [Container] UIDMap: Docker maps users for the whole engine, not for one container; only machines with Podman take it"
            ]
        );
        let asked = b"[Container]\nImage=a\nUIDMap=0:1:1\n[X-Fleet]\nRunner=docker\n";
        let problem = refused("web.container", asked);
        assert!(
            problem.starts_with("web.container: line 3: [Container] UIDMap: refused"),
            "{problem}"
        );
    }

    #[test]
    fn who_may_run_it_warns_of_a_file_that_names_nobody() {
        let name = "web@1.container".parse().unwrap();
        let file = "[Container]\nImage=a\nAutoUpdate=registry\nVolume=d@%i.volume:/d\n";
        let file: UnitFile = file.parse().unwrap();
        let told = |choices: &[RunnerKind]| -> Vec<String> {
            let warnings = choice_warnings(&name, &file, &choices.iter().copied().collect());
            warnings.iter().map(Warning::to_string).collect()
        };
        let (docker, podman) = (told(&[RunnerKind::Docker]), told(&[RunnerKind::Podman]));
        assert!(docker[0].contains("line 3: [Container] AutoUpdate: "), "{docker:?}");
        assert!(podman[0].starts_with("line 4: Podman does not take it: [Container] Volume=d@%i"));
        assert!(podman[1].starts_with("line 3: [Container] AutoUpdate: left to Podman"));
        assert_eq!((docker.len(), podman.len()), (1, 2), "{docker:?} {podman:?}");
        let either = told(&[RunnerKind::Docker, RunnerKind::Podman]);
        assert_eq!(either[0], format!("{} (where Docker runs it)", docker[0]));
        assert_eq!(either[2], format!("{} (where Podman runs it)", podman[1]));
    }

    #[test]
    fn a_sound_unit_comes_with_its_requirements_and_warnings() {
        let text = b"[Unit]\nAftre=b.service\n[Service]\nExecStart=/a\n[X-Fleet]\nGlobal=yes\n";
        let (file, checked) = check_bytes(&"web.service".parse().unwrap(), text).unwrap();
        assert_eq!(file.text().as_bytes(), text);
        assert!(checked.requirements.global);
        let warnings: Vec<_> = checked.warnings.iter().map(Warning::to_string).collect();
        assert_eq!(
            warnings,
            ["line 2: [Unit] Aftre: unknown directive; systemd ignores it; did you mean After?"]
        );
    }
}
