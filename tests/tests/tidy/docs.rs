//! Documentation of items.
//!
//! Owns the rule that its subject comes first: a sentence that begins with "What" or "Whether" makes its reader wait for the
//! noun.

use syn::visit::{self, Visit};

use crate::checkout::{assert_none, outside_of};
use crate::source::{Source, planted, product};

const RIDDLES: [&str; 5] = ["What", "How", "Whether", "Told", "Came"];

/// Areas that have such beginnings left.
const NOT_YET: &[&str] = &[];

#[test]
fn documentation_begins_with_its_subject() {
    assert_none(
        &outside_of(NOT_YET, beginnings(&product())),
        "say the noun first: \"The time that is left\", not \"What is left\"",
    );
}

fn beginnings(sources: &[Source]) -> Vec<String> {
    let mut offences = Vec::new();
    for source in sources {
        let mut docs = Docs { source, found: Vec::new() };
        docs.visit_file(&source.file);
        offences.extend(docs.found);
    }
    offences
}

struct Docs<'a> {
    source: &'a Source,
    found: Vec<String>,
}

impl Docs<'_> {
    fn check(&mut self, attributes: &[syn::Attribute]) {
        let Some(attribute) = attributes.iter().find(|a| a.path().is_ident("doc")) else { return };
        let syn::Meta::NameValue(pair) = &attribute.meta else { return };
        let syn::Expr::Lit(literal) = &pair.value else { return };
        let syn::Lit::Str(text) = &literal.lit else { return };
        let line = text.value();
        let first = line.trim().split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        if RIDDLES.contains(&first) {
            let at = text.span().start().line;
            self.found.push(format!("{}:{at}: {}", self.source.path, line.trim()));
        }
    }

    fn check_public(&mut self, visibility: &syn::Visibility, attributes: &[syn::Attribute]) {
        if !matches!(visibility, syn::Visibility::Inherited) {
            self.check(attributes);
        }
    }
}

impl Visit<'_> for Docs<'_> {
    fn visit_item_fn(&mut self, item: &syn::ItemFn) {
        self.check_public(&item.vis, &item.attrs);
    }

    fn visit_item_struct(&mut self, item: &syn::ItemStruct) {
        self.check_public(&item.vis, &item.attrs);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &syn::ItemEnum) {
        self.check_public(&item.vis, &item.attrs);
        if matches!(item.vis, syn::Visibility::Public(_)) {
            visit::visit_item_enum(self, item);
        }
    }

    fn visit_item_trait(&mut self, item: &syn::ItemTrait) {
        self.check_public(&item.vis, &item.attrs);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &syn::ItemType) {
        self.check_public(&item.vis, &item.attrs);
    }

    fn visit_item_const(&mut self, item: &syn::ItemConst) {
        self.check_public(&item.vis, &item.attrs);
    }

    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        self.check_public(&item.vis, &item.attrs);
        visit::visit_item_mod(self, item);
    }

    fn visit_field(&mut self, field: &syn::Field) {
        self.check_public(&field.vis, &field.attrs);
    }

    fn visit_variant(&mut self, variant: &syn::Variant) {
        self.check(&variant.attrs);
        for field in &variant.fields {
            self.check(&field.attrs);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &syn::ImplItemFn) {
        self.check_public(&item.vis, &item.attrs);
    }

    fn visit_trait_item_fn(&mut self, item: &syn::TraitItemFn) {
        self.check(&item.attrs);
    }
}

#[test]
fn riddles_at_the_beginning_are_found() {
    let source = "
        //! What a file says of itself is its own business.
        /// What is left.
        pub struct Lease {
            /// How long.
            pub ttl: u64,
            /// Whether it ends.
            private: bool,
        }
        /// The right way. What follows may be anything.
        pub enum Loss {
            /// Told by a machine.
            Told,
            /// Whatever it may be.
            Other {
                /// Came from there.
                from: u8,
            },
        }
        impl Lease {
            /// Whether it is gone.
            pub(crate) fn is_gone(&self) -> bool { true }
            /// What it does.
            fn step(&self) {}
        }";
    let found = beginnings(&planted(&[("lib.rs", source)]));
    assert_eq!(
        found,
        [
            "engine/src/lib.rs:3: What is left.",
            "engine/src/lib.rs:5: How long.",
            "engine/src/lib.rs:12: Told by a machine.",
            "engine/src/lib.rs:16: Came from there.",
            "engine/src/lib.rs:21: Whether it is gone.",
        ]
    );
}
