//! The table in docs/containers.md is the one in the code.
//!
//! `UPDATE=1 cargo nextest run -p muster-common --test container_docs` rewrites what stands below its heading.

#![allow(
    clippy::unwrap_used,
    reason = "a page that cannot be read is a failure, and a panic tells it"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use muster_common::container::keys::{CONDITION, Section, Support};

const HEADING: &str = "\n## Options\n";

fn row(text: &mut String, names: &[&str], support: Support) {
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
    let line = format!("| {} | {word} | {why} |", names.join(", "));
    writeln!(text, "{}", line.replace("|  |", "| |")).unwrap();
}

fn tables() -> String {
    let mut text = String::new();
    for section in Section::ALL {
        write!(text, "\n### `[{section}]`\n\n| option | | |\n| --- | --- | --- |\n").unwrap();
        for key in section.own_keys() {
            row(&mut text, &[key.name], key.support);
        }
        if section == Section::Unit {
            row(&mut text, &["Condition…", "Assert…"], CONDITION);
        }
        for group in section.key_groups() {
            row(&mut text, group.names, group.support);
        }
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
