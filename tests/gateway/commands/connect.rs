//! `connect`: what it prints works when pasted.

use serde_json::Value;

use super::run_with;
use crate::client::post_json_with;
use crate::harness::{Config, Key, Provider, run, spawn_gateway};
use crate::upstream::Upstream;

#[tokio::test]
async fn connect_fills_in_the_address_the_model_and_the_key() {
    let file =
        "[server]\nlisten = '127.0.0.1:8123'\n[providers.ollama]\ndefault_model = 'qwen3:4b'\n";
    let (printed, _) = run_with(file, &["connect", "codex"], &[]).await;
    assert_eq!((printed.status, printed.stderr.as_str()), (Some(0), ""), "{printed:?}");
    for part in ["base_url = \"http://localhost:8123/v1\"", "\"qwen3:4b\"", "YOUR_KEY"] {
        assert!(printed.stdout.contains(part), "{part}: {}", printed.stdout);
    }
    let printed = run(&["connect", "emacs"], &[]).await;
    assert_eq!(printed.status, Some(1), "{printed:?}");
    assert!(printed.stderr.contains("known are claude-code, codex, "), "{printed:?}");
    let (printed, _) = run_with("[nonsense]\n", &["connect", "codex"], &[]).await;
    assert_eq!(printed.status, Some(78), "{printed:?}");
}

#[tokio::test]
async fn what_is_printed_for_opencode_leads_to_an_answer() {
    let upstream = Upstream::ollama();
    let config =
        Config::new().provider(Provider::ollama(&upstream)).key(Key::new("a").key("sk-pasted"));
    let gateway = spawn_gateway(&config).await;
    let url = gateway.url("");
    let printed =
        run(&["connect", "opencode", "--url", &url, "--key", "sk-pasted", "--model", "m"], &[])
            .await;
    let (_, rest) = printed.stdout.split_once("```json\n").unwrap();
    let pasted: Value = serde_json::from_str(rest.split_once("```").unwrap().0).unwrap();
    let options = &pasted["provider"]["gateway"]["options"];
    let base = options["baseURL"].as_str().unwrap();
    let bearer = format!("Bearer {}", options["apiKey"].as_str().unwrap());
    let body =
        serde_json::json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    let headers = [("authorization", bearer.as_str())];
    let answer = post_json_with(&format!("{base}/chat/completions"), &headers, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    gateway.end(1).await;
}
