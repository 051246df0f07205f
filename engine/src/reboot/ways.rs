//! The ways to reboot that a host has.
//!
//! Owns what a host's own words say about them, and what a person is told where one is missing. It asks nobody.

/// The first systemd that has soft-reboots (systemd-soft-reboot.service(8)).
const FIRST_SOFT: u32 = 254;

/// The way out of a way that a host does not have.
const WAY_OUT: &str =
    "ask for `--method reboot`, or have reboot.method = \"reboot\" in the configuration";

/// Tells whether a host can reboot its userspace alone. `version`: systemd's, in its own words; `None`: it does not tell.
pub fn check_soft_reboot(version: Option<&str>) -> Result<(), String> {
    let Some(version) = version else {
        return Err("systemd does not tell its version".to_owned());
    };
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    match version.get(..digits).unwrap_or_default().parse::<u32>() {
        Ok(number) if number < FIRST_SOFT => Err(format!(
            "systemd {number} has no soft-reboot, {FIRST_SOFT} is the first that has; {WAY_OUT}"
        )),
        // One without a number was built from a tree: whoever does that has a new one.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Tells whether a host can reboot into a kernel that lies ready. `loaded`: the kernel's word on it; `None`: it has none.
pub fn check_kexec(loaded: Option<&str>) -> Result<(), String> {
    match loaded.map(str::trim) {
        Some("1") => Ok(()),
        Some(_) => Err(format!(
            "no kernel is loaded for it; load one (`kexec --load`), by the hook reboot.before_reboot for instance, or {WAY_OUT}"
        )),
        None => Err(format!("this kernel has no kexec; {WAY_OUT}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_systemd_before_254_has_no_soft_reboot() {
        for version in ["254", "257.9-1~deb13u1", "259~rc1", "v260-devel"] {
            assert_eq!(check_soft_reboot(Some(version)), Ok(()), "{version}");
        }
        let old = check_soft_reboot(Some("252.39-1~deb12u1")).unwrap_err();
        assert!(old.starts_with("systemd 252 has no soft-reboot, 254 is"), "{old}");
        assert!(check_soft_reboot(None).is_err());
    }

    #[test]
    fn a_kernel_has_to_be_loaded_before_it_is_started() {
        assert_eq!(check_kexec(Some("1\n")), Ok(()));
        let none = check_kexec(Some("0\n")).unwrap_err();
        assert!(none.starts_with("no kernel is loaded for it; load one"), "{none}");
        assert!(check_kexec(None).unwrap_err().starts_with("this kernel has no kexec"));
    }
}
