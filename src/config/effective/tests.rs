//! Where values are from, what differs, and that comments change nothing.

use super::*;
use crate::config::{Environment, Loaded, load};
use proptest::prelude::{prop_assert_eq, proptest};

/// Loads a file named `f` with these variables.
fn load_text(text: &str, variables: &[(&str, &str)]) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f");
    std::fs::write(&file, text).unwrap();
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let variables: BTreeMap<String, String> = variables.iter().map(owned).collect();
    load(Some(&file), &Environment::from(variables)).unwrap()
}

const FILE: &str = "[server]\ndrain = \"9s\"\n[admin]\ntoken = \"token-planted\"\n\
    [[keys]]\nname = \"a\"\nkey = \"sk-a-planted\"\n[[keys]]\nname = \"b\"\nenv = \"B\"\nweight = 3\n\
    [providers.ollama]\nmax_concurrency = 2\nmax_queue = 8\nretry = { max_retries = 1 }\n\
    [[routes]]\nmodel = \"x\"\ntargets = [{ provider = \"ollama\", model = \"m\" }]\n";

const QUEUE: &str = "LLM_GATEWAY__PROVIDERS__OLLAMA__MAX_QUEUE";

fn loaded() -> Loaded {
    let variables = [
        (QUEUE, "16"),
        ("B", "sk-b-planted"),
        ("API_KEYS", "sk-c-planted"),
        ("LLM_GATEWAY__ADMIN__TOKEN", "other-planted"),
    ];
    load_text(FILE, &variables)
}

/// The line of the text that sets this key for the first time below the header.
fn line<'a>(text: &'a str, header: &str, key: &str) -> &'a str {
    let below = text.split_once(&format!("{header}\n")).expect(header).1;
    below.lines().find(|line| line.starts_with(&format!("{key} = "))).expect(key)
}

#[test]
fn each_value_says_where_it_is_from_and_what_the_file_says_instead() {
    let Loaded { config, sources, .. } = loaded();
    let effective = Effective { config: &config, sources: &sources, instead: BTreeMap::new() };
    let text = effective.text();
    assert!(!text.contains("planted"), "{text}");
    assert!(line(&text, "[server]", "drain").ends_with("/f:2"), "{text}");
    assert_eq!(line(&text, "[server]", "workers"), "workers = 0");
    let queue = line(&text, "[providers.ollama]", "max_queue");
    assert!(queue.contains(&format!("max_queue = 16  # {QUEUE}; ")), "{queue}");
    assert!(queue.ends_with("/f:14 says 8"), "{queue}");
    assert!(line(&text, "[providers.ollama.retry]", "max_retries").ends_with("/f:15"), "{text}");
    let token = line(&text, "[admin]", "token");
    assert!(token.contains("# LLM_GATEWAY__ADMIN__TOKEN; "), "{token}");
    assert!(token.ends_with("/f:4 says \"***\""), "{token}");
    let (_, second) = text.split_once("name = \"b\"").unwrap();
    let second = second.split_once("[[keys]]").unwrap().0;
    assert!(second.contains("key = \"***\"  # B\n") && second.contains("/f:10\n"), "{second}");
    let (_, third) = text.split_once("name = \"env-1\"").unwrap();
    assert!(third.lines().next().unwrap().ends_with("  # API_KEYS"), "{third}");
    assert!(line(&text, "[[routes.targets]]", "model").ends_with("/f:18"), "{text}");
    let plain = crate::config::effective(&config);
    assert_eq!(text.parse::<Table>().unwrap(), plain.parse::<Table>().unwrap());
}

#[test]
fn the_list_has_every_value_and_what_is_not_in_force() {
    let Loaded { mut config, sources, .. } = loaded();
    config.providers["ollama"].max_queue = 99;
    let instead = |reason, configured: Value| Instead { reason, configured };
    let instead = BTreeMap::from([
        ("providers.ollama.max_queue".to_owned(), instead(Reason::Patch, 16.into())),
        ("server.workers".to_owned(), instead(Reason::NextStart, 2.into())),
    ]);
    let effective = Effective { config: &config, sources: &sources, instead };
    let settings = effective.settings();
    let find = |key: &str| settings.iter().find(|setting| setting.key == key).expect(key);
    let queue = find("providers.ollama.max_queue");
    assert_eq!((queue.source, &queue.value), ("patch", &99.into()));
    assert_eq!(queue.at.as_deref(), Some(QUEUE));
    assert_eq!((&queue.configured, &queue.file), (&Some(16.into()), &Some(8.into())));
    let workers = find("server.workers");
    assert_eq!((workers.source, workers.next_start), ("default", true));
    assert_eq!(find("keys[2].key").source, "environment");
    assert_eq!(find("keys[1].weight").source, "file");
    let text = effective.text();
    let queue = line(&text, "[providers.ollama]", "max_queue");
    let said = format!("max_queue = 99  # PATCH; configured: 16 ({QUEUE}; ");
    assert!(queue.starts_with(&said), "{queue}");
    let workers = line(&text, "[server]", "workers");
    assert_eq!(workers, "workers = 0  # until the next start; configured: 2 (the default)");
}

#[test]
fn a_change_is_named_by_its_key_and_shows_no_secret() {
    let before = loaded().config;
    assert_eq!(changes(&before, &before), []);
    let text = FILE
        .replace("max_concurrency = 2", "max_concurrency = 4")
        .replace("sk-a-planted", "sk-new-planted")
        .replace("name = \"b\"\nenv = \"B\"", "name = \"d\"\nkey = \"sk-d-planted\"")
        .replace("[[routes]]", "[providers.gpu]\nbackend = 'ollama'\n[[routes]]");
    let after = load_text(&text, &[("LLM_GATEWAY__ADMIN__TOKEN", "planted-2")]).config;
    let told: Vec<String> = changes(&before, &after).iter().map(ToString::to_string).collect();
    for change in [
        "providers.ollama.max_concurrency 2 -> 4",
        "providers.ollama.max_queue 16 -> 8",
        "providers.gpu added",
        "keys.b removed",
        "keys.env-1 removed",
        "keys.d added",
        "keys.a.key \"***\" -> \"***\"",
        "admin.token \"***\" -> \"***\"",
    ] {
        assert!(told.iter().any(|one| one == change), "{change}: {told:#?}");
    }
    assert_eq!(told.len(), 8, "{told:#?}");
    let mut other = after.clone();
    other.providers.swap_indices(0, 1);
    let told = changes(&after, &other);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].to_string().starts_with("providers (their order) "), "{told:?}");
}

proptest! {
    /// Whatever a file's texts contain, the comments change nothing.
    #[test]
    fn comments_never_change_what_the_text_says(text in "[ -~\n\t\"'#=\\[\\]]{0,40}") {
        let mut config = Config::default();
        config.providers["ollama"].body.insert("stop".to_owned(), Value::from(text.clone()));
        config.providers["ollama"].body.insert(text.clone(), Value::from(text));
        let mut instead = BTreeMap::new();
        for (path, value) in leaves(&table(&config)) {
            let configured = Instead { reason: Reason::Patch, configured: value };
            instead.insert(path.to_string(), configured);
        }
        let effective = Effective { config: &config, sources: &Sources::default(), instead };
        let plain = crate::config::effective(&config);
        prop_assert_eq!(effective.text().parse::<Table>().unwrap(), plain.parse::<Table>().unwrap());
    }
}
