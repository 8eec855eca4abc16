//! What a simulated server remembers of prompts, over HTTP.

use super::*;

/// A server that remembers and reads slowly enough to tell: 4 ms a token.
fn remembering(stored: u64, counts: Counts) -> SimSettings {
    SimSettings { prompt_cache: Some(stored), read: 250.0, counts, max_loaded_models: 1, ..quick() }
}

/// A conversation's messages so far; the first is so many bytes long.
fn opening(name: &str, bytes: usize) -> Vec<Value> {
    vec![json!({"role": "user", "content": format!("{name} {}", "word ".repeat(bytes / 5))})]
}

/// Asks the next turn; returns the last line.
async fn turn(sim: &Sim, model: &str, messages: &mut Vec<Value>) -> Value {
    let body = json!({"model": model, "messages": messages, "stream": false});
    let answer = value(post(sim, "/api/chat", &body).await).await;
    messages.push(answer["message"].clone());
    messages.push(json!({"role": "user", "content": "go on"}));
    answer
}

async fn counted(sim: &Sim) -> [u64; 3] {
    let counters = value(get(sim, "/sim").await).await;
    ["prompt_read", "prompt_reused", "prompt_evictions"]
        .map(|name| counters[name].as_u64().expect(name))
}

#[actix_web::test]
async fn a_second_turn_reads_only_what_is_new_until_others_take_the_room_or_the_model_goes() {
    let sim = start(remembering(300, Counts::Ollama)).expect("started");
    let cached = |answer: &Value| answer["prompt_eval_cached_count"].as_u64().expect("told");
    let spent = |answer: &Value| answer["prompt_eval_duration"].as_u64().expect("told");
    let mut first = opening("first", 400);
    let cold = turn(&sim, "mistral", &mut first).await;
    assert_eq!((cached(&cold), cold["prompt_eval_count"].as_u64()), (0, Some(106)));
    let warm = turn(&sim, "mistral", &mut first).await;
    assert!(cached(&warm) >= 106, "{warm}");
    assert!(spent(&warm) * 4 < spent(&cold), "{warm} after {cold}");
    for number in 0..4 {
        turn(&sim, "mistral", &mut opening(&format!("other {number}"), 400)).await;
    }
    // All prompts begin alike: with the frame of a message of the user.
    let lost = cached(&turn(&sim, "mistral", &mut first).await);
    assert!(lost <= 4, "there was no room for it: {lost}");
    assert!(cached(&turn(&sim, "mistral", &mut first).await) > 106);
    turn(&sim, "llama3.1", &mut opening("another model", 40)).await;
    assert_eq!(cached(&turn(&sim, "mistral", &mut first).await), 0, "it went with its model");
    let [read, reused, evictions] = counted(&sim).await;
    assert!(read > 700 && reused > 212 && evictions >= 2, "{read} {reused} {evictions}");
}

#[actix_web::test]
async fn an_older_ollama_counts_remembered_tokens_as_read_and_only_its_duration_tells() {
    let sim = start(remembering(1000, Counts::OlderOllama)).expect("started");
    let mut messages = opening("first", 400);
    let cold = turn(&sim, "mistral", &mut messages).await;
    let warm = turn(&sim, "mistral", &mut messages).await;
    let number = |answer: &Value, name: &str| answer[name].as_u64().expect("a number");
    assert!(number(&warm, "prompt_eval_count") > number(&cold, "prompt_eval_count"));
    assert!(number(&warm, "prompt_eval_duration") * 4 < number(&cold, "prompt_eval_duration"));
    assert!(warm.get("prompt_eval_cached_count").is_none());
    assert_eq!(value(get(&sim, "/api/version").await).await["version"], "0.33.0");
}

#[actix_web::test]
async fn what_a_model_calls_and_thinks_is_remembered_by_who_sends_it_back_at_either_api() {
    let sim = start(remembering(10_000, Counts::LlamaServer)).expect("started");
    let tools = json!([{"type": "function", "function": {"name": "tide_table",
        "parameters": {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}}}]);
    let mut messages = vec![json!({"role": "user", "content": "the tide table for \"monday\""})];
    for (path, choice) in [("/v1/chat/completions", true), ("/api/chat", false)] {
        let body = json!({"model": "qwen3", "messages": messages, "tools": tools, "stream": false});
        let answer = value(post(&sim, path, &body).await).await;
        let message = if choice { &answer["choices"][0]["message"] } else { &answer["message"] };
        assert!(message["tool_calls"][0].is_object(), "{answer}");
        let mut next = messages.clone();
        next.push(message.clone());
        next.push(json!({"role": "tool", "content": "high at noon"}));
        let body = json!({"model": "qwen3", "messages": next, "tools": tools, "stream": false});
        let before = counted(&sim).await;
        let answer = value(post(&sim, path, &body).await).await;
        let after = counted(&sim).await;
        // The result, its frame and the roundings of the texts.
        assert!((7..=8).contains(&(after[0] - before[0])), "{answer}: {before:?} {after:?}");
        if choice {
            assert_eq!(
                answer["timings"]["cache_n"],
                answer["usage"]["prompt_tokens_details"]["cached_tokens"]
            );
        }
        messages = vec![json!({"role": "user", "content": "the tide table for \"tuesday\""})];
    }
}
