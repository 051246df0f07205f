//! Patterns in the place of unit names: `'web@*'` stands for the units of the cluster that it matches.
//!
//! Owns what counts as a pattern, and which units one stands for. The rules are those of `Conflicts=`
//! ([`muster_common::unit::Glob`]). No unit name has a `*`, a `?` or a `[`, so a name always means what it says; a
//! pattern is never matched against files, which is the shell's business.

use muster_common::api::v1::UnitSummary;
use muster_common::unit::{Glob, GlobError, UnitName, UnitType};

/// Most names that a message lists.
const SHOWN: usize = 5;

/// A pattern that has been checked.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    given: String,
    whole: Glob,
    /// A name without a type is a service, and so is a pattern.
    service: Option<Glob>,
}

/// A word on the command line.
#[derive(Debug, Clone)]
pub(crate) enum UnitArgument<'a> {
    /// One unit, by its name or its file.
    Named(&'a str),
    /// A unit of the cluster, because a pattern matches it.
    Matched(Box<UnitSummary>),
}

impl UnitArgument<'_> {
    /// Returns the argument that would have been given for it where no pattern was.
    pub(crate) fn as_argument(&self) -> String {
        match self {
            Self::Named(word) => (*word).to_owned(),
            Self::Matched(unit) => unit.name.to_string(),
        }
    }
}

/// A pattern that stands for nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PatternError {
    /// It can never match.
    #[error(transparent)]
    Bad(#[from] GlobError),
    /// It is a pattern of files.
    #[error("{given:?} matches no file, and a pattern of units has no directory")]
    Files {
        /// The text given.
        given: String,
    },
    /// It matches nothing.
    #[error("no unit of the cluster matches {given:?}")]
    Nothing {
        /// The pattern.
        given: String,
    },
    /// It matches nothing that the command can be about.
    #[error("{given:?} matches {names}, and nothing that can {verb}")]
    NoneFits {
        /// The pattern.
        given: String,
        /// The units that it matches.
        names: String,
        /// As in "be started".
        verb: &'static str,
    },
}

impl PatternError {
    /// The way out, where there is one.
    pub(crate) fn way_out(&self) -> Option<String> {
        match self {
            Self::Files { .. } => Some(
                "without quotes the shell puts the files in its place that it matches; 'web@*' in quotes stands for units of the cluster"
                    .to_owned(),
            ),
            Self::Nothing { .. } => {
                Some("`musterctl list-unit-files` shows the units there are".to_owned())
            }
            _ => None,
        }
    }
}

impl Pattern {
    /// Reads a word; `None` when it is no pattern.
    pub(crate) fn parse(word: &str) -> Result<Option<Self>, PatternError> {
        let (directory, name) = word.rsplit_once('/').map_or((None, word), |(d, n)| (Some(d), n));
        if !name.contains(['*', '?', '[']) {
            return Ok(None);
        }
        let given = word.to_owned();
        if directory.is_some() {
            return Err(PatternError::Files { given });
        }
        let whole: Glob = name.parse()?;
        let typed = name.rsplit_once('.').is_some_and(|(_, suffix)| {
            UnitType::ALL.into_iter().any(|known| known.as_str() == suffix)
        });
        let service = if typed { None } else { format!("{name}.service").parse().ok() };
        Ok(Some(Self { given, whole, service }))
    }

    /// Returns whether it stands for a unit.
    pub(crate) fn matches_name(&self, name: &str) -> bool {
        self.whole.matches_name(name)
            || self.service.as_ref().is_some_and(|glob| glob.matches_name(name))
    }
}

/// The first of these words that is a pattern. All are read: one that can never match is an error.
pub(crate) fn first_pattern(words: &[String]) -> Result<Option<String>, PatternError> {
    let mut first = None;
    for word in words {
        first = first.or(Pattern::parse(word)?.map(|pattern| pattern.given));
    }
    Ok(first)
}

/// Returns what words stand for among the units there are.
pub(crate) fn stand_for<'a>(
    known: &[UnitSummary],
    words: &'a [String],
    verb: &'static str,
    fits: impl Fn(&UnitSummary) -> bool,
) -> Result<Vec<UnitArgument<'a>>, PatternError> {
    let mut expanded = Vec::with_capacity(words.len());
    for word in words {
        let Some(pattern) = Pattern::parse(word)? else {
            expanded.push(UnitArgument::Named(word));
            continue;
        };
        let matched: Vec<&UnitSummary> =
            known.iter().filter(|unit| pattern.matches_name(unit.name.as_str())).collect();
        let before = expanded.len();
        let fitting = matched.iter().filter(|unit| fits(unit));
        expanded.extend(fitting.map(|unit| UnitArgument::Matched(Box::new((*unit).clone()))));
        if expanded.len() == before {
            let given = pattern.given;
            return Err(if matched.is_empty() {
                PatternError::Nothing { given }
            } else {
                let names = join_names(matched.iter().map(|unit| &unit.name));
                PatternError::NoneFits { given, names, verb }
            });
        }
    }
    Ok(expanded)
}

/// Names in words: the first ones, and how many more.
pub(crate) fn join_names<'a>(names: impl Iterator<Item = &'a UnitName>) -> String {
    let all: Vec<&str> = names.map(UnitName::as_str).collect();
    let shown = all.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        rest => format!("{shown} and {rest} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit_words::names_of;

    fn unit(name: &str) -> UnitSummary {
        let unit = serde_json::json!({
            "name": name, "hash": "", "desired": "launched", "current": "launched", "generation": 1,
        });
        serde_json::from_value(unit).unwrap()
    }

    fn found(words: &[&str]) -> Result<Vec<String>, String> {
        let known = ["app.socket", "web@.service", "web@1.service", "web@12.service"].map(unit);
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let fits = |unit: &UnitSummary| !unit.name.is_template();
        let words = stand_for(&known, &words, "be started", fits).map_err(|e| e.to_string())?;
        Ok(names_of(&words).unwrap().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_pattern_stands_for_the_units_that_it_matches() {
        assert_eq!(found(&["web@*"]).unwrap(), ["web@1.service", "web@12.service"]);
        assert_eq!(found(&["web@?"]).unwrap(), ["web@1.service"], "a service, without a type");
        assert_eq!(found(&["*.socket", "web@1"]).unwrap(), ["app.socket", "web@1.service"]);
        assert_eq!(found(&["web@[^.]", "x"]).unwrap(), ["web@1.service", "x.service"]);
        assert_eq!(found(&["*@1*", "web@1*"]).unwrap().len(), 2, "each once");
    }

    #[test]
    fn a_name_means_what_it_says() {
        for word in ["web@1", r"dev-disk\x2d1.device", "/tmp/a[1]/web.service", "a*/web.service"] {
            assert!(Pattern::parse(word).unwrap().is_none(), "{word}");
        }
    }

    #[test]
    fn what_stands_for_nothing_says_why() {
        let problem = |word: &str| found(&[word]).unwrap_err();
        assert_eq!(problem("db*"), "no unit of the cluster matches \"db*\"");
        assert_eq!(
            problem("web@.*"),
            "\"web@.*\" matches web@.service, and nothing that can be started"
        );
        assert_eq!(
            problem("units/*.service"),
            "\"units/*.service\" matches no file, and a pattern of units has no directory"
        );
        assert!(problem("web[").starts_with("\"web[\" is not a pattern"), "{}", problem("web["));
    }
}
