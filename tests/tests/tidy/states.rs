//! States of units in the engine.
//!
//! Owns the rule that the engine compares no state as text: a word that is mistyped, or that systemd spells otherwise, is
//! found by nobody. Words that are only said, to the store or to people, are free.

use quote::ToTokens as _;
use syn::visit::{self, Visit};

use crate::checkout::{assert_none, outside_of};
use crate::source::{Source, planted, product};

/// Active, load and the commonest sub states of systemd.
const STATES: [&str; 22] = [
    "active",
    "inactive",
    "failed",
    "activating",
    "deactivating",
    "reloading",
    "refreshing",
    "maintenance",
    "loaded",
    "not-found",
    "bad-setting",
    "masked",
    "merged",
    "stub",
    "running",
    "exited",
    "dead",
    "listening",
    "waiting",
    "elapsed",
    "auto-restart",
    "launched",
];

/// Files that compare states as text.
const NOT_YET: &[&str] = &[];

#[test]
fn the_engine_compares_no_state_as_text() {
    let mut sources = product();
    sources.retain(|source| source.package == "engine");
    assert!(!sources.is_empty());
    assert_none(
        &outside_of(NOT_YET, comparisons(&sources)),
        "a state is a variant of its enum in common; a compiler finds what is missing there",
    );
}

fn comparisons(sources: &[Source]) -> Vec<String> {
    let mut offences = Vec::new();
    for source in sources {
        let mut visitor = Comparisons { source, found: Vec::new() };
        visitor.visit_file(&source.file);
        offences.extend(visitor.found);
    }
    offences
}

struct Comparisons<'a> {
    source: &'a Source,
    found: Vec<String>,
}

impl Comparisons<'_> {
    fn note(&mut self, tokens: proc_macro2::TokenStream) {
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Group(group) => self.note(group.stream()),
                proc_macro2::TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    if STATES.iter().any(|state| text.trim_matches('"') == *state) {
                        let at = literal.span().start().line;
                        self.found.push(format!("{}:{at}: {text}", self.source.path));
                    }
                }
                _ => {}
            }
        }
    }
}

impl Visit<'_> for Comparisons<'_> {
    fn visit_pat(&mut self, pattern: &syn::Pat) {
        if let syn::Pat::Lit(literal) = pattern {
            self.note(literal.to_token_stream());
        }
        visit::visit_pat(self, pattern);
    }

    fn visit_expr_binary(&mut self, binary: &syn::ExprBinary) {
        if matches!(binary.op, syn::BinOp::Eq(_) | syn::BinOp::Ne(_)) {
            for side in [&binary.left, &binary.right] {
                if is_literal(side) {
                    self.note(side.to_token_stream());
                }
            }
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_method_call(&mut self, call: &syn::ExprMethodCall) {
        let compares = ["eq", "ne", "starts_with", "ends_with", "contains", "eq_ignore_ascii_case"];
        if compares.iter().any(|name| call.method == name) {
            self.note(
                call.args
                    .iter()
                    .filter(|a| is_literal(a))
                    .map(syn::Expr::to_token_stream)
                    .collect(),
            );
        }
        visit::visit_expr_method_call(self, call);
    }

    /// A list of states is there to be looked into.
    fn visit_expr_array(&mut self, array: &syn::ExprArray) {
        self.note(
            array.elems.iter().filter(|e| is_literal(e)).map(syn::Expr::to_token_stream).collect(),
        );
        visit::visit_expr_array(self, array);
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        let name = call.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        if name == "matches" || name.starts_with("debug_assert") || name.starts_with("assert") {
            self.note(call.tokens.clone());
        }
    }
}

/// A literal, a reference to one, or one in parentheses.
fn is_literal(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Lit(_) => true,
        syn::Expr::Reference(inner) => is_literal(&inner.expr),
        syn::Expr::Paren(inner) => is_literal(&inner.expr),
        _ => false,
    }
}

#[test]
fn comparisons_are_found() {
    let source = "
        fn f(s: &str, t: Option<&str>) {
            match s { \"active\" | \"odd\" => {} _ => {} }
            if s == \"failed\" || \"inactive\" != s {}
            let _ = matches!(t, Some(\"masked\"));
            let _ = [\"dead\", \"exited\"].contains(&s);
            let Some(\"loaded\") = t else { return };
            let _ = s.eq(\"running\");
            say(\"active\", \"running\"); let said = (\"failed\", \"dead\"); let other = s == \"odd\";
        }";
    let found = comparisons(&planted(&[("lib.rs", source)]));
    let mut lines: Vec<&str> =
        found.iter().filter_map(|o| o.split_once("lib.rs:")).map(|(_, line)| line).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "3: \"active\"",
            "4: \"failed\"",
            "4: \"inactive\"",
            "5: \"masked\"",
            "6: \"dead\"",
            "6: \"exited\"",
            "7: \"loaded\"",
            "8: \"running\"",
        ]
    );
}
