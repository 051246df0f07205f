//! Every option of a Quadlet file, and what becomes of it here.
//!
//! Owns the answer to "is this honoured?", one entry an option, or one for several that share it; docs/containers.md
//! shows the same entries, and a test keeps it so. It never reads a value but one that says what is the case anyway. The
//! options are those of Quadlet in Podman 5, and every directive systemd has for `[Service]` and `[Unit]`.

use std::fmt;

mod container;
mod resources;
mod support;
mod systemd;

pub use self::support::{Key, KeyGroup, Support};
use crate::unit::{directive_names as systemds, suggestion};

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

    /// Its options that have an answer of their own, sorted by name.
    pub fn own_keys(self) -> &'static [Key] {
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

    /// Its other options, which have their answers in common.
    pub fn key_groups(self) -> &'static [KeyGroup] {
        match self {
            Self::Service => systemd::SERVICE_GROUPS,
            Self::Unit => systemd::UNIT_GROUPS,
            _ => &[],
        }
    }

    /// Each of its options.
    pub fn all_keys(self) -> impl Iterator<Item = Key> {
        let grouped = self
            .key_groups()
            .iter()
            .flat_map(|group| group.names.iter().map(|name| Key { name, support: group.support }));
        let conditions = systemds::UNIT
            .iter()
            .filter(move |name| self == Self::Unit && condition_kind(name).is_some())
            .map(|name| Key { name, support: CONDITION });
        self.own_keys().iter().copied().chain(grouped).chain(conditions)
    }

    /// The option of this name, or why there is none.
    pub(super) fn key(self, name: &str) -> Result<Key, String> {
        let find = |section: Self| section.all_keys().find(|key| key.name == name);
        if let Some(key) = find(self) {
            return Ok(key);
        }
        let mut others = Self::ALL.into_iter().filter(|section| section.belongs_beside(self));
        let home = others.find_map(|section| Some((section, find(section)?.support)));
        // There is no sense in sending anybody to where it is refused.
        match home {
            Some((home, Support::Refused(why))) => {
                return Err(format!("it belongs into [{home}], where it is refused: {why}"));
            }
            Some((home, _)) => return Err(format!("it belongs into [{home}]")),
            None => {}
        }
        let taken = self.all_keys().filter(|key| !matches!(key.support, Support::Refused(_)));
        Err(suggestion::or_hint("unknown option", name, taken.map(|key| key.name)))
    }

    /// True when one file may hold both sections.
    fn belongs_beside(self, other: Self) -> bool {
        let own = |section| matches!(section, Self::Container | Self::Volume | Self::Network);
        !(own(self) && own(other))
    }
}

/// The answer to every condition and assertion of systemd's.
pub const CONDITION: Support = Support::Emulated(
    "looked at on the machine, at each start, with the machine's own systemd-analyze",
);

/// The subject of a condition or an assertion: `PathExists` of `ConditionPathExists`.
pub(super) fn condition_kind(name: &str) -> Option<&str> {
    name.strip_prefix("Condition").or_else(|| name.strip_prefix("Assert"))
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_table_is_sorted_without_repeats() {
        for section in Section::ALL {
            let names: Vec<_> = section.own_keys().iter().map(|key| key.name).collect();
            assert!(names.is_sorted_by(|a, b| a < b), "[{section}] {names:?}");
            for group in section.key_groups() {
                assert!(group.names.is_sorted_by(|a, b| a < b), "[{section}] {:?}", group.names);
            }
            let mut seen = BTreeSet::new();
            assert!(section.all_keys().all(|key| seen.insert(key.name)), "[{section}]");
        }
    }

    #[test]
    fn every_directive_of_systemds_has_an_answer() {
        let service =
            [systemds::SERVICE, systemds::EXEC, systemds::KILL, systemds::RESOURCE_CONTROL];
        for name in service.into_iter().flatten() {
            assert!(Section::Service.key(name).is_ok(), "[Service] {name}");
        }
        for name in systemds::UNIT {
            assert!(Section::Unit.key(name).is_ok(), "[Unit] {name}");
        }
        for name in systemds::INSTALL {
            assert!(Section::Install.key(name).is_ok(), "[Install] {name}");
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
        assert_eq!(
            problem(Section::Container, "\u{a0}Exec"),
            "unknown option; there is a no-break space (U+00A0) in its name; did you mean Exec?"
        );
    }

    #[test]
    fn nobody_is_sent_to_where_an_option_is_refused() {
        let problem = |section: Section, name: &str| section.key(name).unwrap_err();
        assert_eq!(problem(Section::Container, "GlobalArg"), "unknown option");
        let elsewhere = problem(Section::Install, "GlobalArgs");
        assert!(
            elsewhere.starts_with("it belongs into [Container], where it is refused: "),
            "{elsewhere}"
        );
    }
}
