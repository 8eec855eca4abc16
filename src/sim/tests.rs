//! The simulator over real sockets: shapes, slots, disconnects, refusals. No test sleeps to wait
//! for something: it watches the snapshot.

mod counters;
mod prompts;

use futures_util::StreamExt;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use super::*;

/// Settings of a simulator without delays.
fn quick() -> SimSettings {
    SimSettings {
        load: Duration::from_millis(1),
        first_token: Duration::ZERO,
        tokens_per_second: 0.0,
        unload: Duration::ZERO,
        ..SimSettings::default()
    }
}

/// Settings of one whose answers never end by themselves.
fn slow() -> SimSettings {
    SimSettings { tokens_per_second: 0.001, ..quick() }
}

/// Settings of one that never sends its first token.
fn mute() -> SimSettings {
    SimSettings { first_token: Duration::from_secs(3600), ..quick() }
}

fn chat(model: &str, question: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": question}]})
}

fn unary(mut body: Value) -> Value {
    body["stream"] = json!(false);
    body
}

async fn post(sim: &Sim, path: &str, body: &Value) -> Response {
    let address = format!("http://{}{path}", sim.addr());
    Client::new().post(address).body(body.to_string()).send().await.expect("an answer")
}

/// Sends a streamed chat in the background; aborting the task disconnects the client.
fn spawn_chat(sim: &Sim) -> JoinHandle<reqwest::Result<Response>> {
    let client = Client::new().post(format!("http://{}/api/chat", sim.addr()));
    actix_rt::spawn(client.body(chat("mistral", "why?").to_string()).send())
}

async fn get(sim: &Sim, path: &str) -> Response {
    reqwest::get(format!("http://{}{path}", sim.addr())).await.expect("an answer")
}

async fn value(response: Response) -> Value {
    response.json().await.expect("JSON")
}

async fn lines(response: Response) -> Vec<Value> {
    let text = response.text().await.expect("UTF-8");
    assert!(text.ends_with('\n') || text.is_empty());
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Waits until the counters are as wanted; fails if they are not within ten seconds.
async fn until(sim: &Sim, wanted: impl FnMut(&SimSnapshot) -> bool) -> SimSnapshot {
    let mut seen = sim.watch();
    let found = actix_rt::time::timeout(Duration::from_secs(10), seen.wait_for(wanted)).await;
    let found = found.map(|found| *found.expect("the simulator is there"));
    found.unwrap_or_else(|_| panic!("still {:?}", sim.snapshot()))
}

#[actix_web::test]
async fn a_chat_streams_tokens_as_ndjson_and_ends_with_the_counters() {
    let sim = start(quick()).expect("started");
    let response = post(&sim, "/api/chat", &chat("Llama3.1", "why?")).await;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let lines = lines(response).await;
    let (last, pieces) = lines.split_last().expect("lines");
    assert!(pieces.len() >= 20);
    for piece in pieces {
        assert_eq!((&piece["model"], &piece["done"]), (&json!("Llama3.1"), &json!(false)));
        assert_eq!(piece["message"]["role"], "assistant");
    }
    assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("stop")));
    assert_eq!(last["eval_count"], pieces.len());
    assert!(last["total_duration"].as_u64() >= last["load_duration"].as_u64());
    assert!(last["load_duration"].as_u64().expect("measured") >= 1_000_000, "the load");
    sim.stop().await;
}

#[actix_web::test]
async fn durations_are_measured_and_no_shorter_than_the_settings() {
    let first_token = Duration::from_millis(20);
    let settings = SimSettings { first_token, tokens_per_second: 1000.0, ..quick() };
    let sim = start(settings).expect("started");
    let streamed = lines(post(&sim, "/api/chat", &chat("mistral", "why?")).await).await;
    let whole = value(post(&sim, "/api/chat", &unary(chat("mistral", "why?"))).await).await;
    for last in [streamed.last().expect("lines"), &whole] {
        let number = |name: &str| last[name].as_u64().expect(name);
        assert!(number("prompt_eval_duration") >= 20_000_000);
        assert!(number("eval_duration") >= (number("eval_count") - 1) * 1_000_000);
        let parts = number("prompt_eval_duration") + number("eval_duration");
        assert!(number("total_duration") >= parts);
    }
}

#[actix_web::test]
async fn every_token_is_sent_in_its_own_chunk() {
    let sim = start(quick()).expect("started");
    let body = json!({"model": "mistral", "prompt": "why?", "options": {"num_predict": 5}});
    let chunks: Vec<_> = post(&sim, "/api/generate", &body).await.bytes_stream().collect().await;
    assert_eq!(chunks.len(), 6);
    for chunk in chunks {
        let line: Value = serde_json::from_slice(&chunk.expect("bytes")).expect("one line");
        assert!(line["response"].is_string());
    }
}

#[actix_web::test]
async fn a_tool_named_by_the_user_is_called_over_both_apis() {
    let sim = start(quick()).expect("started");
    let mut body = unary(chat("mistral", "Use tide_table for me."));
    body["tools"] = json!([{"type": "function", "function": {"name": "tide_table", "parameters":
        {"type": "object", "required": ["day"], "properties": {"day": {"enum": ["monday"]}}}}}]);
    let native = value(post(&sim, "/api/chat", &body).await).await;
    let function = &native["message"]["tool_calls"][0]["function"];
    assert_eq!(function["arguments"], json!({"day": "monday"}));
    assert_eq!(native["done_reason"], "stop");
    let openai = value(post(&sim, "/v1/chat/completions", &body).await).await;
    assert_eq!(openai["choices"][0]["finish_reason"], "tool_calls");
}

#[actix_web::test]
async fn the_same_question_gets_the_same_text_streamed_or_whole_on_every_simulator() {
    let (one, other) = (start(quick()).expect("started"), start(quick()).expect("started"));
    let streamed = lines(post(&one, "/api/chat", &chat("mistral", "why?")).await).await;
    let streamed: String =
        streamed.iter().filter_map(|line| line["message"]["content"].as_str()).collect();
    let response = post(&other, "/api/chat", &unary(chat("mistral", "why?"))).await;
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    assert_eq!(value(response).await["message"]["content"], streamed);
    let seeded = start(SimSettings { seed: 1, ..quick() }).expect("started");
    let seeded = value(post(&seeded, "/api/chat", &unary(chat("mistral", "why?"))).await).await;
    assert_ne!(seeded["message"]["content"], streamed);
}

#[actix_web::test]
async fn fifty_calls_at_once_never_hold_more_than_the_slots_and_all_are_answered() {
    let sim = start(SimSettings { slots: 3, ..quick() }).expect("started");
    let body = unary(chat("mistral", "why?"));
    let calls = (0..50).map(|_| async { post(&sim, "/api/chat", &body).await.status() });
    let statuses = futures_util::future::join_all(calls).await;
    assert!(statuses.iter().all(|status| *status == StatusCode::OK));
    let seen = sim.snapshot();
    assert_eq!((seen.requests, seen.finished, seen.loads), (50, 50, 1));
    assert!(seen.most_running <= 3 && (seen.running, seen.waiting) == (0, 0), "{seen:?}");
}

#[actix_web::test]
async fn all_slots_are_used_and_the_rest_wait() {
    let sim = start(SimSettings { slots: 3, ..slow() }).expect("started");
    let calls: Vec<_> = (0..50).map(|_| spawn_chat(&sim)).collect();
    until(&sim, |seen| (seen.running, seen.waiting) == (3, 47)).await;
    calls.iter().for_each(JoinHandle::abort);
    drop(calls);
    let seen = until(&sim, |seen| seen.cancelled == 50).await;
    assert_eq!((seen.most_running, seen.running, seen.waiting), (3, 0, 0));
}

#[actix_web::test]
async fn a_client_that_disconnects_mid_stream_frees_its_slot_for_the_next() {
    let sim = start(slow()).expect("started");
    let first = post(&sim, "/api/chat", &chat("mistral", "one")).await;
    let mut first = first.bytes_stream();
    first.next().await.expect("a token").expect("bytes");
    let second = spawn_chat(&sim);
    until(&sim, |seen| (seen.running, seen.waiting) == (1, 1)).await;
    drop(first);
    let second = second.await.expect("not cancelled").expect("an answer");
    assert_eq!(second.status(), StatusCode::OK);
    let seen = until(&sim, |seen| seen.cancelled == 1).await;
    assert_eq!((seen.running, seen.most_running), (1, 1));
    drop(second);
    until(&sim, |seen| (seen.running, seen.cancelled) == (0, 2)).await;
}

#[actix_web::test]
async fn no_byte_is_sent_before_the_first_token_and_a_disconnect_then_frees_the_slot() {
    let sim = start(mute()).expect("started");
    for streamed in [true, false] {
        let mut body = chat("mistral", "why?");
        body["stream"] = json!(streamed);
        let client = Client::new().post(format!("http://{}/api/chat", sim.addr()));
        let call = actix_rt::spawn(client.body(body.to_string()).send());
        until(&sim, |seen| seen.running == 1).await;
        assert!(!call.is_finished(), "not even headers");
        call.abort();
        until(&sim, |seen| seen.running == 0).await;
    }
    assert_eq!(sim.snapshot().cancelled, 2);
}

#[actix_web::test]
async fn a_disconnect_cancels_a_load_that_no_other_call_waits_for() {
    let sim = start(SimSettings { load: Duration::from_secs(3600), ..quick() }).expect("started");
    let call = spawn_chat(&sim);
    until(&sim, |seen| seen.loading).await;
    call.abort();
    let seen = until(&sim, |seen| !seen.loading).await;
    assert_eq!((seen.aborted_loads, seen.cancelled, seen.waiting), (1, 1, 0));
}

#[actix_web::test]
async fn a_full_load_queue_answers_busy_at_once() {
    let settings = SimSettings { load: Duration::from_secs(3600), max_queue: 0, ..quick() };
    let sim = start(settings).expect("started");
    let call = spawn_chat(&sim);
    until(&sim, |seen| seen.loading).await;
    let busy = post(&sim, "/api/chat", &chat("llama3.1", "why?")).await;
    assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
    let text = "server busy, please try again.  maximum pending requests exceeded";
    assert_eq!(value(busy).await, json!({"error": text}));
    call.abort();
}

#[actix_web::test]
async fn with_room_for_one_model_each_other_model_evicts_it() {
    let sim = start(SimSettings { max_loaded_models: 1, ..quick() }).expect("started");
    for model in ["mistral", "llama3.1", "mistral"] {
        let response = post(&sim, "/api/chat", &unary(chat(model, "why?"))).await;
        assert_eq!(response.status(), StatusCode::OK);
        let resident = value(get(&sim, "/api/ps").await).await;
        assert_eq!(resident["models"].as_array().map(Vec::len), Some(1));
        assert_eq!(resident["models"][0]["name"], format!("{model}:latest"));
    }
    assert_eq!((sim.snapshot().loads, sim.snapshot().unloads), (3, 2));
}

#[actix_web::test]
async fn an_empty_request_loads_the_model_and_keep_alive_0_unloads_it() {
    let sim = start(quick()).expect("started");
    for path in ["/api/chat", "/api/generate"] {
        let loaded = value(post(&sim, path, &json!({"model": "mistral"})).await).await;
        assert_eq!((&loaded["done"], &loaded["done_reason"]), (&json!(true), &json!("load")));
        let shown = value(get(&sim, "/api/ps").await).await;
        let expires = shown["models"][0]["expires_at"].as_str().expect("one model");
        assert!(
            humantime::parse_rfc3339(expires).expect("RFC 3339") > std::time::SystemTime::now()
        );
        let body = json!({"model": "mistral", "keep_alive": 0});
        let unloaded = value(post(&sim, path, &body).await).await;
        assert_eq!(unloaded["done_reason"], "unload");
        assert_eq!(value(get(&sim, "/api/ps").await).await, json!({"models": []}));
    }
    assert_eq!(sim.snapshot().running, 0);
}

#[actix_web::test]
async fn invalid_requests_are_refused_in_ollamas_words() {
    let sim = start(quick()).expect("started");
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let with = |model: &str, name: &str, field: Value| {
        let mut body = chat(model, "why?");
        body[name] = field;
        body.to_string()
    };
    for (path, body, status, text) in [
        ("/api/chat", String::new(), 400, "missing request body"),
        ("/api/chat", "{".into(), 400, "unexpected EOF"),
        ("/api/chat", "{}".into(), 400, "model is required"),
        ("/api/generate", "{}".into(), 404, "model '' not found"),
        ("/api/chat", chat("absent", "a").to_string(), 404, "model 'absent' not found"),
        ("/api/show", json!({"model": "absent"}).to_string(), 404, "model 'absent' not found"),
        (
            "/api/embed",
            json!({"model": "absent"}).to_string(),
            404,
            "model \"absent\" not found, try pulling it first",
        ),
        ("/api/chat", with("codellama", "tools", tools), 400, "codellama does not support tools"),
        (
            "/api/chat",
            with("mistral", "think", json!(true)),
            400,
            "\"mistral\" does not support thinking",
        ),
        (
            "/api/chat",
            chat("nomic-embed-text", "a").to_string(),
            400,
            "\"nomic-embed-text\" does not support chat",
        ),
    ] {
        let address = format!("http://{}{path}", sim.addr());
        let response = Client::new().post(address).body(body.clone()).send().await;
        let response = response.expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{path} {body}");
        assert_eq!(value(response).await, json!({"error": text}), "{path} {body}");
    }
    assert_eq!(sim.snapshot().requests, 0, "no request reached the scheduler");
}

#[actix_web::test]
async fn lists_and_models_are_shown_as_ollama_shows_them() {
    let sim = start(quick()).expect("started");
    assert_eq!(get(&sim, "/").await.text().await.expect("text"), "Ollama is running");
    let head = Client::new().head(format!("http://{}/", sim.addr())).send().await;
    assert_eq!(head.expect("an answer").status(), StatusCode::OK);
    assert_eq!(value(get(&sim, "/api/version").await).await, json!({"version": "0.33.0"}));
    let tags = value(get(&sim, "/api/tags").await).await;
    let names: Vec<&str> = tags["models"]
        .as_array()
        .expect("models")
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect();
    assert_eq!(names.len(), 6);
    assert!(names.contains(&"llama3.1:latest") && names.contains(&"llama3.1:70b"));
    let shown = value(post(&sim, "/api/show", &json!({"name": "qwen3"})).await).await;
    assert_eq!(shown["capabilities"], json!(["completion", "tools", "thinking"]));
    assert_eq!(shown["model_info"]["general.architecture"], "qwen3");
}

#[actix_web::test]
async fn wrong_methods_are_405_and_unknown_paths_404() {
    let sim = start(quick()).expect("started");
    assert_eq!(get(&sim, "/api/chat").await.status(), StatusCode::METHOD_NOT_ALLOWED);
    let tags = post(&sim, "/api/tags", &json!({})).await;
    assert_eq!(tags.status(), StatusCode::METHOD_NOT_ALLOWED);
    let pull = post(&sim, "/api/pull", &json!({})).await;
    assert_eq!(pull.status(), StatusCode::NOT_FOUND);
    assert_eq!(value(pull).await, json!({"error": "not found"}));
}

#[actix_web::test]
async fn a_thinking_model_thinks_and_generate_answers_in_response() {
    let sim = start(quick()).expect("started");
    let body = json!({"model": "qwen3", "prompt": "why?", "options": {"num_predict": 300}});
    let lines = lines(post(&sim, "/api/generate", &body).await).await;
    assert!(lines.first().is_some_and(|line| line["thinking"].is_string()));
    assert!(lines.iter().all(|line| line["response"].is_string()));
    let body = json!({"model": "qwen3", "prompt": "why?", "think": false, "stream": false,
        "options": {"num_predict": 3}});
    let whole = value(post(&sim, "/api/generate", &body).await).await;
    assert_eq!((&whole["done_reason"], &whole["eval_count"]), (&json!("length"), &json!(3)));
    assert_eq!(whole.get("thinking"), None);
}

#[actix_web::test]
async fn embeddings_have_length_one_and_those_of_the_old_endpoint_do_not() {
    let sim = start(quick()).expect("started");
    let body = json!({"model": "nomic-embed-text", "input": ["a b", "c"], "dimensions": 16});
    let embedded = value(post(&sim, "/api/embed", &body).await).await;
    let vectors = embedded["embeddings"].as_array().expect("vectors").clone();
    let length = |vector: &Value| {
        let parts = vector.as_array().expect("a vector").iter().filter_map(Value::as_f64);
        parts.map(|part| part * part).sum::<f64>().sqrt()
    };
    assert_eq!((vectors.len(), vectors[0].as_array().map(Vec::len)), (2, Some(16)));
    assert!(vectors.iter().all(|vector| (length(vector) - 1.0).abs() < 1e-4));
    let body = json!({"model": "nomic-embed-text", "prompt": "a b"});
    let old = value(post(&sim, "/api/embeddings", &body).await).await;
    assert_eq!(old["embedding"].as_array().map(Vec::len), Some(768));
    assert!(length(&old["embedding"]) > 2.0);
    let none = value(post(&sim, "/api/embed", &json!({"model": "mistral"})).await).await;
    assert_eq!(none["embeddings"], json!([]));
}

#[actix_web::test]
async fn openai_clients_get_events_that_end_with_done_and_whole_answers_by_default() {
    let sim = start(quick()).expect("started");
    let mut body = chat("mistral", "why?");
    let whole = value(post(&sim, "/v1/chat/completions", &body).await).await;
    assert_eq!(whole["object"], "chat.completion");
    body["stream"] = json!(true);
    let response = post(&sim, "/v1/chat/completions", &body).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.expect("UTF-8");
    let events: Vec<&str> =
        text.split_terminator("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    assert_eq!(events.last(), Some(&"[DONE]"));
    let chunks = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    let words: String = chunks
        .filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect();
    assert_eq!(whole["choices"][0]["message"]["content"], words);
    let absent = post(&sim, "/v1/chat/completions", &chat("absent", "a")).await;
    assert_eq!(absent.status(), StatusCode::NOT_FOUND);
    assert_eq!(value(absent).await["error"]["type"], "not_found_error");
}

#[actix_web::test]
async fn stopping_cuts_off_answers_in_progress_and_frees_their_slots() {
    let sim = start(slow()).expect("started");
    let mut answer = post(&sim, "/api/chat", &chat("mistral", "why?")).await.bytes_stream();
    answer.next().await.expect("a token").expect("bytes");
    let mut seen = sim.watch();
    sim.stop().await;
    assert!(answer.next().await.is_none_or(|rest| rest.is_err()));
    let freed = actix_rt::time::timeout(
        Duration::from_secs(10),
        seen.wait_for(|seen| seen.cancelled == 1 && seen.running == 0),
    );
    assert!(freed.await.is_ok());
}

#[actix_web::test]
async fn a_stopped_simulator_no_longer_listens() {
    let sim = start(quick()).expect("started");
    let address = sim.addr();
    assert!(start(SimSettings { listen: address, ..quick() }).is_err(), "the address is taken");
    sim.stop().await;
    assert!(reqwest::get(format!("http://{address}/")).await.is_err());
}
