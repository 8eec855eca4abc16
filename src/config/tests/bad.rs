//! Refused configurations, each with the exact lines of its problems, as `bad.txt` lists them.

use super::load_text;
use crate::config::{Config, effective, load};
use proptest::prelude::*;
use std::path::Path;

/// A file's text, an environment, and the expected problems of both.
#[derive(Default)]
struct Case {
    text: String,
    variables: Vec<(String, String)>,
    problems: String,
}

fn cases() -> Vec<Case> {
    let blocks = include_str!("bad.txt").split("\n\n");
    blocks.map(case).filter(|case| !case.problems.is_empty()).collect()
}

fn case(block: &str) -> Case {
    let mut case = Case::default();
    for line in block.trim_matches('\n').lines() {
        if let Some(problem) = line.strip_prefix("! ") {
            case.problems.push_str(&format!("{problem}\n"));
        } else if let Some(variable) = line.strip_prefix("$ ") {
            let (name, value) = variable.split_once('=').unwrap();
            case.variables.push((name.to_owned(), value.to_owned()));
        } else {
            case.text.push_str(&format!("{line}\n"));
        }
    }
    case
}

/// The problems of a configuration, one per line; empty if it is accepted.
fn problems(text: &str, variables: &[(String, String)]) -> String {
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    load_text(text, &variables).err().map(|problems| problems + "\n").unwrap_or_default()
}

#[test]
fn every_bad_configuration_is_refused_with_exactly_its_lines() {
    let cases = cases();
    assert!(cases.len() > 100, "only {} cases were read", cases.len());
    let mut wrong = String::new();
    for case in &cases {
        let found = problems(&case.text, &case.variables);
        if found != case.problems {
            let Case { text, variables, problems } = case;
            let expected = format!("expected:\n{problems}found:\n{found}");
            wrong.push_str(&format!("{text}{variables:?}\n{expected}\n"));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn no_problem_quotes_a_secret() {
    let planted: Vec<_> = cases()
        .into_iter()
        .filter(|case| format!("{}{:?}", case.text, case.variables).contains("planted"))
        .collect();
    assert!(planted.len() >= 3);
    for case in planted {
        assert!(!problems(&case.text, &case.variables).contains("planted"), "{}", case.text);
    }
}

#[test]
fn a_named_file_that_cannot_be_read_is_a_problem() {
    let missing = Path::new("/nonexistent/gateway.toml");
    let problems = load(Some(missing), &super::map(&[])).unwrap_err().to_string();
    let line = "error: /nonexistent/gateway.toml: cannot be read: No such file or directory";
    assert!(problems.starts_with(line), "{problems}");
    let variables = super::map(&[("LLM_GATEWAY_CONFIG", "/nonexistent/gateway.toml")]);
    assert_eq!(load(None, &variables).unwrap_err().to_string(), problems);
}

/// Every key of the default configuration, as the names of a table and a key.
fn keys() -> Vec<(String, String)> {
    fn collect(table: &toml::Table, path: &str, keys: &mut Vec<(String, String)>) {
        for (key, value) in table {
            match value.as_table() {
                Some(table) if path.is_empty() => collect(table, key, keys),
                Some(table) => collect(table, &format!("{path}.{key}"), keys),
                None if path.is_empty() => {}
                None => keys.push((path.to_owned(), key.clone())),
            }
        }
    }
    let mut keys = Vec::new();
    collect(&effective(&Config::default()).parse().unwrap(), "", &mut keys);
    keys
}

fn any_value() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u128>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:e}")),
        (0_i64..20).prop_map(|number| number.to_string()),
        Just("nan".to_owned()),
        Just("-inf".to_owned()),
        Just("0x_".to_owned()),
    ];
    let unit = prop::sample::select(vec!["s", "ms", "days", "B", "KiB", "EiB", "", "x"]);
    (number, unit, any::<bool>()).prop_map(|(number, unit, is_quoted)| {
        if is_quoted { format!("\"{number}{unit}\"") } else { number }
    })
}

proptest! {
    #[test]
    fn any_number_for_any_key_is_accepted_or_refused(
        (table, key) in prop::sample::select(keys()),
        value in any_value(),
    ) {
        let in_file = problems(&format!("[{table}]\n{key} = {value}\n"), &[]);
        prop_assert!(in_file.is_empty() || in_file.starts_with("f:"), "{in_file}");
        let name = format!("LLM_GATEWAY__{table}__{key}").replace('.', "__").to_uppercase();
        let in_variable = problems("", &[(name.clone(), value)]);
        let start = format!("environment: {name}: ");
        prop_assert!(in_variable.is_empty() || in_variable.starts_with(&start), "{in_variable}");
    }

    #[test]
    fn no_damage_to_the_documented_file_makes_it_panic(
        start: prop::sample::Index,
        length in 0_usize..40,
        junk in "[\\[\\]{}=.,\"'#a-z0-9\\n -]{0,12}",
    ) {
        let mut text = include_str!("../../../config/gateway.toml").to_owned();
        let start = start.index(text.len());
        text.replace_range(start..(start + length).min(text.len()), &junk);
        let _ = problems(&text, &[]);
    }
}
