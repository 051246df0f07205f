//! The roles of a daemon.
//!
//! Owns the words and what follows from leaving one out. A daemon has all roles unless it is told otherwise.

use std::fmt;
use std::str::FromStr;

use super::ConfigError;
use super::values::{InvalidValue, invalid_value};

/// One thing a daemon is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It may lead, and places the cluster's units when it does.
    Engine,
    /// Its machine takes units and runs them.
    Agent,
    /// It reboots its machine when that is due.
    Reboot,
}

/// The roles of a daemon; at least one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// See [`Role::Engine`].
    pub engine: bool,
    /// See [`Role::Agent`].
    pub agent: bool,
    /// See [`Role::Reboot`].
    pub reboot: bool,
}

impl Default for Roles {
    fn default() -> Self {
        Self { engine: true, agent: true, reboot: true }
    }
}

impl Roles {
    /// The roles that the keys `roles` and `engine` come to together.
    pub(super) fn from_keys(
        roles: Option<&[Role]>,
        engine: Option<bool>,
    ) -> Result<Self, ConfigError> {
        let Some(roles) = roles else {
            return Ok(Self { engine: engine.unwrap_or(true), ..Self::default() });
        };
        let has = |role| roles.contains(&role);
        let roles =
            Self { engine: has(Role::Engine), agent: has(Role::Agent), reboot: has(Role::Reboot) };
        if !(roles.engine || roles.agent || roles.reboot) {
            return Err(ConfigError::Contradiction {
                keys: &["roles"],
                problem: "roles: a daemon needs at least one of engine, agent and reboot",
            });
        }
        match engine {
            Some(true) if !roles.engine => Err(ConfigError::Contradiction {
                keys: &["engine", "roles"],
                problem: "engine = true, and roles leave the engine out: set only roles",
            }),
            Some(false) if roles.engine => Err(ConfigError::Contradiction {
                keys: &["engine", "roles"],
                problem: "engine = false, and roles name the engine: set only roles",
            }),
            _ => Ok(roles),
        }
    }

    /// Tells whether it belongs to the cluster as a machine: it registers and keeps a lease.
    pub fn registers_machine(self) -> bool {
        self.engine || self.agent
    }
}

impl fmt::Display for Roles {
    /// As it is configured: `engine,agent,reboot`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(self.engine, "engine"), (self.agent, "agent"), (self.reboot, "reboot")];
        let words: Vec<&str> =
            all.into_iter().filter(|(has, _)| *has).map(|(_, word)| word).collect();
        f.write_str(&words.join(","))
    }
}

impl FromStr for Role {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "engine" => Ok(Self::Engine),
            "agent" => Ok(Self::Agent),
            "reboot" => Ok(Self::Reboot),
            _ => Err(invalid_value(text, "a role: engine, agent or reboot")),
        }
    }
}
