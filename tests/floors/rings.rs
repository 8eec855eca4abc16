//! Rings of files: no two files may need each other, directly or by way of others.
//!
//! A folder's front declares what is below it, so that its own names for these files are no arrows;
//! the files below may name their front. A name that a front hands on belongs to the file that it
//! comes from.

use std::collections::{BTreeMap, BTreeSet};

use crate::text::{self, Named};

/// A file's name without `.rs`, and its code.
pub type Source<'a> = (&'a str, &'a str);

/// Every ring, as the names of its files in alphabetical order.
pub fn rings(sources: &[Source<'_>]) -> Vec<Vec<String>> {
    let tree = Tree::of(sources);
    let arrows: BTreeMap<&str, BTreeSet<&str>> =
        sources.iter().map(|(name, code)| (*name, tree.needs(name, code))).collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        arrows.keys().map(|name| (*name, reach(&arrows, name))).collect();
    let mut found = BTreeSet::new();
    for (name, far) in &reached {
        if far.contains(name) {
            let ring = far.iter().filter(|other| reached[**other].contains(name));
            found.insert(ring.map(|file| (*file).to_owned()).collect::<Vec<_>>());
        }
    }
    found.into_iter().collect()
}

/// The files, and which names each of them imports from where.
struct Tree<'a> {
    files: BTreeSet<&'a str>,
    imports: BTreeMap<&'a str, BTreeMap<String, &'a str>>,
}

impl<'a> Tree<'a> {
    fn of(sources: &[Source<'a>]) -> Self {
        let files = sources.iter().map(|(name, _)| *name).collect();
        let mut tree = Self { files, imports: BTreeMap::new() };
        for (name, code) in sources {
            let mut imports = BTreeMap::new();
            for path in text::paths(code) {
                if let Some((target, rest)) = tree.resolve(name, &path)
                    && let Some(last) = rest.last()
                    && target != *name
                {
                    imports.insert(last.clone(), target);
                }
            }
            tree.imports.insert(name, imports);
        }
        tree
    }

    /// The files that this one cannot do without.
    fn needs(&self, file: &str, code: &str) -> BTreeSet<&'a str> {
        let mut needs = BTreeSet::new();
        for path in text::paths(code) {
            let Some((target, rest)) = self.resolve(file, &path) else { continue };
            let handed_on = rest.first().and_then(|name| self.imports.get(target)?.get(name));
            let target = handed_on.copied().unwrap_or(target);
            let is_below = target.strip_prefix(file).is_some_and(|rest| rest.starts_with('/'));
            if target != file && !is_below {
                needs.insert(target);
            }
        }
        needs
    }

    /// The file that a path leads to, and what it names there.
    fn resolve(&self, file: &str, path: &Named) -> Option<(&'a str, Vec<String>)> {
        let own = if matches!(file, "lib" | "main") { vec![] } else { file.split('/').collect() };
        let names: Vec<&str> = path.names.iter().map(String::as_str).collect();
        let full: Vec<&str> = match names.as_slice() {
            ["crate" | "llm_gateway", rest @ ..] => rest.to_vec(),
            ["super", ..] => {
                let ups = names.iter().take_while(|name| **name == "super").count();
                let depth = ups.checked_sub(path.inline_depth)?;
                let kept = own.len().checked_sub(depth)?;
                own[..kept].iter().chain(&names[ups..]).copied().collect()
            }
            ["self", rest @ ..] => own.iter().chain(rest).copied().collect(),
            _ if path.inline_depth == 0 => own.iter().chain(&names).copied().collect(),
            _ => return None,
        };
        let known = (1..=full.len()).rev().find_map(|length| {
            let name = full[..length].join("/");
            self.files.get(name.as_str()).map(|file| (*file, length))
        });
        let (target, length) = known?;
        Some((target, full[length..].iter().map(|name| (*name).to_owned()).collect()))
    }
}

/// Every file that can be come to from this one, itself only by a ring.
fn reach<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        for next in arrows.get(name).into_iter().flatten() {
            if reached.insert(*next) {
                open.push(next);
            }
        }
    }
    reached
}
