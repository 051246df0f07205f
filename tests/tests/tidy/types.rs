//! The names of types.
//!
//! Owns the rule that a type name means one thing in its crate. An associated type is its trait's and does not count.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use crate::checkout::{assert_none, outside_of};
use crate::source::{Source, planted, product};

/// Areas that have such names left.
const NOT_YET: &[&str] = &[];

#[test]
fn a_type_name_means_one_thing_in_its_crate() {
    assert_none(
        &outside_of(NOT_YET, doubles(&product())),
        "a name that means two things is looked up twice; say what it is about",
    );
}

fn doubles(sources: &[Source]) -> Vec<String> {
    let mut places: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
    for source in sources {
        let mut types = Types { source, found: Vec::new() };
        types.visit_file(&source.file);
        for (name, place) in types.found {
            places.entry((&source.package, name)).or_default().push(place);
        }
    }
    places
        .iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|((package, name), places)| format!("{package}/: {name} at {}", places.join(", ")))
        .collect()
}

struct Types<'a> {
    source: &'a Source,
    found: Vec<(String, String)>,
}

impl Types<'_> {
    fn note(&mut self, ident: &syn::Ident) {
        self.found.push((ident.to_string(), self.source.place(ident)));
    }
}

impl Visit<'_> for Types<'_> {
    fn visit_item_struct(&mut self, item: &syn::ItemStruct) {
        self.note(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &syn::ItemEnum) {
        self.note(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_union(&mut self, item: &syn::ItemUnion) {
        self.note(&item.ident);
        visit::visit_item_union(self, item);
    }

    fn visit_item_trait(&mut self, item: &syn::ItemTrait) {
        self.note(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &syn::ItemType) {
        self.note(&item.ident);
        visit::visit_item_type(self, item);
    }
}

#[test]
fn doubles_are_found() {
    let sources = planted(&[
        ("lib.rs", "mod a; mod b; struct Plan; trait Rule { type Plan; type Out; } enum Only {}"),
        ("a.rs", "pub enum Plan {} type Outcome = u8; impl Rule for u8 { type Out = u8; }"),
        ("b.rs", "fn f() { struct Outcome; } #[cfg(test)] mod tests { struct Only; }"),
    ]);
    assert_eq!(
        doubles(&sources),
        [
            "engine/: Outcome at engine/src/a.rs:1, engine/src/b.rs:1",
            "engine/: Plan at engine/src/a.rs:1, engine/src/lib.rs:1",
        ]
    );
}
