//! Imports between the files of a crate.
//!
//! Owns the rule that they run in one direction. A file imports another when it names something that is *defined* there, in a
//! `use` or by a path, in code that is not for tests. Looked through is a parent that declares its children and hands their
//! items on; one that defines what its children need, and needs them in turn, is in a circle with them. A name of a module
//! alone is no import, nor is a re-export whose name its file does not use itself. Not seen: methods, what macros make,
//! and paths in attributes' strings.

use std::collections::{BTreeMap, BTreeSet};

use quote::ToTokens as _;

use crate::checkout::{assert_none, outside_of};
use crate::modules::{Modules, Target};
use crate::source::{Source, planted, product};

/// Areas that have circles left.
const NOT_YET: &[&str] = &[];

#[test]
fn files_import_each_other_in_one_direction() {
    assert_none(
        &outside_of(NOT_YET, circles(&product())),
        "files that need each other are one; what both need goes into a third",
    );
}

/// By importing file: the imported ones, with the names that are taken from each.
type Arrows<'a> = BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<String>>>;

/// Each circle in some lines: the files, then the arrows between them.
fn circles(sources: &[Source]) -> Vec<String> {
    let mut crates: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
    for source in sources {
        crates.entry(&source.root).or_default().push(source);
    }
    let mut circles = Vec::new();
    for sources in crates.values() {
        let arrows = arrows(&Modules::read(sources));
        let mut seen = BTreeSet::new();
        for from in arrows.keys() {
            let circle: BTreeSet<&str> = reachable(&arrows, from)
                .into_iter()
                .filter(|other| reachable(&arrows, other).contains(from))
                .collect();
            if circle.is_empty() || !seen.insert(circle.clone()) {
                continue;
            }
            circles.push(described(&arrows, &circle));
        }
    }
    circles
}

fn described(arrows: &Arrows<'_>, circle: &BTreeSet<&str>) -> String {
    let mut text = circle.iter().copied().collect::<Vec<_>>().join(", ");
    for from in circle {
        for (to, names) in arrows.get(from).into_iter().flatten() {
            if circle.contains(to) {
                let names = names.iter().cloned().collect::<Vec<_>>().join(", ");
                text.extend(["\n      ", from, " -> ", to, ": ", &names]);
            }
        }
    }
    text
}

/// The files that a file leads to, itself only if it is in a circle.
fn reachable<'a>(arrows: &Arrows<'a>, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&str> =
        arrows.get(from).into_iter().flat_map(BTreeMap::keys).copied().collect();
    while let Some(file) = next.pop() {
        if found.insert(file) {
            next.extend(arrows.get(file).into_iter().flat_map(BTreeMap::keys));
        }
    }
    found
}

fn arrows<'a>(modules: &Modules<'a>) -> Arrows<'a> {
    let mut arrows = Arrows::new();
    for (path, module) in modules.iter() {
        let paths: Vec<Vec<String>> =
            module.bodies.iter().flat_map(|item| paths_in(item.to_token_stream())).collect();
        let used: BTreeSet<&String> = paths.iter().filter_map(|path| path.first()).collect();
        let mut draw = |written: &[String]| {
            let Some(Target::Item(to)) = modules.resolve(path, written) else { return };
            if to != module.path {
                let names = arrows.entry(module.path).or_default().entry(to).or_default();
                names.insert(written.last().cloned().unwrap_or_default());
            }
        };
        for import in &module.imports {
            let Some(name) = &import.name else { continue };
            if !import.is_public || used.contains(name) {
                draw(&import.path);
            }
        }
        for written in &paths {
            // A single word may be anything; it is a name of another file only if a `use … *` brings it here.
            let is_local = module.items.contains(written.first().map_or("", String::as_str));
            let globs = module.imports.iter().any(|import| import.name.is_none());
            if written.len() > 1 || (globs && !is_local) {
                draw(written);
            }
        }
    }
    arrows
}

/// Everything like `a::b::c` in a piece of code, in macros as well.
fn paths_in(tokens: proc_macro2::TokenStream) -> Vec<Vec<String>> {
    use proc_macro2::TokenTree;
    let mut paths = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                if colons != 2 {
                    paths.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                }
                path.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
            other => {
                paths.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                colons = 0;
                if let TokenTree::Group(group) = other {
                    paths.extend(paths_in(group.stream()));
                }
            }
        }
    }
    paths.extend((!path.is_empty()).then_some(path));
    paths
}

#[test]
fn a_circle_is_found_whichever_way_it_is_written() {
    let ways = [
        "use crate::b::Second;",
        "use super::b::{Second, Third};",
        "use crate::b; fn f(_: b::Second) {}",
        "fn f() -> crate::b::Second { todo!() }",
        "fn f() { use super::b::{Second}; }",
        "fn f() { println!(\"{:?}\", crate::b::Second); }",
        "use crate::Second;",
        "use crate::b::*; fn f(_: Second) {}",
        "mod inner { use super::super::b::Second; }",
    ];
    for way in ways {
        let first = format!("pub struct First; {way}");
        let sources = planted(&[
            ("lib.rs", "mod a; mod b; pub use b::Second;"),
            ("a.rs", &first),
            ("b.rs", "pub struct Second; pub struct Third; use crate::a::First;"),
        ]);
        let found = circles(&sources);
        assert_eq!(found.len(), 1, "{way}: {found:?}");
        let circle = found.first().unwrap();
        assert!(circle.starts_with("engine/src/a.rs, engine/src/b.rs\n"), "{way}: {circle}");
        assert!(circle.contains("engine/src/b.rs -> engine/src/a.rs: First"), "{way}: {circle}");
    }
}

#[test]
fn a_parent_that_defines_what_its_children_need_is_in_a_circle_with_them() {
    let child = ("plan/step.rs", "use super::Plan; pub fn step(_: Plan) {}");
    let parent = "mod step; pub struct Plan; pub fn run(plan: Plan) { step::step(plan) }";
    let found = circles(&planted(&[("lib.rs", "mod plan;"), ("plan/mod.rs", parent), child]));
    assert_eq!(
        found,
        ["engine/src/plan/mod.rs, engine/src/plan/step.rs\
          \n      engine/src/plan/mod.rs -> engine/src/plan/step.rs: step\
          \n      engine/src/plan/step.rs -> engine/src/plan/mod.rs: Plan"]
    );
}

#[test]
fn a_parent_that_only_hands_on_is_looked_through() {
    let sources = planted(&[
        ("lib.rs", "mod plan; pub use plan::{Plan, step};"),
        ("plan/mod.rs", "mod data; mod step; pub use data::*; pub use step::step;"),
        ("plan/data.rs", "pub struct Plan;"),
        ("plan/step.rs", "use super::Plan; use crate::plan; pub fn step(_: Plan) {}"),
    ]);
    assert_eq!(circles(&sources), [""; 0]);
}

#[test]
fn tests_may_import_what_they_test() {
    let sources = planted(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub struct First; #[cfg(test)] mod tests { use crate::b::Second; }"),
        ("b.rs", "pub struct Second(crate::a::First);"),
    ]);
    assert_eq!(circles(&sources), [""; 0]);
}
