//! The precedence of environment over file over defaults, and the values that follow from others.

use super::{load_text, warnings};
use crate::config::{Config, Origin, effective};
use crate::limit::settings::RateSettings;
use crate::policy::{Priority, Trust};
use crate::provider::settings::{BackendName, KeepAlive, ModelSettings};
use crate::redis::settings::RedisUrl;
use crate::secret::Secret;
use std::time::Duration;

fn config(text: &str, variables: &[(&str, &str)]) -> Config {
    load_text(text, variables).unwrap().config
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let text = "[server]\nworkers = 2\ndrain = '5s'\n";
    let config = config(text, &[("LLM_GATEWAY__SERVER__WORKERS", "3")]);
    assert_eq!(config.server.workers, 3);
    assert_eq!(config.server.drain, Duration::from_secs(5));
    assert_eq!(config.server.max_body, 16 << 20);
}

#[test]
fn a_long_name_wins_over_a_short_one() {
    let variables = [
        ("PORT", "1"),
        ("LLM_GATEWAY__SERVER__LISTEN", "127.0.0.1:2"),
        ("PROVIDER_MAX_RETRIES", "3"),
        ("LLM_GATEWAY__PROVIDERS__OLLAMA__RETRY__MAX_RETRIES", "4"),
    ];
    let config = config("[providers.ollama]\n[providers.b]\nbackend = 'ollama'\n", &variables);
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.providers["ollama"].retry.max_retries, 4);
    assert_eq!(config.providers["b"].retry.max_retries, 3);
}

#[test]
fn the_short_names_of_the_original_service_still_work() {
    let variables = [
        ("PORT", "9000"),
        ("API_KEYS", " one, two ,,"),
        ("OLLAMA_BASE_URL", "http://gpu:11434"),
        ("PROVIDER_TIMEOUT_SECONDS", "2.5"),
        ("PROVIDER_MAX_RETRIES", "0"),
    ];
    let config = config("[server]\nlisten = '127.0.0.2:1'\n", &variables);
    assert_eq!(config.server.listen.to_string(), "127.0.0.2:9000");
    let keys: Vec<_> = config.keys.iter().map(|key| (key.name.as_str(), key.key.clone())).collect();
    let secret = |text: &str| Some(Secret::new(text));
    assert_eq!(keys, [("env-1", secret("one")), ("env-2", secret("two"))]);
    let ollama = &config.providers["ollama"];
    assert_eq!(ollama.base_url, "http://gpu:11434");
    assert_eq!(ollama.timeouts.total, Duration::from_millis(2500));
    assert_eq!(ollama.timeouts.connect, Duration::from_millis(2500));
    assert_eq!(ollama.first_event(), Duration::from_millis(2500));
    assert_eq!(ollama.retry.max_retries, 0);
}

#[test]
fn ollamas_list_of_origins_is_added_to_the_files_or_to_the_default_one() {
    let origins = |text: &str, variables: &[(&str, &str)]| {
        let origins = config(text, variables).server.cors.origins;
        origins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let file = "[server.cors]\norigins = ['https://a.example']\n";
    let short = ("OLLAMA_ORIGINS", "HTTPS://b.example, chrome-extension://* ,");
    assert_eq!(origins("", &[]), "default");
    assert_eq!(origins(file, &[]), "https://a.example");
    assert_eq!(origins("", &[short]), "default https://b.example chrome-extension://*");
    assert_eq!(origins(file, &[short]), "https://a.example https://b.example chrome-extension://*");
    let long = ("LLM_GATEWAY__SERVER__CORS__ORIGINS", "['*']");
    assert_eq!(origins(file, &[short, long]), "*");
    assert_eq!(origins("[server.cors]\norigins = []\n", &[]), "");
}

#[test]
fn a_total_timeout_from_the_environment_shortens_the_steps_in_the_file() {
    let text = "[providers.ollama]\ntimeouts = { connect = '9s', first_event = '99s' }\n";
    let config = config(text, &[("PROVIDER_TIMEOUT_SECONDS", "7")]);
    let seven = Duration::from_secs(7);
    assert_eq!(config.providers["ollama"].timeouts.connect, seven);
    assert_eq!(config.providers["ollama"].timeouts.first_event, Some(seven));
}

#[test]
fn the_address_of_redis_comes_from_either_name_and_is_shown_without_its_password() {
    let short = ("REDIS_URL", "redis://:sk-planted@cache:6379/1");
    let loaded = load_text("[redis]\nurl = 'redis://other'\n", &[short]).unwrap();
    assert_eq!(loaded.config.redis.url, RedisUrl::new(short.1));
    assert_eq!(loaded.warnings, []);
    let shown = effective(&loaded.config);
    assert!(shown.contains(r#"url = "redis://:***@cache:6379/1""#), "{shown}");
    let long = ("LLM_GATEWAY__REDIS__URL", "rediss://elsewhere");
    assert_eq!(config("", &[short, long]).redis.url, RedisUrl::new(long.1));
}

#[test]
fn a_rate_from_the_environment_applies_to_every_key_without_its_own() {
    let text = "[[keys]]\nname = 'a'\nkey = 'k'\n[[keys]]\nname = 'b'\nkey = 'l'\n\
                rate = { capacity = 9 }\n";
    let variables = [("RATE_LIMITER_CAPACITY", "5.0"), ("RATE_LIMITER_REFILL_RATE", "1.5")];
    let config = config(text, &variables);
    let rate = |capacity, refill_per_second| Some(RateSettings { capacity, refill_per_second });
    assert_eq!(config.auth.rate, rate(5, 1.5));
    assert_eq!((config.keys[0].rate, config.keys[1].rate), (None, rate(9, 1.0)));
    let alone = self::config("", &[("RATE_LIMITER_REFILL_RATE", "2")]);
    assert_eq!(alone.auth.rate, rate(60, 2.0));
    let long = ("LLM_GATEWAY__AUTH__RATE__CAPACITY", "7");
    assert_eq!(self::config("", &[long, variables[0]]).auth.rate, rate(7, 1.0));
}

#[test]
fn the_old_name_of_the_ttl_counts_seconds_and_the_long_name_overrides_it() {
    let file = "[cache]\nttl = '1h'\n";
    let ttl = |variables: &[(&str, &str)]| config(file, variables).cache.ttl;
    assert_eq!(ttl(&[("CACHE_TTL_SECONDS", "90")]), Duration::from_secs(90));
    assert_eq!(ttl(&[("CACHE_TTL_SECONDS", "0.25")]), Duration::from_millis(250));
    assert_eq!(ttl(&[("CACHE_TTL_SECONDS", "0")]), Duration::ZERO);
    let both = [("CACHE_TTL_SECONDS", "90"), ("LLM_GATEWAY__CACHE__TTL", "5m")];
    assert_eq!(ttl(&both), Duration::from_secs(300));
}

#[test]
fn a_key_for_gemini_adds_the_provider() {
    let config = config("", &[("GEMINI_API_KEY", "sk-g"), ("PROVIDER_MAX_RETRIES", "1")]);
    let gemini = &config.providers["gemini"];
    assert_eq!(gemini.backend, BackendName::Gemini);
    assert_eq!((gemini.api_key.expose(), gemini.retry.max_retries), ("sk-g", 1));
    assert_eq!(config.providers.keys().collect::<Vec<_>>(), ["ollama", "gemini"]);
    assert_eq!(config.hints["online"], ["gemini"]);
    assert_eq!(config.hints["local"], ["ollama"]);
}

#[test]
fn a_key_for_gemini_in_the_file_stays() {
    let text = "[providers.gemini]\napi_key_env = 'OWN'\nmax_queue = 3\n";
    let with_own = [("GEMINI_API_KEY", "sk-g"), ("OWN", "sk-own")];
    let gemini = config(text, &with_own).providers["gemini"].clone();
    assert_eq!((gemini.api_key.expose(), gemini.max_queue), ("sk-own", 3));
    let text = "[providers.gemini]\nmax_queue = 3\n";
    let gemini = config(text, &with_own).providers["gemini"].clone();
    assert_eq!((gemini.api_key.expose(), gemini.max_queue), ("sk-g", 3));
}

#[test]
fn unrelated_and_empty_variables_change_nothing() {
    let variables = [
        ("LLM_GATEWAY_PORT", "tcp://10.0.0.1:8000"),
        ("LLM_GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("PORT", ""),
        ("API_KEYS", " "),
        ("HOME", "/root"),
    ];
    let loaded = load_text("", &variables).unwrap();
    assert_eq!((loaded.config, loaded.warnings), (Config::default(), Vec::new()));
}

#[test]
fn a_variables_value_is_read_as_the_wanted_type() {
    let variables = [
        ("LLM_GATEWAY__ADMIN__TOKEN", "12345"),
        ("LLM_GATEWAY__PROVIDERS__OLLAMA__DEFAULT_MODEL", "true"),
        ("LLM_GATEWAY__PROVIDERS__OLLAMA__MODELS", r#"["a", "b*"]"#),
        ("LLM_GATEWAY__SERVER__DRAIN", "\"9s\""),
        ("LLM_GATEWAY__LOG__PROMPTS", "true"),
        ("LLM_GATEWAY__KEYS", r#"[{ name = "k", key = "s", priority = "batch" }]"#),
        ("LLM_GATEWAY__PROVIDERS__OLLAMA__TIMEOUTS", "{ connect = '1s', total = '9s' }"),
    ];
    let text = "[providers.ollama]\ntimeouts = { connect = '2s', idle = '3s' }\n";
    let config = config(text, &variables);
    assert_eq!(config.admin.token, Secret::new("12345"));
    let ollama = &config.providers["ollama"];
    assert_eq!(ollama.default_model, "true");
    assert_eq!(ollama.models.globs(), ["a", "b*"]);
    assert_eq!(config.server.drain, Duration::from_secs(9));
    assert!(config.log.prompts);
    assert_eq!(config.keys[0].priority, Priority::Batch);
    let seconds = [ollama.timeouts.connect, ollama.idle(), ollama.timeouts.total];
    assert_eq!(seconds.map(|duration| duration.as_secs()), [1, 3, 9]);
}

#[test]
fn a_variable_matches_names_with_capitals_and_dashes_and_adds_new_ones() {
    let text = "[providers.Big-Box]\nbackend = 'ollama'\n";
    let variables = [
        ("LLM_GATEWAY__PROVIDERS__BIG_BOX__MAX_QUEUE", "1"),
        ("LLM_GATEWAY__PROVIDERS__OLLAMA__MAX_QUEUE", "2"),
    ];
    let config = config(text, &variables);
    assert_eq!(config.providers.keys().collect::<Vec<_>>(), ["Big-Box", "ollama"]);
    assert_eq!(config.providers["Big-Box"].max_queue, 1);
    assert_eq!(config.providers["ollama"].max_queue, 2);
}

#[test]
fn providers_keep_the_order_of_the_file() {
    let text = "[providers.z]\nbackend = 'ollama'\n[providers.a]\nbackend = 'ollama'\n\
                [providers.m]\nbackend = 'ollama'\n";
    assert_eq!(config(text, &[]).providers.keys().collect::<Vec<_>>(), ["z", "a", "m"]);
}

#[test]
fn the_files_providers_replace_the_built_in_one_also_in_hints() {
    let text = "[providers.box]\nbackend = 'ollama'\n[hints]\nmine = ['box']\nlocal = ['box']\n";
    let config = config(text, &[]);
    assert_eq!(config.providers.keys().collect::<Vec<_>>(), ["box"]);
    assert_eq!(config.default.providers, Vec::<String>::new());
    assert_eq!(config.hints["mine"], ["box"]);
    assert_eq!(config.hints["local"], ["box"]);
    assert_eq!(config.hints["secure"], Vec::<String>::new());
    assert_eq!(config.hints.len(), 7);
}

#[test]
fn a_cloud_provider_has_other_defaults_and_no_built_in_local_hint() {
    let config = config("[providers.ollama]\ntrust = 'cloud'\n", &[]);
    let ollama = &config.providers["ollama"];
    assert_eq!(ollama.trust(), Trust::Cloud);
    assert_eq!(ollama.timeouts.first_event, Some(Duration::from_secs(60)));
    assert_eq!(config.hints["secure"], Vec::<String>::new());
    assert_eq!(config.hints["ollama"], ["ollama"]);
}

#[test]
fn keys_are_read_from_the_variables_that_hold_them() {
    let text = "[[keys]]\nname = 'a'\nenv = 'A'\n[providers.ollama]\napi_key_env = 'P'\n";
    let loaded = load_text(text, &[("A", "sk-a "), ("P", "sk-p")]).unwrap();
    assert_eq!(loaded.config.keys[0].key, Some(Secret::new("sk-a")));
    assert!(loaded.config.keys[0].digest().is_some());
    assert_eq!(loaded.config.providers["ollama"].api_key, Secret::new("sk-p"));
    assert_eq!(loaded.warnings, []);
}

#[test]
fn keys_in_a_file_cause_a_warning_and_keys_in_variables_do_not() {
    let text = "[[keys]]\nname = 'a'\nkey = 'sk-a'\n[providers.ollama]\napi_key = 'sk-p'\n";
    let loaded = load_text(text, &[("API_KEYS", "sk-b")]).unwrap();
    let lines: Vec<_> = loaded.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(lines, ["keys[0].key", "providers.ollama.api_key"]);
    assert!(matches!(loaded.warnings[0].origin, Origin::File { line: 3, .. }));
    let variable = [("LLM_GATEWAY__PROVIDERS__OLLAMA__API_KEY", "sk-q")];
    let loaded = load_text("[providers.ollama]\napi_key_env = 'P'\n", &variable).unwrap();
    assert_eq!(loaded.config.providers["ollama"].api_key, Secret::new("sk-q"));
    assert_eq!(loaded.warnings, []);
}

#[test]
fn an_address_with_a_path_that_the_gateway_adds_itself_causes_a_warning() {
    for (backend, url, meant) in [
        ("ollama", "http://localhost:11434/v1", Some("http://localhost:11434")),
        ("ollama", "http://localhost:11434/v1/", Some("http://localhost:11434")),
        ("ollama", "http://localhost:11434/api", Some("http://localhost:11434")),
        ("ollama", "http://host/ollama", None),
        ("ollama", "http://localhost:11434", None),
        ("anthropic", "https://host/anthropic/v1", Some("https://host/anthropic")),
        ("gemini", "https://host/v1beta", Some("https://host")),
        ("openai", "https://host/v1/chat/completions", Some("https://host/v1")),
        ("openai", "https://host/v1", None),
    ] {
        let text = format!(
            "[providers.p]\nbackend = '{backend}'\nbase_url = '{url}'\n\
                            default_model = 'm'\n[default]\nproviders = ['p']\n"
        );
        let loaded = load_text(&text, &[]).unwrap();
        let told = warnings(&loaded);
        match meant {
            None => assert_eq!(told, "", "{url}"),
            Some(meant) => {
                assert!(told.contains("providers.p.base_url") && told.ends_with(meant), "{told}");
            }
        }
    }
}

#[test]
fn listeners_beyond_loopback_are_accepted_with_keys_and_a_token() {
    let open = "[server]\nlisten = '0.0.0.0:8000'\n[admin]\nlisten = '[::]:9901'\ntoken = 't'\n";
    assert_eq!(config(open, &[("API_KEYS", "a")]).keys.len(), 1);
    assert!(config(&format!("{open}[auth]\nanonymous = true\n"), &[]).auth.anonymous);
    config("[server]\nlisten = '127.0.0.9:0'\n[admin]\nlisten = '[::1]:0'\n", &[]);
}

#[test]
fn an_ollama_address_without_such_a_provider_causes_a_warning() {
    let text = "[providers.box]\nbackend = 'ollama'\n";
    let loaded = load_text(text, &[("OLLAMA_BASE_URL", "http://gpu:1")]).unwrap();
    let line = "environment: OLLAMA_BASE_URL: has no effect: no provider is named `ollama`";
    assert_eq!(warnings(&loaded), line);
}

#[test]
fn settings_without_effect_or_easily_leaked_cause_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    std::fs::write(&file, authority.pem()).unwrap();
    let text = format!(
        "[providers.ollama]\ntls = {{ ca_file = '{}' }}\nheaders = {{ X-Token = 'a', X-Team = 'b' }}\n",
        file.display()
    );
    let warnings = super::warnings(&load_text(&text, &[]).unwrap());
    assert_eq!(warnings.lines().count(), 2, "{warnings}");
    assert!(warnings.contains("providers.ollama.tls: has no effect"), "{warnings}");
    assert!(warnings.contains("providers.ollama.headers.X-Token: a secret in a"), "{warnings}");
}

#[test]
fn variables_change_the_settings_of_single_models() {
    let text = "[providers.ollama.models.'qwen3-coder']\nnum_ctx = 4096\npin = true\n";
    let variables = [
        ("LLM_GATEWAY__PROVIDERS__OLLAMA__MODELS__QWEN3_CODER__NUM_CTX", "8192"),
        ("LLM_GATEWAY__PROVIDERS__OLLAMA__MODELS__LLAMA__KEEP_ALIVE", "600"),
    ];
    let config = config(text, &variables);
    let models = &config.providers["ollama"].models;
    let of = |model: &str| models.of(model, crate::chat::Naming::Tagged).cloned().unwrap();
    let expected = ModelSettings { num_ctx: Some(8192), pin: Some(true), ..Default::default() };
    assert_eq!(of("qwen3-coder:latest"), expected);
    assert_eq!(of("llama").keep_alive, Some(KeepAlive::Seconds(600)));
    let shown = effective(&config);
    let read: Config = toml::from_str(&shown).unwrap();
    assert_eq!(read.providers["ollama"].models, *models);
}

#[test]
fn models_are_loaded_in_advance_only_where_loads_are_scheduled() {
    let text = "[providers.ollama]\npreload = ['a']\nscheduling = 'fair'\n";
    let loaded = load_text(text, &[]).unwrap();
    assert!(warnings(&loaded).contains("providers.ollama.preload: has no effect"));
    assert_eq!(loaded.warnings.len(), 1);
    let vendor = "[providers.anthropic]\nscheduling = 'warm'\n";
    let loaded = load_text(vendor, &[]).unwrap();
    assert!(warnings(&loaded).contains("providers.anthropic.scheduling: has no effect"));
    let loaded = load_text("[providers.ollama]\npreload = ['a']\n", &[]).unwrap();
    assert_eq!((warnings(&loaded).as_str(), loaded.warnings.len()), ("", 0));
}

#[test]
fn variables_with_names_that_were_probably_meant_otherwise_are_named() {
    let warned =
        |text: &str, variables: &[(&str, &str)]| warnings(&load_text(text, variables).unwrap());
    let key = ("API_KEY", "sk-planted");
    let said = "environment: API_KEY: is not read, and no key is needed: write API_KEYS";
    assert_eq!(warned("", &[key]), said);
    assert!(!warned("", &[key, ("API_KEYS", "sk-planted")]).contains("API_KEY: is not read"));
    assert_eq!(warned("[[keys]]\nname = 'a'\nenv = 'API_KEY'\n", &[key]), "");
    let of_provider = "[providers.openai]\napi_key_env = 'API_KEY'\n";
    assert_eq!(warned(of_provider, &[key]), "");
    for (name, meant) in [
        ("LLM_GATEWAY_SERVER_LISTEN", "LLM_GATEWAY__SERVER__LISTEN"),
        ("LLM_GATEWAY_SERVER__DRAIN", "LLM_GATEWAY__SERVER__DRAIN"),
        ("LLM_GATEWAY_ADMIN_TOKEN", "LLM_GATEWAY__ADMIN__TOKEN"),
    ] {
        let said = warned("", &[(name, "planted")]);
        let right =
            format!("environment: {name}: is not read: write {meant}, with two underscores");
        assert_eq!(said, right);
    }
    for name in [
        "LLM_GATEWAY_SERVICE_HOST",
        "LLM_GATEWAY_PORT",
        "LLM_GATEWAY_PORT_8000_TCP_ADDR",
        "LLM_GATEWAY_REDIS_SERVICE_PORT_REDIS",
        "LLM_GATEWAY_REDIS_PORT_6379_TCP",
        "LLM_GATEWAY_ADMIN_SERVICE_HOST",
        "LLM_GATEWAY_VERSION",
        "LLM_GATEWAY_CONFIG",
    ] {
        assert_eq!(warned("", &[(name, "")]), "", "{name}");
    }
}
