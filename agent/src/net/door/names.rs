//! The names this daemon goes by.
//!
//! Owns the list: the address a connection was made to, the machine's addresses, its host name with and without domain,
//! `localhost` where that leads here, and what the configuration adds. Addresses and names change while a daemon runs, so
//! a host that is not known is looked for again, though not for every request.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::host::{HostKind, RequestHost};
use crate::config::HostName;
use crate::host::identity;
use crate::stdx::sync::lock;

/// The age that what was found of the machine may have before a host that is not in it is looked for anew. A new address has to
/// wait that long at the most, and a flood of foreign names reads a few small files once in that time.
const FOUND_VALID_FOR: Duration = Duration::from_secs(5);

/// Everything this daemon may be called.
#[derive(Debug, Default)]
pub struct Names {
    /// The configuration's, the machine's address among them.
    given: BTreeSet<String>,
    found: Mutex<Option<FoundNames>>,
}

/// The names and addresses that the machine gives itself.
#[derive(Debug)]
struct FoundNames {
    at: Instant,
    names: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

/// A connection, as far as names go.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The address the listener is bound to.
    pub listener: SocketAddr,
    /// The address the client connected to.
    pub local: SocketAddr,
}

impl Names {
    /// The names of the configuration.
    pub fn new(given: impl IntoIterator<Item = HostName>) -> Self {
        let given = given.into_iter().map(|name| name.0).collect();
        Self { given, found: Mutex::default() }
    }

    /// True if a host, asked for over a connection, is this daemon.
    pub fn is_ours(&self, host: &RequestHost, arrival: Arrival) -> bool {
        let local = arrival.local.ip().to_canonical();
        match &host.name {
            HostKind::Name(name) if name == "localhost" => {
                let listener = arrival.listener.ip().to_canonical();
                listener.is_unspecified() || listener.is_loopback() || self.given.contains(name)
            }
            HostKind::Name(name) => {
                self.given.contains(name) || self.is_found(|found| found.names.contains(name))
            }
            HostKind::Address(address) => {
                *address == local
                    || (address.is_loopback() && local.is_loopback())
                    || self.given.contains(&address.to_string())
                    || self.is_found(|found| found.addresses.contains(address))
            }
        }
    }

    /// True if what the machine says of itself has something.
    fn is_found(&self, has: impl Fn(&FoundNames) -> bool) -> bool {
        let mut slot = lock(&self.found);
        match slot.as_ref() {
            Some(found) if has(found) => true,
            Some(found) if found.at.elapsed() < FOUND_VALID_FOR => false,
            _ => has(slot.insert(FoundNames::read_host())),
        }
    }
}

impl FoundNames {
    fn read_host() -> Self {
        let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
        let kernel = read("/proc/sys/kernel/hostname");
        let names = host_names(kernel.trim(), &read("/etc/hosts"), &read("/etc/resolv.conf"));
        Self { at: Instant::now(), names, addresses: identity::own_addresses() }
    }
}

/// The names of a host, from what the kernel calls it, hosts(5) and resolv.conf(5).
///
/// Of hosts(5) only lines count that have one of those names already: a list of blocked domains leads to this machine too.
/// Who decides about the search domains decides about every name, the host's own among them, so they add no risk.
fn host_names(kernel: &str, hosts: &str, resolver: &str) -> BTreeSet<String> {
    let kernel = kernel.to_ascii_lowercase();
    // A host without a name of its own is called `localhost` by the kernel; that name has a rule of its own.
    if kernel.is_empty() || kernel == "localhost" || kernel.starts_with("localhost.") {
        return BTreeSet::new();
    }
    let short = kernel.split('.').next().unwrap_or(&kernel).to_owned();
    let mut names = BTreeSet::from([kernel, short.clone()]);
    for line in hosts.lines() {
        let line = line.split('#').next().unwrap_or_default().to_ascii_lowercase();
        let called: Vec<&str> = line.split_ascii_whitespace().skip(1).collect();
        if called.iter().any(|name| names.contains(*name)) {
            let others = called.into_iter().filter(|name| !name.starts_with("localhost"));
            names.extend(others.map(str::to_owned));
        }
    }
    for line in resolver.lines() {
        let mut words = line.split_ascii_whitespace();
        if matches!(words.next(), Some("search" | "domain")) {
            let domains = words.map(|word| word.trim_matches('.').to_ascii_lowercase());
            names.extend(
                domains.filter(|d| !d.is_empty()).map(|domain| format!("{short}.{domain}")),
            );
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(listener: &str, local: &str) -> Arrival {
        Arrival { listener: listener.parse().unwrap(), local: local.parse().unwrap() }
    }

    #[test]
    fn a_host_has_the_names_that_its_files_give_it() {
        let hosts = "127.0.0.1 localhost\n127.0.1.1 N1.example.com n1 # mine\n0.0.0.0 ads.example\n::1 localhost n1\n";
        let found =
            host_names("n1", hosts, "# none\nsearch corp.example. lan\nnameserver 192.0.2.1\n");
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, ["n1", "n1.corp.example", "n1.example.com", "n1.lan"]);
        assert_eq!(host_names("localhost", hosts, "search lan").len(), 0);
    }

    #[test]
    fn localhost_is_ours_where_it_leads_to_us() {
        let names = Names::default();
        let localhost: RequestHost = "localhost:80".parse().unwrap();
        assert!(names.is_ours(&localhost, arrival("127.0.0.1:1", "127.0.0.1:1")));
        assert!(names.is_ours(&localhost, arrival("[::]:1", "10.0.0.1:1")));
        assert!(!names.is_ours(&localhost, arrival("10.0.0.1:1", "10.0.0.1:1")));
    }

    #[test]
    fn an_address_is_ours_by_the_connection_the_machine_or_the_configuration() {
        let given = ["203.0.113.5", "muster.example.com"].map(|name| name.parse().unwrap());
        let names = Names::new(given);
        let at = arrival("0.0.0.0:1", "192.0.2.7:1");
        let is_ours = |host: &str| names.is_ours(&host.parse().unwrap(), at);
        for host in ["192.0.2.7", "[::ffff:192.0.2.7]:9", "203.0.113.5:80", "MUSTER.example.com"] {
            assert!(is_ours(host), "{host}");
        }
        for host in ["192.0.2.8", "evil.example", "muster.example.com.evil.example", "127.0.0.2"] {
            assert!(!is_ours(host), "{host}");
        }
    }
}
