//! What `%` and `$` stand for in a Quadlet file.
//!
//! Quadlet hands its values to systemd as a command line, so systemd's specifiers (systemd.unit(5)) and the variables of
//! a command line (systemd.service(5)) are part of its language. Owns both. A variable without a value stands for
//! nothing, as in systemd, and that is noted down; only where systemd would have a value of its own it is an error.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::keys::Section;
use super::variables::{VariableValue, Variables, is_variable_name};
use crate::unit::words::{self, Backslash};
use crate::unit::{UnitName, Warning};

/// The facts that a file may ask for about the machine its unit runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// The host's name, `%H`; `%l` is what stands before its first dot.
    pub name: String,
    /// Its machine id, `%m`.
    pub machine_id: String,
    /// The id of its boot, `%b`.
    pub boot_id: String,
    /// The release of its kernel, `%v`.
    pub kernel: String,
    /// Its architecture in systemd's words, `%a`.
    pub architecture: String,
    /// Its name for people, `%q`: `PRETTY_HOSTNAME=` of machine-info(5), or its name.
    pub pretty_name: String,
    /// The operating system that runs on it.
    pub release: Release,
}

/// A machine's release, as os-release(5) has it; what that does not say is empty, as in systemd.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Release {
    /// `ID=`, `%o`; `linux` without.
    pub id: String,
    /// `VERSION_ID=`, `%w`.
    pub version: String,
    /// `BUILD_ID=`, `%B`.
    pub build: String,
    /// `VARIANT_ID=`, `%W`.
    pub variant: String,
    /// `IMAGE_ID=`, `%M`.
    pub image: String,
    /// `IMAGE_VERSION=`, `%A`.
    pub image_version: String,
}

impl HostFacts {
    /// A machine made up, for checking a file before it is known where it runs.
    pub fn stand_in() -> Self {
        Self {
            name: "host".to_owned(),
            machine_id: "0".repeat(32),
            boot_id: "0".repeat(32),
            kernel: "6.1.0".to_owned(),
            architecture: "x86-64".to_owned(),
            pretty_name: "host".to_owned(),
            release: Release {
                id: "linux".to_owned(),
                version: "1".to_owned(),
                build: "1".to_owned(),
                variant: "server".to_owned(),
                image: "image".to_owned(),
                image_version: "1".to_owned(),
            },
        }
    }
}

/// Expands the values of one unit on one machine.
pub(super) struct Expander<'a> {
    pub(super) unit: &'a UnitName,
    pub(super) host: &'a HostFacts,
    /// The variables that `[Service]` gives values.
    pub(super) variables: Variables,
    /// Variables without a value that were asked for and have not been noted yet.
    unset: RefCell<BTreeSet<String>>,
    /// Remarks on them, by line.
    notes: RefCell<BTreeSet<(usize, String)>>,
}

/// Why a value cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoValue {
    /// It rests on something that only the machine knows.
    Open,
    /// It is wrong.
    Bad(String),
}

impl From<String> for NoValue {
    fn from(problem: String) -> Self {
        Self::Bad(problem)
    }
}

impl<'a> Expander<'a> {
    pub(super) fn new(unit: &'a UnitName, host: &'a HostFacts, variables: Variables) -> Self {
        Self { unit, host, variables, unset: RefCell::default(), notes: RefCell::default() }
    }

    /// A value that is one word.
    pub(super) fn expand_word(&self, value: &str) -> Result<String, NoValue> {
        let value = self.expand_specifiers(value)?;
        match whole_variable(&value) {
            Some(name) => self.variable_value(name).map(str::to_owned),
            None => self.variables_within(&value),
        }
    }

    /// A word of a command line: a `$NAME` by itself becomes as many words as its value has.
    pub(super) fn expand_words(&self, word: &str) -> Result<Vec<String>, NoValue> {
        let word = self.expand_specifiers(word)?;
        match whole_variable(&word) {
            Some(name) => Ok(words::split(self.variable_value(name)?, Backslash::Literal)?),
            None => Ok(vec![self.variables_within(&word)?]),
        }
    }

    /// Notes which variables the value that was just expanded asked for and did not get.
    pub(super) fn note_unset(&self, line: usize, section: Section, option: &str) {
        for name in self.unset.take() {
            let problem = format!(
                "[{section}] {option}: {name} has no value, and nothing stands in its place, as in systemd; give it one with Environment= in [Service], or write $$ for a dollar sign"
            );
            self.notes.borrow_mut().insert((line, problem));
        }
    }

    /// The warnings that have been noted; they are given once.
    pub(super) fn take_warnings(&self) -> Vec<Warning> {
        self.notes.take().into_iter().map(|(line, problem)| Warning { line, problem }).collect()
    }

    /// A value in which `$` means nothing.
    pub(super) fn expand_specifiers(&self, value: &str) -> Result<String, String> {
        let mut expanded = String::with_capacity(value.len());
        let mut rest = value.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                expanded.push(c);
                continue;
            }
            match rest.next() {
                Some(specifier) => expanded.push_str(&self.expand_specifier(specifier)?),
                None => return Err("it ends in a %; write %% for a percent sign".to_owned()),
            }
        }
        Ok(expanded)
    }

    fn expand_specifier(&self, specifier: char) -> Result<String, String> {
        let unit = self.unit;
        let instance = unit.instance_name().unwrap_or_default();
        let last = |prefix: &str| prefix.rsplit('-').next().unwrap_or_default().to_owned();
        Ok(match specifier {
            '%' => "%".to_owned(),
            'n' => unit.to_string(),
            'N' => unit.name_stem().to_owned(),
            'p' => unit.name_prefix().to_owned(),
            'P' => unescape_part(unit.name_prefix())?,
            'i' => instance.to_owned(),
            'I' => unescape_part(instance)?,
            'j' => last(unit.name_prefix()),
            'J' => unescape_part(&last(unit.name_prefix()))?,
            'f' if unit.instance_name().is_some() => format!("/{}", unescape_part(instance)?),
            'f' => format!("/{}", unescape_part(unit.name_prefix())?),
            'H' => self.host.name.clone(),
            'l' => self.host.name.split('.').next().unwrap_or_default().to_owned(),
            'm' => self.host.machine_id.clone(),
            'b' => self.host.boot_id.clone(),
            'v' => self.host.kernel.clone(),
            'a' => self.host.architecture.clone(),
            // Those of the system's own manager, under which Docker's daemon runs.
            't' => "/run".to_owned(),
            'S' => "/var/lib".to_owned(),
            'C' => "/var/cache".to_owned(),
            'L' => "/var/log".to_owned(),
            'E' => "/etc".to_owned(),
            'T' => "/tmp".to_owned(),
            'V' => "/var/tmp".to_owned(),
            'h' => "/root".to_owned(),
            'u' | 'g' => "root".to_owned(),
            'U' | 'G' => "0".to_owned(),
            'D' => "/usr/share".to_owned(),
            'q' => self.host.pretty_name.clone(),
            'o' => self.host.release.id.clone(),
            'w' => self.host.release.version.clone(),
            'B' => self.host.release.build.clone(),
            'W' => self.host.release.variant.clone(),
            'M' => self.host.release.image.clone(),
            'A' => self.host.release.image_version.clone(),
            'd' => return Err(no_meaning(specifier, "the directory of a service's credentials")),
            's' => return Err(no_meaning(specifier, "the shell of a service's user")),
            'y' | 'Y' => return Err(no_meaning(specifier, "where a unit's file lies")),
            'c' | 'r' | 'R' => {
                return Err(no_meaning(specifier, "a control group, in older versions of systemd"));
            }
            other => {
                return Err(format!(
                    "%{} is not a specifier; write %% for a percent sign",
                    other.escape_debug()
                ));
            }
        })
    }

    fn variables_within(&self, word: &str) -> Result<String, NoValue> {
        let mut expanded = String::with_capacity(word.len());
        let mut rest = word;
        while let Some((before, after)) = rest.split_once('$') {
            expanded.push_str(before);
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                expanded.push('$');
                rest = after;
            } else if let Some((name, after)) =
                rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
                && is_variable_name(name)
            {
                expanded.push_str(self.variable_value(name)?);
                rest = after;
            } else {
                expanded.push('$');
            }
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn variable_value(&self, name: &str) -> Result<&str, NoValue> {
        match self.variables.value(name) {
            VariableValue::Known(value) => Ok(value),
            VariableValue::Unset => {
                self.unset.borrow_mut().insert(name.to_owned());
                Ok("")
            }
            VariableValue::Open => Err(NoValue::Open),
            VariableValue::Systemds => Err(NoValue::Bad(format!(
                "{name} has its value from systemd, and no service of systemd's is around a container here; use a specifier such as %h, or Environment= in [Service], or write $$ for a dollar sign"
            ))),
        }
    }
}

/// The words on a specifier that nothing stands for here.
fn no_meaning(specifier: char, what: &str) -> String {
    format!("%{specifier} is {what}, which a container has none of; write %% for a percent sign")
}

/// The variable a word consists of.
fn whole_variable(word: &str) -> Option<&str> {
    word.strip_prefix('$').filter(|name| is_variable_name(name))
}

/// A part of a unit's name with systemd's escaping undone.
fn unescape_part(part: &str) -> Result<String, String> {
    let bad = || format!("{part} is not escaped as systemd-escape does it");
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part;
    while let Some(c) = rest.chars().next() {
        if let Some(code) = rest.strip_prefix("\\x") {
            let (code, after) = code.split_at_checked(2).ok_or_else(bad)?;
            bytes.push(u8::from_str_radix(code, 16).map_err(|_| bad())?);
            rest = after;
        } else {
            let c = if c == '-' { '/' } else { c };
            bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn expand(unit: &str, value: &str) -> Result<String, String> {
        let unit: UnitName = unit.parse().unwrap();
        let host = HostFacts { name: "web3.example.com".to_owned(), ..HostFacts::stand_in() };
        let variables = BTreeMap::from([
            ("PORT".to_owned(), "80".to_owned()),
            ("ARGS".to_owned(), "-v 'a b'".to_owned()),
        ]);
        expanded(Expander::new(&unit, &host, Variables::new(variables, false)).expand_word(value))
    }

    fn expanded<T>(value: Result<T, NoValue>) -> Result<T, String> {
        value.map_err(|problem| match problem {
            NoValue::Bad(problem) => problem,
            NoValue::Open => "open".to_owned(),
        })
    }

    #[test]
    fn specifiers_are_systemds() {
        let cases = [
            ("%n %N %p %i", "my-web@a\\x2db.container my-web@a\\x2db my-web a\\x2db"),
            ("%P %I %j %f", "my/web a-b web /a-b"),
            ("%H %l %t %h %%n", "web3.example.com web3 /run /root %n"),
            ("no percent", "no percent"),
        ];
        for (value, expected) in cases {
            assert_eq!(expand("my-web@a\\x2db.container", value).as_deref(), Ok(expected));
        }
        assert_eq!(expand("a.container", "%i|%f").as_deref(), Ok("|/a"));
        assert_eq!(
            expand("a.container", "%q %o %w %B %W %M %A %D").as_deref(),
            Ok("host linux 1 1 server image 1 /usr/share")
        );
    }

    #[test]
    fn what_is_not_known_here_is_refused_by_name() {
        let refused = |value| expand("a.container", value).unwrap_err();
        assert_eq!(refused("date +%F"), "%F is not a specifier; write %% for a percent sign");
        assert_eq!(refused("100%"), "it ends in a %; write %% for a percent sign");
        assert_eq!(
            refused("%s"),
            "%s is the shell of a service's user, which a container has none of; write %% for a percent sign"
        );
        assert_eq!(
            refused("${HOME}/x"),
            "HOME has its value from systemd, and no service of systemd's is around a container here; use a specifier such as %h, or Environment= in [Service], or write $$ for a dollar sign"
        );
    }

    #[test]
    fn variables_are_those_of_a_command_line() {
        assert_eq!(expand("a.container", "0:${PORT}").as_deref(), Ok("0:80"));
        assert_eq!(expand("a.container", "$PORT").as_deref(), Ok("80"));
        // Only in braces within a word, so that a shell's script keeps its own.
        assert_eq!(
            expand("a.container", "echo $PORT ${x:-1} $$PORT").as_deref(),
            Ok("echo $PORT ${x:-1} $PORT")
        );
    }

    #[test]
    fn a_variable_without_a_value_is_nothing_and_noted() {
        let unit: UnitName = "a.container".parse().unwrap();
        let host = HostFacts::stand_in();
        let expander = Expander::new(&unit, &host, Variables::default());
        assert_eq!(expander.expand_word("Host(`a.${DOMAIN}`) $X"), Ok("Host(`a.`) $X".to_owned()));
        assert_eq!(expander.expand_words("$ARGS"), Ok(Vec::new()));
        expander.note_unset(3, Section::Container, "Label");
        let notes: Vec<_> = expander.take_warnings().iter().map(Warning::to_string).collect();
        assert_eq!(notes.len(), 2);
        assert_eq!(
            notes[0],
            "line 3: [Container] Label: ARGS has no value, and nothing stands in its place, as in systemd; give it one with Environment= in [Service], or write $$ for a dollar sign"
        );
    }

    #[test]
    fn a_variable_by_itself_is_as_many_words_as_its_value() {
        let unit: UnitName = "a.container".parse().unwrap();
        let host = HostFacts::stand_in();
        let variables = BTreeMap::from([("ARGS".to_owned(), "-v 'a b'".to_owned())]);
        let expander = Expander::new(&unit, &host, Variables::new(variables, false));
        assert_eq!(expander.expand_words("$ARGS"), Ok(vec!["-v".to_owned(), "a b".to_owned()]));
        assert_eq!(expander.expand_words("${ARGS}"), Ok(vec!["-v 'a b'".to_owned()]));
    }
}
