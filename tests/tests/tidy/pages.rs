//! Paths in the pages for those who work on Muster.
//!
//! Owns the rule that they exist: files and directories, links, and modules in the notation of Rust (`engine::schedule`).

use std::collections::BTreeSet;

use crate::checkout::{self, assert_none, outside_of};
use crate::modules::Modules;
use crate::source::{CRATES, Source, planted, product};

/// The pages, from the top of the checkout.
const PAGES: [&str; 3] = ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/STYLE.md"];

/// Pages that name what is not there.
const NOT_YET: &[&str] = &[];

#[test]
fn paths_in_the_pages_exist() {
    let known = known_paths(&checkout::tracked_paths());
    let sources = product();
    let files = checkout::text_files();
    let mut offences = Vec::new();
    for page in PAGES {
        let text = files.get(page).unwrap_or_else(|| panic!("{page} is not there"));
        let found = missing(text, page, &known, &sources);
        offences.extend(found.into_iter().map(|path| format!("{page}: {path}")));
    }
    assert_none(
        &outside_of(NOT_YET, offences),
        "a page that sends its reader to a file that has moved is worse than none",
    );
}

/// Files and the directories above them.
fn known_paths(tracked: &[String]) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for path in tracked {
        known.insert(path.clone());
        known
            .extend(path.match_indices('/').filter_map(|(at, _)| path.get(..at)).map(String::from));
    }
    known
}

fn missing(text: &str, page: &str, known: &BTreeSet<String>, sources: &[Source]) -> Vec<String> {
    let mut missing = Vec::new();
    for code in code_spans(text) {
        if let Some(path) = rust_path(&code) {
            if !resolves(sources, &path) {
                missing.push(code);
            }
        } else if is_path(&code, known) {
            let all = expand(code.trim_end_matches('/'));
            missing.extend(all.into_iter().filter(|path| !known.contains(path)));
        }
    }
    let above = page.rsplit_once('/').map_or("", |(above, _)| above);
    for link in links(text) {
        let link = link.split('#').next().unwrap_or_default();
        if link.is_empty() || link.contains("://") {
            continue;
        }
        let path = match link.strip_prefix("../") {
            Some(rest) => rest.to_owned(),
            None if above.is_empty() => link.to_owned(),
            None => format!("{above}/{link}"),
        };
        if !known.contains(path.trim_end_matches('/')) {
            missing.push(link.to_owned());
        }
    }
    missing
}

/// Text between single backticks, outside of blocks of code.
fn code_spans(text: &str) -> Vec<String> {
    let mut spans = Vec::new();
    for (at, part) in text.split("```").enumerate() {
        if at % 2 == 0 {
            spans.extend(part.split('`').skip(1).step_by(2).map(ToOwned::to_owned));
        } else if !part.starts_with("rust") {
            // Pictures name files, too; words that end in a file's kind are meant as such.
            let words = part.split(|c: char| c.is_whitespace() || ",;()│─".contains(c));
            spans.extend(words.filter(|word| checkout::is_rust(word)).map(ToOwned::to_owned));
        }
    }
    spans
}

fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// Whether it means a file or a directory of the checkout: it begins with one at its top, or names a source with a directory.
fn is_path(code: &str, known: &BTreeSet<String>) -> bool {
    let Some((top, _)) = code.split_once('/') else { return false };
    !code.contains(|c: char| c.is_whitespace() || "<>*:$=\"…".contains(c))
        && (known.contains(top) || checkout::is_rust(code))
}

/// `a/{b,c}/d` is two paths.
fn expand(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let Some((inner, after)) = rest.split_once('}') else { return vec![path.to_owned()] };
    inner.split(',').flat_map(|one| expand(&format!("{before}{}{after}", one.trim()))).collect()
}

/// A path in the notation of Rust that begins with one of our crates.
fn rust_path(code: &str) -> Option<Vec<String>> {
    let code = code.trim_end_matches("()");
    let parts: Vec<String> = code.split("::").map(ToOwned::to_owned).collect();
    let is_word =
        |part: &String| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    let is_ours = parts.first().is_some_and(|first| CRATES.contains(&first.as_str()));
    (parts.len() > 1 && is_ours && parts.iter().all(is_word)).then_some(parts)
}

fn resolves(sources: &[Source], path: &[String]) -> bool {
    let Some((package, rest)) = path.split_first() else { return false };
    let roots: BTreeSet<&String> =
        sources.iter().filter(|s| s.package == *package).map(|s| &s.root).collect();
    roots.into_iter().any(|root| {
        let sources: Vec<&Source> = sources.iter().filter(|s| s.root == *root).collect();
        Modules::read(&sources).resolve_absolute(rest).is_some()
    })
}

#[test]
fn paths_that_are_not_there_are_found() {
    let tracked = ["agent/src/net/gate.rs", "agent/src/net/limits.rs", "docs/a.md", "README.md"];
    let known = known_paths(&tracked.map(String::from));
    let sources = planted(&[("lib.rs", "pub mod plan;"), ("plan.rs", "pub struct Plan;")]);
    let text = "`agent/src/net/{gate,limits,quota}.rs`, `agent/src/`, `agent/src/gone/`, `gone/x.rs`, \
        `place/<machine>/<unit>`, `place/MACHINE`, `engine::plan::Plan`, `engine::plan`, `engine::gone`, \
        `Plan::new`, [a](a.md), [b](b.md), [c](../README.md#top), [d](https://example.org/x), `/etc/muster/x`
        \n```\n file ──► agent/src/net/wall.rs │ agent/src/net/gate.rs\n```\n";
    assert_eq!(
        missing(text, "docs/STYLE.md", &known, &sources),
        [
            "agent/src/net/quota.rs",
            "agent/src/gone",
            "gone/x.rs",
            "engine::gone",
            "agent/src/net/wall.rs",
            "b.md",
        ]
    );
}
