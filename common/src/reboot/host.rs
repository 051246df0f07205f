//! One host: why its reboot is due, how it goes about it, how far it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Group, Phase, PhaseSpan, RebootMethod, WaitReason};
use crate::boot::BootMark;
use crate::text::{clean_text, fit_text};

/// The way in which a host goes about a reboot that is due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Strategy {
    /// It takes a slot of its group first.
    #[default]
    Lock,
    /// It asks nobody.
    Now,
    /// It never does.
    Off,
    /// A strategy of a later version.
    #[serde(other)]
    Unknown,
}

/// A word that is no strategy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a reboot strategy: lock, now or off")]
pub struct InvalidStrategy(pub String);

impl Strategy {
    /// The word used in records, in JSON and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Now => "now",
            Self::Off => "off",
            Self::Unknown => "unknown",
        }
    }
}

impl FromStr for Strategy {
    type Err = InvalidStrategy;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "lock" => Ok(Self::Lock),
            "now" => Ok(Self::Now),
            "off" => Ok(Self::Off),
            _ => Err(InvalidStrategy(word.to_owned())),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a reboot is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DueReason {
    /// The package manager left its mark (`/run/reboot-required` on Debian and Ubuntu).
    RebootRequired {
        /// The packages that want it, where it says.
        #[serde(default)]
        packages: Vec<String>,
    },
    /// `update_engine` has written a new system (Flatcar).
    UpdateEngine {
        /// The new version, where it says.
        #[serde(default)]
        version: String,
    },
    /// The configured command ended with 0.
    Command {
        /// The last line it printed.
        #[serde(default)]
        output: String,
    },
    /// Somebody asked for it.
    Requested {
        /// Who, as they said.
        #[serde(default)]
        by: String,
        /// When.
        #[serde(default)]
        at: u64,
        /// The purpose, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
        /// The way that they asked for; absent: the machine's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        method: Option<RebootMethod>,
    },
    /// A reason of a later version.
    #[serde(other)]
    Unknown,
}

/// Packages that are named where a reboot is due for them; a whole system's would make a record of its own.
const PACKAGES: usize = 32;

impl DueReason {
    /// The same with texts that fit where they are kept.
    #[must_use]
    pub fn fit_texts(self) -> Self {
        match self {
            Self::RebootRequired { packages } => {
                let more = packages.len().saturating_sub(PACKAGES);
                let named = packages.iter().take(PACKAGES).map(|package| fit_text(package));
                let rest = (more > 0).then(|| format!("{more} more"));
                Self::RebootRequired { packages: named.chain(rest).collect() }
            }
            Self::UpdateEngine { version } => Self::UpdateEngine { version: fit_text(&version) },
            Self::Command { output } => Self::Command { output: fit_text(&output) },
            Self::Requested { by, at, because, method } => {
                let because = because.map(|because| fit_text(&because));
                Self::Requested { by: fit_text(&by), at, because, method }
            }
            Self::Unknown => Self::Unknown,
        }
    }
}

impl fmt::Display for DueReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RebootRequired { packages } if packages.is_empty() => {
                f.write_str("the package manager requires it")
            }
            Self::RebootRequired { packages } => {
                write!(f, "required by {}", clean_text(&packages.join(", ")))
            }
            Self::UpdateEngine { version } if version.is_empty() => {
                f.write_str("update_engine has updated the system")
            }
            Self::UpdateEngine { version } => {
                write!(f, "update_engine has installed {}", clean_text(version))
            }
            Self::Command { output } if output.is_empty() => f.write_str("the command says so"),
            Self::Command { output } => write!(f, "the command says: {}", clean_text(output)),
            Self::Requested { by, because, method, .. } => {
                let what = method.map_or(String::new(), |method| format!("a {method} "));
                let by = if by.is_empty() { "somebody" } else { by };
                write!(f, "{what}requested by {}", clean_text(by))?;
                because.as_ref().map_or(Ok(()), |because| write!(f, ": {}", clean_text(because)))
            }
            Self::Unknown => f.write_str("a reason this version does not know"),
        }
    }
}

/// Somebody's wish that a machine reboots. It is gone when the machine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who wishes, as they said.
    #[serde(default)]
    pub by: String,
    /// When.
    #[serde(default)]
    pub at: u64,
    /// The purpose, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The way in which it is to reboot; absent: as it is configured. Daemons of before reboot as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<RebootMethod>,
}

/// The status of a host, as it published it. It stands while the host is away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its group.
    #[serde(default)]
    pub group: Group,
    /// Its strategy.
    #[serde(default)]
    pub strategy: Strategy,
    /// The phase it is in.
    #[serde(default)]
    pub phase: Phase,
    /// Since when it is in this phase.
    #[serde(default)]
    pub since: u64,
    /// Why a reboot is due; empty: none is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub due: Vec<DueReason>,
    /// Why it does not go on; empty: it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<WaitReason>,
    /// When it took its slot; absent when it holds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u64>,
    /// The phases before this one, since the reboot became due.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<PhaseSpan>,
    /// The boot it was written in: the kernel's boot id.
    #[serde(default)]
    pub boot: String,
    /// The same of its userspace, which has another one after a soft-reboot, too; absent where nobody could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userspace: Option<String>,
}

/// Reasons kept of a host: more than there are kinds of them.
const REASONS: usize = 64;

impl HostStatus {
    /// The boot it was written in.
    pub fn boot_mark(&self) -> BootMark {
        BootMark { machine: self.boot.clone(), userspace: self.userspace.clone() }
    }

    /// The same with texts that fit where they are kept.
    #[must_use]
    pub fn fit_texts(mut self) -> Self {
        self.due.truncate(REASONS);
        self.due = self.due.into_iter().map(DueReason::fit_texts).collect();
        self.waits.truncate(REASONS);
        self.waits = self.waits.into_iter().map(WaitReason::fit_texts).collect();
        self
    }
}
