//! The Debian that hosts are made of.
//!
//! Owns which releases there are and in what their hosts differ for the lab. Which one is meant is said by whoever makes hosts, or by
//! `MUSTER_DEBIAN`, so that a whole run of tests can be repeated on another.

use std::str::FromStr;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// The variable that names the release of hosts for which nobody says it: `12` or `13`.
pub const RELEASE_VARIABLE: &str = "MUSTER_DEBIAN";

/// A release of Debian.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Release {
    /// Debian 12: systemd 252, etcd 3.4, Docker 20.10, a Podman without Quadlet.
    #[serde(rename = "12")]
    Bookworm,
    /// Debian 13: systemd 257, etcd 3.5, Docker 26, Podman 5.4.
    #[default]
    #[serde(rename = "13")]
    Trixie,
}

impl Release {
    /// The release that the environment names, else the default.
    pub fn from_environment() -> Result<Self> {
        match std::env::var(RELEASE_VARIABLE) {
            Ok(text) => text.parse(),
            Err(_) => Ok(Self::default()),
        }
    }

    /// The number that it is known by.
    pub fn release_number(self) -> &'static str {
        match self {
            Self::Bookworm => "12",
            Self::Trixie => "13",
        }
    }

    /// The name that the archive has it under.
    pub(super) fn archive_suite(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    /// Packages that people and tests want there, and that others have within another package.
    pub(super) fn extra_packages(self) -> &'static [&'static str] {
        match self {
            Self::Bookworm => &[],
            Self::Trixie => &["docker-cli"],
        }
    }

    /// True when its systemd keeps everything in the unified hierarchy of cgroups; it would refuse to boot with the others.
    pub(super) fn is_unified(self) -> bool {
        self == Self::Trixie
    }

    /// True when its Podman reads Quadlet's files.
    pub fn has_quadlet(self) -> bool {
        self == Self::Trixie
    }
}

impl FromStr for Release {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "12" => Ok(Self::Bookworm),
            "13" => Ok(Self::Trixie),
            _ => bail!("Debian {text:?} is not one the lab knows: 12 or 13"),
        }
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Debian {}", self.release_number())
    }
}
