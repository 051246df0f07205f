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

use muster_common::container::keys::{Section, Support};

const HEADING: &str = "\n## Options\n";

fn tables() -> String {
    let mut text = String::new();
    for section in Section::ALL {
        write!(text, "\n### `[{section}]`\n\n| option | | |\n| --- | --- | --- |\n").unwrap();
        for key in section.keys() {
            let (word, why) = match key.support {
                Support::Honoured => ("honoured", ""),
                Support::Emulated(how) => ("emulated", how),
                Support::Noted(why) => ("no effect, with a warning", why),
                Support::Refused(why) => ("refused", why),
            };
            let line = format!("| `{}=` | {word} | {why} |", key.name);
            writeln!(text, "{}", line.replace("|  |", "| |")).unwrap();
        }
        let rest = match section {
            Section::Service => "systemd's other directives",
            Section::Unit => "systemd's other directives, conditions above all",
            _ => continue,
        };
        writeln!(text, "| {rest} | refused | there is no service around a container |").unwrap();
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
