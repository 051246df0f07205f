//! The loops of the daemon.
//!
//! Owns the rule that a `select!` is `biased`: a choice by chance among what is ready could be replayed by nobody. And the rule
//! that the loops which a simulator runs have their time and their tasks from `muster_runtime`: tokio's would be the machine's.

use quote::ToTokens as _;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

use crate::checkout::assert_none;
use crate::source::{Source, planted, product};

#[test]
fn what_is_ready_is_taken_in_a_fixed_order() {
    let offences = selects_by_chance(&product());
    assert_none(&offences, "begin with `biased;`, what matters most first");
}

fn selects_by_chance(sources: &[Source]) -> Vec<String> {
    let mut offences = Vec::new();
    for source in sources {
        let mut selects = Selects { source, found: Vec::new() };
        selects.visit_file(&source.file);
        offences.extend(selects.found);
    }
    offences
}

struct Selects<'a> {
    source: &'a Source,
    found: Vec<String>,
}

impl Visit<'_> for Selects<'_> {
    fn visit_macro(&mut self, call: &syn::Macro) {
        let Some(name) = call.path.segments.last() else { return };
        let first = call.tokens.clone().into_iter().next().map(|token| token.to_string());
        if name.ident == "select" && first.as_deref() != Some("biased") {
            self.found.push(self.source.place(&name.ident));
        }
        visit::visit_macro(self, call);
    }
}

#[test]
fn selects_by_chance_are_found() {
    let source = "async fn f() {
        tokio::select! { biased; () = a() => {} }
        tokio::select! { () = a() => {} }
        select! { else => {} }
    }";
    let found = selects_by_chance(&planted(&[("lib.rs", source)]));
    assert_eq!(found, ["engine/src/lib.rs:3", "engine/src/lib.rs:4"]);
}

/// The rooms whose loops run in a simulation, too.
const SIMULATED: &[&str] = &[
    "agent/src/cordon.rs",
    "agent/src/daemon/core.rs",
    "agent/src/host/",
    "agent/src/http/",
    "agent/src/leader/",
    "agent/src/machine/",
    "agent/src/net/quota.rs",
    "agent/src/reboot/",
    "agent/src/stdx/timer.rs",
    "agent/src/telemetry/",
    "agent/src/view/",
    "store/src/registry/",
];

/// What would be the machine's.
const OF_THE_MACHINE: &[&str] =
    &["std::thread", "std::time::Instant", "tokio::spawn", "tokio::task", "tokio::time"];

#[test]
fn loops_have_their_time_and_tasks_from_the_runtime() {
    let mut sources = product();
    sources.retain(|source| SIMULATED.iter().any(|room| source.path.starts_with(room)));
    assert!(sources.len() > 60, "only {} sources: are the rooms elsewhere?", sources.len());
    assert_none(&uses_of_machine(&sources), "take `muster_runtime`'s");
}

/// Files in those rooms that are the host's own: they stand on the other side of a seam.
const OF_THE_HOST: &[&str] = &["agent/src/host/", "agent/src/telemetry/logs.rs"];

/// What would be the host's.
const HOST_PATHS: &[&str] = &["std::env", "std::fs", "std::time::SystemTime", "tokio::fs"];

#[test]
fn loops_touch_no_disk_and_no_clock_but_those_they_are_given() {
    let mut sources = product();
    sources.retain(|source| {
        let is_in = |rooms: &[&str]| rooms.iter().any(|room| source.path.starts_with(room));
        is_in(SIMULATED) && !is_in(OF_THE_HOST)
    });
    assert_none(&uses_of(HOST_PATHS, &sources), "have a `Disk` or a `Wall` handed down");
}

fn uses_of_machine(sources: &[Source]) -> Vec<String> {
    uses_of(OF_THE_MACHINE, sources)
}

fn uses_of(words: &[&str], sources: &[Source]) -> Vec<String> {
    let mut offences = Vec::new();
    for source in sources {
        let mut paths = Paths::default();
        paths.visit_file(&source.file);
        for (line, path) in paths.0 {
            let path: String = path.split_whitespace().collect();
            let parts = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
            if words.iter().any(|word| parts(&path).starts_with(&parts(word))) {
                offences.push(format!("{}:{line}: {path}", source.path));
            }
        }
    }
    offences
}

/// The paths that a file names, with their lines.
#[derive(Default)]
struct Paths(Vec<(usize, String)>);

impl Paths {
    fn add_use(&mut self, before: &str, tree: &syn::UseTree) {
        let line = tree.span().start().line;
        match tree {
            syn::UseTree::Path(path) => {
                self.add_use(&format!("{before}{}::", path.ident), &path.tree);
            }
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.add_use(before, tree));
            }
            syn::UseTree::Name(name) => self.0.push((line, format!("{before}{}", name.ident))),
            syn::UseTree::Rename(name) => self.0.push((line, format!("{before}{}", name.ident))),
            syn::UseTree::Glob(_) => self.0.push((line, format!("{before}*"))),
        }
    }

    /// Paths within a macro, which is not parsed: each word that begins one.
    fn add_tokens(&mut self, tokens: proc_macro2::TokenStream) {
        let mut path = (0, String::new());
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Ident(word) => {
                    if !path.1.ends_with("::") {
                        self.0.push(std::mem::take(&mut path));
                        path.0 = word.span().start().line;
                    }
                    path.1.push_str(&word.to_string());
                }
                proc_macro2::TokenTree::Punct(mark) if mark.as_char() == ':' => path.1.push(':'),
                proc_macro2::TokenTree::Group(group) => self.add_tokens(group.stream()),
                _ => path.1.push(' '),
            }
        }
        self.0.push(path);
    }
}

impl Visit<'_> for Paths {
    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        self.add_use("", &item.tree);
    }

    fn visit_path(&mut self, path: &syn::Path) {
        self.0.push((path.span().start().line, path.to_token_stream().to_string()));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        self.add_tokens(call.tokens.clone());
    }
}

#[test]
fn uses_of_the_machines_time_are_found() {
    let source = "use std::time::{Duration, Instant};
        use muster_runtime::{spawn, timeout};
        use tokio::sync::mpsc;
        async fn f() {
            tokio::time::timeout(DAY, b).await;
            tokio::select! { biased; () = a() => {} () = tokio::time::timeout(DAY, b) => { spawn(tokio::task::x()) } }
        }";
    let found = uses_of_machine(&planted(&[("lib.rs", source)]));
    assert_eq!(
        found,
        [
            "engine/src/lib.rs:1: std::time::Instant",
            "engine/src/lib.rs:5: tokio::time::timeout",
            "engine/src/lib.rs:6: tokio::task::x",
            "engine/src/lib.rs:6: tokio::time::timeout",
        ]
    );
}
