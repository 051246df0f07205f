//! Who this machine is: its id, its boot and its address.
//!
//! Owns the look at `/etc/machine-id`, at the kernel's boot id and the age of PID 1, and at the routing table. It never
//! writes any of them.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::path::{Path, PathBuf};

use muster_common::machine::{InvalidMachineId, MachineId};

/// Why this machine has no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file with the machine's id cannot be read.
    #[error("cannot read the machine id from {}; systemd-machine-id-setup makes one", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not hold one.
    #[error("{} holds no machine id; systemd-machine-id-setup makes one", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: InvalidMachineId,
    },
}

/// The machine's id, from a file such as `/etc/machine-id` (machine-id(5)).
pub fn machine_id(path: &Path) -> Result<MachineId, IdentityError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| IdentityError::Read { path: path.to_owned(), source })?;
    text.trim().parse().map_err(|source| IdentityError::Invalid { path: path.to_owned(), source })
}

/// The host name, without its domain; empty where the kernel tells none.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    name.split_once('.').map_or(name, |(name, _)| name).to_owned()
}

/// This boot of this machine: another word after every reboot, the same until then, whatever is restarted.
///
/// The kernel's boot id alone does not tell: containers share their kernel's, and one that reboots may keep it (LXC). What
/// is new there is PID 1, and the time it was started at is its mark; it stays when systemd executes itself anew.
pub fn boot_id() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    boot_mark(&read("/proc/sys/kernel/random/boot_id"), &read("/proc/1/stat"))
}

/// The kernel's boot id without dashes, and when PID 1 was started, from `/proc/1/stat` (`proc_pid_stat(5)`): the 22nd field,
/// in ticks since the kernel's boot. What the kernel does not tell is left out.
fn boot_mark(kernel: &str, stat: &str) -> String {
    let kernel = kernel.trim().replace('-', "");
    // The second field is the command in parentheses and may hold anything, so fields are counted from its end.
    let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(19));
    started.map_or_else(|| kernel.clone(), |started| format!("{kernel}-{started}"))
}

/// The address this machine uses to reach others: the source address of its default route. Empty when it has none.
pub fn own_address() -> String {
    // Connecting a datagram socket sends nothing; it makes the kernel choose a route and with it our address. The
    // targets are documentation addresses (RFC 5737, RFC 3849), which only a default route leads to.
    for (local, remote) in [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")] {
        let found = UdpSocket::bind(local)
            .and_then(|socket| socket.connect(remote).and_then(|()| socket.local_addr()));
        if let Ok(found) = found
            && is_global(found.ip())
        {
            return found.ip().to_string();
        }
    }
    interface_address().unwrap_or_default()
}

/// Every address of this machine but loopback's; as many as the kernel's tables tell.
pub fn own_addresses() -> BTreeSet<IpAddr> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let v4 = every_local_address(&read("/proc/net/fib_trie")).collect::<Vec<_>>();
    let v6 = interfaces_v6(&read("/proc/net/if_inet6")).collect::<Vec<_>>();
    v4.into_iter().chain(v6).filter(|ip| !ip.is_loopback() && !ip.is_unspecified()).collect()
}

/// Addresses in the form of `/proc/net/if_inet6`: 32 digits at the beginning of each line.
fn interfaces_v6(table: &str) -> impl Iterator<Item = IpAddr> {
    table.lines().filter_map(|line| {
        let digits = line.split_ascii_whitespace().next().filter(|word| word.len() == 32)?;
        u128::from_str_radix(digits, 16).ok().map(|bits| Ipv6Addr::from_bits(bits).into())
    })
}

/// Without a default route: the first address in the kernel's table of local IPv4 addresses that is not loopback's.
fn interface_address() -> Option<String> {
    local_addresses(&std::fs::read_to_string("/proc/net/fib_trie").ok()?).next()
}

/// Those of [`every_local_address`] that others may reach.
fn local_addresses(table: &str) -> impl Iterator<Item = String> {
    every_local_address(table).filter(|ip| is_global(*ip)).map(|ip| ip.to_string())
}

/// Addresses in the form of `/proc/net/fib_trie`: a line `|-- 10.0.0.1` followed by `/32 host LOCAL`.
fn every_local_address(table: &str) -> impl Iterator<Item = IpAddr> {
    let mut last = None;
    table.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<IpAddr>().ok();
            None
        } else if line == "/32 host LOCAL" {
            last
        } else {
            None
        }
    })
}

fn is_global(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !ip.is_loopback() && !ip.is_unspecified() && !link_local
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_id_is_the_file_without_its_newline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789abcdef0123456789abcdef\n").unwrap();
        assert_eq!(machine_id(file.path()).unwrap().as_str(), "0123456789abcdef0123456789abcdef");
    }

    #[test]
    fn a_machine_without_an_id_is_told_how_to_get_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = machine_id(file.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("holds no machine id; systemd-machine-id-setup makes one"),
            "{error}"
        );
        let error = machine_id(Path::new("/nonexistent/machine-id")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the machine id from /nonexistent"), "{error}");
    }

    #[test]
    fn a_boot_is_known_by_the_kernel_and_by_its_first_process() {
        let kernel = "6a1f2b3c-4d5e-6f70-8192-a3b4c5d6e7f8\n";
        let stat = |started: u32| {
            format!(
                "1 (a) (b c) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 {started} 4895 4279 1\n"
            )
        };
        assert_eq!(boot_mark(kernel, &stat(31)), "6a1f2b3c4d5e6f708192a3b4c5d6e7f8-31");
        assert_ne!(
            boot_mark(kernel, &stat(31)),
            boot_mark(kernel, &stat(90210)),
            "a container has rebooted"
        );
        assert_eq!(boot_mark(kernel, ""), "6a1f2b3c4d5e6f708192a3b4c5d6e7f8");
        assert_eq!(boot_id(), boot_id());
        assert!(boot_id().contains('-'), "{}", boot_id());
    }

    #[test]
    fn the_kernels_table_names_our_addresses() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.9.0.0\n        /24 link UNICAST\n     |-- 10.9.0.3\n\
                     /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 10.9.0.255\n        /32 link BROADCAST\n";
        assert_eq!(local_addresses(table).collect::<Vec<_>>(), ["10.9.0.3"]);
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     20010db8000000000000000000000007 02 40 00 80     eth0\n";
        let addresses: Vec<String> = interfaces_v6(table).map(|ip| ip.to_string()).collect();
        assert_eq!(addresses, ["::1", "2001:db8::7"]);
    }
}
