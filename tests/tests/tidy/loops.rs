//! The loops of the daemon.
//!
//! Owns the rule that a `select!` is `biased`: a choice by chance among what is ready could be replayed by nobody.

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
