//! Conversations of coding agents at `/v1/responses`, translated for providers that know functions
//! only.

use llm_gateway::policy::Trust;
use serde_json::{Value, json};

use crate::client::{ask, get, post_json, post_json_with, stream};
use crate::harness::{Config, Key, Provider, spawn_gateway};
use crate::upstream::{Call, Script, Upstream, openai};

/// What a strict server and the templates behind it refuse, else `None`.
fn offence(body: &Value) -> Option<String> {
    let messages = body["messages"].as_array()?;
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if role == "system" && at > 0 {
            return Some("System message must be at the beginning.".to_owned());
        }
        match role {
            "tool" => {
                let id = message["tool_call_id"].as_str().unwrap_or_default();
                let place = open.iter().position(|open| *open == id);
                let Some(place) = place else { return Some(format!("no call {id}")) };
                open.remove(place);
            }
            _ if !open.is_empty() => return Some(format!("{open:?} without a result")),
            _ => {}
        }
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        open.extend(calls.filter_map(|call| call["id"].as_str()));
    }
    let tools = body["tools"].as_array().into_iter().flatten();
    let odd = tools.into_iter().find(|tool| tool["type"] != "function");
    odd.map(|tool| format!("tools: {tool}"))
}

/// A chat completion that calls functions, each given by its name and the pieces of its arguments.
fn calling(calls: &[(&str, &[&str])]) -> Script {
    let event = |delta: Value, finish: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        let chunk = json!({ "object": "chat.completion.chunk", "choices": [choice] });
        format!("data: {chunk}\n\n")
    };
    let mut script = Script::status(200).header("content-type", "text/event-stream").chunked();
    for (index, (name, pieces)) in calls.iter().enumerate() {
        let function = json!({ "name": name, "arguments": "" });
        let id = format!("call_{name}");
        let begin = json!({ "index": index, "id": id, "type": "function", "function": function });
        script = script.piece(event(json!({ "tool_calls": [begin] }), Value::Null));
        for piece in *pieces {
            let more = json!({ "index": index, "function": { "arguments": piece } });
            script = script.piece(event(json!({ "tool_calls": [more] }), Value::Null));
        }
    }
    script.piece(event(json!({}), json!("tool_calls"))).piece("data: [DONE]\n\n")
}

/// A provider that is strict, calls what the first turn is about, and ends the second.
fn strict(call: &Call) -> Script {
    let body = call.json();
    if let Some(offence) = offence(&body) {
        return openai::error(400, "invalid_request_error", &offence);
    }
    let has_results =
        body["messages"].as_array().unwrap().iter().any(|message| message["role"] == "tool");
    if has_results {
        return openai::answer(&["Done."]);
    }
    calling(&[
        ("spawn_agent", &["{\"task\":", "\"x\"}"]),
        ("apply_patch", &["{\"input\": \"*** Be", "gin\\n", "+é\"}"]),
    ])
}

/// What Codex sends at first.
fn first_turn() -> Value {
    let text = |role: &str, text: &str| {
        json!({
            "type": "message", "role": role, "content": [{ "type": "input_text", "text": text }],
        })
    };
    json!({
        "model": "m", "instructions": "Base.", "stream": true, "store": false,
        "include": ["reasoning.encrypted_content"], "reasoning": { "summary": "auto" },
        "parallel_tool_calls": true, "tool_choice": "auto", "prompt_cache_key": "k",
        "client_metadata": { "x": "y" },
        "tools": [
            { "type": "function", "name": "exec_command", "parameters": { "type": "object" } },
            { "type": "namespace", "name": "multi_agent", "description": "Helpers.", "tools": [
                { "type": "function", "name": "spawn_agent", "strict": false,
                  "parameters": { "type": "object" } },
            ] },
            { "type": "custom", "name": "apply_patch", "description": "Patches.",
              "format": { "type": "grammar", "syntax": "lark", "definition": "start: x" } },
            { "type": "web_search", "external_web_access": true },
            { "type": "not_yet_invented" },
        ],
        "input": [
            { "type": "additional_tools", "role": "developer", "tools": [
                { "type": "function", "name": "late" },
            ] },
            text("developer", "One."), text("developer", "Two."), text("user", "Go."),
        ],
    })
}

/// The documents of a stream of events.
fn events(text: &str) -> Vec<Value> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn an_agent_works_in_rounds_with_tools_that_no_chat_completion_knows() {
    let upstream = Upstream::spawn(strict);
    let config = Provider::new("local", "openai", upstream.url());
    let gateway = spawn_gateway(&config).await;
    let mut body = first_turn();
    let streamed = stream(&gateway.url("/v1/responses"), &body).await;
    assert_eq!(streamed.status, 200);
    let dropped = streamed.headers["x-gateway-dropped"].to_str().unwrap().to_owned();
    for name in ["web_search", "not_yet_invented", "client_metadata"] {
        assert!(dropped.split(", ").any(|word| word == name), "{name}: {dropped}");
    }
    let told = events(&streamed.rest().await.text());
    let output = told.last().unwrap()["response"]["output"].clone();
    assert_eq!(output[0]["type"], "function_call");
    assert_eq!(output[0]["namespace"], "multi_agent");
    assert_eq!(output[0]["name"], "spawn_agent");
    assert_eq!(output[1]["type"], "custom_tool_call");
    assert_eq!(output[1]["input"], "*** Begin\n+é");
    let deltas: String = told
        .iter()
        .filter(|event| event["type"] == "response.custom_tool_call_input.delta")
        .filter_map(|event| event["delta"].as_str())
        .collect();
    assert_eq!(deltas, "*** Begin\n+é");
    let input = body["input"].as_array_mut().unwrap();
    input.extend(output.as_array().unwrap().iter().cloned());
    input.extend([
        json!({ "type": "web_search_call", "id": "ws_1", "status": "completed" }),
        json!({ "type": "message", "role": "developer", "content": "Midway." }),
        json!({ "type": "custom_tool_call_output", "call_id": "call_apply_patch", "output": "ok" }),
        json!({ "type": "function_call_output", "call_id": "call_spawn_agent", "output": "ok" }),
    ]);
    body["stream"] = json!(false);
    let answer = post_json(&gateway.url("/v1/responses"), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["output"][0]["content"][0]["text"], "Done.");
    assert!(answer.header("x-gateway-dropped").unwrap().contains("web_search_call"));
    let calls = upstream.calls(2).await;
    let asked = calls[0].json();
    let names: Vec<&Value> =
        asked["tools"].as_array().unwrap().iter().map(|tool| &tool["function"]["name"]).collect();
    assert_eq!(names, ["exec_command", "spawn_agent", "apply_patch", "late"]);
    assert_eq!(asked["messages"][0]["content"], "Base.\n\nOne.\n\nTwo.");
    gateway.end(2).await;
}

/// Two callers, each with a key of its own.
fn keys() -> [Key; 2] {
    [Key::new("ann").key("sk-ann-0123456789"), Key::new("bob").key("sk-bob-0123456789")]
}

#[tokio::test]
async fn a_caller_continues_its_own_answers_and_no_others() {
    let upstream = Upstream::spawn(|_: &Call| openai::answer(&["Yes."]));
    let config =
        Config::new().keys(keys()).provider(Provider::new("local", "openai", upstream.url()));
    let gateway = spawn_gateway(&config).await;
    let url = gateway.url("/v1/responses");
    let ann = [("authorization", "Bearer sk-ann-0123456789")];
    let bob = [("authorization", "Bearer sk-bob-0123456789")];
    let first = post_json_with(&url, &ann, &json!({ "model": "m", "input": "One?" })).await.json();
    let id = first["id"].as_str().unwrap().to_owned();
    let next = json!({ "model": "m", "input": "Two?", "previous_response_id": id });
    let answer = post_json_with(&url, &ann, &next).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["previous_response_id"], id);
    let asked = upstream.calls(2).await[1].json();
    let said: Vec<&Value> =
        asked["messages"].as_array().unwrap().iter().map(|message| &message["content"]).collect();
    assert_eq!(said, ["One?", "Yes.", "Two?"]);
    assert_eq!(post_json_with(&url, &bob, &next).await.status, 404);
    let one = format!("{url}/{id}");
    assert_eq!(ask("GET", &one, &ann).await.json(), first);
    let input = ask("GET", &format!("{one}/input_items"), &ann).await.json();
    assert_eq!(input["data"][0]["content"], "One?");
    assert_eq!(ask("GET", &one, &bob).await.status, 404);
    assert_eq!(get(&one).await.status, 401);
    assert_eq!(ask("DELETE", &one, &bob).await.status, 404);
    assert_eq!(ask("DELETE", &one, &ann).await.json()["deleted"], true);
    let gone = post_json_with(&url, &ann, &next).await;
    assert_eq!(gone.status, 404);
    assert!(gone.text().contains("store: false"), "{}", gone.text());
    gateway.end(10).await;
}

#[tokio::test]
async fn a_turn_that_continues_a_local_answer_stays_local() {
    let cloud = Upstream::spawn(|_: &Call| openai::answer(&["Cloud."]));
    let local = Upstream::spawn(|_: &Call| openai::answer(&["Local."]));
    let config = Config::new()
        .provider(Provider::new("cloud", "openai", cloud.url()).trust(Trust::Cloud))
        .provider(Provider::new("home", "openai", local.url()).trust(Trust::Local));
    let gateway = spawn_gateway(&config).await;
    let url = gateway.url("/v1/responses");
    let only = [("x-gateway-data-policy", "local")];
    let first = post_json_with(&url, &only, &json!({ "model": "m", "input": "One?" })).await.json();
    assert_eq!(first["output"][0]["content"][0]["text"], "Local.");
    let next = json!({ "model": "m", "input": "Two?", "previous_response_id": first["id"] });
    let answer = post_json(&url, &next).await;
    assert_eq!(answer.json()["output"][0]["content"][0]["text"], "Local.", "{}", answer.text());
    assert!(cloud.calls_so_far().is_empty());
    gateway.end(2).await;
}
