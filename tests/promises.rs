//! The documentation's proofs, checked: every test that `docs/overload.md` names exists.
//!
//! A name is a path of modules and a function: `line::a_test` is in `tests/gateway/line.rs`,
//! `admission::budget::a_test` in `src/provider/budget.rs`. It reads text, not syntax.
#![cfg(test)]

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_documentation_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/overload.md")).unwrap();
    let names: Vec<&str> = page.split('`').skip(1).step_by(2).filter(is_test).collect();
    assert!(names.len() > 40, "only {} names were read", names.len());
    let missing: Vec<_> = names.iter().filter(|name| !exists(root, name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

#[test]
fn a_test_that_does_not_exist_is_noticed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(exists(root, "provider::tests::auto_begins_at_its_lower_bound_and_is_shown_with_both"));
    assert!(!exists(root, "provider::tests::auto_begins_at_its_lower_bound"));
    assert!(!exists(root, "nowhere::auto_begins_at_its_lower_bound_and_is_shown_with_both"));
}

/// Whether a word in the page is the name of a test and not a setting or a command.
fn is_test(word: &&str) -> bool {
    word.contains("::") && !word.contains(' ')
}

fn exists(root: &Path, name: &str) -> bool {
    let (modules, function) = name.rsplit_once("::").unwrap();
    let file = format!("{}.rs", modules.replace("::", "/"));
    ["src", "tests/gateway"].iter().any(|folder| {
        let text = fs::read_to_string(root.join(folder).join(&file)).unwrap_or_default();
        text.contains(&format!("fn {function}("))
    })
}
