//! Files in, Docker's calls out: every `fixtures/containers/*.{container,volume,network}` beside the JSON expected of it.
//!
//! `UPDATE=1 cargo nextest run -p muster-engine --test container_translation` rewrites the expectations. A `.bad` file has
//! cases that are refused, one a paragraph, each followed by its message.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, and reads its fixtures"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use muster_common::container::keys::{Section, Support};
use muster_common::container::{ContainerSpec, HostFacts, Quadlet, Sensitive, read};
use muster_common::unit::{FileHash, UnitFile, UnitName};
use muster_engine::container::{
    BadEnvironment, ContainerPolicy, Creation, EnvironmentInputs, Identity, MissingUnit,
    assemble_environment, list_needs, plan_fetch, retry_after, translate, translate_network,
    translate_volume, withheld_variables,
};
use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/containers")
}

fn files(kinds: &[&str]) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| kinds.iter().any(|kind| path.extension().is_some_and(|end| end == *kind)))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no fixtures of {kinds:?}");
    files
}

fn unit_of(path: &Path) -> UnitName {
    path.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

fn identity(unit: &UnitName, file: &UnitFile) -> Identity {
    Identity {
        unit: unit.clone(),
        file: file.hash(),
        generation: 7,
        cluster: "/muster/v1/".to_owned(),
    }
}

fn parse(unit: &UnitName, text: &str) -> Result<(UnitFile, Quadlet), String> {
    let file: UnitFile = text.parse().map_err(|error| format!("{error}"))?;
    let host = HostFacts { name: "web3.example.com".to_owned(), ..HostFacts::stand_in() };
    let (quadlet, _) =
        read(unit, &file, &host).map_err(|error| format!("line {}: {error}", error.line))?;
    Ok((file, quadlet))
}

fn spec(unit: &str, text: &str) -> ContainerSpec {
    match parse(&unit.parse().unwrap(), text) {
        Ok((_, Quadlet::Container(spec))) => *spec,
        other => panic!("{other:?}"),
    }
}

/// Names for whatever a container refers to.
fn names(spec: &ContainerSpec) -> BTreeMap<UnitName, String> {
    spec.referenced_units()
        .into_iter()
        .map(|unit| (unit.clone(), format!("real-{}", unit.name_stem().replace('@', "_"))))
        .collect()
}

fn created(unit: &UnitName, text: &str) -> Value {
    let (file, quadlet) = parse(unit, text).unwrap_or_else(|problem| panic!("{unit}: {problem}"));
    let identity = identity(unit, &file);
    match quadlet {
        Quadlet::Volume(spec) => serde_json::to_value(translate_volume(&spec, &identity)).unwrap(),
        Quadlet::Network(spec) => {
            serde_json::to_value(translate_network(&spec, &identity)).unwrap()
        }
        Quadlet::Container(spec) => {
            let Creation { name, body, networks, late } =
                translate(&spec, &identity, &names(&spec)).unwrap();
            let more: BTreeMap<_, _> = networks.into_iter().collect();
            let needed: Vec<_> = list_needs(&spec)
                .iter()
                .map(|need| format!("{}: {}", need.option, need.api))
                .collect();
            // What is late is Rust's to show, values left out.
            json!({
                "name": name, "needs": needed, "create": body, "connect": more,
                "late": format!("{late:?}"),
            })
        }
    }
}

#[test]
fn every_file_becomes_the_call_beside_it() {
    let update = std::env::var_os("UPDATE").is_some();
    for path in files(&["container", "volume", "network"]) {
        let text = fs::read_to_string(&path).unwrap();
        let value = created(&unit_of(&path), &text);
        let got = format!("{}\n", serde_json::to_string_pretty(&value).unwrap());
        let beside = PathBuf::from(format!("{}.json", path.display()));
        if update {
            fs::write(&beside, got).unwrap();
        } else {
            let expected = fs::read_to_string(&beside).unwrap_or_default();
            assert_eq!(got, expected, "{}: UPDATE=1 rewrites it", path.display());
        }
    }
}

#[test]
fn every_option_that_is_taken_is_in_some_file() {
    let mut seen = BTreeSet::new();
    for path in files(&["container", "volume", "network"]) {
        let file: UnitFile = fs::read_to_string(&path).unwrap().parse().unwrap();
        seen.extend(
            file.options().iter().map(|option| (option.section.clone(), option.name.clone())),
        );
    }
    for section in Section::ALL {
        for key in section.own_keys() {
            let taken = !matches!(key.support, Support::Refused(_) | Support::Only(..));
            let is_there = seen.contains(&(section.to_string(), key.name.to_owned()));
            assert!(!taken || is_there, "[{section}] {}: {}", key.name, key.support);
        }
    }
}

/// Everything that is decided for a container, whatever the hash of its file.
fn decided(unit: &UnitName, text: &str) -> Result<String, String> {
    let (_, quadlet) = parse(unit, text)?;
    let identity = Identity {
        unit: unit.clone(),
        file: FileHash::of_text(""),
        generation: 7,
        cluster: "/muster/v1/".to_owned(),
    };
    let Quadlet::Container(spec) = quadlet else { return Err("no container".to_owned()) };
    let creation = translate(&spec, &identity, &names(&spec)).unwrap();
    let fetches = [plan_fetch(&spec, true), plan_fetch(&spec, false)];
    let pauses: Vec<_> = (1..9).map(|failed| retry_after(&spec, failed)).collect();
    Ok(format!("{creation:?} {:?} {fetches:?} {pauses:?}", ContainerPolicy::from_spec(&spec)))
}

/// An option that is honoured or emulated is never dropped on the way: without it something else is decided.
#[test]
fn every_option_that_is_taken_makes_a_difference() {
    let unit: UnitName = "all@1.container".parse().unwrap();
    let text = fs::read_to_string(fixtures().join(unit.as_str())).unwrap();
    let whole = decided(&unit, &text).unwrap();
    // Those whose one good value is what happens anyway, those the cluster and not the engine looks at, and those that
    // another in the same file outdoes, which is told beside each.
    let same = [
        ("Container", "CgroupsMode"),
        ("Container", "ReadOnlyTmpfs"),
        ("Container", "SecurityLabelDisable"),
        ("Service", "KillMode"),
        ("Service", "Type"),
        ("Service", "RemainAfterExit"),
        ("Unit", "Description"),
        ("Unit", "Documentation"),
        ("Unit", "StartLimitAction"),
        ("Install", "RequiredBy"),
        ("Install", "UpheldBy"),
        ("Install", "WantedBy"),
        ("Quadlet", "DefaultDependencies"),
        // ReadOnly= leaves /tmp to ReadOnlyTmpfs=, and Tmpfs= says more of it.
        ("Container", "VolatileTmp"),
        // StartLimitIntervalSec= and StartLimitBurst= of [Unit] come later, as do TimeoutStartSec= and TimeoutStopSec=.
        ("Unit", "StartLimitInterval"),
        ("Service", "StartLimitInterval"),
        ("Service", "StartLimitBurst"),
        ("Service", "TimeoutSec"),
    ];
    let file: UnitFile = text.parse().unwrap();
    let mut options: Vec<(String, String)> =
        file.options().iter().map(|o| (o.section.clone(), o.name.clone())).collect();
    options.sort();
    options.dedup();
    let mut dropped = Vec::new();
    for (section, name) in options {
        let taken = Section::ALL.into_iter().find(|s| s.to_string() == section).is_some_and(|s| {
            s.own_keys().iter().any(|key| {
                key.name == name && matches!(key.support, Support::Honoured | Support::Emulated(_))
            })
        });
        let rest: Vec<_> = file
            .options()
            .iter()
            .filter(|o| (&o.section, &o.name) != (&section, &name))
            .map(|o| format!("[{}]\n{}={}\n", o.section, o.name, o.value))
            .collect();
        // Without some of them the file is refused, which is a difference.
        let without = decided(&unit, &rest.concat());
        if taken && without.as_ref() == Ok(&whole) {
            dropped.push((section, name));
        }
    }
    let dropped: Vec<(&str, &str)> =
        dropped.iter().map(|(s, n)| (s.as_str(), n.as_str())).collect();
    let mut same = same.to_vec();
    same.sort_unstable();
    assert_eq!(dropped, same);
}

#[test]
fn what_is_refused_says_why() {
    for path in files(&["bad"]) {
        let text = fs::read_to_string(&path).unwrap();
        let unit: UnitName = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let mut cases = 0;
        for case in text.split("\n\n").map(str::trim).filter(|case| !case.is_empty()) {
            let (lines, expected) =
                case.rsplit_once("\n! ").unwrap_or_else(|| panic!("no ! in {case}"));
            let got = parse(&unit, lines).err().unwrap_or_else(|| "it is taken".to_owned());
            assert_eq!(got, expected, "{case}");
            cases += 1;
        }
        assert!(cases > 3, "{}", path.display());
    }
}

#[test]
fn whose_it_is_cannot_be_forged() {
    let unit: UnitName = "web.container".parse().unwrap();
    let text = "[Container]\nImage=a\nLabel=muster.unit=other.container muster.generation=99\n";
    let labels = created(&unit, text)["create"]["Labels"].clone();
    assert_eq!(labels["muster.unit"], "web.container");
    assert_eq!(labels["muster.generation"], "7");
}

fn host_config(lines: &str) -> Value {
    let unit = "web.container".parse().unwrap();
    let created = created(&unit, &format!("[Container]\nImage=a\n{lines}\n"));
    created.pointer("/create/HostConfig").cloned().unwrap()
}

/// Docker's default capabilities are Podman's and three more, to which a file says nothing.
#[test]
fn capabilities_are_added_to_and_taken_from_podmans() {
    let drops = |lines: &str| host_config(lines)["CapDrop"].clone();
    assert_eq!(drops(""), json!(["CAP_AUDIT_WRITE", "CAP_MKNOD", "CAP_NET_RAW"]));
    assert_eq!(drops("AddCapability=net_raw"), json!(["CAP_AUDIT_WRITE", "CAP_MKNOD"]));
    assert_eq!(
        drops("DropCapability=CHOWN MKNOD"),
        json!(["CAP_CHOWN", "CAP_MKNOD", "CAP_AUDIT_WRITE", "CAP_NET_RAW"])
    );
    assert_eq!(drops("DropCapability=all\nAddCapability=MKNOD"), json!(["ALL"]));
    assert_eq!(drops("AddCapability=all"), Value::Null);
    assert_eq!(drops("PodmanArgs=--privileged"), Value::Null);
}

/// Docker mounts a tmpfs `noexec` where nothing is said, and Podman does not.
#[test]
fn what_is_on_a_tmpfs_can_be_run_unless_the_file_says_no() {
    let lines = "Tmpfs=/a\nTmpfs=/b:size=64M\nTmpfs=/c:rw,noexec\nMount=type=tmpfs,dst=/d,tmpfs-size=1k,tmpfs-mode=0700\n\
                 Mount=type=tmpfs,dst=/e,noexec,ro\nReadOnly=yes";
    assert_eq!(
        host_config(lines)["Tmpfs"],
        json!({
            "/a": "exec", "/b": "size=64M,exec", "/c": "rw,noexec", "/d": "rw,size=1024,mode=700,exec",
            "/e": "noexec,ro", "/run": "rw,exec", "/tmp": "rw,exec", "/var/tmp": "rw,exec",
        })
    );
    let spec = spec(
        "web.container",
        "[Container]\nImage=a\nTmpfs=/a\nTmpfs=/b:notmpcopyup\nMount=type=tmpfs,dst=/c\nMount=type=tmpfs,dst=/d,notmpcopyup\n",
    );
    let identity = identity(&"web.container".parse().unwrap(), &"".parse().unwrap());
    assert_eq!(translate(&spec, &identity, &BTreeMap::new()).unwrap().late.copies, ["/a", "/c"]);
}

#[test]
fn a_unit_that_is_not_known_is_named() {
    let unit: UnitName = "web.container".parse().unwrap();
    let (file, Quadlet::Container(spec)) =
        parse(&unit, "[Container]\nImage=a\nVolume=db.volume:/d\n").unwrap()
    else {
        panic!("no container");
    };
    let missing = MissingUnit("db.volume".parse().unwrap());
    assert_eq!(missing.to_string(), "db.volume is named and not known");
    assert_eq!(translate(&spec, &identity(&unit, &file), &BTreeMap::new()), Err(missing));
}

fn known() -> EnvironmentInputs {
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Sensitive::new(*value))).collect()
    };
    EnvironmentInputs {
        host: map(&[
            ("HTTPS_PROXY", "http://proxy"),
            ("HOME", "/root"),
            ("TERM", "dumb"),
            ("MUSTER_ETCD_PASSWORD", "hunter3"),
            ("NOTIFY_SOCKET", "/run/notify"),
            ("CREDENTIALS_DIRECTORY", "/run/credentials"),
            ("LISTEN_FDS", "1"),
            ("INVOCATION_ID", "abc"),
        ]),
        files: map(&[
            ("/etc/own.env", "MUSTER_ETCD_PASSWORD\nHOME\nNOTIFY_SOCKET=mine\n"),
            ("/etc/a.env", "# first\nA=1\n  B=two words # no comment\n\nTERM\nNONE\n"),
            ("/etc/b.env", "A=2\n"),
            ("/etc/star.env", "HTTP*\nMUSTER_*\n"),
        ]),
        secrets: map(&[("token", "hunter2")]),
    }
}

fn environment(lines: &str) -> Result<Vec<String>, BadEnvironment> {
    let spec = spec("web.container", &format!("[Container]\nImage=a\n{lines}\n"));
    let variables = assemble_environment(&spec.environment, &spec.secrets, &known())?;
    assert!(!format!("{variables:?}").contains("hunter2"));
    Ok(variables
        .iter()
        .map(|variable| serde_json::to_value(variable).unwrap().as_str().unwrap().to_owned())
        .collect())
}

#[test]
fn an_environment_is_put_together_on_the_machine() {
    assert_eq!(
        environment("EnvironmentFile=/etc/a.env /etc/b.env\nEnvironment=C=3 'A=x y' HOME MISSING"),
        Ok(vec![
            "A=x y".to_owned(),
            "B=two words # no comment".to_owned(),
            "C=3".to_owned(),
            "HOME=/root".to_owned(),
            "TERM=dumb".to_owned()
        ])
    );
    assert_eq!(environment("HttpProxy=true"), Ok(vec!["HTTPS_PROXY=http://proxy".to_owned()]));
    // With Podman it is the podman command's environment that goes on: what [Service] sets.
    let service = "\n[Service]\nEnvironment=http_proxy=a B=1";
    let of_service = |lines: &str| environment(&format!("{lines}{service}"));
    assert_eq!(of_service(""), Ok(vec!["http_proxy=a".to_owned()]));
    assert_eq!(of_service("Environment=http_proxy=b"), Ok(vec!["http_proxy=b".to_owned()]));
    assert_eq!(of_service("HttpProxy=false"), Ok(Vec::new()));
    let all = of_service("EnvironmentHost=true").unwrap();
    assert!(all.contains(&"B=1".to_owned()) && all.contains(&"HOME=/root".to_owned()), "{all:?}");
    // A star in a file asks for all that begin so, but for what is the daemon's own.
    assert_eq!(
        environment("EnvironmentFile=/etc/star.env"),
        Ok(vec!["HTTPS_PROXY=http://proxy".to_owned()])
    );
    assert_eq!(
        environment("Environment=T=1\nSecret=token,type=env,target=T"),
        Ok(vec!["T=hunter2".to_owned()])
    );
}

#[test]
fn what_is_the_daemons_own_reaches_no_container() {
    let host = ["HOME=/root", "HTTPS_PROXY=http://proxy", "TERM=dumb"].map(str::to_owned).to_vec();
    assert_eq!(environment("EnvironmentHost=yes"), Ok(host));
    let asked = "Environment=HOME MUSTER_ETCD_PASSWORD NOTIFY_SOCKET INVOCATION_ID LISTEN_FDS";
    assert_eq!(environment(asked), Ok(vec!["HOME=/root".to_owned()]));
    // What a file says itself is its own to say.
    let both = "EnvironmentFile=/etc/own.env\nEnvironment=CREDENTIALS_DIRECTORY=/mine";
    let given = ["CREDENTIALS_DIRECTORY=/mine", "HOME=/root", "NOTIFY_SOCKET=mine"];
    assert_eq!(environment(both), Ok(given.map(str::to_owned).to_vec()));
    let names = |lines: &str| {
        let spec = spec("web.container", &format!("[Container]\nImage=a\n{lines}\n"));
        withheld_variables(&spec.environment, &known()).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(names("EnvironmentFile=/etc/own.env"), ["MUSTER_ETCD_PASSWORD"]);
    assert_eq!(names("Environment=NOTIFY_SOCKET HOME WATCHDOG_USEC"), ["NOTIFY_SOCKET"]);
    assert_eq!(names("EnvironmentHost=yes"), [""; 0]);
}

#[test]
fn a_file_of_variables_may_be_missing_if_it_says_so() {
    assert_eq!(
        environment("EnvironmentFile=-/etc/none\nEnvironmentFile=-/etc/b.env"),
        Ok(vec!["A=2".to_owned()])
    );
}

#[test]
fn what_the_machine_does_not_have_is_named() {
    let refused = |lines| environment(lines).unwrap_err().to_string();
    assert_eq!(
        refused("EnvironmentFile=/etc/none"),
        "EnvironmentFile=/etc/none: this machine does not have it"
    );
    assert_eq!(refused("Secret=none,type=env"), "Secret=none: this machine does not have it");
    let spec = spec("web.container", "[Container]\nImage=a\nEnvironmentFile=/e\n");
    let bad = |text: &str| {
        let files = BTreeMap::from([("/e".to_owned(), Sensitive::new(text))]);
        assemble_environment(
            &spec.environment,
            &[],
            &EnvironmentInputs { files, ..EnvironmentInputs::default() },
        )
        .unwrap_err()
        .to_string()
    };
    assert_eq!(bad("A=1\nsecret word\n"), "/e: line 2: it is neither NAME=value nor NAME");
    assert_eq!(bad("A=\0"), "A has a NUL in its value");
}
