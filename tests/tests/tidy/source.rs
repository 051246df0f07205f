//! The sources of the crates, read as a compiler reads them.
//!
//! Owns the tree of modules: each file that a crate's root leads to, its path as a module, and its items without those that
//! are there for tests only. It judges nothing.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use syn::visit_mut::{self, VisitMut};

use crate::checkout::{self, Files};

/// The crates, by their directories.
pub(crate) const CRATES: [&str; 13] = [
    "common", "engine", "identity", "store", "runtime", "client", "agent", "ctl", "checker",
    "doubles", "sim", "tests", "xtask",
];

/// One file of a crate, without tests.
pub(crate) struct Source {
    /// Its path in the checkout.
    pub(crate) path: String,
    /// The directory of its crate.
    pub(crate) package: String,
    /// The path of its crate's root, `…/src/lib.rs` or `…/src/main.rs`.
    pub(crate) root: String,
    /// Its path as a module, empty for the root.
    pub(crate) module: Vec<String>,
    /// Its items.
    pub(crate) file: syn::File,
}

impl Source {
    /// Where an item is, for a person.
    pub(crate) fn place(&self, ident: &proc_macro2::Ident) -> String {
        format!("{}:{}", self.path, ident.span().start().line)
    }
}

/// All sources of the checkout's crates.
pub(crate) fn product() -> Vec<Source> {
    let sources = read_sources(&checkout::rust_files());
    assert!(sources.len() > 200, "only {} sources: are the crates elsewhere?", sources.len());
    sources
}

/// All sources that the roots among these files lead to.
pub(crate) fn read_sources(files: &Files) -> Vec<Source> {
    let mut sources = Vec::new();
    for package in CRATES {
        for root in ["lib.rs", "main.rs"] {
            let root = format!("{package}/src/{root}");
            if files.contains_key(&root) {
                let mut reader = Reader { files, package, root: &root, sources: &mut sources };
                reader.read(&root, &[]);
            }
        }
    }
    sources
}

/// Sources of one small crate, for the tests of a rule: files below `engine/src`.
pub(crate) fn planted(files: &[(&str, &str)]) -> Vec<Source> {
    let files: Files = files
        .iter()
        .map(|(path, text)| (format!("engine/src/{path}"), (*text).to_owned()))
        .collect();
    let sources = read_sources(&files);
    assert_eq!(sources.len(), files.len(), "a planted file that nothing leads to");
    sources
}

struct Reader<'a> {
    files: &'a BTreeMap<String, String>,
    package: &'a str,
    root: &'a str,
    sources: &'a mut Vec<Source>,
}

impl Reader<'_> {
    fn read(&mut self, path: &str, module: &[String]) {
        let Some(text) = self.files.get(path) else { return };
        let mut file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        WithoutTests.visit_file_mut(&mut file);
        let parent = Path::new(path).parent().unwrap().to_owned();
        let stem = Path::new(path).file_stem().unwrap().to_str().unwrap();
        let children =
            if ["lib", "main", "mod"].contains(&stem) { parent } else { parent.join(stem) };
        self.read_children(&file.items, path, &children, module);
        self.sources.push(Source {
            path: path.to_owned(),
            package: self.package.to_owned(),
            root: self.root.to_owned(),
            module: module.to_vec(),
            file,
        });
    }

    fn read_children(
        &mut self,
        items: &[syn::Item],
        path: &str,
        directory: &Path,
        module: &[String],
    ) {
        for item in items {
            let syn::Item::Mod(child) = item else { continue };
            let name = child.ident.to_string();
            let mut inner = module.to_vec();
            inner.push(name.clone());
            if let Some((_, items)) = &child.content {
                self.read_children(items, path, &directory.join(&name), &inner);
                continue;
            }
            let candidates = match path_attribute(&child.attrs) {
                Some(named) => vec![Path::new(path).parent().unwrap().join(named)],
                None => {
                    vec![directory.join(format!("{name}.rs")), directory.join(&name).join("mod.rs")]
                }
            };
            for candidate in candidates {
                self.read(&plain(&candidate), &inner);
            }
        }
    }
}

fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.path().is_ident("path"))?;
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    let syn::Expr::Lit(literal) = &pair.value else { return None };
    let syn::Lit::Str(text) = &literal.lit else { return None };
    Some(text.value())
}

/// Without `..` in the middle, as git lists it.
fn plain(path: &Path) -> String {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain.to_str().unwrap().to_owned()
}

/// Takes away what is marked `#[cfg(test)]` or `#[test]`.
struct WithoutTests;

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg = attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|word| word.is_ident("test"));
        is_cfg || attribute.path().is_ident("test")
    })
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    use syn::Item;
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl VisitMut for WithoutTests {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        file.items.retain(|item| !is_for_tests(attributes(item)));
        visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        if let Some((_, items)) = &mut module.content {
            items.retain(|item| !is_for_tests(attributes(item)));
        }
        visit_mut::visit_item_mod_mut(self, module);
    }

    fn visit_item_impl_mut(&mut self, block: &mut syn::ItemImpl) {
        block.items.retain(|item| match item {
            syn::ImplItem::Fn(function) => !is_for_tests(&function.attrs),
            syn::ImplItem::Const(constant) => !is_for_tests(&constant.attrs),
            _ => true,
        });
        visit_mut::visit_item_impl_mut(self, block);
    }
}

#[test]
fn sources_are_those_a_root_leads_to_without_their_tests() {
    let sources = planted(&[
        ("lib.rs", "mod plan; #[cfg(test)] mod tests; mod inner { pub(super) mod deep; }"),
        (
            "plan/mod.rs",
            "#[path = \"../odd.rs\"] mod other; fn a() {} #[cfg(test)] mod t { fn b() {} }",
        ),
        ("odd.rs", ""),
        ("inner/deep.rs", ""),
    ]);
    let mut modules: Vec<String> = sources.iter().map(|source| source.module.join("::")).collect();
    modules.sort();
    assert_eq!(modules, ["", "inner::deep", "plan", "plan::other"]);
    let plan = sources.iter().find(|source| source.path == "engine/src/plan/mod.rs").unwrap();
    assert_eq!(plan.file.items.len(), 2, "the test module is gone");
}
