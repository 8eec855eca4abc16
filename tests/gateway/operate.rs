//! The commands that ask and change a running gateway: the console's controls for a shell, and the
//! exit status that scripts rely on.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::client::{chat, post_json};
use crate::crowd::snapshot;
use crate::harness::{
    Config, Gateway, Key, Printed, Provider, Rate, Signal, run, run_in, spawn_gateway,
};
use crate::patience::within;
use crate::upstream::{Gate, Upstream, ollama};

/// Runs a command that finds the gateway by its configuration file.
async fn by_file(gateway: &Gateway, arguments: &[&str]) -> Printed {
    let file = gateway.config_file();
    run(&[arguments, &["--config", file.to_str().unwrap()]].concat(), &[]).await
}

/// The same, which must succeed; returns what it prints.
async fn done(gateway: &Gateway, arguments: &[&str]) -> String {
    let printed = by_file(gateway, arguments).await;
    assert_eq!((printed.status, printed.stderr.as_str()), (Some(0), ""), "{printed:?}");
    printed.stdout
}

#[tokio::test]
async fn limits_are_changed_by_words_and_taken_back_to_the_file() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(2).max_queue(9)).await;
    let told = done(&gateway, &["set", "ollama", "slots=8", "line=32", "wait=10s"]).await;
    assert!(
        told.starts_with("ollama: slots 8 (configured: 2), queue 32 (configured: 9)"),
        "{told}"
    );
    let limits = async || {
        let now = snapshot(&gateway, "ollama").await;
        (now["limit"].clone(), now["max_queue"].clone(), now["max_queue_wait_ms"].clone())
    };
    assert_eq!(limits().await, (json!(8), json!(32), json!(10_000)));
    let shown = done(&gateway, &["status"]).await;
    let remark = "ollama: set at run time: slots 8 (configured: 2), queue 32 (configured: 9)";
    assert!(shown.contains(remark), "{shown}");
    let told = done(&gateway, &["set", "ollama", "slots=file", "max_queue=file"]).await;
    assert!(told.starts_with("ollama: slots 2, queue 9, wait 10s (configured: 30s)\n"), "{told}");
    assert_eq!(limits().await, (json!(2), json!(9), json!(10_000)));
    for (arguments, said) in [
        (&["set", "ollama", "slots=0"][..], "max_concurrency"),
        (&["set", "ollama", "speed=9"], "`speed` is no limit that can be set: write slots=8"),
        (&["set", "nobody", "slots=1"], "no provider is named `nobody`"),
        (&["drain", "nobody"], "no provider is named `nobody`"),
    ] {
        let printed = by_file(&gateway, arguments).await;
        assert_eq!(printed.status, Some(1), "{printed:?}");
        assert!(printed.stderr.starts_with("error: "), "{printed:?}");
        assert!(printed.stderr.contains(said), "{printed:?}");
    }
    assert_eq!(limits().await, (json!(2), json!(9), json!(10_000)));
    gateway.end(0).await;
}

#[tokio::test]
async fn status_shows_who_runs_and_who_waits_and_drain_and_resume_are_seen_there() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(1).max_queue(4)).await;
    let url = gateway.url("/v1/chat");
    let calling: Vec<_> = (0..2)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { post_json(&url, &chat("hi")).await.status })
        })
        .collect();
    upstream.calls(1).await;
    crate::crowd::shows(&gateway, "ollama", "queued", 1).await;
    let row = async || {
        let shown = done(&gateway, &["status"]).await;
        let row = shown.lines().find(|line| line.starts_with("ollama ")).expect("a row");
        row.split_whitespace().take(4).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row().await, ["ollama", "waiting", "1/1", "1/4"]);
    let told = done(&gateway, &["drain", "ollama"]).await;
    assert_eq!(told, "ollama: takes no new work; 1 running, 1 in line\n");
    assert_eq!(row().await, ["ollama", "draining", "1/1", "1/4"]);
    assert_eq!(
        done(&gateway, &["resume", "ollama"]).await,
        "ollama: takes work; 1 running, 1 in line\n"
    );
    gate.open();
    for status in calling {
        assert_eq!(status.await.unwrap(), 200);
    }
    gateway.settled().await;
    assert_eq!(row().await, ["ollama", "idle", "0/1", "0/4"]);
    let json: Value = serde_json::from_str(&done(&gateway, &["status", "--json"]).await).unwrap();
    assert_eq!(
        (&json["providers"][0]["name"], &json["configuration"]),
        (&json!("ollama"), &json!("ok"))
    );
    gateway.end(2).await;
}

#[tokio::test]
async fn a_watch_goes_on_and_survives_no_gateway_at_its_start() {
    let upstream = Upstream::ollama();
    let mut gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let admin = gateway.admin_url("");
    let mut command = Command::new(env!("CARGO_BIN_EXE_llm-gateway"));
    command.env_clear().args(["status", "--watch", "1", "--json", "--address", &admin]);
    let mut watch = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = within("a line of the watch", lines.next_line()).await.unwrap().unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(told["providers"][0]["name"], "ollama");
    }
    watch.kill().await.unwrap();
    gateway.signal(Signal::Term);
    assert_eq!(gateway.exited().await.code(), Some(0));
    let printed = run(&["status", "--watch", "--address", &admin], &[]).await;
    assert_eq!(printed.status, Some(69), "{printed:?}");
}

#[tokio::test]
async fn a_reload_says_what_waits_and_a_refused_one_is_78_with_every_problem() {
    let upstream = Upstream::ollama();
    let provider = Provider::ollama(&upstream);
    let gateway = spawn_gateway(&provider).await;
    gateway.write_config(format!("{provider}\n[log]\nformat = 'json'\n"));
    let told = done(&gateway, &["reload"]).await;
    assert!(told.starts_with("the configuration is in force\n"), "{told}");
    assert!(told.contains("with the next start: log.format\n"), "{told}");
    fs::write(gateway.config_file(), "[server]\nworker = 3\ndrain = \"soon\"\n").unwrap();
    let refused = by_file(&gateway, &["reload"]).await;
    assert_eq!(refused.status, Some(78), "{refused:?}");
    let file = gateway.config_file();
    let lines: Vec<&str> = refused.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with(&format!("error: {}:2: server.worker: ", file.display())),
        "{lines:?}"
    );
    // The gateway is found by its broken file, and says so.
    let shown = done(&gateway, &["status"]).await;
    assert!(shown.contains("its configuration file is refused"), "{shown}");
    gateway.end(0).await;
}

#[tokio::test]
async fn the_token_comes_from_the_environment_or_from_the_configuration_of_that_address() {
    let upstream = Upstream::ollama();
    let config = Config::new().provider(Provider::ollama(&upstream)).admin_token("token-planted");
    let mut gateway = spawn_gateway(config).await;
    done(&gateway, &["status"]).await;
    let admin = gateway.admin_url("");
    let address = admin.trim_start_matches("http://");
    let status = ["status", "--address", address];
    let printed = run(&status, &[("ADMIN_TOKEN", "token-planted")]).await;
    assert_eq!(printed.status, Some(0), "{printed:?}");
    for (variables, said) in [
        (&[][..], "put the gateway's admin.token into ADMIN_TOKEN"),
        (&[("ADMIN_TOKEN", "another")], "the one in ADMIN_TOKEN"),
    ] {
        let printed = run(&status, variables).await;
        assert_eq!(printed.status, Some(77), "{printed:?}");
        assert!(printed.stderr.contains(&format!("error: {admin}: ")), "{printed:?}");
        assert!(printed.stderr.contains(said), "{printed:?}");
    }
    // Another address gets no token of this configuration.
    let file = gateway.config_file();
    let named = ["status", "--address", address, "--config", file.to_str().unwrap()];
    assert_eq!(run(&named, &[]).await.status, Some(77));
    // As in a container: the same variables, no file, every interface.
    let port = address.rsplit_once(':').unwrap().1;
    let listen = format!("0.0.0.0:{port}");
    let inside = [
        ("LLM_GATEWAY__ADMIN__LISTEN", listen.as_str()),
        ("LLM_GATEWAY__ADMIN__TOKEN", "token-planted"),
    ];
    let printed = run(&["drain", "ollama"], &inside).await;
    assert_eq!((printed.status, printed.stderr.as_str()), (Some(0), ""), "{printed:?}");
    // And from a `.env` in the folder.
    fs::write(gateway.folder().join(".env"), "ADMIN_TOKEN=token-planted\n").unwrap();
    let printed = run_in(gateway.folder(), &["resume", "ollama", "--address", address], &[]).await;
    assert_eq!(printed.status, Some(0), "{printed:?}");
    gateway.signal(Signal::Term);
    assert_eq!(gateway.exited().await.code(), Some(0));
    let printed = run(&status, &[]).await;
    assert_eq!(printed.status, Some(69), "{printed:?}");
    let error = &printed.stderr;
    assert!(error.starts_with(&format!("error: {admin}: ")), "{error}");
    assert!(error.contains("refused") && error.contains("--address"), "{error}");
}

#[tokio::test]
async fn each_change_by_an_operator_and_each_wrong_token_is_one_line_that_says_who_and_what() {
    let upstream = Upstream::ollama();
    let config =
        Config::new().provider(Provider::ollama(&upstream).slots(2)).admin_token("token-planted");
    let mut gateway = spawn_gateway(config).await;
    let operator = || -> Vec<String> {
        let lines = gateway.log_lines().into_iter();
        lines.filter(|line| line.contains(" operator] ")).collect()
    };
    let mut known = 0;
    let own =
        concat!("by=127.0.0.1 program=llm-gateway/", env!("CARGO_PKG_VERSION"), " token=valid");
    for (arguments, what) in [
        (&["set", "ollama", "slots=8"][..], "provider `ollama`: slots 2 → 8"),
        (&["drain", "ollama"], "provider `ollama` is drained: it takes no new work"),
        (&["resume", "ollama"], "provider `ollama` takes work again"),
        (&["reload"], "the configuration is to be read again"),
    ] {
        done(&gateway, arguments).await;
        gateway.logged(what).await;
        known += 1;
        assert_eq!(operator().len(), known, "{:#?}", operator());
        let line = operator().pop().unwrap();
        assert!(line.contains("INFO") && line.contains(what) && line.contains(own), "{line}");
    }
    done(&gateway, &["status"]).await;
    let url = gateway.admin_url("/admin/providers");
    for (headers, why) in [
        (&[][..], "why=\"no token\""),
        (&[("authorization", "Bearer token-other"), ("user-agent", "x\ty")], "why=\"wrong token\""),
        (&[("origin", "http://evil.example")], "why=\"a page elsewhere\""),
    ] {
        assert!(crate::client::ask("GET", &url, headers).await.status >= 401);
        let line = gateway.logged(why).await;
        known += 1;
        assert_eq!(operator().len(), known, "{:#?}", operator());
        assert!(line.contains("WARN") && line.contains("by=127.0.0.1"), "{line}");
        assert!(line.contains("path=/admin/providers"), "{line}");
    }
    assert!(!gateway.log_lines().join("\n").contains("token-"), "{:#?}", gateway.log_lines());
    gateway.signal(Signal::Term);
    assert_eq!(gateway.exited().await.code(), Some(0));
}

#[tokio::test]
async fn a_start_says_what_runs_where_for_whom_and_which_provider_answers() {
    let up = Upstream::ollama();
    let dead = crate::upstream::refusing();
    let gone = dead.address();
    let config = Config::new()
        .provider(Provider::ollama(&up).slots(2).max_queue(8))
        .provider(Provider::new("gone", "ollama", format!("http://{gone}")))
        .key(Key::new("a"))
        .key(Key::new("b"));
    let gateway = spawn_gateway(config).await;
    let file = gateway.config_file();
    let version = env!("CARGO_PKG_VERSION");
    let said = format!("llm-gateway {version} starts, configuration from {}", file.display());
    gateway.logged(&said).await;
    gateway.logged(&format!("http://{} for callers with one of 2 keys", gateway.address())).await;
    gateway.logged("with the console, metrics and knobs").await;
    let url = up.url();
    let said = format!(
        "provider `ollama`, ollama at {url}: 2 slots (an Ollama runs one call unless OLLAMA_NUM_PARALLEL=2), a line of 8 for 30s; it answers: 1 models"
    );
    assert!(gateway.logged(&said).await.contains("INFO"));
    let line = gateway.logged("provider `gone`, ollama at ").await;
    assert!(line.contains("WARN") && line.contains("it does not answer: "), "{line}");
    assert!(line.contains("refused"), "{line}");
    gateway.end(0).await;
}

#[tokio::test]
async fn the_main_listener_is_no_admin_listener_and_says_so() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let main = gateway.address().to_string();
    let printed = run(&["set", "ollama", "slots=1", "--address", &main], &[]).await;
    assert_eq!(printed.status, Some(1), "{printed:?}");
    let said = format!(
        "error: http://{main}: is this an admin listener? it knows no /admin/providers/ollama"
    );
    assert!(printed.stderr.starts_with(&said), "{printed:?}");
    gateway.end(1).await;
}

#[tokio::test]
async fn the_keys_of_a_running_gateway_are_listed_with_what_they_have_left() {
    let upstream = Upstream::ollama();
    let rate = Rate::of(60, 0.001);
    let config = Config::new()
        .provider(Provider::ollama(&upstream))
        .key(Key::new("team-a").rate(rate))
        .key(Key::new("team-b"));
    let gateway = spawn_gateway(config).await;
    let url = gateway.url("/v1/chat");
    let called =
        crate::client::post_json_with(&url, &[("x-api-key", "sk-team-a")], &chat("hi")).await;
    assert_eq!(called.status, 200);
    gateway.settled().await;
    let listed = done(&gateway, &["keys", "list"]).await;
    let row = listed.lines().find(|line| line.starts_with("team-a ")).expect("a row");
    assert!(row.contains("59/60"), "{listed}");
    assert!(listed.contains("team-b") && !listed.contains("sk-"), "{listed}");
    let json: Value =
        serde_json::from_str(&done(&gateway, &["keys", "list", "--json"]).await).unwrap();
    assert_eq!(json["keys"].as_array().unwrap().len(), 2);
    gateway.end(1).await;
}

#[tokio::test]
async fn shells_and_manuals_are_told_of_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let printed = run(&["completions", shell], &[]).await;
        assert_eq!(printed.status, Some(0), "{printed:?}");
        assert!(printed.stdout.contains("resume"), "{shell}");
    }
    assert_eq!(run(&["completions", "tcsh"], &[]).await.status, Some(1));
    let page = run(&["man"], &[]).await;
    assert!(page.status == Some(0) && page.stdout.contains(".TH llm-gateway 1"), "{page:?}");
    let page = run(&["man", "set"], &[]).await;
    assert!(page.stdout.contains("slots=8"), "{page:?}");
    assert_eq!(run(&["man", "swerve"], &[]).await.status, Some(1));
}
