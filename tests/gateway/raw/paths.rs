//! Which paths are passed on, and that none leads anywhere else.

use super::{JSON, gateway, lister, said};
use crate::client::raw::Raw;
use crate::client::{get, post_bytes, send};
use crate::harness::{Config, Names, Provider, Signal, run_in, spawn_gateway};
use crate::patience::eventually;
use crate::upstream::{Script, Upstream};

/// Sends a request line exactly as it is, and returns the status.
async fn status_of(gateway: &crate::harness::Gateway, target: &str) -> String {
    let mut client = Raw::connect(gateway.address()).await;
    let body = r#"{"model":"m"}"#;
    let request = format!(
        "POST {target} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    client.send(request.as_bytes()).await;
    let (answer, _) = client.read_to_end().await;
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn no_path_leads_out_of_what_is_listed() {
    let upstream = Upstream::spawn(said);
    let gateway = gateway(&upstream).await;
    let refused = [
        "/v1/audio/../files",
        "/v1/audio/../../admin",
        "/v1/audio/%2e%2e/files",
        "/v1/audio/.%2e/files",
        "/v1/audio/..%2ffiles",
        "/v1/audio/x%2f..%2f..%2ffiles",
        "/v1/audio/%252e%252e/files",
        "/v1/audio/..;/files",
        "/v1/audio/..%5cfiles",
        "/v1/audio//files",
        "/v1/audio/",
        "/v1/audio",
        "/v1/audio/a%00",
        "/v1/audio/a%0d%0ax-a:b",
        "//evil.example/v1/audio/speech",
        "/v1/files",
        "/tokenize/x",
    ];
    for target in refused {
        assert_eq!(status_of(&gateway, target).await, "404", "{target}");
    }
    assert!(upstream.calls_so_far().is_empty());
    // An address of the client's own is a path here, whatever host it names.
    let own = status_of(&gateway, "http://evil.example/v1/audio/speech").await;
    assert_eq!(own, "200");
    assert_eq!(upstream.calls_so_far()[0].path, "/v1/audio/speech");
    assert_eq!(status_of(&gateway, "/v1/audio/caf%C3%A9?a=../..&b=%2f").await, "200");
    assert_eq!(upstream.calls_so_far()[1].path, "/v1/audio/caf%C3%A9?a=../..&b=%2f");
    gateway.end(refused.len() + 2).await;
}

#[tokio::test]
async fn other_methods_are_refused_by_name() {
    let upstream = Upstream::spawn_whole(|_| Script::status(200));
    let gateway = gateway(&upstream).await;
    for method in ["PUT", "DELETE", "PATCH", "HEAD"] {
        let answer = send(method, &gateway.url("/v1/audio/speech"), &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, POST")), "{method}");
    }
    gateway.end(4).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Upstream::spawn(said);
    let target = format!("{}/v1/audio/speech", other.url());
    let upstream = Upstream::spawn(move |_| Script::redirect(307, &target));
    let gateway = spawn_gateway(lister("own", &upstream).no_retries()).await;
    let answer = post_bytes(&gateway.url("/v1/audio/speech"), &[], r#"{"model":"m"}"#).await;
    assert_eq!((answer.status, answer.header("location")), (502, None), "{}", answer.text());
    assert!(other.calls_so_far().is_empty());
    gateway.end(1).await;
}

#[tokio::test]
async fn headers_of_a_request_cannot_add_to_the_call() {
    let upstream = Upstream::spawn(said);
    let gateway = gateway(&upstream).await;
    let twice = [JSON, ("content-type", "text/plain")];
    let url = gateway.url("/v1/audio/speech");
    assert_eq!(send("POST", &url, &twice, "{}").await.status, 400);
    let more = [
        JSON,
        ("accept", "audio/mpeg"),
        ("accept", "audio/*"),
        ("x-forwarded-for", "1.2.3.4"),
        ("cookie", "a=b"),
        ("openai-organization", "org-1"),
        ("content-language", "de"),
        ("connection", "x-a"),
        ("x-a", "b"),
    ];
    assert_eq!(send("POST", &url, &more, r#"{"model":"m"}"#).await.status, 200);
    let head = upstream.calls_so_far()[0].head.to_ascii_lowercase();
    assert!(head.contains("accept: audio/mpeg, audio/*\r\n"), "{head}");
    for name in ["x-forwarded", "cookie", "organization", "content-language", "x-a"] {
        assert!(!head.contains(name), "{head}");
    }
    gateway.end(2).await;
}

#[tokio::test]
async fn every_kind_of_provider_may_list_paths() {
    let upstream = Upstream::spawn(said);
    let kinds = [("ollama", ""), ("openai", "/v1"), ("anthropic", ""), ("gemini", "")];
    let mut config = Config::new();
    for (kind, base) in kinds {
        let url = format!("{}{base}", upstream.url());
        let provider = Provider::new(&format!("p-{kind}"), kind, url);
        config = config.provider(provider.api_key("sk-1").passthrough([format!("/v1/{kind}/*")]));
    }
    let gateway = spawn_gateway(config).await;
    for (index, (kind, _)) in kinds.into_iter().enumerate() {
        let path = format!("/v1/{kind}/x");
        let answer = post_bytes(&gateway.url(&path), &[], r#"{"model":"m"}"#).await;
        let from = format!("p-{kind}");
        assert_eq!((answer.status, answer.header("x-gateway-provider")), (200, Some(&*from)));
        let call = &upstream.calls_so_far()[index];
        assert_eq!(call.path, path);
        let header = match kind {
            "anthropic" => "x-api-key",
            "gemini" => "x-goog-api-key",
            _ => "authorization",
        };
        assert!(call.header(header).is_some_and(|key| key.ends_with("sk-1")), "{}", call.head);
    }
    gateway.end(4).await;
}

#[tokio::test]
async fn a_path_of_the_gateway_s_own_cannot_be_listed() {
    let folder = tempfile::TempDir::new().unwrap();
    for (listed, said) in [
        ("/v1/chat/completions", "`/v1/chat/completions` covers /v1/chat/completions"),
        ("/v1/*", "`/v1/*` covers /v1/chat, which the gateway serves itself"),
        ("/api/pull", "`/api/pull` covers /api/pull"),
        ("/v1/models/*", "`/v1/models/*` covers /v1/models/*"),
        ("audio", "write a path that begins with a name, as in \"/v1/audio/*\""),
        ("/v1/../x", "write a path that begins with a name"),
    ] {
        let config = format!("[providers.ollama]\nmodels = ['*']\npassthrough = ['{listed}']\n");
        std::fs::write(folder.path().join("gateway.toml"), config).unwrap();
        let printed = run_in(folder.path(), &["check", "--config", "gateway.toml"], &[]).await;
        assert_eq!(printed.status, Some(78), "{listed}");
        let at = "gateway.toml:3: providers.ollama.passthrough";
        assert!(printed.stderr.contains(at) && printed.stderr.contains(said), "{}", printed.stderr);
    }
}

#[tokio::test]
async fn a_reload_lists_paths_and_takes_them_back() {
    let upstream = Upstream::spawn_whole(said);
    let with = lister("own", &upstream);
    let without = with.clone().passthrough(Names::none());
    let gateway = spawn_gateway(&without).await;
    let mut sent = 0;
    for (config, status) in [(&with, 200), (&without, 404)] {
        gateway.write_config(config);
        gateway.signal(Signal::Hup);
        let counted = std::cell::Cell::new(sent);
        eventually(
            || format!("status {status}"),
            async || {
                counted.set(counted.get() + 1);
                (get(&gateway.url("/v1/audio/voices")).await.status == status).then_some(())
            },
        )
        .await;
        sent = counted.get();
    }
    gateway.end(sent).await;
}

#[tokio::test]
async fn check_says_who_a_listed_path_goes_to() {
    let folder = tempfile::TempDir::new().unwrap();
    let config = "[providers.ollama]\n\
                  [providers.speech]\nbackend = 'openai'\nbase_url = 'http://localhost:1/v1'\ntrust = 'local'\n\
                  passthrough = ['/v1/audio/*']\n";
    std::fs::write(folder.path().join("gateway.toml"), config).unwrap();
    let check = async |more: &[&str]| {
        let arguments =
            [&["check", "--config", "gateway.toml", "--path", "/v1/audio/speech"], more];
        run_in(folder.path(), &arguments.concat(), &[]).await.stdout
    };
    let named = check(&["--route", "tts-1"]).await;
    assert!(named.contains("speech/tts-1: candidate, passed on"), "{named}");
    assert!(!named.contains("ollama/tts-1: candidate"), "{named}");
}
