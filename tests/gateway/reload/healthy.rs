//! `llm-gateway health` asks the running gateway, whatever has become of its file: a container must
//! not be restarted because of a configuration that its gateway refuses.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{REFUSED, Told, reload, started, whole};
use crate::client::{chat, get, post_json_with};
use crate::crowd::{key, send};
use crate::harness::{Gateway, Printed, Signal, run, run_in, spawn_gateway_in};
use crate::patience::eventually;
use crate::upstream::{Gate, Upstream, ollama};

/// What the health check prints and returns with the same file.
async fn health(gateway: &Gateway) -> Printed {
    let file = gateway.config_file();
    run(&["health", "--config", file.to_str().unwrap()], &[]).await
}

/// A gateway by a file with an absolute name. The file leaves its port to the kernel, so that no
/// file contains its address.
async fn by_absolute_name(upstream: &Upstream) -> Gateway {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("gateway.toml");
    fs::write(&file, whole(upstream)).unwrap();
    let file = file.to_str().unwrap().to_owned();
    spawn_gateway_in(folder, &["serve", "--config", &file], &[]).await
}

#[tokio::test]
async fn a_gateway_is_healthy_whatever_becomes_of_its_file() {
    let upstream = Upstream::ollama();
    let gateway = by_absolute_name(&upstream).await;
    assert_eq!(health(&gateway).await.status, Some(0));
    let spoils: [&dyn Fn(&Path); 6] = [
        &|file| fs::write(file, "[server]\nworker = 3\n").unwrap(),
        &|file| fs::write(file, "[server\nlisten = ").unwrap(),
        &|file| fs::write(file, "").unwrap(),
        &|file| fs::write(file, b"\xff\xfe").unwrap(),
        &|file| fs::write(file, "[server]\nlisten = '127.0.0.1:1'\nworker = 3\n").unwrap(),
        &|file| fs::remove_file(file).unwrap(),
    ];
    for spoil in spoils {
        reload(&gateway, Told::Post, REFUSED, || spoil(&gateway.config_file())).await;
        let printed = health(&gateway).await;
        assert_eq!(printed.status, Some(0), "{printed:?}");
    }
    let answer = post_json_with(&gateway.url("/v1/chat"), &key("sk-a"), &chat("hi")).await;
    assert_eq!(answer.status, 200);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_gateway_that_found_its_file_by_itself_is_found_without_it() {
    let upstream = Upstream::ollama();
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("config")).unwrap();
    fs::write(folder.path().join("config/gateway.toml"), whole(&upstream)).unwrap();
    let gateway = spawn_gateway_in(folder, &[], &[]).await;
    fs::remove_dir_all(gateway.folder().join("config")).unwrap();
    // A line that cannot be understood does not make a running gateway ill either.
    fs::write(gateway.folder().join(".env"), "sk-planted secret = 'x\n").unwrap();
    let printed = run_in(gateway.folder(), &["health"], &[]).await;
    assert_eq!(printed.status, Some(0), "{printed:?}");
    gateway.end(0).await;
}

#[tokio::test]
async fn one_that_cannot_be_looked_up_is_found_by_the_environment_or_what_can_be_read_of_the_file()
{
    let upstream = Upstream::ollama();
    let gateway = started("gateway.toml", &whole(&upstream)).await;
    let address = gateway.address();
    let port = address.port().to_string();
    for (text, variables) in [
        (format!("[server]\nlisten = '{address}'\nworker = 3\n[providers.x\n"), vec![]),
        (format!("[server]\nlisten = '0.0.0.0:{port}'\n[[keys]]\nname = \"cut o"), vec![]),
        ("[server]\nlisten = '127.0.0.1:1'\n".to_owned(), vec![("PORT", port.as_str())]),
        (String::new(), vec![("PORT", port.as_str())]),
    ] {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("other.toml");
        fs::write(&file, &text).unwrap();
        let asked = ["health", "--config", file.to_str().unwrap()];
        let printed = run(&asked, &variables).await;
        assert_eq!(printed.status, Some(0), "{text}: {printed:?}");
        fs::remove_file(&file).unwrap();
        let listen = address.to_string();
        let printed = run(&asked, &[("LLM_GATEWAY__SERVER__LISTEN", &listen)]).await;
        assert_eq!(printed.status, Some(0), "{text}: {printed:?}");
    }
    gateway.end(0).await;
}

#[tokio::test]
async fn without_a_gateway_it_is_1_and_names_the_address_whatever_the_file_says() {
    for text in ["", "[server\n", "[server]\nworker = 3\n"] {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("gateway.toml"), text).unwrap();
        let asked = ["health", "--config", "gateway.toml"];
        let printed = run_in(folder.path(), &asked, &[("PORT", "1")]).await;
        assert_eq!(printed.status, Some(1), "{printed:?}");
        let said = "error: http://127.0.0.1:1/readyz: Connection refused";
        assert!(printed.stderr.starts_with(said), "{printed:?}");
    }
}

#[tokio::test]
async fn one_that_stops_is_not_healthy_although_its_admin_listener_answers() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let mut gateway = by_absolute_name(&upstream).await;
    let running = send(&gateway, &key("sk-a"), chat("hi"));
    upstream.calls(1).await;
    gateway.signal(Signal::Term);
    let ready = gateway.url("/readyz");
    let stops = async || (get(&ready).await.status == 503).then_some(());
    eventually(|| "the gateway stops".to_owned(), stops).await;
    let printed = health(&gateway).await;
    assert!(printed.status == Some(1) && printed.stderr.contains("status 503"), "{printed:?}");
    gate.open();
    assert_eq!(running.await.unwrap().status, 200);
    assert_eq!(gateway.exited().await.code(), Some(0));
}
