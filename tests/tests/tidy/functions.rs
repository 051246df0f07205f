//! The names of functions.
//!
//! Owns two rules of `docs/STYLE.md`: what leaves its module has two words unless its one word is everybody's, and at most
//! half of all functions have one word. Functions that implement a trait have its names and are not counted.

use syn::visit::{self, Visit};

use crate::checkout::{assert_none, outside_of};
use crate::source::{Source, planted, product};
use crate::vocabulary::is_standard;

/// Areas that have riddles left.
const NOT_YET: &[&str] = &[];

/// Most functions of one word, in per cent of all.
const MOST_OF_ONE_WORD: usize = 50;

#[test]
fn what_leaves_its_module_says_what_it_does() {
    assert_none(
        &outside_of(NOT_YET, riddles(&product())),
        "a name is what a stranger greps for: two words, or one from the vocabulary in docs/STYLE.md",
    );
}

#[test]
fn most_functions_have_names_of_two_words() {
    let functions: Vec<Function> = product().iter().flat_map(functions).collect();
    let short = functions.iter().filter(|function| function.has_one_word()).count();
    let most = functions.len() * MOST_OF_ONE_WORD / 100;
    assert!(short <= most, "{short} of {} functions have one word, {most} may", functions.len());
}

struct Function {
    name: String,
    place: String,
    leaves: bool,
}

impl Function {
    fn has_one_word(&self) -> bool {
        !self.name.trim_matches('_').contains('_')
    }
}

fn riddles(sources: &[Source]) -> Vec<String> {
    let all = sources.iter().flat_map(functions);
    let riddles = all.filter(|function| {
        function.leaves && function.has_one_word() && !is_standard(&function.name)
    });
    riddles.map(|function| format!("{}: fn {}", function.place, function.name)).collect()
}

fn functions(source: &Source) -> Vec<Function> {
    let mut found = Functions { source, functions: Vec::new() };
    found.visit_file(&source.file);
    found.functions
}

struct Functions<'a> {
    source: &'a Source,
    functions: Vec<Function>,
}

impl Functions<'_> {
    fn note(&mut self, ident: &syn::Ident, leaves: bool) {
        let name = ident.to_string().trim_start_matches("r#").to_owned();
        self.functions.push(Function { name, place: self.source.place(ident), leaves });
    }
}

fn leaves(visibility: &syn::Visibility) -> bool {
    !matches!(visibility, syn::Visibility::Inherited)
}

impl Visit<'_> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &syn::ItemFn) {
        self.note(&function.sig.ident, leaves(&function.vis));
        visit::visit_item_fn(self, function);
    }

    fn visit_item_impl(&mut self, block: &syn::ItemImpl) {
        for item in &block.items {
            let syn::ImplItem::Fn(function) = item else { continue };
            if block.trait_.is_none() {
                self.note(&function.sig.ident, leaves(&function.vis));
            }
        }
        visit::visit_item_impl(self, block);
    }

    fn visit_trait_item_fn(&mut self, function: &syn::TraitItemFn) {
        self.note(&function.sig.ident, true);
        visit::visit_trait_item_fn(self, function);
    }
}

#[test]
fn riddles_are_found() {
    let source = "
        pub fn told() {} pub(crate) fn read_file() {} pub(super) fn run() {} fn private() {}
        trait Runner { fn look(&self); fn start(&self); }
        impl Runner for Systemd { fn look(&self) {} fn start(&self) {} }
        impl Systemd { pub fn take(&self) {} fn keep(&self) {} pub fn r#in(&self) {} }
        mod inner { pub(super) fn came() {} }
        #[cfg(test)] mod tests { pub fn sample() {} }
        #[cfg(test)] pub fn fixture() {}";
    let sources = planted(&[("lib.rs", source)]);
    let names: Vec<String> = riddles(&sources)
        .iter()
        .map(|riddle| riddle.rsplit(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["told", "look", "take", "in", "came"]);
    assert_eq!(riddles(&sources).first().unwrap(), "engine/src/lib.rs:2: fn told");
    let all: Vec<Function> = sources.iter().flat_map(functions).collect();
    assert_eq!((all.len(), all.iter().filter(|f| f.has_one_word()).count()), (10, 9));
}
