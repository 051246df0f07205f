//! The table in docs/containers.md is the one in the code.
//!
//! `UPDATE=1 cargo nextest run -p muster-common --test container_docs` rewrites what stands below its heading.

#![allow(
    clippy::unwrap_used,
    reason = "a page that cannot be read is a failure, and a panic tells it"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use muster_common::container::keys::{CONDITION, Section, Support};
use muster_common::unit::UnitFile;

const HEADING: &str = "\n## Options\n";

/// What stands between the heading and the tables.
const LEGEND: &str = "
With Podman every key means what podman-systemd.unit(5) of the machine's Podman says, and every directive what systemd says; \"yes\" is Podman 5.4, which
Debian 13 has, and which does not know the keys that are newer. What Docker does is in the second and third column.
";

/// Keys that Podman 5.4 does not know: `tests/corpus/quadlet` has every one that it does.
const NEWER: [&str; 9] = [
    "AppArmor",
    "HttpProxy",
    "InterfaceName",
    "Memory",
    "NetworkDeleteOnStop",
    "ReloadCmd",
    "ReloadSignal",
    "Retry",
    "RetryDelay",
];

/// The sections that only Podman has, by the types of their files.
const PODMANS: [(&str, &str); 4] =
    [("build", "Build"), ("image", "Image"), ("kube", "Kube"), ("pod", "Pod")];

/// The answer of Podman's to options of a section.
fn podman_word(section: Section, names: &[&str]) -> &'static str {
    match section {
        Section::Service | Section::Unit | Section::Install => "systemd's",
        _ if names.iter().any(|name| NEWER.contains(name)) => "newer than 5.4",
        _ => "yes",
    }
}

/// The keys of a section in the files of a type in the corpus of Quadlet's.
fn corpus_keys(extension: &str, section: &str) -> BTreeSet<String> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/quadlet/files");
    let mut keys = BTreeSet::new();
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|found| found == extension) {
            let file: UnitFile = fs::read_to_string(path).unwrap().parse().unwrap();
            let options = file.options().iter().filter(|option| option.section == section);
            keys.extend(options.map(|option| format!("`{}=`", option.name)));
        }
    }
    keys
}

fn row(text: &mut String, section: Section, names: &[&str], support: Support) {
    let podman = podman_word(section, names);
    let names: Vec<_> = names.iter().map(|name| format!("`{name}=`")).collect();
    let (word, why) = match support {
        Support::Honoured => ("honoured".to_owned(), ""),
        Support::Emulated(how) => ("emulated".to_owned(), how),
        Support::Noted(why) => ("no effect, with a warning".to_owned(), why),
        Support::Refused(why) => ("refused".to_owned(), why),
        Support::Only(values, why) => {
            (format!("`{}`; refused otherwise", values.first().unwrap()), why)
        }
    };
    let line = format!("| {} | {word} | {why} | {podman} |", names.join(", "));
    writeln!(text, "{}", line.replace("|  |", "| |")).unwrap();
}

fn tables() -> String {
    let mut text = LEGEND.to_owned();
    for section in Section::ALL {
        let columns = "| option | Docker | | Podman |\n| --- | --- | --- | --- |\n";
        write!(text, "\n### `[{section}]`\n\n{columns}").unwrap();
        for key in section.own_keys() {
            row(&mut text, section, &[key.name], key.support);
        }
        if section == Section::Unit {
            row(&mut text, section, &["Condition…", "Assert…"], CONDITION);
        }
        for group in section.key_groups() {
            row(&mut text, section, group.names, group.support);
        }
    }
    text.push_str("\n### With Podman only\n\n| section | keys of Podman 5.4 |\n| --- | --- |\n");
    for (extension, section) in PODMANS {
        let keys: Vec<String> = corpus_keys(extension, section).into_iter().collect();
        writeln!(text, "| `[{section}]` | {} |", keys.join(", ")).unwrap();
    }
    text
}

#[test]
fn the_page_shows_every_option_as_the_code_has_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/containers.md");
    let page = fs::read_to_string(&path).unwrap();
    let (prose, shown) = page.split_once(HEADING).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{prose}{HEADING}{}", tables())).unwrap();
    } else {
        assert_eq!(shown, tables(), "UPDATE=1 rewrites it");
    }
}
