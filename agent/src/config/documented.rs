//! The default configuration file, its manual page and the documentation, compared with the keys the code knows: what is
//! documented exists, what exists is documented, and what is said to be the default is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::{CommandFactory as _, Parser as _};

use super::*;

/// A word that is no key.
const NONE: &str = "zzz";

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

fn parse(text: &str) -> Result<file::ConfigFile, FileError> {
    file::ConfigFile::parse(Path::new("muster.toml"), text)
}

/// The keys of a table, in the parser's own words on one that does not exist; `None` if anything goes, or it is no table.
fn keys(table: &str) -> Option<Vec<String>> {
    let problem = parse(&format!("{table}\n{NONE} = 1\n")).err()?.to_string();
    let (_, expected) = problem.split_once(&format!("unknown key `{NONE}`, expected "))?;
    // Every second piece is between the marks.
    Some(expected.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Every key the code knows, those in tables with the table's name and a dot.
fn known() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for key in keys("").unwrap() {
        match keys(&format!("[{key}]")) {
            Some(keys) => known.extend(keys.iter().map(|inner| format!("{key}.{inner}"))),
            None => {
                known.insert(key);
            }
        }
    }
    assert!(known.contains("ttl") && known.contains("reboot.settle"), "{known:?}");
    known
}

/// A line of the default file.
struct OptionLine {
    table: String,
    key: String,
    /// As it reads without the mark of a comment.
    text: String,
    example: bool,
}

impl OptionLine {
    /// The option that it sets, with its table's name.
    fn name(&self) -> String {
        match self.table.as_str() {
            "" => self.key.clone(),
            // Its keys are anybody's.
            "metadata" => "metadata".to_owned(),
            table => format!("{table}.{}", self.key),
        }
    }

    fn value(&self) -> &str {
        self.text.split_once(" = ").unwrap().1
    }
}

/// The options of the default file: `#key = value`. Explanations begin with a blank after the `#`.
fn default_file() -> Vec<OptionLine> {
    let mut table = String::new();
    let mut lines = Vec::new();
    for line in text("packaging/muster.toml").lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']').to_owned();
        } else if let Some(option) = line.strip_prefix('#')
            && option.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            let (text, example) = match option.strip_suffix(" # example") {
                Some(text) => (text, true),
                None => (option, false),
            };
            let key = text.split_once(" = ").unwrap().0.to_owned();
            lines.push(OptionLine { table: table.clone(), key, text: text.to_owned(), example });
        } else {
            assert!(
                line.is_empty() || line == "#" || line.starts_with("# "),
                "neither an option nor an explanation: {line}"
            );
        }
    }
    lines
}

/// Every option of the manual page, and its default where it has one.
fn manual() -> BTreeMap<String, Option<String>> {
    let page = text("packaging/man/muster.toml.5");
    let lines: Vec<&str> = page.lines().collect();
    let tags = lines.windows(2).filter(|pair| [".TP", ".TQ"].contains(&pair[0]));
    tags.map(|pair| {
        let (key, rest) = pair[1].strip_prefix("\\fB").unwrap().split_once("\\fP").unwrap();
        (key.to_owned(), rest.strip_prefix(" = ").map(str::to_owned))
    })
    .collect()
}

/// The first cells of the tables in docs/configuration.md.
fn documentation() -> BTreeSet<String> {
    let page = text("docs/configuration.md");
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |"));
    cells
        .flat_map(|(cell, _)| cell.split(", "))
        .map(|key| key.trim_matches('`').to_owned())
        .collect()
}

fn config(text: &str) -> Config {
    let flags = Flags::try_parse_from(["musterd", "--machine-id", "m1"]).unwrap();
    Config::merge_layers(parse(text).unwrap(), flags).unwrap()
}

#[test]
fn every_key_is_in_the_default_file_once_and_no_other() {
    let lines = default_file();
    let names: BTreeSet<String> = lines.iter().map(OptionLine::name).collect();
    assert_eq!(names, known());
    let keys: BTreeSet<(&str, &str)> = lines.iter().map(|l| (&*l.table, &*l.key)).collect();
    assert_eq!(keys.len(), lines.len(), "a key is there twice");
}

#[test]
fn every_key_is_in_the_manual_page_and_no_other() {
    assert_eq!(manual().into_keys().collect::<BTreeSet<_>>(), known());
}

#[test]
fn every_key_is_in_the_documentation_and_no_other() {
    assert_eq!(documentation(), known());
}

#[test]
fn every_key_has_a_flag_and_a_variable_and_they_have_a_key() {
    let command = Flags::command();
    let given: BTreeSet<(String, String)> = command
        .get_arguments()
        .filter(|flag| {
            !["config", "check_config", "adopt_cluster", "start_last_known", "man"]
                .contains(&flag.get_id().as_str())
        })
        .map(|flag| {
            let variable = flag.get_env().unwrap_or_default().to_string_lossy().into_owned();
            (flag.get_long().unwrap().to_owned(), variable)
        })
        .collect();
    let wanted: BTreeSet<(String, String)> = known()
        .iter()
        .map(|key| {
            let flag = key.replace(['.', '_'], "-");
            (flag, format!("MUSTER_{}", key.replace('.', "_").to_uppercase()))
        })
        .collect();
    assert_eq!(given, wanted);
}

#[test]
fn the_default_file_changes_nothing() {
    assert_eq!(config(&text("packaging/muster.toml")), config(""));
}

/// The text that a Butane file writes to `/etc/muster/muster.toml`.
fn inline(butane: &str) -> String {
    let lines = butane.lines().skip_while(|line| !line.ends_with("path: /etc/muster/muster.toml"));
    let mut lines = lines.skip_while(|line| !line.ends_with("inline: |")).skip(1).peekable();
    let indent = lines.peek().unwrap().find(|c| c != ' ').unwrap();
    let blanks = " ".repeat(indent);
    let inside = lines.take_while(|line| line.trim().is_empty() || line.starts_with(&blanks));
    let inside: Vec<&str> = inside.map(|line| line.get(indent..).unwrap_or_default()).collect();
    inside.join("\n")
}

#[test]
fn the_configuration_of_a_first_boot_is_one() {
    for file in ["packaging/butane/flatcar.yaml", "packaging/butane/fedora-coreos.yaml"] {
        let written = inline(&text(file));
        let listeners = config(&written).http.listeners;
        let [listener] = listeners[..] else { panic!("{file}: {written}") };
        assert_eq!(listener.serves.to_string(), "fleetlock", "{file}: {written}");
        assert_ne!(config(&written), config(""), "{file}");
    }
}

#[test]
fn the_provisioning_script_writes_listeners_that_can_be_read() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../provision/provision-host");
    let provision = |options: &[&str]| {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let mut command = std::process::Command::new("bash");
        command.arg(&script).arg("--root").arg(root.path()).args(options);
        let output = command.output().unwrap();
        let written = std::fs::read_to_string(root.path().join("etc/muster/muster.toml"));
        written.map_err(|_| String::from_utf8(output.stderr).unwrap())
    };
    let listener = ["--http-listener", "127.0.0.1:7118=fleetlock+metrics"];
    let both = ["--http-listener", "[::1]:1=metrics"];
    let written = provision(&[&listener[..], &both[..]].concat()).unwrap();
    let listeners = config(&written).http.listeners;
    let listeners: Vec<String> =
        listeners.iter().map(|l| format!("{} {}", l.address, l.serves)).collect();
    assert_eq!(listeners, ["127.0.0.1:7118 fleetlock, metrics", "[::1]:1 metrics"], "{written}");
    let written = provision(&["--http-listen", "127.0.0.1:7117", "--insecure"]).unwrap();
    assert!(config(&written).http.listeners[0].serves.api, "{written}");
    for options in [
        ["--http-listen", "127.0.0.1:7117"],
        ["--http-listener", "127.0.0.1:7117=metrics+api"],
        ["--http-listener", "127.0.0.1:7117"],
    ] {
        let answer = provision(&options).unwrap_err();
        assert!(answer.starts_with(&format!("provision-host: {}", options[0])), "{answer}");
    }
}

#[test]
fn each_default_is_the_codes_and_the_manual_pages() {
    let manual = manual();
    for line in default_file() {
        let answer = manual.get(&line.name()).unwrap().as_deref();
        if line.example {
            assert_eq!(answer, None, "{}: the manual page has a default", line.name());
            continue;
        }
        assert_eq!(answer, Some(line.value()), "{}: the manual page", line.name());
        let table = match line.table.as_str() {
            "" => String::new(),
            table => format!("[{table}]\n"),
        };
        assert_eq!(config(&format!("{table}{}\n", line.text)), config(""), "{}", line.name());
    }
}

#[test]
fn each_example_can_be_read_and_is_no_default() {
    for line in default_file().iter().filter(|line| line.example) {
        let table = match line.table.as_str() {
            "" => String::new(),
            table => format!("[{table}]\n"),
        };
        let without = format!("{:?}", parse("").unwrap());
        let with = format!("{:?}", parse(&format!("{table}{}\n", line.text)).unwrap());
        assert_ne!(with, without, "{}", line.name());
    }
}

#[test]
fn a_reload_names_options_as_the_file_does() {
    let flags = Flags::try_parse_from(["musterd", "--machine-id", "m1"]).unwrap();
    let config = Config::merge_layers(file::ConfigFile::default(), flags).unwrap();
    let given = config.option_values();
    let known = known();
    let strange: Vec<&str> =
        given.iter().map(|given| given.option).filter(|option| !known.contains(*option)).collect();
    assert!(given.len() > 40 && strange.is_empty(), "{strange:?}");
}
