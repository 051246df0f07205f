//! Modules and the names in them, as far as sources alone tell.
//!
//! Owns the way from a path to the file that defines what it names: through children, `use` and re-exports, by `crate`,
//! `self` and `super` or by a name that is in scope. What a macro makes and what a method is of is not seen. It judges nothing.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use crate::source::Source;

/// The modules of one crate, by their paths.
pub(crate) struct Modules<'a> {
    modules: BTreeMap<Vec<String>, Module<'a>>,
}

/// One module, in a file of its own or within its parent's.
#[derive(Default)]
pub(crate) struct Module<'a> {
    /// The file it is in.
    pub(crate) path: &'a str,
    /// Items that are defined here, functions' inner ones apart.
    pub(crate) items: BTreeSet<String>,
    children: BTreeSet<String>,
    /// The names it takes from elsewhere.
    pub(crate) imports: Vec<Import>,
    /// The items themselves but for `use` and modules.
    pub(crate) bodies: Vec<&'a syn::Item>,
}

/// One name of a `use`, or all of a module's.
#[derive(Clone)]
pub(crate) struct Import {
    /// The path.
    pub(crate) path: Vec<String>,
    /// The name in scope; none for `*`.
    pub(crate) name: Option<String>,
    /// Others can take it from here.
    pub(crate) is_public: bool,
}

/// The thing a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// A module.
    Module(Vec<String>),
    /// An item, defined in this file.
    Item(&'a str),
}

/// More steps than any path takes; only re-exports in a circle have more.
const DEPTH: usize = 24;

impl<'a> Modules<'a> {
    /// Reads the modules of a crate from its sources.
    pub(crate) fn read(sources: &[&'a Source]) -> Self {
        let mut modules = Self { modules: BTreeMap::new() };
        for source in sources {
            modules.read_items(&source.path, &source.module, &source.file.items);
        }
        modules
    }

    fn read_items(&mut self, path: &'a str, module: &[String], items: &'a [syn::Item]) {
        let mut read = Module { path, ..Module::default() };
        for item in items {
            match item {
                syn::Item::Use(item) => {
                    let is_public = !matches!(item.vis, syn::Visibility::Inherited);
                    flatten(&item.tree, &mut Vec::new(), is_public, &mut read.imports);
                }
                syn::Item::Mod(child) => {
                    let name = child.ident.to_string();
                    read.children.insert(name.clone());
                    if let Some((_, items)) = &child.content {
                        let inner: Vec<String> = module.iter().cloned().chain([name]).collect();
                        self.read_items(path, &inner, items);
                    }
                }
                item => {
                    read.items.extend(defined(item));
                    read.bodies.push(item);
                    let mut inner = InnerImports(&mut read.imports);
                    inner.visit_item(item);
                }
            }
        }
        self.modules.insert(module.to_vec(), read);
    }

    /// All modules by their paths.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Vec<String>, &Module<'a>)> {
        self.modules.iter()
    }

    /// The target of a path that is written in a module; none when it leads out of the crate.
    pub(crate) fn resolve(&self, from: &[String], path: &[String]) -> Option<Target<'a>> {
        self.resolve_within(from, path, DEPTH)
    }

    /// The target of a path from the root of the crate.
    pub(crate) fn resolve_absolute(&self, path: &[String]) -> Option<Target<'a>> {
        self.walk(Vec::new(), path, false, DEPTH)
    }

    fn resolve_within(&self, from: &[String], path: &[String], left: usize) -> Option<Target<'a>> {
        let left = left.checked_sub(1)?;
        let mut module = from.to_vec();
        let mut rest = path;
        let mut is_anchored = false;
        while let Some((head, tail)) = rest.split_first() {
            match head.as_str() {
                "crate" => module.clear(),
                "self" => {}
                "super" => {
                    module.pop()?;
                }
                _ => break,
            }
            is_anchored = true;
            rest = tail;
        }
        self.walk(module, rest, !is_anchored, left)
    }

    /// Goes down a path. A name that is only taken from elsewhere is followed there.
    fn walk(
        &self,
        mut module: Vec<String>,
        path: &[String],
        is_relative: bool,
        left: usize,
    ) -> Option<Target<'a>> {
        let mut rest = path;
        while let Some((name, tail)) = rest.split_first() {
            let here = self.modules.get(&module)?;
            let is_item = here.items.contains(name);
            // `translate::translate`: the module on the way, the function at its end.
            if here.children.contains(name) && !(tail.is_empty() && is_item) {
                let named = tail.is_empty().then(|| self.imported(&module, name, path, left));
                if let Some(Some(target @ Target::Item(_))) = named {
                    return Some(target);
                }
                module.push(name.clone());
                rest = tail;
                continue;
            }
            if is_item {
                return Some(Target::Item(here.path));
            }
            // A name that a path of the same `use` begins with is not explained by that `use` itself.
            let skipped: &[String] = if is_relative { path } else { &[] };
            match self.imported(&module, name, skipped, left)? {
                Target::Item(path) => return Some(Target::Item(path)),
                Target::Module(found) => {
                    module = found;
                    rest = tail;
                }
            }
        }
        Some(Target::Module(module))
    }

    /// The target of a name that a module takes from elsewhere, but for a `use` of just this path.
    fn imported(
        &self,
        module: &[String],
        name: &str,
        skipped: &[String],
        left: usize,
    ) -> Option<Target<'a>> {
        let here = self.modules.get(module)?;
        let named = here.imports.iter().filter(|import| import.name.as_deref() == Some(name));
        for import in named.filter(|import| import.path != skipped) {
            if let Some(target) = self.resolve_within(module, &import.path, left) {
                return Some(target);
            }
        }
        let globs = here.imports.iter().filter(|import| import.name.is_none());
        for import in globs.filter(|import| import.path != skipped) {
            let Some(Target::Module(found)) = self.resolve_within(module, &import.path, left)
            else {
                continue;
            };
            let left = left.checked_sub(1)?;
            if found != module
                && let Some(target) = self.walk(found, &[name.to_owned()], false, left)
            {
                return Some(target);
            }
        }
        None
    }
}

/// The names that an item brings into its module.
fn defined(item: &syn::Item) -> Option<String> {
    use syn::Item;
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

fn flatten(
    tree: &syn::UseTree,
    path: &mut Vec<String>,
    is_public: bool,
    imports: &mut Vec<Import>,
) {
    match tree {
        syn::UseTree::Path(step) => {
            path.push(step.ident.to_string());
            flatten(&step.tree, path, is_public, imports);
            path.pop();
        }
        syn::UseTree::Name(end) if end.ident == "self" => {
            imports.push(Import { path: path.clone(), name: path.last().cloned(), is_public });
        }
        syn::UseTree::Name(end) => {
            let name = end.ident.to_string();
            let path = path.iter().cloned().chain([name.clone()]).collect();
            imports.push(Import { path, name: Some(name), is_public });
        }
        syn::UseTree::Rename(end) => {
            let step = (end.ident != "self").then(|| end.ident.to_string());
            let path = path.iter().cloned().chain(step).collect();
            imports.push(Import { path, name: Some(end.rename.to_string()), is_public });
        }
        syn::UseTree::Glob(_) => {
            imports.push(Import { path: path.clone(), name: None, is_public });
        }
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, path, is_public, imports);
            }
        }
    }
}

/// `use` within functions.
struct InnerImports<'a>(&'a mut Vec<Import>);

impl Visit<'_> for InnerImports<'_> {
    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        flatten(&item.tree, &mut Vec::new(), false, self.0);
        visit::visit_item_use(self, item);
    }
}
