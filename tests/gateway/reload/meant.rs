//! Intended changes: what may be removed, and how anonymous access is allowed on purpose.

use std::fs;

use super::{EVERY_WAY, KEYS, REFUSED, TAKEN, Told, reload, started, times, whole};
use crate::client::{Answer, ask, chat, post_json, post_json_with};
use crate::crowd::{key, press};
use crate::harness::{Gateway, spawn_gateway_in};
use crate::upstream::Upstream;

async fn status(gateway: &Gateway, secret: &str) -> u16 {
    post_json_with(&gateway.url("/v1/chat"), &key(secret), &chat("hi")).await.status
}

#[tokio::test]
async fn the_last_key_of_a_file_can_be_removed_like_any_other() {
    for told in EVERY_WAY {
        let upstream = Upstream::ollama();
        let text = whole(&upstream);
        let (before, after) = text.split_once(KEYS).unwrap();
        let (one, _) = KEYS.split_once("[[keys]]\nname = 'b'").unwrap();
        let gateway = started("gateway.toml", &format!("{before}{after}{KEYS}")).await;
        assert_eq!((status(&gateway, "sk-a").await, status(&gateway, "sk-b").await), (200, 200));
        let shorter = format!("{before}{after}{one}");
        let file = gateway.config_file();
        reload(&gateway, told, TAKEN, || fs::write(file, shorter).unwrap()).await;
        assert_eq!((status(&gateway, "sk-a").await, status(&gateway, "sk-b").await), (200, 401));
        gateway.end(4).await;
    }
}

#[tokio::test]
async fn a_file_that_allows_anonymous_callers_explicitly_does() {
    for told in EVERY_WAY {
        let upstream = Upstream::ollama();
        let text = whole(&upstream);
        let gateway = started("gateway.toml", &text).await;
        let open = text.replace(KEYS, "").replace("[auth]", "[auth]\nanonymous = true");
        let file = gateway.config_file();
        reload(&gateway, told, TAKEN, || fs::write(file, open).unwrap()).await;
        assert_eq!(post_json(&gateway.url("/v1/chat"), &chat("hi")).await.status, 200);
        gateway.logged("there are no keys any more: whoever reaches 0.0.0.0:").await;
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn on_loopback_a_file_may_remove_all_keys_and_an_empty_one_may_not() {
    let upstream = Upstream::ollama();
    let text = whole(&upstream).replace("0.0.0.0:0", "127.0.0.1:0");
    let gateway = started("gateway.toml", &text).await;
    let file = gateway.config_file();
    let write = |text: &str| fs::write(&file, text).unwrap();
    for broken in ["", &text[..text.find("[[keys]]").unwrap()]] {
        reload(&gateway, Told::Post, REFUSED, || write(broken)).await;
        assert_eq!(post_json(&gateway.url("/v1/chat"), &chat("hi")).await.status, 401);
    }
    fs::remove_file(&file).unwrap();
    reload(&gateway, Told::Hangup, REFUSED, || {}).await;
    assert_eq!(post_json(&gateway.url("/v1/chat"), &chat("hi")).await.status, 401);
    reload(&gateway, Told::Nobody, TAKEN, || write(&text.replace(KEYS, ""))).await;
    assert_eq!(post_json(&gateway.url("/v1/chat"), &chat("hi")).await.status, 200);
    gateway.end(4).await;
}

#[tokio::test]
async fn a_file_that_is_taken_up_later_is_kept_like_one_from_the_start() {
    let upstream = Upstream::ollama();
    let variables = [
        ("LLM_GATEWAY__SERVER__LISTEN", "127.0.0.1:0"),
        ("LLM_GATEWAY__ADMIN__LISTEN", "127.0.0.1:0"),
    ];
    let gateway = spawn_gateway_in(tempfile::TempDir::new().unwrap(), &[], &variables).await;
    assert_eq!(press(&gateway, "reload").await.status, 200, "there is none yet");
    let file = gateway.folder().join("config/gateway.toml");
    let write = || {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, whole(&upstream)).unwrap();
    };
    reload(&gateway, Told::Post, TAKEN, write).await;
    for told in EVERY_WAY {
        reload(&gateway, told, REFUSED, || fs::remove_file(&file).unwrap()).await;
        assert_eq!(post_json(&gateway.url("/v1/chat"), &chat("hi")).await.status, 401);
        reload(&gateway, told, TAKEN, write).await;
    }
    gateway.end(3).await;
}

#[tokio::test]
async fn the_token_of_a_bound_admin_listener_cannot_be_removed() {
    let upstream = Upstream::ollama();
    let admin = "[admin]\nlisten = '0.0.0.0:0'\ntoken = 't0ken'\n";
    let text = whole(&upstream).replace("[admin]\nlisten = '127.0.0.1:0'\n", admin);
    let folder = tempfile::TempDir::new().unwrap();
    fs::write(folder.path().join("gateway.toml"), &text).unwrap();
    let mut gateway = spawn_gateway_in(folder, &["serve", "--config", "gateway.toml"], &[]).await;
    let with = async |token: &str| -> Answer {
        let bearer = format!("Bearer {token}");
        ask("POST", &gateway.admin_url("/admin/reload"), &[("authorization", &bearer)]).await
    };
    for without in ["[admin]\nlisten = '127.0.0.1:0'\n", "[admin]\n", ""] {
        fs::write(gateway.config_file(), text.replace(admin, without)).unwrap();
        let refused = with("t0ken").await;
        let problems = refused.json()["problems"].to_string();
        assert!(refused.status == 422 && problems.contains("admin.token: is empty"), "{problems}");
        assert_eq!(with("").await.status, 401);
    }
    fs::write(gateway.config_file(), &text).unwrap();
    assert_eq!(with("t0ken").await.status, 200);
    assert_eq!(times(&gateway, REFUSED), 3);
    gateway.signal(crate::harness::Signal::Term);
    assert_eq!(gateway.exited().await.code(), Some(0));
}
