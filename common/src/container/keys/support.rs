//! The answer to one option of a Quadlet file, and how the tables write it down.

use std::fmt;

/// The answer to an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Docker has the same, and is asked for it.
    Honoured,
    /// Docker does not have it; this is how it comes about all the same.
    Emulated(&'static str),
    /// It is taken, changes nothing, and its author is told this in a warning.
    Noted(&'static str),
    /// It is taken where it has one of these values, which say what is the case anyway; any other is refused for this reason.
    Only(&'static [&'static str], &'static str),
    /// The file is refused for this reason, which names the way out where there is one.
    Refused(&'static str),
}

/// One option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// The answer to it.
    pub support: Support,
}

/// Options that share an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyGroup {
    /// Their names, sorted.
    pub names: &'static [&'static str],
    /// The answer to each.
    pub support: Support,
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Honoured => f.write_str("honoured"),
            Self::Emulated(how) => write!(f, "emulated: {how}"),
            Self::Noted(why) => write!(f, "taken with a warning: {why}"),
            Self::Only(values, why) => {
                let first = values.first().copied().unwrap_or_default();
                write!(f, "refused unless {first}: {why}")
            }
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

pub(super) const fn honoured_key(name: &'static str) -> Key {
    Key { name, support: Support::Honoured }
}

pub(super) const fn emulated_key(name: &'static str, how: &'static str) -> Key {
    Key { name, support: Support::Emulated(how) }
}

pub(super) const fn noted_key(name: &'static str, why: &'static str) -> Key {
    Key { name, support: Support::Noted(why) }
}

pub(super) const fn refused_key(name: &'static str, why: &'static str) -> Key {
    Key { name, support: Support::Refused(why) }
}

pub(super) const fn only_group(
    values: &'static [&'static str],
    why: &'static str,
    names: &'static [&'static str],
) -> KeyGroup {
    KeyGroup { names, support: Support::Only(values, why) }
}
