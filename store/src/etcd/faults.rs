//! Known faults of etcd's releases, as a table.
//!
//! Owns which release has which, and the words for them. It asks nobody.

use super::protocol::EtcdUsers;

/// A fault, and the first release of each line without it. Lines behind the last began without it.
struct Fault {
    /// The name it is known by.
    name: &'static str,
    /// What it means, for people.
    what: &'static str,
    /// Whether it lets users of etcd do what they may not. Where etcd has no users it changes nothing.
    authorization: bool,
    /// The first release of each line that has it; none: all there were before it was mended.
    begun: &'static [Release],
    mended: &'static [Release],
}

/// Major, minor and patch.
type Release = (u64, u64, u64);

/// All that are known, the gravest first. Sources: the advisories and pull requests that are named, and etcd's change logs.
const FAULTS: [Fault; 12] = [
    Fault {
        name: "inconsistent data",
        what: "a member that is killed under load may have other data than the rest (etcd-io/etcd#13766)",
        authorization: false,
        begun: &[(3, 5, 0)],
        mended: &[(3, 5, 3)],
    },
    Fault {
        name: "inconsistent revisions",
        what: "a member that crashes while it is defragmented may count other revisions than the rest (etcd-io/etcd#14733)",
        authorization: false,
        begun: &[(3, 5, 0)],
        mended: &[(3, 5, 6)],
    },
    Fault {
        name: "inconsistent users",
        what: "where users are enabled, a member that recovers from a snapshot may have other data than the rest \
               (etcd-io/etcd#14648)",
        authorization: false,
        begun: &[(3, 4, 20), (3, 5, 5)],
        mended: &[(3, 4, 22), (3, 5, 6)],
    },
    Fault {
        name: "lost writes",
        what: "a lone member may lose what it has acknowledged (etcd-io/etcd#14424)",
        authorization: false,
        begun: &[(3, 4, 0), (3, 5, 0)],
        mended: &[(3, 4, 21), (3, 5, 5)],
    },
    Fault {
        name: "lost events",
        what: "a watch may miss changes after a compaction (etcd-io/etcd#17612)",
        authorization: false,
        begun: &[(3, 4, 0), (3, 5, 0)],
        mended: &[(3, 4, 31), (3, 5, 13)],
    },
    Fault {
        name: "corrupt snapshots",
        what: "data may be corrupted where a member is defragmented while it takes a snapshot (etcd-io/etcd#20653)",
        authorization: false,
        begun: &[(3, 4, 0), (3, 5, 0), (3, 6, 0)],
        mended: &[(3, 4, 38), (3, 5, 23), (3, 6, 5)],
    },
    Fault {
        name: "stale reads",
        what: "reads can be stale after a pause of the server, and leases can be revoked wrongly or not at all",
        authorization: false,
        begun: &[],
        mended: &[(3, 4, 42), (3, 5, 28), (3, 6, 9)],
    },
    Fault {
        name: "zombie members",
        what: "an upgrade to 3.6 may bring back members that were removed; 3.5.26 has to come before (etcd-io/etcd#20995)",
        authorization: false,
        begun: &[(3, 5, 0)],
        mended: &[(3, 5, 26)],
    },
    Fault {
        name: "GHSA-rfx7-8w68-q57q",
        what: "a transaction within a transaction is not checked, so that every user reads and writes every key",
        authorization: true,
        begun: &[],
        mended: &[(3, 4, 42), (3, 5, 28), (3, 6, 9)],
    },
    Fault {
        name: "GHSA-q8m4-xhhv-38mg",
        what: "members, alarms, leases and compaction are open to those who may not",
        authorization: true,
        begun: &[],
        mended: &[(3, 4, 42), (3, 5, 28), (3, 6, 9)],
    },
    Fault {
        name: "GHSA-x35m-3gp4-4fh5",
        what: "a write within a transaction tells the value before it to those who may not read it, and takes any lease",
        authorization: true,
        begun: &[],
        mended: &[(3, 4, 44), (3, 5, 30), (3, 6, 11)],
    },
    Fault {
        name: "GHSA-xg4h-6gfc-h4m8",
        what: "who may read one key can watch all keys behind it",
        authorization: true,
        begun: &[],
        mended: &[(3, 5, 33), (3, 6, 14), (3, 7, 1)],
    },
];

/// A version as it is compared. A release candidate comes before its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    release: Release,
    released: bool,
}

/// A warning about a server of this version, in one sentence; `None` when no fault of it is known.
pub(super) fn version_warning(endpoint: &str, version: &str, users: EtcdUsers) -> Option<String> {
    let parsed = parse(version)?;
    let found: Vec<&Fault> = FAULTS.iter().filter(|fault| has_fault(parsed, fault)).collect();
    if found.is_empty() {
        return None;
    }
    let faults: Vec<String> =
        found.iter().map(|fault| format!("{}: {}", fault.name, fault.what)).collect();
    let authorization = found.iter().any(|fault| fault.authorization);
    let users = match users {
        _ if !authorization => "",
        EtcdUsers::Enabled => {
            "; its users are enabled, and their roles do not hold what they promise"
        }
        EtcdUsers::Disabled => {
            "; its users are not enabled, so whoever reaches it may do everything anyway"
        }
        EtcdUsers::Unknown => {
            "; if its users are enabled, their roles do not hold what they promise"
        }
    };
    let fixed: Vec<String> = fixed_releases(parsed, &found);
    Some(format!(
        "etcd {version} at {endpoint} has known faults: {}{users}; {} has none of them",
        faults.join("; "),
        fixed.join(" or ")
    ))
}

/// Whether a version has a fault.
fn has_fault(version: Version, fault: &Fault) -> bool {
    let line = |(major, minor, _): Release| (major, minor);
    let begun = fault.begun.iter().find(|begun| line(**begun) == line(version.release));
    if !fault.begun.is_empty() && begun.is_none_or(|begun| version.release < *begun) {
        return false;
    }
    match fault.mended.iter().find(|mended| line(**mended) == line(version.release)) {
        Some(mended) => version < Version { release: *mended, released: true },
        None => fault.mended.first().is_some_and(|first| version.release < *first),
    }
}

/// The releases that are free of these faults: the one of the version's own line, where there is one, or those of the two newest.
fn fixed_releases(version: Version, found: &[&Fault]) -> Vec<String> {
    let (major, minor, _) = version.release;
    let own = found
        .iter()
        .map(|fault| fault.mended.iter().find(|(m, n, _)| (*m, *n) == (major, minor)).copied());
    let own: Option<Vec<Release>> = own.collect();
    let lines = if let Some(release) = own.and_then(|own| own.into_iter().max()) {
        vec![release]
    } else {
        let all = || found.iter().flat_map(|fault| fault.mended).copied();
        let newest = |line: (u64, u64)| all().filter(|(m, n, _)| (*m, *n) == line).max();
        let mut lines: Vec<(u64, u64)> = all().map(|(m, n, _)| (m, n)).collect();
        lines.sort_unstable();
        lines.dedup();
        lines.into_iter().rev().take(2).filter_map(newest).collect()
    };
    lines.iter().map(|(major, minor, patch)| format!("{major}.{minor}.{patch}")).collect()
}

/// Reads a version. What follows the three numbers is either a mark of a release that is to come (`-rc.1`) or a builder's
/// own (`-k3s1`, `+git`), whose release is out.
fn parse(version: &str) -> Option<Version> {
    let end = version.find(['-', '+']).unwrap_or(version.len());
    let (numbers, rest) = version.split_at_checked(end)?;
    let mut numbers = numbers.trim_start_matches('v').split('.').map(str::parse::<u64>);
    let (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        return None;
    };
    let mark = rest.trim_start_matches('-');
    let comes = ["alpha", "beta", "rc", "pre"].iter().any(|word| mark.starts_with(word));
    Some(Version { release: (major, minor, patch), released: !comes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the faults that a version has.
    fn faults(version: &str) -> Vec<&'static str> {
        let version = parse(version).unwrap();
        FAULTS.iter().filter(|fault| has_fault(version, fault)).map(|fault| fault.name).collect()
    }

    #[test]
    fn a_fault_that_came_with_a_release_is_none_of_those_before() {
        let data = |version: &str| -> Vec<&str> {
            let begun = |name: &&str| FAULTS.iter().any(|f| f.name == *name && !f.begun.is_empty());
            faults(version).into_iter().filter(begun).collect()
        };
        let (killed, crashed, users) =
            ("inconsistent data", "inconsistent revisions", "inconsistent users");
        let (writes, events) = ("lost writes", "lost events");
        let (snapshots, zombies) = ("corrupt snapshots", "zombie members");
        for (version, expected) in [
            ("3.3.27", &[][..]),
            ("3.4.19", &[writes, events, snapshots]),
            ("3.4.20", &[users, writes, events, snapshots]),
            ("3.4.21", &[users, events, snapshots]),
            ("3.4.23", &[events, snapshots]),
            ("3.4.31", &[snapshots]),
            ("3.4.38", &[]),
            ("3.5.0", &[killed, crashed, writes, events, snapshots, zombies]),
            ("3.5.2", &[killed, crashed, writes, events, snapshots, zombies]),
            ("3.5.4", &[crashed, writes, events, snapshots, zombies]),
            ("3.5.5", &[crashed, users, events, snapshots, zombies]),
            ("3.5.6", &[events, snapshots, zombies]),
            ("3.5.16", &[snapshots, zombies]),
            ("3.5.25", &[zombies]),
            ("3.5.26", &[]),
            ("3.6.4", &[snapshots]),
            ("3.6.5", &[]),
            ("3.7.0", &[]),
        ] {
            assert_eq!(data(version), expected, "{version}");
        }
    }

    #[test]
    fn each_line_is_mended_from_its_own_release_on() {
        let always: Vec<&str> =
            FAULTS.iter().filter(|fault| fault.begun.is_empty()).map(|fault| fault.name).collect();
        let (all, later, last) = (&always[..], &always[3..], &always[4..]);
        for (version, expected) in [
            ("2.3.8", all),
            ("3.3.27", all),
            ("3.4.23", all),
            ("3.4.41", all),
            ("3.4.42", later),
            ("3.4.43", later),
            ("3.4.44", last),
            ("3.4.99", last),
            ("3.5.0", all),
            ("3.5.27", all),
            ("3.5.28", later),
            ("3.5.29", later),
            ("3.5.30", last),
            ("3.5.32", last),
            ("3.5.33", &[]),
            ("3.5.34", &[]),
            ("3.6.0", all),
            ("3.6.8", all),
            ("3.6.9", later),
            ("3.6.10", later),
            ("3.6.11", last),
            ("3.6.13", last),
            ("3.6.14", &[]),
            ("3.6.15", &[]),
            ("3.7.0", last),
            ("3.7.1", &[]),
            ("3.7.2", &[]),
            ("3.8.0", &[]),
            ("3.10.0", &[]),
            ("4.0.0", &[]),
        ] {
            let mut found = faults(version);
            found.retain(|name| always.contains(name));
            assert_eq!(found, expected, "{version}");
        }
    }

    #[test]
    fn a_candidate_comes_before_its_release_and_a_builders_mark_does_not() {
        for (candidate, before) in
            [("3.6.9-rc.0", "3.6.8"), ("3.5.33-rc.1", "3.5.32"), ("3.7.1-beta.2", "3.7.0")]
        {
            assert_eq!(faults(candidate), faults(before), "{candidate}");
        }
        assert_eq!(faults("3.6.10-rc.0"), faults("3.6.9"));
        for (built, release) in
            [("3.6.14-k3s1", "3.6.14"), ("3.5.33+git", "3.5.33"), ("v3.4.44", "3.4.44")]
        {
            assert_eq!(faults(built), faults(release), "{built}");
        }
        assert_eq!(faults("3.8.0-alpha.0"), Vec::<&str>::new());
    }

    #[test]
    fn what_is_no_version_is_not_judged() {
        for text in ["", "main", "3", "3.5", "3.5.x", "3.5.1.2", "-rc.1"] {
            assert_eq!(version_warning("e", text, EtcdUsers::Enabled), None, "{text}");
        }
    }

    #[test]
    fn a_warning_names_server_faults_users_and_the_way_out() {
        let told = version_warning("http://h:1", "3.4.23", EtcdUsers::Enabled).unwrap();
        for part in [
            "etcd 3.4.23 at http://h:1 ",
            "stale",
            "GHSA-rfx7-8w68-q57q",
            "GHSA-xg4h-6gfc-h4m8",
            "users are enabled",
            "3.7.1 or 3.6.14 has none of them",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let told = version_warning("http://h:1", "3.6.8", EtcdUsers::Disabled).unwrap();
        assert!(
            told.contains("not enabled") && told.ends_with("3.6.14 has none of them"),
            "{told}"
        );
        let told = version_warning("http://h:1", "3.5.30", EtcdUsers::Unknown).unwrap();
        assert!(!told.contains("stale") && told.contains("if its users are enabled"), "{told}");
        assert_eq!(version_warning("http://h:1", "3.6.14", EtcdUsers::Disabled), None);
    }
}
