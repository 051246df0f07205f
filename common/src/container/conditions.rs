//! Conditions and assertions of `[Unit]`: what has to hold on the machine before a unit is started there.
//!
//! Owns reading them as systemd.unit(5) has them: their order, `!` and `|`, and an empty value that takes all back. Whether
//! one holds is the machine's to say, and what follows from that the engine's.

use std::fmt;

use super::expand::Expander;
use super::keys::{Section, condition_kind};
use super::names;
use super::reader::ContainerError;
use crate::unit::UnitFile;

/// One condition or assertion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The directive, such as `ConditionPathExists`.
    pub directive: String,
    /// True when a start fails without it, instead of coming to nothing.
    pub asserts: bool,
    /// True when one of those that are marked so, `|`, is enough.
    pub triggers: bool,
    /// True when it holds where the rest does not, `!`.
    pub negated: bool,
    /// The parameter it is about, specifiers expanded.
    pub parameter: String,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trigger = if self.triggers { "|" } else { "" };
        let negated = if self.negated { "!" } else { "" };
        write!(f, "{}={trigger}{negated}{}", self.directive, self.parameter)
    }
}

/// Kinds that are about a path.
const PATHS: [&str; 12] = [
    "DirectoryNotEmpty",
    "FileIsExecutable",
    "FileNotEmpty",
    "NeedsUpdate",
    "PathExists",
    "PathExistsGlob",
    "PathIsDirectory",
    "PathIsEncrypted",
    "PathIsMountPoint",
    "PathIsReadWrite",
    "PathIsSocket",
    "PathIsSymbolicLink",
];

/// The conditions and assertions of a file, in its order.
pub(super) fn read(
    file: &UnitFile,
    expander: &Expander<'_>,
) -> Result<Vec<Condition>, ContainerError> {
    let mut conditions: Vec<Condition> = Vec::new();
    let unit = Section::Unit.as_str();
    for (line, option) in file.numbered_options().filter(|(_, option)| option.section == unit) {
        let Some(kind) = condition_kind(&option.name) else { continue };
        let asserts = option.name.starts_with("Assert");
        let text = option.joined_value();
        if text.is_empty() {
            // Of whatever kind: the list is taken back as a whole.
            conditions.retain(|condition| condition.asserts != asserts);
            continue;
        }
        let (triggers, rest) = split_mark(&text, '|');
        let (negated, rest) = split_mark(rest, '!');
        let parameter =
            expander.expand_specifiers(rest).and_then(|parameter| match parameter.as_str() {
                "" => Err("nothing stands behind its marks".to_owned()),
                path if PATHS.contains(&kind) => names::path(path),
                _ => Ok(parameter),
            });
        let parameter = parameter.map_err(|problem| ContainerError {
            line,
            section: unit.to_owned(),
            option: option.name.clone(),
            problem,
        })?;
        let directive = option.name.clone();
        conditions.push(Condition { directive, asserts, triggers, negated, parameter });
    }
    Ok(conditions)
}

/// The presence of a mark at the beginning, and the text behind it.
fn split_mark(text: &str, mark: char) -> (bool, &str) {
    match text.strip_prefix(mark) {
        Some(rest) => (true, rest.trim_start_matches([' ', '\t'])),
        None => (false, text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::expand::HostFacts;
    use super::super::variables::Variables;
    use super::*;

    fn conditions(lines: &str) -> Result<Vec<String>, String> {
        let unit = "web@1.container".parse().unwrap();
        let host = HostFacts::stand_in();
        let expander = Expander::new(&unit, &host, Variables::default());
        let file: UnitFile = format!("[Unit]\n{lines}\n").parse().unwrap();
        match read(&file, &expander) {
            Ok(conditions) => Ok(conditions.iter().map(Condition::to_string).collect()),
            Err(error) => Err(format!("{}: {error}", error.line)),
        }
    }

    #[test]
    fn marks_and_specifiers_are_systemds() {
        let read = conditions(
            "ConditionPathExists=| ! /srv/%i\nAssertHost=!web*\nConditionKernelCommandLine=a=b",
        );
        let expected =
            ["ConditionPathExists=|!/srv/1", "AssertHost=!web*", "ConditionKernelCommandLine=a=b"];
        assert_eq!(read.unwrap(), expected);
    }

    #[test]
    fn an_empty_one_takes_back_all_of_its_side() {
        let read =
            conditions("ConditionHost=a\nAssertHost=b\nConditionPathExists=\nConditionUser=root");
        assert_eq!(read.unwrap(), ["AssertHost=b", "ConditionUser=root"]);
        assert_eq!(conditions("ConditionHost=a\nAssertUser=").unwrap(), ["ConditionHost=a"]);
    }

    #[test]
    fn what_systemd_would_skip_is_refused() {
        assert_eq!(
            conditions("ConditionPathExists=etc/x").unwrap_err(),
            "2: [Unit] ConditionPathExists: \"etc/x\" is not an absolute path"
        );
        assert_eq!(
            conditions("AssertHost=|").unwrap_err(),
            "2: [Unit] AssertHost: nothing stands behind its marks"
        );
    }
}
