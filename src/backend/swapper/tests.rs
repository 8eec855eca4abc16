//! Each server's own words: its lists, and the calls that load and unload.

use serde_json::json;

use super::*;
use crate::backend::{Backend, OpenAi};

fn listed(body: &Value) -> Vec<Model> {
    OpenAi.read_listing(body.to_string().as_bytes()).unwrap()
}

fn told(swapper: Swapper, body: &Value) -> Vec<(String, Option<Memory>)> {
    let models = swapper.read(body.to_string().as_bytes()).unwrap();
    models.into_iter().map(|model| (model.name, model.memory)).collect()
}

fn status(status: &Value) -> Value {
    json!({"data": [{"id": "m", "owned_by": "llamacpp", "aliases": ["n"], "status": status}]})
}

#[test]
fn the_list_of_models_tells_which_server_it_is() {
    let of = |entry: Value| Swapper::of(&listed(&json!({ "data": [entry] })));
    assert_eq!(
        Swapper::of(&listed(&status(&json!({"value": "unloaded"})))),
        Some(Swapper::LlamaServer)
    );
    assert_eq!(of(json!({"id": "m", "owned_by": "llama-swap"})), Some(Swapper::LlamaSwap));
    assert_eq!(of(json!({"id": "m", "owned_by": "organization_owner"})), Some(Swapper::LmStudio));
    for untold in [
        json!({"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx": 512}}),
        json!({"id": "m", "owned_by": "vllm"}),
        json!({"id": "m", "status": {"value": "loaded"}, "owned_by": "someone"}),
        json!({"id": "m", "owned_by": "openai", "status": "active"}),
    ] {
        assert_eq!(of(untold.clone()), None, "{untold}");
    }
}

#[test]
fn llama_servers_router_tells_the_state_of_each_model() {
    for (said, memory) in [
        (json!({"value": "unloaded", "args": ["x"]}), Memory::Unloaded),
        (json!({"value": "loading"}), Memory::Loading),
        (json!({"value": "loaded"}), Memory::Loaded),
        (json!({"value": "sleeping"}), Memory::Loaded),
        (json!({"value": "unloaded", "failed": true, "exit_code": 1}), Memory::Failed),
        (json!({"value": "another word"}), Memory::Unloaded),
    ] {
        let expected = vec![("m".to_owned(), Some(memory))];
        assert_eq!(told(Swapper::LlamaServer, &status(&said)), expected, "{said}");
        let list = listed(&status(&said));
        assert!(list[0].is_called("n") && list[0].memory == Some(memory), "{said}");
    }
}

#[test]
fn llama_swap_lists_what_runs_and_marks_what_runs_elsewhere() {
    let running = json!({"running": [
        {"model": "a", "state": "ready", "name": "", "cmd": "x"},
        {"model": "org/b", "state": "starting", "name": "B"},
        {"model": "c", "state": "stopping"},
    ]});
    let expected = [("a", Memory::Loaded), ("org/b", Memory::Loading), ("c", Memory::Unloaded)];
    let expected = expected.map(|(name, memory)| (name.to_owned(), Some(memory)));
    assert_eq!(told(Swapper::LlamaSwap, &running), expected);
    assert_eq!(told(Swapper::LlamaSwap, &json!({"running": []})), []);
    assert!(Swapper::LlamaSwap.read(b"<html>").is_err());
    let list = listed(&json!({"data": [
        {"id": "a", "owned_by": "llama-swap"},
        {"id": "far", "owned_by": "llama-swap", "meta": {"llamaswap": {"peerID": "p"}}},
    ]}));
    let is_run = |model: &Model| Swapper::LlamaSwap.runner(model).is_some();
    assert_eq!(list.iter().map(is_run).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn lm_studio_lists_instances_and_before_them_states() {
    let newer = json!({"models": [
        {"type": "llm", "key": "a", "loaded_instances": [{"id": "a"}, {"id": "a:2"}]},
        {"type": "embedding", "key": "b", "loaded_instances": []},
    ]});
    let expected = [("a", Memory::Loaded), ("b", Memory::Unloaded)];
    let expected = expected.map(|(name, memory)| (name.to_owned(), Some(memory)));
    assert_eq!(told(Swapper::LmStudio, &newer), expected);
    let models = Swapper::LmStudio.read(newer.to_string().as_bytes()).unwrap();
    let unloads = Swapper::LmStudio.unload(&models[0], None);
    let ids = unloads.iter().map(|call| serde_json::from_slice::<Value>(&call.body).unwrap());
    assert_eq!(
        ids.collect::<Vec<_>>(),
        [json!({"instance_id": "a"}), json!({"instance_id": "a:2"})]
    );
    // An older one has no such path, and answers 200 all the same.
    let unexpected = json!({"error": "Unexpected endpoint or method. (GET /api/v1/models)"});
    assert!(Swapper::LmStudio.read(unexpected.to_string().as_bytes()).is_err());
    assert_eq!(Swapper::LmStudio.older(), Some(Swapper::LmStudioOlder));
    let older = json!({"data": [
        {"id": "a", "type": "llm", "state": "loaded"},
        {"id": "b", "type": "embeddings", "state": "not-loaded"},
    ]});
    assert_eq!(told(Swapper::LmStudioOlder, &older), expected);
    let models = Swapper::LmStudioOlder.read(older.to_string().as_bytes()).unwrap();
    let by: Vec<LoadBy> = models.iter().map(Swapper::by).collect();
    assert_eq!(by, [LoadBy::Prompt, LoadBy::Embedding]);
    assert!(Swapper::LmStudioOlder.unload(&models[0], None).is_empty());
}

#[test]
fn each_server_is_told_in_its_own_words_to_load_a_model() {
    let call = |swapper: Swapper, by, model| {
        let call = swapper.load(Load { model, by, api_key: Some("k"), keep_alive: None });
        assert_eq!(call.headers, [("authorization", "Bearer k".to_owned())]);
        let body = (!call.body.is_empty()).then(|| serde_json::from_slice::<Value>(&call.body));
        (call.path, body.map(Result::unwrap))
    };
    let prompt = LoadBy::Prompt;
    let named = Some(json!({"model": "m"}));
    assert_eq!(call(Swapper::LlamaServer, prompt, "m"), ("/models/load".to_owned(), named.clone()));
    assert_eq!(call(Swapper::LmStudio, prompt, "m"), ("/api/v1/models/load".to_owned(), named));
    let path = "/upstream/org/a%20b%3Aq4/health".to_owned();
    assert_eq!(call(Swapper::LlamaSwap, prompt, "org/a b:q4"), (path, None));
    let (path, body) = call(Swapper::LmStudioOlder, prompt, "m");
    assert_eq!(
        (path.as_str(), &body.unwrap()["max_tokens"]),
        ("/api/v0/chat/completions", &json!(1))
    );
    let (path, body) = call(Swapper::LmStudioOlder, LoadBy::Embedding, "m");
    assert_eq!((path.as_str(), &body.unwrap()["input"]), ("/api/v0/embeddings", &json!(".")));
}
