//! Every option of a Quadlet file, and what becomes of it here.
//!
//! Owns the answer to "is this honoured?", one entry an option; docs/containers.md shows the same entries, and a test
//! keeps it so. It never reads a value. The options are those of Quadlet in Podman 5; what `[Service]` and `[Unit]` may
//! hold besides is systemd's, of which only what can mean something to a container is taken.

use std::fmt;

mod container;
mod resources;
mod systemd;

use crate::unit::suggestion;

/// A section of a Quadlet file that is read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each variant is the section of its own name")]
pub enum Section {
    Container,
    Volume,
    Network,
    Quadlet,
    Service,
    Unit,
    Install,
}

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Docker has the same, and is asked for it.
    Honoured,
    /// Docker does not have it; this is how it comes about all the same.
    Emulated(&'static str),
    /// It is taken, changes nothing, and its author is told this in a warning.
    Noted(&'static str),
    /// The file is refused for this reason, which names the way out where there is one.
    Refused(&'static str),
}

/// One option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What becomes of it.
    pub support: Support,
}

impl Section {
    /// Every section, in the order the documentation has them.
    pub const ALL: [Self; 7] = [
        Self::Container,
        Self::Volume,
        Self::Network,
        Self::Service,
        Self::Unit,
        Self::Install,
        Self::Quadlet,
    ];

    /// The name between the brackets.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "Container",
            Self::Volume => "Volume",
            Self::Network => "Network",
            Self::Quadlet => "Quadlet",
            Self::Service => "Service",
            Self::Unit => "Unit",
            Self::Install => "Install",
        }
    }

    /// Its options, sorted by name.
    pub fn keys(self) -> &'static [Key] {
        match self {
            Self::Container => container::KEYS,
            Self::Volume => resources::VOLUME,
            Self::Network => resources::NETWORK,
            Self::Quadlet => resources::QUADLET,
            Self::Service => systemd::SERVICE,
            Self::Unit => systemd::UNIT,
            Self::Install => systemd::INSTALL,
        }
    }

    /// The option of this name, or why there is none.
    pub(super) fn key(self, name: &str) -> Result<&'static Key, String> {
        let keys = self.keys();
        if let Some(key) = keys.iter().find(|key| key.name == name) {
            return Ok(key);
        }
        let home = Self::ALL.into_iter().filter(|section| *section != self).find(|section| {
            section.belongs_beside(self) && section.keys().iter().any(|key| key.name == name)
        });
        if let Some(home) = home {
            return Err(format!("it belongs into [{home}]"));
        }
        let problem = match self {
            Self::Service => {
                "it is about a service of systemd's, and no such service is around a container here"
            }
            Self::Unit => "it has no meaning for a container here",
            _ => "unknown option",
        };
        Err(suggestion::or_hint(problem, name, keys.iter().map(|key| key.name)))
    }

    /// Whether one file may hold both sections.
    fn belongs_beside(self, other: Self) -> bool {
        let own = |section| matches!(section, Self::Container | Self::Volume | Self::Network);
        !(own(self) && own(other))
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Honoured => f.write_str("honoured"),
            Self::Emulated(how) => write!(f, "emulated: {how}"),
            Self::Noted(why) => write!(f, "taken with a warning: {why}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

const fn honoured(name: &'static str) -> Key {
    Key { name, support: Support::Honoured }
}

const fn emulated(name: &'static str, how: &'static str) -> Key {
    Key { name, support: Support::Emulated(how) }
}

const fn noted(name: &'static str, why: &'static str) -> Key {
    Key { name, support: Support::Noted(why) }
}

const fn refused(name: &'static str, why: &'static str) -> Key {
    Key { name, support: Support::Refused(why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_sorted_without_repeats() {
        for section in Section::ALL {
            let names: Vec<_> = section.keys().iter().map(|key| key.name).collect();
            assert!(names.is_sorted_by(|a, b| a < b), "[{section}] {names:?}");
        }
    }

    #[test]
    fn a_slip_finds_its_option_and_a_stray_one_its_section() {
        let problem = |section: Section, name: &str| section.key(name).unwrap_err();
        assert_eq!(problem(Section::Container, "Imag"), "unknown option; did you mean Image?");
        assert_eq!(problem(Section::Container, "Frobnicate"), "unknown option");
        assert_eq!(problem(Section::Container, "Restart"), "it belongs into [Service]");
        assert_eq!(problem(Section::Service, "Image"), "it belongs into [Container]");
        assert_eq!(problem(Section::Volume, "PublishPort"), "unknown option");
    }
}
