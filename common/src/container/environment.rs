//! A container's environment and secrets: what the file says, and what only the machine knows.
//!
//! Owns the references; the machine resolves them when it makes the container. A value is shown to nobody who prints
//! one of these for debugging.

use std::collections::BTreeMap;
use std::fmt;

use super::expand::is_name;
use super::names;
use super::quantity;
use super::reader::{ContainerError, Reader};
use crate::unit::words::Backslash;

/// Something that may be a secret. It prints as `…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sensitive(String);

impl Sensitive {
    /// Hides a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Where a container's environment comes from, weakest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// All of the daemon's own, `EnvironmentHost=`.
    pub of_host: bool,
    /// The daemon's proxy variables, `HttpProxy=`.
    pub of_proxy: bool,
    /// Files on the machine, later ones over earlier ones.
    pub files: Vec<String>,
    /// What the file sets; a variable without a value takes the daemon's, and is left out where that has none.
    pub set: BTreeMap<String, Option<Sensitive>>,
}

/// A secret of the machine's, `Secret=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name, which is that of a file.
    pub name: String,
    /// Where the container finds it.
    pub target: SecretTarget,
}

/// Where a container finds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretTarget {
    /// In a variable of this name.
    Variable(String),
    /// In a file.
    File {
        /// Its path in the container.
        path: String,
        /// Its owner in the container.
        uid: u32,
        /// Its group in the container.
        gid: u32,
        /// Its permissions.
        mode: u32,
    },
}

impl Environment {
    /// Reads the options; variables that `[Service]` sets have their value from there.
    pub(super) fn read(
        reader: &Reader<'_>,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, ContainerError> {
        let mut set = BTreeMap::new();
        for (name, value) in reader.pairs("Environment")? {
            if !is_name(&name) {
                return Err(
                    reader.error("Environment", format!("{name:?} is not the name of a variable"))
                );
            }
            let value = value.or_else(|| variables.get(&name).cloned());
            set.insert(name, value.map(Sensitive));
        }
        Ok(Self {
            of_host: reader.last("EnvironmentHost", quantity::truth)?.unwrap_or_default(),
            of_proxy: reader.last("HttpProxy", quantity::truth)?.unwrap_or_default(),
            files: reader.words("EnvironmentFile", Backslash::Escapes, names::path)?,
            set,
        })
    }
}

/// One `Secret=`: `name[,type=mount|env][,target=…][,uid=…][,gid=…][,mode=…]`.
pub(super) fn secret(value: &str) -> Result<Secret, String> {
    let mut parts = value.split(',');
    // A name that were more than a name would be a way out of the directory secrets lie in.
    let name = names::resource(parts.next().unwrap_or_default())?;
    let (mut kind, mut target, mut uid, mut gid, mut mode) = ("mount", None, None, None, None);
    for part in parts {
        let number = |value: &str| quantity::number::<u32>(value).map(Some);
        match part.split_once('=') {
            Some(("type", value @ ("mount" | "env"))) => kind = value,
            Some(("target", value)) => target = Some(value),
            Some(("uid" | "UID", value)) => uid = number(value)?,
            Some(("gid" | "GID", value)) => gid = number(value)?,
            Some(("mode", value)) => {
                mode = Some(
                    u32::from_str_radix(value, 8)
                        .map_err(|_| format!("{value:?} is not an octal mode"))?,
                );
            }
            _ => {
                return Err(format!(
                    "{part:?} is none of type=mount, type=env, target=, uid=, gid= and mode="
                ));
            }
        }
    }
    let target = if kind == "env" {
        if uid.is_some() || gid.is_some() || mode.is_some() {
            return Err("a variable has no owner and no mode".to_owned());
        }
        let variable = target.unwrap_or(&name);
        if !is_name(variable) {
            return Err(format!(
                "{variable:?} is not the name of a variable; give it one with target="
            ));
        }
        SecretTarget::Variable(variable.to_owned())
    } else {
        let target = target.unwrap_or(&name);
        let path = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("/run/secrets/{target}")
        };
        SecretTarget::File {
            path: names::path(&path)?,
            uid: uid.unwrap_or(0),
            gid: gid.unwrap_or(0),
            mode: mode.unwrap_or(0o444),
        }
    };
    Ok(Secret { name, target })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_printed() {
        let set = BTreeMap::from([("PASSWORD".to_owned(), Some(Sensitive::new("hunter2")))]);
        let printed = format!("{:?}", Environment { set, ..Environment::default() });
        assert!(printed.contains("PASSWORD") && !printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn a_secret_is_a_file_or_a_variable() {
        let file =
            |path: &str, mode| SecretTarget::File { path: path.to_owned(), uid: 0, gid: 0, mode };
        assert_eq!(secret("db").map(|secret| secret.target), Ok(file("/run/secrets/db", 0o444)));
        assert_eq!(
            secret("db,target=/etc/db,mode=0400").map(|secret| secret.target),
            Ok(file("/etc/db", 0o400))
        );
        assert_eq!(
            secret("db,type=env,target=DB").map(|secret| secret.target),
            Ok(SecretTarget::Variable("DB".to_owned()))
        );
        for value in [
            "",
            "../x",
            "a/b",
            "a,type=other",
            "a.b,type=env",
            "a,type=env,mode=1",
            "a,target=../x",
            "a,x",
        ] {
            assert!(secret(value).is_err(), "{value}");
        }
    }
}
