//! Fields of OpenAI's clients that other providers express differently: files, many stop texts.

use serde_json::{Value, json};

use crate::client::post_json;
use crate::harness::{Provider, spawn_gateway};
use crate::upstream::{Upstream, anthropic, ollama};

const PDF: &str = "JVBERi0xLjcK";

fn pdf() -> Value {
    json!({ "filename": "a.pdf", "file_data": format!("data:application/pdf;base64,{PDF}") })
}

/// A file in the form of responses.
fn input_file(file: Value) -> Value {
    let mut part = file;
    part["type"] = json!("input_file");
    part
}

fn responses(items: &[Value]) -> Value {
    json!({ "model": "some", "store": false, "input": items })
}

fn said(parts: &[Value]) -> Value {
    let mut content = parts.to_vec();
    content.push(json!({ "type": "input_text", "text": "What is it?" }));
    json!({ "type": "message", "role": "user", "content": content })
}

#[tokio::test]
async fn a_file_of_openai_s_clients_is_a_document_at_anthropic() {
    let upstream = Upstream::spawn(|_| anthropic::answer(&["Hi"]));
    let gateway = spawn_gateway(Provider::new("claude", "anthropic", upstream.url())).await;
    let chat = json!({ "model": "some", "messages": [{ "role": "user", "content": [
        { "type": "file", "file": pdf() }, { "type": "text", "text": "What is it?" }] }] });
    for (path, body) in [
        ("/v1/responses", responses(&[said(&[input_file(pdf())])])),
        ("/v1/chat/completions", chat),
    ] {
        let answer = post_json(&gateway.url(path), &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.header("x-gateway-dropped").is_none());
        let sent = upstream.calls_so_far().pop().unwrap().json();
        let document = &sent["messages"][0]["content"][0];
        assert_eq!((&document["type"], &document["title"]), (&json!("document"), &json!("a.pdf")));
        let source = json!({ "type": "base64", "media_type": "application/pdf", "data": PDF });
        assert_eq!(document["source"], source, "{path}");
    }
    gateway.end(2).await;
}

#[tokio::test]
async fn an_ollama_reads_files_of_text_and_a_note_of_those_that_a_tool_gave() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let url = gateway.url("/v1/responses");
    let note = json!({ "filename": "note.md", "file_data": "data:text/markdown;base64,IyBoaQ==" });
    let answer = post_json(&url, &responses(&[said(&[input_file(note)])])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = upstream.calls_so_far().pop().unwrap().json();
    let content = sent["messages"][0]["content"].as_str().unwrap();
    assert!(content.contains("note.md\n# hi") && content.contains("What is it?"), "{content}");
    // A file that no provider can read is refused in the request, and a note replaces one from a
    // tool.
    let refused = post_json(&url, &responses(&[said(&[input_file(pdf())])])).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.json()["error"]["message"].as_str().unwrap().starts_with("document: "));
    let call = json!({ "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" });
    let output =
        json!({ "type": "function_call_output", "call_id": "c", "output": [input_file(pdf())] });
    let answer = post_json(&url, &responses(&[said(&[]), call, output])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-gateway-dropped"), Some("document"));
    let sent = upstream.calls_so_far().pop().unwrap().json();
    let result = sent["messages"][2]["content"].as_str().unwrap();
    assert!(result.contains("that this model cannot read"), "{result}");
    gateway.end(3).await;
}

#[tokio::test]
async fn twelve_stop_texts_reach_an_ollama() {
    let upstream = Upstream::spawn(ollama::reply);
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let stops: Vec<String> = (0..12).map(|number| format!("<|{number}|>")).collect();
    let asks = json!([{ "role": "user", "content": "hi" }]);
    for (path, body) in [
        ("/v1/chat/completions", json!({ "model": "some", "messages": asks, "stop": stops })),
        ("/v1/completions", json!({ "model": "some", "prompt": "fn ", "stop": stops })),
        (
            "/v1/messages",
            json!({ "model": "some", "messages": asks, "max_tokens": 9, "stop_sequences": stops }),
        ),
    ] {
        let answer = post_json(&gateway.url(path), &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let sent = upstream.calls_so_far().pop().unwrap().json();
        assert_eq!(sent["options"]["stop"], json!(stops), "{path}");
    }
    gateway.end(3).await;
}
