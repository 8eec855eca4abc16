//! TLS between the gateway and its providers: which certificates it trusts, and the errors when it
//! does not.

pub mod front;

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::client::{ask, chat, post_json, stream, streamed_chat};
use crate::harness::{
    Breaker, Config, Gateway, Provider, Retry, Route, Target, Timeouts, Tls, spawn_gateway,
    spawn_gateway_with,
};
use crate::upstream::{Upstream, refusing, silent};
use front::{Authority, Front, Leaf};

const ATTEMPTS: &str = "llm_gateway_upstream_attempts_total";

/// An authority, a server with its certificate, and the authority's file.
struct Private {
    authority: Authority,
    upstream: Upstream,
    front: Front,
    folder: TempDir,
}

impl Private {
    async fn new() -> Self {
        let (authority, upstream) = (Authority::new(), Upstream::ollama());
        let front = Front::open(upstream.address(), authority.issue(Leaf::Good)).await;
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { authority, upstream, front, folder }
    }

    fn file(&self) -> String {
        self.folder.path().join("ca.pem").to_str().unwrap().to_owned()
    }
}

/// An Ollama at `url` without retries.
fn once(name: &str, url: impl Into<String>) -> Provider {
    Provider::new(name, "ollama", url).no_retries()
}

fn trusting(file: &str, roots: &str) -> Tls {
    Tls::default().ca_file(file).roots(roots)
}

/// The status and the words of a native answer of `name`.
async fn said(gateway: &Gateway, name: &str) -> (u16, String) {
    let mut body = chat("hi");
    body["model"] = format!("{name}/llama3.1").into();
    let answer = post_json(&gateway.url("/v1/chat"), &body).await;
    (answer.status, answer.json()["detail"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_provider_of_a_private_authority_answers_whole_and_streamed() {
    let private = Private::new().await;
    for roots in ["bundled", "none"] {
        let tls = trusting(&private.file(), roots);
        let gateway = spawn_gateway(once("ollama", private.front.url()).tls(tls)).await;
        let whole = post_json(&gateway.url("/v1/chat"), &chat("hi")).await;
        assert_eq!(whole.json()["content"], "Hello!", "{}", whole.text());
        let streamed = stream(&gateway.url("/v1/chat"), &streamed_chat("hi")).await.rest().await;
        assert!(streamed.ended_properly && streamed.text().contains("[DONE]"));
        gateway.end(2).await;
    }
    assert_eq!(private.upstream.calls(4).await.len(), 4);
}

#[tokio::test]
async fn the_system_s_roots_are_where_the_environment_says() {
    let private = Private::new().await;
    let config = once("ollama", private.front.url()).tls(Tls::default().roots("system"));
    let gateway = spawn_gateway_with(&config, &[("SSL_CERT_FILE", &private.file())]).await;
    assert_eq!(said(&gateway, "ollama").await, (200, String::new()));
    gateway.end(1).await;
}

/// Providers that cannot be reached, each in its own way: what a caller reads, and the step that
/// the log names.
fn unreachable(
    private: &Private,
    fronts: &[(&str, &Front)],
    plain: &str,
    deaf: &str,
) -> (Config, Vec<(&'static str, &'static str, &'static str)>) {
    let trust = trusting(&private.file(), "bundled");
    let trusting = |(name, front): &(&str, &Front)| once(name, front.url()).tls(trust.clone());
    let nowhere = once("nowhere", "http://no-such-host.invalid:1");
    let config = Config::new()
        .provider(once("stranger", private.front.url()))
        .providers(fronts.iter().map(trusting))
        .provider(once("plain", plain))
        .provider(once("refusing", deaf))
        .provider(nowhere.timeouts(Timeouts::default().connect("20s")));
    let cases = vec![
        ("stranger", "an unknown authority; name that in tls.ca_file", "(tls: "),
        ("elsewhere", "its certificate is for another name; base_url has to", "(tls: "),
        ("expired", "its certificate has expired; renew it", "(tls: "),
        ("early", "is not valid yet; is this machine's clock right?", "(tls: "),
        ("itself", "is an authority's own; issue one for the server", "(tls: "),
        ("plain", "not TLS; should base_url begin with http://?", "(tls: "),
        ("refusing", "connection refused; ", "(tcp: "),
        ("nowhere", "its name is not known; ", "(dns: "),
    ];
    (config, cases)
}

#[tokio::test]
async fn each_failure_to_connect_is_distinguished_and_says_what_to_do() {
    let private = Private::new().await;
    let address = private.upstream.address();
    let open = async |leaf| Front::open(address, private.authority.issue(leaf)).await;
    let (elsewhere, expired) = (open(Leaf::ForElsewhere).await, open(Leaf::Expired).await);
    let (early, itself) = (open(Leaf::NotYetValid).await, open(Leaf::Authority).await);
    let fronts =
        [("elsewhere", &elsewhere), ("expired", &expired), ("early", &early), ("itself", &itself)];
    let (plain, deaf) = (Front::without_tls().await, refusing());
    let (config, cases) = unreachable(&private, &fronts, &plain.url(), &deaf.url());
    let gateway = spawn_gateway_with(&config, &[("RUST_LOG", "info,attempt=debug")]).await;
    for (name, words, step) in &cases {
        let (status, detail) = said(&gateway, name).await;
        assert_eq!(status, 502, "{name}: {detail}");
        assert!(detail.contains(words) && detail.contains(name), "{name}: {detail}");
        let line = gateway.logged(&format!("cannot reach provider `{name}`")).await;
        assert!(line.contains(step), "{name}: {line}");
        let counted = gateway.metrics().await.sum(ATTEMPTS, &[("provider", name)]);
        assert_eq!(counted, 1.0, "{name}");
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum(ATTEMPTS, &[("outcome", "connect")]), cases.len() as f64);
    assert!(private.upstream.calls_so_far().is_empty(), "not a byte of a prompt has left");
    gateway.end(cases.len()).await;
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_a_connect_timeout() {
    let deaf = silent();
    let url = deaf.url().replace("http:", "https:");
    let gateway =
        spawn_gateway(once("ollama", url).timeouts(Timeouts::default().connect("300ms"))).await;
    let (status, detail) = said(&gateway, "ollama").await;
    assert!(status == 502 && detail.contains("the TLS handshake took too long"), "{detail}");
    gateway.end(1).await;
}

#[tokio::test]
async fn plain_words_to_a_tls_port_are_answered_with_a_hint() {
    let private = Private::new().await;
    let url = private.front.url().replace("https:", "http:");
    let gateway = spawn_gateway(once("ollama", url)).await;
    let (status, detail) = said(&gateway, "ollama").await;
    assert_eq!(status, 502);
    assert!(detail.contains("base_url has to begin with https://"), "{detail}");
    gateway.end(1).await;
}

#[tokio::test]
async fn an_untrusted_provider_is_retried_and_then_another_is_asked() {
    let (private, other) = (Private::new().await, Upstream::ollama());
    let config = Config::new()
        .provider(
            Provider::new("a", "ollama", private.front.url())
                .retry(Retry::default().max_retries(2).backoff("1ms").max_backoff("1ms")),
        )
        .provider(Provider::ollama(&other).name("b"))
        .route(
            Route::new("m", [Target::new("a", "llama3.1")])
                .fallback([Target::new("b", "llama3.1")]),
        );
    let gateway = spawn_gateway(&config).await;
    let mut body = chat("hi");
    body["model"] = "m".into();
    let answer = post_json(&gateway.url("/v1/chat"), &body).await;
    assert_eq!((answer.status, &answer.json()["provider"]), (200, &json!("b")));
    assert_eq!(answer.header("x-gateway-attempts"), Some("3"));
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum(ATTEMPTS, &[("provider", "a"), ("outcome", "connect")]), 2.0);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_new_authority_counts_from_the_next_reload_and_a_bad_file_keeps_the_old() {
    let private = Private::new().await;
    let file = private.file();
    let good = std::fs::read(&file).unwrap();
    std::fs::write(&file, Authority::new().pem()).unwrap();
    let provider = once("ollama", private.front.url())
        .tls(trusting(&file, "none"))
        .breaker(Breaker::default().failures(1).open("60s"));
    let gateway = spawn_gateway(provider).await;
    let reload = async || ask("POST", &gateway.admin_url("/admin/reload"), &[]).await;
    assert_eq!(said(&gateway, "ollama").await.0, 502);
    assert_eq!(said(&gateway, "ollama").await.0, 503, "left alone");
    std::fs::write(&file, good).unwrap();
    assert_eq!(reload().await.status, 200);
    assert_eq!(said(&gateway, "ollama").await, (200, String::new()), "another trust, another try");
    std::fs::write(&file, "nonsense").unwrap();
    let refused = reload().await;
    assert!(!(200..300).contains(&refused.status));
    let problem = "providers.ollama.tls.ca_file: ";
    assert!(refused.text().contains(problem), "{}", refused.text());
    assert!(refused.text().contains("holds no certificate"), "{}", refused.text());
    assert!(Path::new(&file).exists());
    assert_eq!(said(&gateway, "ollama").await.0, 200, "the old one stays");
    gateway.end(4).await;
}
