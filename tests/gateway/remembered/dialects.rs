//! Every dialect's second turn finds its first one.

use super::*;
use crate::client::stream_with;

/// What a dialect asks with, and the messages of the next turn.
struct Spoken {
    path: &'static str,
    body: fn(&[Value]) -> Value,
    message: fn(role: &str, text: &str) -> Value,
    /// What the answer says, as the client sends it back.
    answer: fn(&Value) -> Value,
}

const SPOKEN: [Spoken; 7] = [
    Spoken {
        path: "/v1/chat/completions",
        body: |messages| json!({"model": "llama3.1", "messages": messages}),
        message: |role, text| json!({"role": role, "content": text}),
        answer: |answer| answer["choices"][0]["message"].clone(),
    },
    Spoken {
        path: "/v1/responses",
        body: |messages| json!({"model": "llama3.1", "input": messages, "store": false}),
        message: |role, text| json!({"role": role, "content": text}),
        answer: |answer| answer["output"][0].clone(),
    },
    Spoken {
        path: "/v1/messages",
        body: |messages| json!({"model": "llama3.1", "max_tokens": 99, "messages": messages}),
        message: |role, text| json!({"role": role, "content": text}),
        answer: |answer| json!({"role": "assistant", "content": answer["content"]}),
    },
    Spoken {
        path: "/v1beta/models/llama3.1:generateContent",
        body: |messages| json!({"contents": messages}),
        message: |role, text| json!({"role": role, "parts": [{"text": text}]}),
        answer: |answer| answer["candidates"][0]["content"].clone(),
    },
    Spoken {
        path: "/api/chat",
        body: |messages| json!({"model": "llama3.1", "stream": false, "messages": messages}),
        message: |role, text| json!({"role": role, "content": text}),
        answer: |answer| answer["message"].clone(),
    },
    Spoken {
        path: "/v1/chat",
        body: |messages| json!({"model": "llama3.1", "messages": messages}),
        message: |role, text| json!({"role": role, "content": text}),
        answer: |answer| json!({"role": "assistant", "content": answer["content"]}),
    },
    Spoken {
        path: "/api/generate",
        body: |messages| {
            let prompt: String = messages.iter().filter_map(Value::as_str).collect();
            json!({"model": "llama3.1", "stream": false, "prompt": prompt})
        },
        message: |_, text| Value::from(text),
        answer: |answer| answer["response"].clone(),
    },
];

/// Two turns in each dialect, of which the second one is mostly remembered, as is told.
async fn second_turns_find_the_first(backend: &str, counts: Counts) {
    for (number, spoken) in SPOKEN.iter().enumerate() {
        let simulator = Simulator::start(SimSettings { counts, ..settings(65_536, 100_000.0) });
        let path = if backend == "openai" { "/v1" } else { "" };
        let url = format!("{}{path}", simulator.url);
        let gateway = before([Provider::new("host", backend, url).slots(1).remember(true)]).await;
        let headers = [("x-api-key", "sk-a")];
        let text = format!("dialect {number}, ").repeat(700);
        let mut messages = vec![(spoken.message)("user", &text)];
        let mut told = Vec::new();
        for said in ["and then?", "and now?"] {
            let body = (spoken.body)(&messages);
            let answer = post_json_with(&gateway.url(spoken.path), &headers, &body).await;
            assert_eq!(answer.status, 200, "{}: {answer:?}", spoken.path);
            told.push(remembered(&answer));
            messages.push((spoken.answer)(&answer.json()));
            messages.push((spoken.message)("user", said));
        }
        let [(none, _), (tokens, total)] = told[..] else { panic!("two turns") };
        assert_eq!(none, 0, "{}", spoken.path);
        assert!(tokens * 2 > total, "{}: {tokens} of {total}", spoken.path);
        let [reused] = simulator.counted(["prompt_reused"]).await;
        assert!(reused * 2 > total, "{}: {reused} of {total}", spoken.path);
        gateway.end(2).await;
    }
}

#[tokio::test]
async fn every_dialect_finds_its_conversation_at_an_ollama() {
    second_turns_find_the_first("ollama", Counts::Ollama).await;
}

#[tokio::test]
async fn every_dialect_finds_its_conversation_at_a_llama_server() {
    second_turns_find_the_first("openai", Counts::LlamaServer).await;
}

#[tokio::test]
async fn a_stream_says_before_its_first_event_what_was_remembered() {
    let simulator = server(65_536, 100_000.0);
    let gateway = in_front_of(&simulator, true).await;
    let mut agent = Agent::new("a", 2_000);
    agent.turn(&gateway).await;
    agent.messages.push(json!({"role": "user", "content": "go on"}));
    let body = json!({"model": "llama3.1", "stream": true, "messages": agent.messages});
    let headers = [("x-api-key", "sk-a")];
    let stream = stream_with(&gateway.url("/v1/chat/completions"), &headers, &body).await;
    let (tokens, total) = told(stream.header("x-gateway-remembered").unwrap());
    assert!(tokens * 2 > total, "{tokens} of {total}");
    assert!(stream.rest().await.text().contains("[DONE]"));
    gateway.end(2).await;
}
