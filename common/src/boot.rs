//! Boots of a machine.
//!
//! Owns the rule that tells one boot from the next. What a machine remembers of its units holds for the boot in which they ran: after
//! the next one nothing of them runs. A soft-reboot (systemd-soft-reboot.service(8)) is a boot as well. It stops every unit, and leaves
//! the kernel, its first process and `/run` as they were, so that the memory survives what it is about.

use serde::{Deserialize, Serialize};

use crate::probe::is_planted;

/// A boot of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootMark {
    /// The machine's: the kernel's boot id, and the time at which its first process was started.
    pub machine: String,
    /// That of its userspace: another one after a soft-reboot, too. Absent where nobody could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userspace: Option<String>,
}

impl BootMark {
    /// True if nothing says that there was a boot between the two. A memory is given up for a reason only: what it says of units that
    /// run on would be lost with it.
    pub fn is_same(&self, earlier: &Self) -> bool {
        if self.machine != earlier.machine {
            return false;
        }
        match (&self.userspace, &earlier.userspace) {
            (Some(now), Some(then)) => now == then || is_planted("soft-reboot-is-no-boot"),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_another_one_if_anything_says_so() {
        let boot = |machine: &str, userspace: Option<&str>| BootMark {
            machine: machine.to_owned(),
            userspace: userspace.map(str::to_owned),
        };
        let now = boot("a-1", Some("x"));
        for (earlier, same) in [
            (boot("a-1", Some("x")), true),
            (boot("a-1", None), true),
            (boot("a-1", Some("y")), false),
            (boot("a-2", Some("x")), false),
            (boot("b-1", None), false),
        ] {
            assert_eq!(now.is_same(&earlier), same, "{earlier:?}");
            assert_eq!(earlier.is_same(&now), same, "{earlier:?}");
        }
    }
}
