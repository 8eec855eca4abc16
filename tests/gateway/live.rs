//! Changes while the gateway runs: limits, drains, reloads, a changed file. They must not affect
//! running requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::client::{Answer, chat, post_json};
use crate::crowd::{
    Sent, answers, chat_with, count, press, send, send_many, shows, snapshot, turn, waiting,
};
use crate::harness::{
    Config, Gateway, Provider, Route, Signal, Target, Timeouts, run_in, spawn_gateway,
    with_listeners,
};
use crate::upstream::{Gate, Upstream, ollama};

fn held(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::spawn(move |call| ollama::reply(call).head_hold(&gate))
}

async fn ask(gateway: &Gateway, model: &str) -> Answer {
    post_json(&gateway.url("/v1/chat"), &chat_with(model, "hi")).await
}

#[tokio::test]
async fn lowering_the_limit_lets_calls_end_and_raising_it_starts_waiting_ones() {
    let gate = Gate::closed();
    let upstream = held(&gate);
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(8)).await;
    let sent = send_many(&gateway, &[], "hi", 30);
    upstream.busy(8).await;
    waiting(&gateway, "ollama", 22).await;
    let lowered = turn(&gateway, "ollama", json!({"max_concurrency": 2})).await.json();
    assert_eq!((&lowered["limit"], &lowered["in_flight"]), (&2.into(), &8.into()));
    gate.let_through(6);
    shows(&gateway, "ollama", "in_flight", 2).await;
    assert_eq!((upstream.calls_so_far().len(), upstream.under_way()), (8, 2), "nobody started");
    gate.let_through(1);
    upstream.calls(9).await;
    shows(&gateway, "ollama", "in_flight", 2).await;
    turn(&gateway, "ollama", json!({"max_concurrency": 12})).await;
    upstream.busy(12).await;
    assert_eq!(upstream.peak(), 12);
    gate.open();
    assert_eq!(count(&answers(sent).await, 200), 30);
    assert_eq!(upstream.peak(), 12);
    gateway.end(30).await;
}

#[tokio::test]
async fn other_limits_change_at_once_and_an_invalid_change_has_no_effect() {
    let gate = Gate::closed();
    let upstream = held(&gate);
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(1)).await;
    let first = send(&gateway, &[], chat("first"));
    upstream.busy(1).await;
    for wrong in [json!({"max_concurrency": 0}), json!({"max_queue": 9, "weight": 1}), json!([])] {
        assert_eq!(turn(&gateway, "ollama", wrong).await.status, 422);
    }
    assert_eq!(turn(&gateway, "nobody", json!({})).await.status, 404);
    let unchanged = snapshot(&gateway, "ollama").await;
    assert_eq!((&unchanged["limit"], &unchanged["max_queue"]), (&1.into(), &64.into()));
    turn(&gateway, "ollama", json!({"max_queue_wait_ms": 100})).await;
    assert_eq!(ask(&gateway, "ollama").await.status, 503, "waited as long as allowed");
    turn(&gateway, "ollama", json!({"max_queue": 0, "max_queue_wait_ms": 30_000})).await;
    let refused = ask(&gateway, "ollama").await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &"overloaded".into()));
    let auto = turn(&gateway, "ollama", json!({"max_concurrency": "auto"})).await.json();
    assert_eq!(auto["max_concurrency"], "auto");
    assert_eq!(auto["auto_concurrency"], json!({"min": 1, "max": 16}));
    gate.open();
    assert_eq!(first.await.unwrap().status, 200);
    gateway.end(3).await;
}

#[tokio::test]
async fn an_adaptive_limit_rises_with_success_and_falls_when_the_provider_is_busy() {
    let busy = Arc::new(AtomicBool::new(false));
    let is_busy = Arc::clone(&busy);
    let upstream = Upstream::spawn(move |call| match is_busy.load(Ordering::SeqCst) {
        true => ollama::error(503, "too much to do"),
        false => ollama::reply(call).head_pause(Duration::from_millis(2)),
    });
    let gateway = spawn_gateway(Provider::ollama(&upstream).adaptive(2, 6).no_retries()).await;
    assert_eq!(snapshot(&gateway, "ollama").await["limit"], 2);
    let mut sent = 0;
    let limit = async || snapshot(&gateway, "ollama").await["limit"].as_u64().unwrap();
    while limit().await < 6 {
        assert_eq!(count(&answers(send_many(&gateway, &[], "hi", 12)).await, 200), 12);
        sent += 12;
        assert!(sent < 1_200, "the limit does not rise");
    }
    assert!(upstream.peak() <= 6);
    busy.store(true, Ordering::SeqCst);
    assert_eq!(ask(&gateway, "ollama").await.status, 503);
    assert_eq!(limit().await, 4, "seven tenths of six");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("llm_gateway_max_concurrency", &[("provider", "ollama")]), 4.0);
    gateway.end(sent + 1).await;
}

#[tokio::test]
async fn a_drained_provider_serves_waiting_requests_and_no_new_ones_until_resumed() {
    let gate = Gate::closed();
    let (upstream, spare) = (held(&gate), Upstream::ollama());
    let one = Provider::ollama(&upstream).slots(1);
    let other = Provider::ollama(&spare).name("spare");
    let gateway = spawn_gateway(
        Config::new()
            .provider(one)
            .provider(other)
            .route(Route::new("chat", [Target::at("ollama")]).fallback([Target::at("spare")])),
    )
    .await;
    let sent = send_many(&gateway, &[], "hi", 3);
    upstream.calls(1).await;
    waiting(&gateway, "ollama", 2).await;
    assert_eq!(press(&gateway, "providers/ollama/drain").await.json()["draining"], true);
    let refused = ask(&gateway, "ollama").await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &"draining".into()));
    assert!(refused.header("retry-after").is_some());
    let mut body = chat("hi");
    body["model"] = "chat".into();
    let elsewhere = post_json(&gateway.url("/v1/chat"), &body).await;
    let served = (elsewhere.status, elsewhere.header("x-gateway-provider"));
    assert_eq!(served, (200, Some("spare")));
    gate.open();
    assert_eq!(count(&answers(sent).await, 200), 3);
    assert_eq!(upstream.calls_so_far().len(), 3);
    assert_eq!(press(&gateway, "providers/ollama/resume").await.json()["draining"], false);
    assert_eq!(ask(&gateway, "ollama").await.status, 200);
    gateway.end(6).await;
}

/// Clients that send one chat after the other until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<Vec<Answer>>>,
}

impl Load {
    fn on(gateway: &Gateway, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |_| {
            let (url, stop) = (gateway.url("/v1/chat"), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    answers.push(post_json(&url, &chat_with("ollama", "load")).await);
                }
                answers
            })
        };
        Self { clients: (0..clients).map(client).collect(), stop }
    }

    /// All answers, of which not one may have failed.
    async fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let mut total = 0;
        for client in self.clients {
            let answers = client.await.unwrap();
            for answer in &answers {
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
            total += answers.len();
        }
        total
    }
}

#[tokio::test]
async fn valid_and_invalid_reloads_lose_no_request_under_load() {
    let upstream = Upstream::spawn(|call| ollama::reply(call).head_pause(Duration::from_millis(5)));
    let changing = |limit: usize, wait: usize| {
        Provider::ollama(&upstream).slots(limit).max_queue_wait(format!("{wait}s"))
    };
    let extra = Provider::ollama(&upstream).name("extra");
    let gateway = spawn_gateway(&changing(8, 30)).await;
    let load = Load::on(&gateway, 12);
    for round in 0..10 {
        upstream.calls((round + 1) * 20).await;
        let limit = if round % 2 == 0 { 2 } else { 8 };
        let others = (round % 3 == 0).then(|| extra.clone());
        let changed = changing(limit, 30 + round);
        gateway.write_config(Config::new().provider(changed).providers(others));
        assert_eq!(press(&gateway, "reload").await.status, 200);
        assert_eq!(snapshot(&gateway, "ollama").await["limit"], limit);
        gateway.write_config(changing(0, 30));
        let refused = press(&gateway, "reload").await;
        let problem = refused.json()["problems"][0].as_str().unwrap().to_owned();
        assert!(problem.contains("max_concurrency: write a number from 1 to 100000"), "{problem}");
        assert_eq!(
            (refused.status, &snapshot(&gateway, "ollama").await["limit"]),
            (422, &limit.into())
        );
    }
    let sent = load.end().await;
    assert!(sent >= 200, "only {sent} were sent");
    assert!(upstream.peak() <= 8);
    gateway.end(sent).await;
}

#[tokio::test]
async fn a_removed_provider_answers_the_requests_it_has_and_no_others() {
    let gate = Gate::closed();
    let (old, new) = (held(&gate), Upstream::ollama());
    let stays = Provider::ollama(&new);
    let goes = Provider::ollama(&old).name("old").slots(1);
    let gateway = spawn_gateway(Config::new().provider(stays.clone()).provider(goes)).await;
    let sent: Vec<Sent> = (0..4).map(|_| send(&gateway, &[], chat_with("old", "hi"))).collect();
    waiting(&gateway, "old", 3).await;
    gateway.write_config(&stays);
    assert_eq!(press(&gateway, "reload").await.status, 200);
    assert_eq!(gateway.providers().await["providers"].as_array().unwrap().len(), 1);
    assert_eq!(ask(&gateway, "ollama").await.status, 200);
    gate.open();
    assert_eq!(count(&answers(sent).await, 200), 4);
    assert_eq!((old.calls_so_far().len(), old.peak()), (4, 1));
    // The name is a model's like any other now.
    assert_eq!(ask(&gateway, "old").await.header("x-gateway-provider"), Some("ollama"));
    assert_eq!(old.calls_so_far().len(), 4);
    gateway.end(6).await;
}

#[tokio::test]
async fn a_provider_that_comes_back_keeps_within_its_limit() {
    let gate = Gate::closed();
    let (old, new) = (held(&gate), Upstream::ollama());
    let stays = Provider::ollama(&new);
    let goes = Provider::ollama(&old).name("old").slots(1);
    let one = Config::new().provider(stays);
    let both = one.clone().provider(goes);
    let gateway = spawn_gateway(&both).await;
    let hi = || chat_with("old", "hi");
    let mut sent = vec![send(&gateway, &[], hi()), send(&gateway, &[], hi())];
    waiting(&gateway, "old", 1).await;
    for config in [&one, &both] {
        gateway.write_config(config);
        assert_eq!(press(&gateway, "reload").await.status, 200);
    }
    assert_eq!(snapshot(&gateway, "old").await["in_flight"], 1);
    sent.push(send(&gateway, &[], hi()));
    waiting(&gateway, "old", 2).await;
    gate.open();
    assert_eq!(count(&answers(sent).await, 200), 3);
    assert_eq!((old.calls_so_far().len(), old.peak()), (3, 1));
    gateway.end(3).await;
}

#[tokio::test]
async fn a_provider_that_is_changed_keeps_its_slots_and_its_line() {
    let gate = Gate::closed();
    let upstream = held(&gate);
    let with =
        |idle: &str| Provider::ollama(&upstream).slots(2).timeouts(Timeouts::default().idle(idle));
    let gateway = spawn_gateway(&with("60s")).await;
    let before = send_many(&gateway, &[], "before", 4);
    waiting(&gateway, "ollama", 2).await;
    gateway.write_config(with("90s"));
    gateway.signal(Signal::Hup);
    gateway.logged("the configuration was read again").await;
    let after = send_many(&gateway, &[], "after", 2);
    waiting(&gateway, "ollama", 4).await;
    assert_eq!(snapshot(&gateway, "ollama").await["in_flight"], 2);
    gate.open();
    assert_eq!(count(&answers(before).await, 200) + count(&answers(after).await, 200), 6);
    assert_eq!(upstream.peak(), 2);
    gateway.end(6).await;
}

#[tokio::test]
async fn a_changed_file_is_noticed_however_it_is_changed() {
    let upstream = Upstream::ollama();
    let limited = |limit| with_listeners(Provider::ollama(&upstream).slots(limit));
    let gateway = spawn_gateway(&limited(2)).await;
    let file = gateway.config_file();
    let folder = file.parent().unwrap();
    // Written in place.
    std::fs::write(&file, limited(3)).unwrap();
    shows(&gateway, "ollama", "limit", 3).await;
    // Renamed over, as editors and careful scripts do.
    let draft = folder.join("draft");
    std::fs::write(&draft, limited(4)).unwrap();
    std::fs::rename(&draft, &file).unwrap();
    shows(&gateway, "ollama", "limit", 4).await;
    // A symbolic link to a folder is turned, as Kubernetes does with a mounted map.
    for (version, limit) in [("one", 5), ("two", 6)] {
        let target = folder.join(version);
        std::fs::create_dir(&target).unwrap();
        std::fs::write(target.join("gateway.toml"), limited(limit)).unwrap();
        let (draft, data) = (folder.join("..tmp"), folder.join("..data"));
        std::os::unix::fs::symlink(&target, &draft).unwrap();
        std::fs::rename(&draft, &data).unwrap();
        if limit == 5 {
            std::os::unix::fs::symlink(data.join("gateway.toml"), folder.join("draft")).unwrap();
            std::fs::rename(folder.join("draft"), &file).unwrap();
        }
        shows(&gateway, "ollama", "limit", limit).await;
    }
    gateway.end(0).await;
}

#[tokio::test]
async fn an_invalid_change_of_the_file_is_refused_once_in_the_log() {
    let upstream = Upstream::ollama();
    let limited = |limit: i64| Provider::ollama(&upstream).max_concurrency(limit);
    let gateway = spawn_gateway(&limited(2)).await;
    gateway.write_config(limited(-2));
    gateway.logged("the configuration is refused and the old one stays").await;
    gateway.logged("providers.ollama.max_concurrency: expected a whole number").await;
    assert_eq!(ask(&gateway, "ollama").await.status, 200);
    std::fs::remove_file(gateway.config_file()).unwrap();
    gateway.logged("cannot be read").await;
    assert_eq!(snapshot(&gateway, "ollama").await["limit"], 2);
    gateway.write_config(limited(3));
    shows(&gateway, "ollama", "limit", 3).await;
    let refusals = |lines: Vec<String>| {
        lines.iter().filter(|line| line.contains("the configuration is refused")).count()
    };
    assert_eq!(refusals(gateway.log_lines()), 2);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_configuration_that_is_wrong_at_the_start_starts_nothing() {
    for (text, said) in [
        (
            "[server]\nlisten = 'here'\n",
            "error: gateway.toml:2: server.listen: write an IP address",
        ),
        ("[providers.ollama]\nmax_concurrency = 'many'\n", "gateway.toml:2: providers.ollama.max"),
        ("[providers.ollama\n", "error: gateway.toml:1: "),
    ] {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("gateway.toml"), text).unwrap();
        let ran = run_in(folder.path(), &["serve", "--config", "gateway.toml"], &[]).await;
        assert_eq!(ran.status, Some(78), "{}", ran.stderr);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}
