//! The names that a unit takes, or hooks itself into, once it is enabled.
//!
//! Owns reading `[Install]` (systemd.unit(5)): `Alias=` makes a link of another name, `Also=` enables other units with it,
//! `WantedBy=`, `RequiredBy=` and `UpheldBy=` make links below other units; so does an `Alias=` that names the directory,
//! `x.target.wants/NAME`, which is how it was written before there was `WantedBy=` and is still taken. Whether a machine has units of those names is
//! for its runner to see. `DefaultInstance=` concerns templates alone, and no machine is given one.

use std::fmt;

use super::words::{self, Backslash};
use super::{UnitFile, UnitName};

/// A thing done to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimKind {
    /// It becomes another name of the unit.
    Alias,
    /// The unit of that name is enabled and disabled with this one.
    Also,
    /// The unit of that name starts this one: it wants, requires or upholds it.
    StartedBy,
}

/// One name in `[Install]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Line of the file, from 1; 0 when it came without text.
    pub line: usize,
    /// The option, as written.
    pub option: String,
    /// The value, as written.
    pub written: String,
    /// The thing done to the name.
    pub kind: ClaimKind,
    /// The name, every specifier replaced; `None` when one is not known here, or the value cannot be split.
    pub name: Option<String>,
}

impl fmt::Display for Claim {
    /// `line 7: [Install] Alias=a.service`, and what the name is where it was not written so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        write!(f, "[Install] {}={}", self.option, self.written)?;
        match &self.name {
            Some(name) if *name != self.written => write!(f, " ({name})"),
            _ => Ok(()),
        }
    }
}

/// The meaning of a specifier that depends on the machine: `%H`, `%m` and the like.
pub type Facts<'a> = &'a dyn Fn(char) -> Option<String>;

/// Every name in the `[Install]` section of a file that is to be a unit of this name, in order. An empty assignment takes
/// back what was assigned before it, of the same option.
pub fn list_claims(unit: &UnitName, file: &UnitFile, facts: Facts<'_>) -> Vec<Claim> {
    let mut claims: Vec<Claim> = Vec::new();
    for (line, option) in file.numbered_options().filter(|(_, option)| option.section == "Install")
    {
        let kind = match option.name.as_str() {
            "Alias" => ClaimKind::Alias,
            "Also" => ClaimKind::Also,
            "WantedBy" | "RequiredBy" | "UpheldBy" => ClaimKind::StartedBy,
            _ => continue,
        };
        let value = option.joined_value();
        if value.trim().is_empty() {
            claims.retain(|claim| claim.option != option.name);
            continue;
        }
        let claim = |written: &str, name: Option<String>| Claim {
            line,
            option: option.name.clone(),
            written: written.to_owned(),
            kind,
            name,
        };
        match words::split(&value, Backslash::Literal) {
            Ok(words) => claims.extend(words.iter().map(|word| {
                let name = expand_specifiers(word, unit, facts);
                match name.as_deref().filter(|_| kind == ClaimKind::Alias).and_then(hooked_below) {
                    Some(other) => {
                        Claim { kind: ClaimKind::StartedBy, ..claim(word, Some(other.to_owned())) }
                    }
                    None => claim(word, name),
                }
            })),
            // systemd takes what it can make of it; what that is is not known here.
            Err(_) => claims.push(claim(&value, None)),
        }
    }
    claims
}

/// The unit below which an `Alias=` that names a directory makes a link.
fn hooked_below(alias: &str) -> Option<&str> {
    let (directory, _) = alias.rsplit_once('/')?;
    directory.strip_suffix(".wants").or_else(|| directory.strip_suffix(".requires"))
}

/// Puts in what specifiers stand for; `None` where one is not known.
fn expand_specifiers(word: &str, unit: &UnitName, facts: Facts<'_>) -> Option<String> {
    let mut expanded = String::new();
    let mut rest = word.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            expanded.push(c);
            continue;
        }
        match rest.next()? {
            '%' => expanded.push('%'),
            'n' => expanded.push_str(unit.as_str()),
            'N' => expanded.push_str(unit.name_stem()),
            'p' => expanded.push_str(unit.name_prefix()),
            'i' => expanded.push_str(unit.instance_name().unwrap_or_default()),
            'j' => expanded.push_str(last_part(unit.name_prefix())),
            specifier => expanded.push_str(&facts(specifier)?),
        }
    }
    Some(expanded)
}

/// The part behind the last dash: the `%j`.
fn last_part(prefix: &str) -> &str {
    prefix.rsplit_once('-').map_or(prefix, |(_, last)| last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(unit: &str, install: &str) -> Vec<(ClaimKind, Option<String>)> {
        let file: UnitFile = format!("[Install]\n{install}").parse().unwrap();
        let facts = |specifier| (specifier == 'H').then(|| "n1".to_owned());
        let claims = list_claims(&unit.parse().unwrap(), &file, &facts);
        claims.into_iter().map(|claim| (claim.kind, claim.name)).collect()
    }

    #[test]
    fn every_name_of_every_line_is_found() {
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(
            names(
                "web.service",
                "Alias=a.service \"b.service\"\nAlias= c.service\nWantedBy=multi-user.target\n\
                 RequiredBy=d.service\nUpheldBy=e.service\nAlso=f.socket\nDefaultInstance=x\nNonsense=g.service\n"
            ),
            [
                (ClaimKind::Alias, name("a.service")),
                (ClaimKind::Alias, name("b.service")),
                (ClaimKind::Alias, name("c.service")),
                (ClaimKind::StartedBy, name("multi-user.target")),
                (ClaimKind::StartedBy, name("d.service")),
                (ClaimKind::StartedBy, name("e.service")),
                (ClaimKind::Also, name("f.socket")),
            ]
        );
    }

    #[test]
    fn specifiers_are_what_systemd_makes_of_them() {
        let name = |name: &str| (ClaimKind::Alias, Some(name.to_owned()));
        assert_eq!(
            names("a-sshd@x.service", "Alias=%j.service %p.%i.service %n %N.socket %%i.service"),
            [
                name("sshd.service"),
                name("a-sshd.x.service"),
                name("a-sshd@x.service"),
                name("a-sshd@x.socket"),
                name("%i.service"),
            ]
        );
        assert_eq!(names("a.service", "Alias=%H.service"), [name("n1.service")]);
        for unknown in ["Alias=%m.service", "Alias=a%", "Alias=\"a.service"] {
            assert_eq!(names("a.service", unknown), [(ClaimKind::Alias, None)], "{unknown}");
        }
    }

    #[test]
    fn an_alias_below_a_unit_is_what_that_unit_starts() {
        let starts = |name: &str| (ClaimKind::StartedBy, Some(name.to_owned()));
        assert_eq!(
            names(
                "a.service",
                "Alias=sshd.service.wants/a.service b@.service.requires/%n \"c.target.wants/a.service\""
            ),
            [starts("sshd.service"), starts("b@.service"), starts("c.target")]
        );
        // systemd takes neither.
        let alias = |name: &str| (ClaimKind::Alias, Some(name.to_owned()));
        assert_eq!(
            names("a.service", "Alias=/etc/a.service x.service.upholds/a.service"),
            [alias("/etc/a.service"), alias("x.service.upholds/a.service")]
        );
    }

    #[test]
    fn an_empty_assignment_takes_back_its_own_option_only() {
        assert_eq!(
            names("a.service", "Alias=b.service\nWantedBy=c.target\nAlias=\nAlias=d.service"),
            [
                (ClaimKind::StartedBy, Some("c.target".to_owned())),
                (ClaimKind::Alias, Some("d.service".to_owned())),
            ]
        );
    }

    #[test]
    fn a_claim_names_its_place() {
        let file: UnitFile = "[Unit]\n[Install]\nAlias=%p.b.service\n".parse().unwrap();
        let claims = list_claims(&"a.service".parse().unwrap(), &file, &|_| None);
        let shown: Vec<String> = claims.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["line 3: [Install] Alias=%p.b.service (a.b.service)"]);
    }
}
