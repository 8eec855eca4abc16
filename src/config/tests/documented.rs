//! The documented configuration files agree with the structs.

use super::{load_text, map};
use crate::backend::{ApiVersion, LimitField, SystemPlace};
use crate::chat::ApiWord;
use crate::config::environment::{FILE_VARIABLE, SHORT_NAMES};
use crate::config::{Config, Environment, effective, load};
use crate::http::settings::KeySettings;
use crate::limit::settings::RateSettings;
use crate::policy::{DataPolicy, OnCut, Priority, Trust};
use crate::provider::settings::{
    AutoConcurrency, BackendName, BreakerSettings, HealthSettings, KeepAlive, LimitWish,
    MaxConcurrency, ModelInfo, ModelSettings, ProviderSettings, ProxyUrl, RetrySettings,
    Scheduling, Timeouts, TlsSettings,
};
use crate::router::settings::{RouteSettings, TargetSettings};
use crate::secret::Secret;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use toml::Value;

const GATEWAY_TOML: &str = include_str!("../../../config/gateway.toml");
const ENV_EXAMPLE: &str = include_str!("../../../.env.example");

/// The file with every example uncommented.
fn with_examples() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(example) if !example.is_empty() && !example.starts_with(' ') => format!("{example}\n"),
        _ => format!("{line}\n"),
    };
    GATEWAY_TOML.lines().map(line).collect()
}

/// A configuration in which every field has a value.
fn with_every_field() -> Config {
    let target = TargetSettings {
        provider: "f".to_owned(),
        model: Some("g".to_owned()),
        context: Some(1),
        weight: 1,
    };
    let route = RouteSettings {
        model: "h".to_owned(),
        targets: vec![target.clone()],
        fallback: vec![target],
        on_cut: OnCut::Error,
    };
    let mut config = Config { keys: vec![full_key()], routes: vec![route], ..Config::default() };
    config.auth.rate = Some(RateSettings::default());
    config.providers.insert("ollama".to_owned(), full_provider());
    let models = BTreeMap::from([("qwen3*".to_owned(), full_model())]);
    let models = ProviderSettings { models: models.into(), ..ProviderSettings::default() };
    config.providers.insert("gpu2".to_owned(), models);
    config
}

/// It does not use `..`, so that a new field must be added here.
fn full_key() -> KeySettings {
    KeySettings {
        name: "a".to_owned(),
        sha256: Some("b".to_owned()),
        key: Some(Secret::new("c")),
        env: Some("D".to_owned()),
        weight: 1,
        priority: Priority::Batch,
        models: Vec::new(),
        providers: Vec::new(),
        manage_models: true,
        data_policy: Some(DataPolicy::Local),
        expires: Some(std::time::SystemTime::UNIX_EPOCH),
        rate: Some(RateSettings::default()),
        tokens_per_minute: 1,
        tokens_per_day: 1,
        max_concurrency: 1,
    }
}

/// It does not use `..`, so that a new field must be added here.
fn full_model() -> ModelSettings {
    ModelSettings {
        max_concurrency: Some(1),
        num_ctx: Some(4),
        max_num_ctx: Some(4),
        keep_alive: Some(KeepAlive::Text("1h".to_owned())),
        pin: Some(true),
    }
}

/// It does not use `..`, so that a new field must be added here.
fn full_provider() -> ProviderSettings {
    ProviderSettings {
        backend: BackendName::Ollama,
        base_url: "http://localhost".to_owned(),
        api_key: Secret::new("e"),
        api_key_env: Some("F".to_owned()),
        default_model: "g".to_owned(),
        trust: Some(Trust::Local),
        models: Vec::new().into(),
        default_max_tokens: Some(1),
        api_version: Some(ApiVersion::V2023),
        stream_usage: Some(true),
        reasoning_back: Some(true),
        drop_volatile: true,
        priority_field: Some("k".to_owned()),
        max_tokens: LimitWish::Fit,
        max_tokens_field: Some(LimitField::Auto),
        system: Some(SystemPlace::First),
        apis: Some(vec![ApiWord::Chat]),
        passthrough: Vec::new(),
        max_concurrency: MaxConcurrency::Auto,
        auto_concurrency: AutoConcurrency::default(),
        max_queue: 1,
        max_queue_wait: Duration::from_secs(1),
        scheduling: Some(Scheduling::Warm),
        remember: Some(true),
        remember_wait: 2.0,
        linger: 0.5,
        affinity_wait: Duration::from_secs(2),
        preload: Vec::new(),
        timeouts: Timeouts {
            connect: Duration::from_secs(1),
            first_event: Some(Duration::from_secs(1)),
            whole: Some(Duration::from_secs(1)),
            idle: Some(Duration::from_secs(1)),
            total: Duration::from_secs(1),
        },
        retry: RetrySettings::default(),
        breaker: BreakerSettings::default(),
        health: HealthSettings::default(),
        tls: TlsSettings::default(),
        proxy: ProxyUrl::new("http://i:1"),
        headers: BTreeMap::from([("X-Team".to_owned(), Secret::new("h"))]),
        headers_env: BTreeMap::from([("X-Proxy-Token".to_owned(), "I".to_owned())]),
        models_info: BTreeMap::from([(
            "qwen3-coder*".to_owned(),
            ModelInfo { context: Some(1), capabilities: Some(Vec::new()) },
        )]),
        body: toml::Table::from_iter([("keep_alive".to_owned(), Value::from("j"))]),
    }
}

/// All keys, with `*` for the names that operators choose.
fn keys_of(value: &Value) -> BTreeSet<String> {
    fn collect(value: &Value, path: &str, keys: &mut BTreeSet<String>) {
        match value {
            Value::Table(table) => {
                for (key, value) in table {
                    let key = if path == ".providers" { "*" } else { key };
                    // Both lists of targets have the same type, and one of them is documented in
                    // full.
                    let key = if key == "fallback" { "targets" } else { key };
                    collect(value, &format!("{path}.{key}"), keys);
                }
            }
            Value::Array(list) if list.iter().any(Value::is_table) => {
                list.iter().for_each(|value| collect(value, path, keys));
            }
            Value::Array(_)
            | Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => {
                keys.insert(path.to_owned());
            }
        }
    }
    let mut keys = BTreeSet::new();
    collect(value, "", &mut keys);
    keys
}

#[test]
fn the_documented_file_has_exactly_the_keys_of_the_structs() {
    let file = Value::Table(with_examples().parse().unwrap());
    let structs = Value::try_from(with_every_field()).unwrap();
    assert!(keys_of(&structs).contains(".providers.*.timeouts.first_event"));
    assert_eq!(keys_of(&file), keys_of(&structs));
}

#[test]
fn the_documented_file_states_the_defaults() {
    let loaded = load_text(GATEWAY_TOML, &[]).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, []);
    assert_eq!(load_text("", &[]).unwrap().config, Config::default());
}

#[test]
fn every_default_is_written_in_the_documented_file_except_empty_lists() {
    let file: toml::Table = GATEWAY_TOML.parse().unwrap();
    let written = keys_of(&Value::Table(file));
    let defaults = keys_of(&Value::try_from(Config::default()).unwrap());
    let missing: Vec<_> = defaults.difference(&written).collect();
    assert_eq!(missing, [".hints.fast", ".hints.gemini", ".hints.online", ".keys", ".routes"]);
}

#[test]
fn every_example_in_the_documented_file_works() {
    let variables = [
        ("NIGHTLY_KEY", "n"),
        ("OLLAMA_API_KEY", "o"),
        ("CLOUD_KEY", "c"),
        ("PROXY_TOKEN", "p"),
        ("OPENAI_API_KEY", "a"),
        ("ANTHROPIC_API_KEY", "b"),
    ];
    let loaded = load_text(&with_examples(), &variables).unwrap();
    assert_eq!(loaded.config.keys.len(), 3);
    assert_eq!(loaded.config.routes[0].fallback[0].provider, "cloud");
    let warnings = super::warnings(&loaded);
    assert!(warnings.contains("keys[2].key: a key in a file is easily leaked"), "{warnings}");
    assert_eq!(loaded.warnings.len(), 1);
}

#[test]
fn the_file_at_its_default_path_is_found() {
    let loaded = load(None, &map(&[])).unwrap();
    assert_eq!(loaded.read.file.as_deref(), Some(Path::new("config/gateway.toml")));
    assert_eq!(loaded.config, Config::default());
}

#[test]
fn every_short_name_is_in_the_example_environment() {
    let names = SHORT_NAMES.iter().map(|(name, _)| *name).chain([FILE_VARIABLE]);
    for name in names {
        let is_there = ENV_EXAMPLE.lines().any(|line| line.starts_with(&format!("{name}=")));
        assert!(is_there, "{name} is not in .env.example");
    }
}

#[test]
fn the_example_environment_changes_nothing() {
    let text = ENV_EXAMPLE.replace("\n#LLM", "\nLLM");
    let all = |text: &str| -> Vec<(String, String)> {
        dotenvy::from_read_iter(text.as_bytes()).map(Result::unwrap).collect()
    };
    let environment = Environment::from(all(ENV_EXAMPLE).into_iter().collect::<BTreeMap<_, _>>());
    let loaded = load(Some(Path::new("config/gateway.toml")), &environment).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, []);
    let mut variables = all(&text);
    variables.push(("API_KEYS".to_owned(), "a".to_owned()));
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert!(variables.len() > environment.variables.len() + 1);
    let config = load_text("", &variables).unwrap().config;
    assert_eq!(config.admin.token, Secret::new("change-me"));
    assert_eq!(config.providers["ollama"].max_concurrency, MaxConcurrency::Fixed(8));
}

#[test]
fn the_effective_configuration_shows_everything_but_secrets() {
    let text = "[admin]\ntoken = 'sk-planted-1'\n[[keys]]\nname = 'a'\nkey = 'sk-planted-2'\n\
                [[keys]]\nname = 'b'\nenv = 'B'\n[providers.ollama]\napi_key = 'sk-planted-3'\n\
                headers = { X-A = 'sk-planted-6' }\nheaders_env = { X-B = 'C' }\n";
    let variables = [("B", "sk-planted-4"), ("API_KEYS", "sk-planted-5"), ("C", "sk-planted-7")];
    let loaded = load_text(text, &variables).unwrap();
    let shown = effective(&loaded.config);
    assert!(!shown.contains("planted"), "{shown}");
    assert!(!format!("{loaded:?}").contains("planted"));
    assert_eq!(shown.matches("\"***\"").count(), 7, "{shown}");
    let read: Config = toml::from_str(&shown).unwrap();
    assert_eq!(read.providers["ollama"].timeouts, loaded.config.providers["ollama"].timeouts);
    assert_eq!(read.server, loaded.config.server);
}
