//! Lists of models, in every vendor's form, and which key may see which.

mod details;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{ask, get, post_json, post_json_with};
use crate::harness::{Config, Key, Provider, Route, Target, spawn_gateway};
use crate::upstream::{Script, Upstream, ollama, refusing, silent};

/// An OpenAI-like provider that lists these models and answers nothing else.
fn listing(models: &'static [&'static str]) -> Upstream {
    Upstream::spawn_whole(move |call| {
        let entry =
            |id: &&str| json!({ "id": id, "object": "model", "created": 7, "owned_by": "o" });
        match (call.method.as_str(), call.path.as_str()) {
            ("GET", "/v1/models") => Script::json(
                200,
                &json!({ "object": "list", "data": models.iter().map(entry).collect::<Vec<_>>() }),
            ),
            _ => Script::status(404),
        }
    })
}

fn names(list: &Value, key: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one[key].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_lists_of_all_providers_are_one_list_in_every_form() {
    let (local, cloud) = (Upstream::ollama(), listing(&["gpt-a", "org/gpt-b"]));
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::ollama(&local).models(["llama*"]))
            .provider(Provider::openai("cloud", &cloud).models(["gpt-*", "org/*"]))
            .route(Route::new("fast", [Target::new("ollama", "llama3.1")])),
    )
    .await;
    let all = ["llama3.1", "gpt-a", "org/gpt-b", "fast"];
    let list = get(&gateway.url("/v1/models")).await.json();
    assert_eq!(names(&list["data"], "id"), all);
    assert_eq!(list["data"][1]["owned_by"], "o");
    let version = [("anthropic-version", "2023-06-01")];
    let anthropic = ask("GET", &gateway.url("/v1/models"), &version).await;
    assert!(anthropic.header("request-id").is_some());
    let anthropic = anthropic.json();
    assert_eq!(names(&anthropic["data"], "id"), all);
    assert_eq!((&anthropic["has_more"], &anthropic["last_id"]), (&json!(false), &json!("fast")));
    assert_eq!(anthropic["data"][1]["created_at"], "1970-01-01T00:00:07Z");
    let tags = get(&gateway.url("/api/tags")).await.json();
    assert_eq!(names(&tags["models"], "model"), all);
    assert_eq!(tags["models"][0]["details"]["family"], "llama");
    assert_eq!(tags["models"][3]["details"]["family"], "llama", "an alias is what it stands for");
    assert_eq!(get(&gateway.url("/api/ps")).await.json(), json!({ "models": [] }));
    for path in ["org/gpt-b", "org%2Fgpt-b", "cloud%2Forg/gpt-b", "llama3.1:latest", "fast"] {
        let one = get(&gateway.url(&format!("/v1/models/{path}"))).await;
        assert_eq!(one.status, 200, "{path}: {}", one.text());
        assert_eq!(one.json()["id"], path.replace("%2F", "/"));
    }
    let none = get(&gateway.url("/v1/models/nothing")).await;
    assert_eq!((none.status, &none.json()["error"]["code"]), (404, &json!("model_not_found")));
    gateway.end(10).await;
}

#[tokio::test]
async fn a_key_sees_what_it_may_use_and_a_local_request_what_is_local() {
    let (local, cloud) = (Upstream::ollama(), listing(&["gpt-a", "gpt-b"]));
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::ollama(&local).models(["llama*"]))
            .provider(Provider::openai("cloud", &cloud).models(["gpt-*"]))
            .key(Key::new("all").key("k-all"))
            .key(Key::new("some").key("k-some").models(["gpt-a"]))
            .key(Key::new("home").key("k-home").providers(["ollama"])),
    )
    .await;
    let url = gateway.url("/v1/models");
    for (key, policy, seen) in [
        ("k-all", None, &["llama3.1", "gpt-a", "gpt-b"][..]),
        ("k-some", None, &["gpt-a"]),
        ("k-home", None, &["llama3.1"]),
        ("k-all", Some("local"), &["llama3.1"]),
    ] {
        let mut headers = vec![("x-api-key", key)];
        headers.extend(policy.map(|policy| ("x-gateway-data-policy", policy)));
        assert_eq!(names(&ask("GET", &url, &headers).await.json()["data"], "id"), seen, "{key}");
    }
    let hidden = gateway.url("/v1/models/gpt-b");
    assert_eq!(ask("GET", &hidden, &[("x-api-key", "k-some")]).await.status, 404);
    assert_eq!(get(&url).await.status, 401);
    let tags = get(&gateway.url("/api/tags")).await;
    assert_eq!((tags.status, tags.json()["error"].is_string()), (401, true));
    gateway.end(7).await;
}

#[tokio::test]
async fn a_key_for_a_bare_name_may_use_the_model_that_ollama_lists_as_latest() {
    let upstream = Upstream::spawn_whole(|call| match call.path.as_str() {
        "/api/tags" => {
            let names = ["mistral:latest", "mistral:7b", "mistral-nemo:latest"];
            Script::json(200, &json!({ "models": names.map(|name| json!({ "name": name })) }))
        }
        _ => ollama::reply(call),
    });
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::ollama(&upstream))
            .key(Key::new("narrow").key("k").models(["mistral"])),
    )
    .await;
    let key = [("x-api-key", "k")];
    let tags = ask("GET", &gateway.url("/api/tags"), &key).await.json();
    assert_eq!(names(&tags["models"], "name"), ["mistral:latest"]);
    for (model, status) in
        [("mistral", 200), ("mistral:latest", 200), ("mistral:7b", 403), ("mistral-nemo", 403)]
    {
        let body = json!({ "model": model, "stream": false,
            "messages": [{ "role": "user", "content": "hi" }] });
        let answer = post_json_with(&gateway.url("/api/chat"), &key, &body).await;
        assert_eq!(answer.status, status, "{model}: {}", answer.text());
    }
    gateway.end(5).await;
}

#[tokio::test]
async fn providers_that_do_not_answer_delay_no_request() {
    let alive = Upstream::ollama();
    let (refusing, silent) = (refusing(), silent());
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::ollama(&alive).models(["llama*"]))
            .provider(Provider::new("gone", "openai", refusing.url()).models(["gone-1"]))
            .provider(Provider::new("mute", "openai", silent.url()).models(["mute-*"])),
    )
    .await;
    let began = Instant::now();
    let list = get(&gateway.url("/v1/models")).await.json();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // Models that the operator named are listed although no provider could be asked.
    assert_eq!(names(&list["data"], "id"), ["llama3.1", "gone-1"]);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_list_is_asked_for_once_in_a_while() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    for _ in 0..20 {
        assert_eq!(get(&gateway.url("/api/tags")).await.status, 200);
    }
    let asked = upstream.questions_so_far().len();
    assert!((1..20).contains(&asked), "{asked} questions for 20 requests");
    gateway.end(20).await;
}

#[tokio::test]
async fn a_model_is_shown_by_the_ollama_that_has_it() {
    let (local, cloud) = (Upstream::ollama(), listing(&["gpt-a"]));
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::ollama(&local).models(["llama*"]))
            .provider(Provider::openai("cloud", &cloud).models(["gpt-*"])),
    )
    .await;
    for key in ["model", "name"] {
        let shown = post_json(&gateway.url("/api/show"), &json!({ key: "llama3.1" })).await;
        assert_eq!(shown.status, 200, "{}", shown.text());
        assert_eq!(shown.json()["capabilities"][0], "completion");
        assert_eq!(shown.header("x-gateway-provider"), Some("ollama"));
    }
    // A start asks for its list.
    assert!(cloud.calls_so_far().iter().all(|call| call.path.ends_with("/models")));
    gateway.end(2).await;
}

/// An Ollama with one model, and an OpenAI-like provider that describes its own more or less.
fn telling() -> [Upstream; 2] {
    let local = Upstream::spawn_whole(|call| match call.path.as_str() {
        "/api/tags" => Script::json(200, &json!({ "models": [{ "name": "llama3.1" }] })),
        _ => Script::json(404, &json!({ "error": "model 'nothing' not found" })),
    });
    let cloud = Upstream::spawn_whole(|_| {
        Script::json(
            200,
            &json!({ "data": [
                { "id": "gpt-a", "max_model_len": 32768 },
                { "id": "gpt-b", "context_length": 8192, "architecture": { "input_modalities": ["text", "image"] } },
                { "id": "gpt-c" }, { "id": "gpt-embed" },
            ] }),
        )
    });
    [local, cloud]
}

#[tokio::test]
async fn a_model_that_no_ollama_has_is_described_as_far_as_it_is_known() {
    let [local, cloud] = telling();
    let info = toml::toml! {
        "gpt-c*" = { context = 1000, capabilities = ["completion", "vision", "thinking"] }
    };
    let config = Config::new()
        .provider(Provider::ollama(&local).models(["llama*"]))
        .provider(Provider::openai("cloud", &cloud).models(["gpt-*"]).models_info(info))
        .route(Route::new("short", [Target::new("cloud", "gpt-a").context(4096)]))
        .key(Key::new("all").key("k"))
        .key(Key::new("home").key("h").providers(["ollama"]));
    let gateway = spawn_gateway(config).await;
    let headers = [("x-api-key", "k")];
    let (chat, sees) = (json!(["completion", "tools"]), json!(["completion", "tools", "vision"]));
    for (model, context, can) in [
        ("gpt-a", json!(32768), chat.clone()),
        ("cloud/gpt-a", json!(32768), chat.clone()),
        ("short", json!(4096), chat),
        ("gpt-b", json!(8192), sees),
        ("gpt-c", json!(1000), json!(["completion", "vision", "thinking"])),
        ("gpt-embed", Value::Null, json!(["embedding"])),
    ] {
        let url = gateway.url("/api/show");
        let shown = post_json_with(&url, &headers, &json!({ "model": model })).await;
        assert_eq!(shown.status, 200, "{}", shown.text());
        let shown = shown.json();
        assert_eq!(shown["capabilities"], can, "{model}");
        assert_eq!(shown["model_info"]["general.architecture"], "cloud");
        assert_eq!(shown["model_info"]["general.basename"], model);
        let told = shown["model_info"].get("cloud.context_length").unwrap_or(&Value::Null);
        assert_eq!(*told, context, "{model}");
        assert!(shown["details"].is_object() && shown["modified_at"].is_string());
        let one = ask("GET", &gateway.url(&format!("/v1/models/{model}")), &headers).await.json();
        for key in ["context_length", "max_model_len"] {
            assert_eq!(one.get(key).unwrap_or(&Value::Null), &context, "{model}");
        }
    }
    // Nothing is made up about a model without a description.
    let list = ask("GET", &gateway.url("/v1/models"), &headers).await.json();
    let find = |id: &str| list["data"].as_array().unwrap().iter().find(|one| one["id"] == id);
    assert_eq!(find("gpt-embed").unwrap().as_object().unwrap().len(), 4);
    assert_eq!(find("gpt-b").unwrap()["capabilities"], json!(["completion", "tools", "vision"]));
    let shown = async |key: &'static str, policy: Option<&'static str>, model: &str| {
        let mut headers = vec![("x-api-key", key)];
        headers.extend(policy.map(|policy| ("x-gateway-data-policy", policy)));
        post_json_with(&gateway.url("/api/show"), &headers, &json!({ "model": model })).await.status
    };
    assert_eq!(shown("k", None, "nothing").await, 404);
    assert_ne!(shown("h", None, "gpt-a").await, 200, "hidden from this key");
    assert_ne!(shown("k", Some("local"), "gpt-a").await, 200, "hidden from a local request");
    assert!(cloud.calls_so_far().iter().all(|call| call.path == "/v1/models"));
    gateway.end(16).await;
}

#[tokio::test]
async fn models_are_not_managed_here() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    for path in ["pull", "push", "create", "copy", "blobs/sha256:0"] {
        let url = gateway.url(&format!("/api/{path}"));
        let refused = post_json(&url, &json!({ "model": "llama3.1" })).await;
        assert_eq!((refused.status, refused.json()["error"].is_string()), (403, true), "{path}");
    }
    assert_eq!(ask("DELETE", &gateway.url("/api/delete"), &[]).await.status, 403);
    assert_eq!(ask("HEAD", &gateway.url("/api/blobs/sha256:0"), &[]).await.status, 403);
    // The provider is asked only for its list of models and their descriptions.
    let questions = upstream.questions_so_far();
    assert!(
        upstream.calls_so_far().is_empty()
            && questions.iter().all(|one| ["/api/tags", "/api/show"].contains(&one.path.as_str()))
    );
    gateway.end(7).await;
}

#[tokio::test]
async fn a_client_that_installs_a_model_is_told_who_can() {
    let (local, cloud) = (Upstream::ollama(), listing(&["gpt-a"]));
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::ollama(&local))
            .provider(Provider::openai("cloud", &cloud).models(["gpt-*"]))
            .key(Key::new("all").key("k-all"))
            .key(Key::new("away").key("k-away").providers(["cloud"])),
    )
    .await;
    let said = async |key: &str, path: &str, body: Value| {
        let refused = post_json_with(&gateway.url(path), &[("x-api-key", key)], &body).await;
        assert_eq!(refused.status, 403, "{path} {body}");
        refused.json()["error"].as_str().unwrap().to_owned()
    };
    // What `ollama run` requests after a 404, in the form of either of its versions.
    for body in [
        json!({ "model": "nosuch", "name": "", "stream": null }),
        json!({ "name": "nosuch", "stream": true }),
    ] {
        let told = said("k-all", "/api/pull", body).await;
        for words in ["no provider here has the model `nosuch`", "`ollama`", "`ollama pull nosuch`"]
        {
            assert!(told.contains(words), "{told}");
        }
    }
    let told = said("k-away", "/api/pull", json!({ "model": "llama3.1" })).await;
    assert!(told.contains("`llama3.1`") && !told.contains("`ollama`"), "hidden from it: {told}");
    let told =
        said("k-all", "/api/copy", json!({ "source": "llama3.1", "destination": "x" })).await;
    assert!(told.contains("the provider of `llama3.1`"), "{told}");
    for odd in [json!([1]), json!({ "model": 7 }), json!({ "model": "" }), json!({})] {
        assert!(said("k-all", "/api/pull", odd).await.ends_with("ask whoever runs the provider"));
    }
    let large = json!({ "model": "x".repeat(1 << 20) });
    assert!(said("k-all", "/api/create", large).await.ends_with("ask whoever runs the provider"));
    let unknown = post_json(&gateway.url("/api/pull"), &json!({ "model": "gpt-a" })).await;
    assert_eq!(unknown.status, 401);
    gateway.end(10).await;
}

#[tokio::test]
async fn liveness_is_ollama_s_own_and_needs_no_key() {
    let upstream = Upstream::ollama();
    let config = Config::new().provider(Provider::ollama(&upstream)).key(Key::new("a").key("k"));
    let gateway = spawn_gateway(&config).await;
    let alive = get(&gateway.url("/")).await;
    assert_eq!((alive.status, alive.text().as_str()), (200, "Ollama is running"));
    assert_eq!(ask("HEAD", &gateway.url("/"), &[]).await.status, 200);
    assert!(get(&gateway.url("/api/version")).await.json()["version"].is_string());
    let url = gateway.url("/v1/messages/count_tokens");
    let body = json!({ "model": "llama3.1", "messages": [{ "role": "user", "content": "hello" }] });
    let counted = post_json_with(&url, &[("x-api-key", "k")], &body).await;
    assert_eq!(counted.status, 200, "{}", counted.text());
    assert!(counted.json()["input_tokens"].as_u64().unwrap() > 0);
    assert_eq!(counted.header("x-gateway-estimate"), Some("true"));
    assert_eq!(counted.header("x-gateway-attempts"), Some("0"));
    assert!(upstream.calls_so_far().is_empty());
    gateway.end(1).await;
}

#[tokio::test]
async fn lists_keep_the_order_of_their_provider_and_providers_that_of_the_file() {
    let first = Upstream::spawn_whole(|_| {
        let names = ["zeta:7b", "alpha:latest", "mid:1b"];
        Script::json(200, &json!({ "models": names.map(|name| json!({ "name": name })) }))
    });
    let second = Upstream::spawn_whole(|_| {
        let names = ["zz", "aa"];
        Script::json(200, &json!({ "models": names.map(|name| json!({ "name": name })) }))
    });
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::ollama(&first).name("zebra").default_model("zeta:7b"))
            .provider(Provider::ollama(&second).name("ant").default_model("zz")),
    )
    .await;
    let expected = ["zeta:7b", "alpha:latest", "mid:1b", "zz", "aa"];
    let bare = |names: Vec<String>| -> Vec<String> {
        names.iter().map(|name| name.trim_start_matches("ant/").to_owned()).collect()
    };
    let tags = get(&gateway.url("/api/tags")).await.json();
    assert_eq!(bare(names(&tags["models"], "name")), expected);
    let list = get(&gateway.url("/v1/models")).await.json();
    assert_eq!(bare(names(&list["data"], "id")), expected);
    gateway.end(2).await;
}

#[tokio::test]
async fn an_odd_entry_in_a_list_of_models_hides_no_other() {
    let shapes = |entries: Value| {
        [
            entries.clone(),
            json!({ "object": "list", "data": entries }),
            json!({ "models": entries }),
        ]
    };
    let entries = json!([{ "id": "org/a", "created": "1700000000" }, { "object": "model" }, null,
        { "id": "b", "created": 1.5, "owned_by": null }, { "id": null }, "c"]);
    for shape in shapes(entries) {
        let upstream = Upstream::spawn_whole(move |_| Script::json(200, &shape));
        let config = Provider::openai("cloud", &upstream).models(["*"]);
        let gateway = spawn_gateway(&config).await;
        let list = get(&gateway.url("/v1/models")).await.json();
        assert_eq!(names(&list["data"], "id"), ["org/a", "b", "c"]);
        assert_eq!(list["data"][0]["created"], 1_700_000_000);
        gateway.end(1).await;
    }
}
