//! Known faults of etcd's releases, as a table.
//!
//! Owns which release has which, and the words for them. It asks nobody.

use super::protocol::EtcdUsers;

/// A fault, and the first release of each line without it. Lines before the first are not mended; lines behind the last
/// began without it.
struct Fault {
    /// What it means, for people.
    what: &'static str,
    /// Whether it lets users of etcd do what they may not. Where etcd has no users it changes nothing.
    authorization: bool,
    mended: &'static [Release],
}

/// Major, minor and patch.
type Release = (u64, u64, u64);

/// All that are known, the gravest first. Sources: the advisories that are named, and etcd's change logs.
const FAULTS: [Fault; 5] = [
    Fault {
        what: "reads can be stale after a pause of the server, and leases can be revoked wrongly or not at all",
        authorization: false,
        mended: &[(3, 4, 42), (3, 5, 28), (3, 6, 9)],
    },
    Fault {
        what: "a transaction within a transaction is not checked, so that every user reads and writes every key \
               (GHSA-rfx7-8w68-q57q)",
        authorization: true,
        mended: &[(3, 4, 42), (3, 5, 28), (3, 6, 9)],
    },
    Fault {
        what: "members, alarms, leases and compaction are open to those who may not (GHSA-q8m4-xhhv-38mg)",
        authorization: true,
        mended: &[(3, 4, 42), (3, 5, 28), (3, 6, 9)],
    },
    Fault {
        what: "a write within a transaction tells the value before it to those who may not read it, and takes any lease \
               (GHSA-x35m-3gp4-4fh5)",
        authorization: true,
        mended: &[(3, 4, 44), (3, 5, 30), (3, 6, 11)],
    },
    Fault {
        what: "who may read one key can watch all keys behind it (GHSA-xg4h-6gfc-h4m8)",
        authorization: true,
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
    let faults: Vec<&str> = found.iter().map(|fault| fault.what).collect();
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

    /// Which faults a version has, by their places in the table.
    fn faults(version: &str) -> Vec<usize> {
        let version = parse(version).unwrap();
        (0..FAULTS.len()).filter(|&at| has_fault(version, &FAULTS[at])).collect()
    }

    #[test]
    fn each_line_is_mended_from_its_own_release_on() {
        let (all, later, last): (&[usize], &[usize], &[usize]) = (&[0, 1, 2, 3, 4], &[3, 4], &[4]);
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
            assert_eq!(faults(version), expected, "{version}");
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
        assert_eq!(faults("3.8.0-alpha.0"), Vec::<usize>::new());
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
