//! From one provider to the next: when a request falls back, when it never does, and which provider
//! the answer names.

use serde_json::{Value, json};

use crate::client::{Answer, chat, post_json, post_json_with};
use crate::crowd::{chat_with, send, shows, waiting};
use crate::harness::{Config, Gateway, Provider, Route, Target, Timeouts, spawn_gateway};
use crate::upstream::{Gate, Script, Upstream, ollama, openai, refusing};

/// A chat with the route `chat`.
fn asked() -> Value {
    let mut body = chat("hi");
    body["model"] = "chat".into();
    body
}

async fn ask(gateway: &Gateway) -> Answer {
    post_json(&gateway.url("/v1/chat"), &asked()).await
}

/// Two Ollama providers behind the route `chat`: `first` and, as its fallback, `second`, each with
/// a model of its own.
async fn chain(first: Provider, second: &Upstream) -> Gateway {
    let route = Route::new("chat", [Target::new("first", "small")]);
    let config = Config::new()
        .provider(first.name("first").no_retries())
        .provider(Provider::ollama(second).name("second"))
        .route(route.fallback([Target::new("second", "other")]))
        .default_providers(["first"]);
    spawn_gateway(config).await
}

/// The names of the provider and model that answered, and the attempts.
fn served(answer: &Answer) -> (u16, Option<&str>, Option<&str>, Option<&str>) {
    let header = |name| answer.header(name);
    let attempts = header("x-gateway-attempts");
    (answer.status, header("x-gateway-provider"), header("x-gateway-model"), attempts)
}

#[tokio::test]
async fn a_failure_before_the_first_piece_is_answered_by_the_next_which_is_named_with_its_usage() {
    for failure in [
        || ollama::error(500, "broken"),
        || ollama::error(503, "busy"),
        || ollama::error(429, "slow down"),
        || ollama::error(401, "who are you"),
        Script::hang_up,
        || ollama::stream_head().cut_at(0),
        || Script::status(200).piece("<html>"),
        Script::never,
    ] {
        let (first, second) = (Upstream::spawn(move |_| failure()), Upstream::ollama());
        let timeouts = Timeouts::default().first_event("300ms");
        let gateway = chain(Provider::ollama(&first).timeouts(timeouts), &second).await;
        let answer = ask(&gateway).await;
        assert_eq!(served(&answer), (200, Some("second"), Some("other"), Some("2")));
        let body = answer.json();
        assert_eq!((&body["provider"], &body["model"]), (&json!("second"), &json!("other")));
        assert_eq!(body["usage"]["completion_tokens"], 3);
        gateway.settled().await;
        let metrics = gateway.metrics().await;
        let attempts = "llm_gateway_upstream_attempts_total";
        assert_eq!(metrics.sum(attempts, &[("outcome", "ok")]), 1.0);
        assert_eq!(metrics.sum(attempts, &[]), 2.0);
        let tokens = "llm_gateway_tokens_total";
        assert_eq!(metrics.sum(tokens, &[("provider", "first")]), 0.0, "a failure has no usage");
        assert_eq!(metrics.sum(tokens, &[("provider", "second"), ("kind", "completion")]), 3.0);
        let requests = "llm_gateway_requests_total";
        assert_eq!(metrics.sum(requests, &[("provider", "second"), ("outcome", "ok")]), 1.0);
        assert_eq!(metrics.sum(requests, &[]), 1.0);
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn a_provider_that_refuses_is_full_or_is_being_drained_falls_back() {
    let second = Upstream::ollama();
    let dead = refusing();
    let gateway = chain(Provider::new("first", "ollama", dead.url()), &second).await;
    assert_eq!(served(&ask(&gateway).await), (200, Some("second"), Some("other"), Some("2")));
    gateway.end(1).await;

    let gate = Gate::closed();
    let held = gate.clone();
    let busy = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let gateway = chain(Provider::ollama(&busy).slots(1).max_queue(1), &second).await;
    let running = send(&gateway, &[], asked());
    busy.calls(1).await;
    let queued = send(&gateway, &[], asked());
    waiting(&gateway, "first", 1).await;
    // The line is full: no call was made there, so this is the first.
    assert_eq!(served(&ask(&gateway).await), (200, Some("second"), Some("other"), Some("1")));
    assert_eq!(crate::crowd::press(&gateway, "providers/first/drain").await.status, 200);
    assert_eq!(served(&ask(&gateway).await), (200, Some("second"), Some("other"), Some("1")));
    gate.open();
    for one in [running, queued] {
        assert_eq!(one.await.unwrap().header("x-gateway-provider"), Some("first"));
    }
    gateway.end(4).await;
}

#[tokio::test]
async fn a_request_refused_for_content_or_form_goes_to_no_other_provider() {
    let filtered = json!({ "error": { "message": "content filtered", "type": "invalid_request_error",
        "code": "content_filter", "param": null } });
    let refusals = [
        Box::new(move || Script::json(400, &filtered)) as Box<dyn Fn() -> Script + Send + Sync>,
        Box::new(|| openai_error(400, "what is this")),
        Box::new(|| openai_error(413, "too large")),
        Box::new(|| openai_error(422, "what is this")),
    ];
    let (second, count) = (Upstream::ollama(), refusals.len());
    let first = Upstream::spawn(move |call| refusals[call.number]());
    let one = Provider::new("first", "openai", first.url());
    let other = Provider::ollama(&second).name("second");
    let gateway = spawn_gateway(
        Config::new()
            .provider(one)
            .provider(other)
            .route(
                Route::new("chat", [Target::new("first", "a").context(8)])
                    .fallback([Target::new("second", "b").context(9)]),
            )
            .default_providers(["first"]),
    )
    .await;
    for _ in 0..count {
        let answer = ask(&gateway).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.header("x-gateway-provider"), Some("first"), "{answer:?}");
    }
    assert_eq!((first.calls_so_far().len(), second.calls_so_far().len()), (count, 0));
    gateway.end(count).await;
}

fn openai_error(status: u16, message: &str) -> Script {
    Script::json(
        status,
        &json!({ "error": { "message": message, "type": "invalid_request_error" } }),
    )
}

/// A provider of each backend that says, in its own words, that the prompt is too long.
fn too_long(backend: &str) -> Upstream {
    let body = match backend {
        "ollama" => json!({ "error": "input is longer than the context length" }),
        "openai" => {
            json!({ "error": { "message": "This model's maximum context length is 8 tokens.",
            "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded" } })
        }
        "anthropic" => json!({ "type": "error", "error": { "type": "invalid_request_error",
            "message": "prompt is too long: 9 tokens > 8 maximum" } }),
        _ => json!({ "error": { "code": 400, "status": "INVALID_ARGUMENT", "message":
            "The input token count (9) exceeds the maximum number of tokens allowed (8)." } }),
    };
    Upstream::spawn(move |_| Script::json(400, &body))
}

#[tokio::test]
async fn a_prompt_that_is_too_long_goes_to_later_targets_unless_known_to_take_no_more() {
    for backend in ["ollama", "openai", "anthropic", "gemini"] {
        let (first, spare) = (too_long(backend), Upstream::ollama());
        let one = Provider::new("first", backend, first.url());
        let other = Provider::ollama(&spare).name("spare").models(["*"]);
        let target = |provider: &str, model: &str, context: Option<u64>| {
            let target = Target::new(provider, model);
            context.into_iter().fold(target, Target::context)
        };
        let route = |name: &str, context, fallback: &[(&str, Option<u64>)]| {
            let fallback = fallback.iter().map(|(model, context)| target("spare", model, *context));
            Route::new(name, [target("first", "small", context)])
                .fallback(fallback.collect::<Vec<_>>())
        };
        let config = Config::new()
            .provider(one)
            .provider(other)
            .route(route("larger", Some(8), &[("same", Some(8)), ("big", Some(9))]))
            .route(route("smaller", Some(8), &[("less", Some(7)), ("same", Some(8))]))
            .route(route("unsaid", None, &[("any", Some(7))]))
            .route(route("half-said", Some(8), &[("less", Some(7)), ("any", None)]))
            // A hint and the patterns name the other as well, and it is still not asked.
            .hint("both", ["first", "spare"])
            .default_providers(["first", "spare"]);
        let gateway = spawn_gateway(config).await;
        let url = gateway.url("/v1/chat");
        let mut body = chat("hi");
        for (model, ran) in [("larger", "big"), ("unsaid", "any"), ("half-said", "any")] {
            body["model"] = model.into();
            let answer = post_json(&url, &body).await;
            let expected = (200, Some("spare"), Some(ran), Some("2"));
            assert_eq!(served(&answer), expected, "{backend} {model}");
        }
        for model in ["smaller", "both"] {
            body["model"] = model.into();
            let answer = post_json_with(&url, &[], &body).await;
            let told = (answer.status, answer.json()["code"].clone());
            assert_eq!(told, (400, "context_length_exceeded".into()), "{backend} {model}");
            assert_eq!(answer.header("x-gateway-attempts"), Some("1"), "{backend} {model}");
        }
        assert_eq!((first.calls_so_far().len(), spare.calls_so_far().len()), (5, 3), "{backend}");
        gateway.end(5).await;
    }
}

#[tokio::test]
async fn a_token_limit_that_is_too_large_goes_to_no_other_provider() {
    let said = "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length \
                is 32768 tokens and your request has 17000 input tokens (32000 > 32768 - 17000).";
    for backend in ["ollama", "openai", "anthropic", "gemini"] {
        let error = json!({ "message": said, "type": "BadRequestError", "code": 400 });
        let body =
            if backend == "ollama" { json!({ "error": said }) } else { json!({ "error": error }) };
        let (first, second) =
            (Upstream::spawn(move |_| Script::json(400, &body)), Upstream::ollama());
        let one = Provider::new("first", backend, first.url());
        let other = Provider::ollama(&second).name("second");
        let gateway = spawn_gateway(Config::new().provider(one).provider(other).route(
            Route::new("chat", [Target::new("first", "a")]).fallback([Target::new("second", "b")]),
        ))
        .await;
        let answer = ask(&gateway).await;
        let told = (answer.status, answer.json()["code"].clone());
        assert_eq!(told, (400, "invalid_request".into()), "{backend}: {}", answer.text());
        assert!(answer.text().contains("is too large"), "{}", answer.text());
        assert_eq!(second.calls_so_far().len(), 0);
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn equal_providers_are_asked_for_a_missing_model_before_a_404() {
    /// An Ollama that lists these models and has those.
    fn having(listed: &'static [&'static str], has: &'static [&'static str]) -> Upstream {
        Upstream::spawn_whole(move |call| match call.path.as_str() {
            "/api/tags" => {
                let models: Vec<_> = listed.iter().map(|name| json!({ "name": name })).collect();
                Script::json(200, &json!({ "models": models }))
            }
            _ if call.method == "GET" => Script::status(404),
            _ => match call.json()["model"].as_str() {
                Some(model) if has.contains(&model) => ollama::reply(call),
                _ => ollama::error(404, "model not found"),
            },
        })
    }
    // The lists were true a moment ago: `moved` went from the first to the last, `new` was added to
    // the last.
    let first = having(&["moved", "here"], &["here"]);
    let middle = having(&[], &[]);
    let last = having(&["other"], &["moved", "new", "other"]);
    let at = |name: &str, upstream: &Upstream| Provider::ollama(upstream).name(name).no_retries();
    let providers = [at("first", &first), at("middle", &middle), at("last", &last)];
    let gateway = spawn_gateway(Config::new().providers(providers)).await;
    let messages = json!([{ "role": "user", "content": "hi" }]);
    for (path, model, expected) in [
        ("/v1/chat/completions", "here", (200, Some("first"), Some("1"))),
        ("/v1/chat/completions", "moved", (200, Some("last"), Some("3"))),
        ("/api/chat", "moved", (200, Some("last"), Some("3"))),
        ("/v1/messages", "new", (200, Some("last"), Some("3"))),
        ("/v1/chat", "gone", (404, Some("last"), Some("3"))),
    ] {
        let body =
            json!({ "model": model, "messages": messages, "stream": false, "max_tokens": 9 });
        let answer = post_json(&gateway.url(path), &body).await;
        let (status, by, _, attempts) = served(&answer);
        assert_eq!((status, by, attempts), expected, "{path} {model}: {}", answer.text());
    }
    gateway.end(5).await;
}

#[tokio::test]
async fn an_answer_names_what_was_asked_for_unless_a_fallback_gave_it() {
    let first = Upstream::spawn(|call| match call.number % 2 {
        0 => ollama::reply(call),
        _ => ollama::error(500, "broken"),
    });
    let second = Upstream::ollama();
    let gateway = chain(Provider::ollama(&first), &second).await;
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let asked = |more: Value| {
        let mut body = json!({ "model": "chat", "messages": messages, "max_tokens": 9 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let prompt = json!({ "model": "chat", "prompt": "hi" });
    let forms = [
        ("/v1/chat/completions", asked(json!({})), "/model"),
        ("/v1/completions", prompt.clone(), "/model"),
        ("/v1/responses", json!({ "model": "chat", "input": "hi" }), "/model"),
        ("/v1/messages", asked(json!({})), "/model"),
        ("/api/chat", asked(json!({})), "/model"),
        ("/api/generate", prompt, "/model"),
    ];
    let mut sent = 0;
    for is_streamed in [false, true] {
        for (path, body, place) in &forms {
            for expected in ["chat", "other"] {
                let mut body = body.clone();
                body["stream"] = is_streamed.into();
                let answer = post_json(&gateway.url(path), &body).await;
                sent += 1;
                let said = answer.text();
                let named = format!("\"model\":\"{expected}\"");
                match is_streamed {
                    true => assert!(said.contains(&named), "{path}: {said}"),
                    false => {
                        assert_eq!(answer.json().pointer(place), Some(&json!(expected)), "{path}")
                    }
                }
            }
        }
    }
    gateway.end(sent).await;
}

#[tokio::test]
async fn equal_targets_go_by_wait_and_not_by_dice() {
    let gate = Gate::closed();
    let held = gate.clone();
    let first = Upstream::spawn(move |_| openai::answer(&["hi"]).head_hold(&held));
    let second = Upstream::spawn(|call| match call.json()["stream"] == true {
        true => openai::answer(&["hi"]),
        false => openai::whole(&["hi"]),
    });
    let at =
        |name: &str, upstream: &Upstream| Provider::openai(name, upstream).slots(1).no_retries();
    let route = Route::new("chat", [Target::new("first", "small"), Target::new("second", "small")]);
    let config = Config::new().providers([at("first", &first), at("second", &second)]);
    let gateway = spawn_gateway(config.route(route).default_providers(["first"])).await;
    let busy = send(&gateway, &[], chat_with("first", "hi"));
    shows(&gateway, "first", "in_flight", 1).await;
    for _ in 0..20 {
        // By dice, one of two would wait for the held slot.
        let answer = ask(&gateway).await;
        assert_eq!(served(&answer).1, Some("second"), "{}", answer.text());
    }
    gate.open();
    assert_eq!(busy.await.unwrap().status, 200);
    gateway.end(21).await;
}
