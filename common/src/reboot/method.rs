//! The ways in which a host may reboot.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The way in which a host reboots.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RebootMethod {
    /// As a whole: firmware, kernel and userspace.
    #[default]
    Reboot,
    /// Userspace alone: the kernel, `/run` and what units ask to survive stay (systemd-soft-reboot.service(8)).
    SoftReboot,
    /// Into the kernel that was loaded for it, without the firmware (kexec(8)).
    Kexec,
    /// A way of a later version.
    #[serde(other)]
    Unknown,
}

/// A word that is no way to reboot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a way to reboot: reboot, soft-reboot or kexec")]
pub struct InvalidMethod(pub String);

impl RebootMethod {
    /// The word used in records, in JSON and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::SoftReboot => "soft-reboot",
            Self::Kexec => "kexec",
            Self::Unknown => "unknown",
        }
    }
}

impl FromStr for RebootMethod {
    type Err = InvalidMethod;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "reboot" => Ok(Self::Reboot),
            "soft-reboot" => Ok(Self::SoftReboot),
            "kexec" => Ok(Self::Kexec),
            _ => Err(InvalidMethod(word.to_owned())),
        }
    }
}

impl fmt::Display for RebootMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
