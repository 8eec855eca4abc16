//! Calls through a proxy: which providers use it, by which settings, and the errors when it fails.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Answer, chat, get, post_json};
use crate::harness::{Config, Gateway, Provider, Server, Tls, spawn_gateway, spawn_gateway_with};
use crate::tls::front::{Authority, Front, Leaf};
use crate::upstream::{Upstream, refusing};

/// `me:sk-planted`, as HTTP writes it.
const BASIC: &str = "Basic bWU6c2stcGxhbnRlZA==";

/// A proxy that connects every client to one address, whatever it asks for. It ends with the test.
struct Proxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn to(target: SocketAddr) -> Self {
        Self::saying("HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", target).await
    }

    /// A proxy that answers a request for a tunnel with this.
    async fn saying(consent: &'static str, target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(stream, consent, target, Arc::clone(&seen)));
            }
        });
        Self { address, heads }
    }

    /// The beginning of each connection, as far as it is about chats.
    fn heads(&self) -> Vec<String> {
        let heads = self.heads.lock();
        heads.iter().filter(|head| !head.starts_with("GET ")).cloned().collect()
    }
}

async fn carry(
    mut stream: TcpStream,
    consent: &'static str,
    target: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    seen.lock().push(head.clone());
    let mut behind = TcpStream::connect(target).await.unwrap();
    if head.starts_with("CONNECT ") {
        stream.write_all(consent.as_bytes()).await.unwrap();
    } else {
        behind.write_all(head.as_bytes()).await.unwrap();
    }
    drop(copy_bidirectional(&mut stream, &mut behind).await);
}

async fn ask(gateway: &Gateway, provider: &str) -> Answer {
    let mut body = chat("hi");
    body["model"] = json!(format!("{provider}/llama3.1"));
    post_json(&gateway.url("/v1/chat"), &body).await
}

fn once(name: &str, url: impl Into<String>) -> Provider {
    Provider::new(name, "ollama", url).no_retries()
}

/// The value of a field of a request.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let is_it = |(field, _): &(&str, &str)| field.eq_ignore_ascii_case(name);
    head.lines().filter_map(|line| line.split_once(": ")).find(is_it).map(|(_, value)| value)
}

#[tokio::test]
async fn a_provider_without_tls_is_reached_by_its_absolute_address() {
    let upstream = Upstream::ollama();
    let proxy = Proxy::to(upstream.address()).await;
    let url = format!("http://me:sk-planted@{}", proxy.address);
    let config = Config::new()
        .server(Server::default().workers(1))
        .provider(once("ollama", "http://models.test:1234/deep").proxy(url));
    let gateway = spawn_gateway(config).await;
    for _ in 0..2 {
        let answer = ask(&gateway, "ollama").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let head = &proxy.heads()[0];
    assert!(head.starts_with("POST http://models.test:1234/deep/api/chat HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(head, "host"), Some("models.test:1234"), "{head}");
    assert_eq!(field(head, "proxy-authorization"), Some(BASIC), "{head}");
    // The second arrived on the same connection, in the same form.
    assert_eq!(proxy.heads().len(), 1);
    let calls = upstream.calls(2).await;
    assert_eq!(calls[1].path, "http://models.test:1234/deep/api/chat");
    let shown = get(&gateway.admin_url("/admin/config")).await.text();
    assert!(shown.contains("http://***@") && !shown.contains("sk-planted"), "{shown}");
    gateway.end(2).await;
}

#[tokio::test]
async fn a_provider_with_tls_is_reached_through_a_tunnel() {
    let (authority, upstream) = (Authority::new(), Upstream::ollama());
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let front = Front::open(upstream.address(), authority.issue(Leaf::Good)).await;
    let target = front.url().strip_prefix("https://").unwrap().to_owned();
    let proxy = Proxy::to(target.parse().unwrap()).await;
    let provider = once("ollama", front.url())
        .proxy(format!("http://me:sk-planted@{}", proxy.address))
        .tls(Tls::default().ca_file(file.to_str().unwrap()).roots("none"));
    let gateway = spawn_gateway(provider).await;
    let answer = ask(&gateway, "ollama").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let head = &proxy.heads()[0];
    assert!(head.starts_with(&format!("CONNECT {target} HTTP/1.1\r\n")), "{head}");
    assert_eq!(field(head, "proxy-authorization"), Some(BASIC), "{head}");
    let call = &upstream.calls(1).await[0];
    assert_eq!(field(&call.head, "proxy-authorization"), None, "the provider is not told");
    gateway.end(1).await;
}

#[tokio::test]
async fn the_environments_proxy_is_not_used_for_this_machine_or_exempt_hosts() {
    let (upstream, elsewhere) = (Upstream::ollama(), refusing());
    let proxy = Proxy::to(upstream.address()).await;
    let there = format!("http://{}", proxy.address);
    let wrong = format!("http://{}", elsewhere.address());
    let config = Config::new()
        .provider(once("far", "http://models.test"))
        .provider(once("here", upstream.url()))
        .provider(once("exempt", "http://models.exempt.test"))
        .provider(once("direct", "http://models.test").proxy("none"))
        .provider(once("written", "http://models.test").proxy(wrong));
    let variables = [("HTTP_PROXY", there.as_str()), ("NO_PROXY", "exempt.test,other.test")];
    let gateway = spawn_gateway_with(&config, &variables).await;
    for (name, status, words) in [
        ("far", 200, "Hello!"),
        ("here", 200, "Hello!"),
        ("exempt", 502, "its name is not known"),
        ("direct", 502, "its name is not known"),
        ("written", 502, "its proxy cannot be reached: connection refused"),
    ] {
        let answer = ask(&gateway, name).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert!(answer.text().contains(words), "{name}: {}", answer.text());
    }
    assert_eq!(proxy.heads().len(), 1, "{:?}", proxy.heads());
    gateway.end(5).await;
}

#[tokio::test]
async fn a_proxy_that_refuses_a_tunnel_is_distinguished_from_the_provider() {
    let upstream = Upstream::ollama();
    let cases = [
        ("unknown", "HTTP/1.1 407 x\r\ncontent-length: 2\r\n\r\nno", "asks for a name and a pass"),
        (
            "refused",
            "HTTP/1.1 403 x\r\ncontent-length: 0\r\n\r\n",
            "refuses to connect to it (status 403",
        ),
        ("speaks", "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "does not answer like one"),
        ("garbled", "SSH-2.0-x\r\n", "does not answer like one"),
    ];
    let mut config = Config::new();
    for (name, consent, _) in cases {
        let proxy = Proxy::saying(consent, upstream.address()).await;
        let address = format!("http://{}", proxy.address);
        config = config.provider(once(name, "https://models.test").proxy(address));
    }
    let gateway = spawn_gateway(&config).await;
    for (name, _, words) in cases {
        let answer = ask(&gateway, name).await;
        assert_eq!(answer.status, 502, "{name}: {}", answer.text());
        assert!(answer.text().contains(words), "{name}: {}", answer.text());
    }
    gateway.end(cases.len()).await;
}
