//! `llm-gateway plan --agents`: three orders of agents' turns, for a table and for a recorded day.

use std::time::Duration;

use llm_gateway::sim::SimSettings;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::run_with;
use crate::client::{Answer, post_json};
use crate::harness::{
    Config, Gateway, Printed, Provider, run, run_in, run_with_input, spawn_gateway_with,
};
use crate::simulator::Simulator;

/// Eight agents of one key beside one of another.
const TABLE: &str = "coder 8 12 9k 1500 100 2s\nwriter 1 12 9k 1500 100 2s # alone\n";

async fn plan(table: &str, options: &[&str]) -> Printed {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("agents.txt"), table).unwrap();
    run_in(folder.path(), &[&["plan", "--agents", "agents.txt"], options].concat(), &[]).await
}

fn report(printed: &Printed) -> Value {
    serde_json::from_str(&printed.stdout).unwrap_or_else(|error| panic!("{error}: {printed:?}"))
}

#[tokio::test]
async fn a_table_of_agents_is_compared_in_three_orders_and_by_key() {
    // Less than all conversations: what fits needs no order.
    let cache = ["--prompt-cache", "24k"];
    let options = ["--hosts", "3", "--slots", "1", "--read", "1000", "--max-wait", "1h"];
    let options = [&options[..], &cache].concat();
    let said = plan(TABLE, &options).await;
    assert_eq!(plan(TABLE, &options).await.stdout, said.stdout);
    assert_eq!((said.status, said.stderr.as_str()), (Some(0), ""), "{said:?}");
    for line in [
        "9 agents, 108 turns",
        "3 hosts of 1 slots that read 1000 tokens/s, write 40 and remember 24576 besides",
        "answered       mean        p50        p95    longest      whole       read     reused",
        "arrival                 108",
        "prefix                  108",
        "remembered              108",
        "  coder                  96",
        "  writer                 12",
    ] {
        assert!(said.stdout.contains(line), "no {line:?} in {}", said.stdout);
    }
    let told = report(&plan(TABLE, &[&options[..], &["--json"]].concat()).await);
    let orders = told["orders"].as_array().unwrap();
    let names: Vec<_> = orders.iter().map(|order| order["order"].as_str().unwrap()).collect();
    assert_eq!(names, ["arrival", "prefix", "remembered"]);
    let of = |order: usize, field: &str| orders[order][field].as_f64().unwrap();
    for field in ["whole", "mean_wait", "p50", "read_tokens"] {
        assert!(of(2, field) < of(1, field).min(of(0, field)), "{field}: {told:#}");
    }
    for order in orders {
        let by_key = order["by_key"].as_object().unwrap();
        let answered = by_key.values().map(|waits| waits["answered"].as_u64().unwrap());
        assert_eq!((answered.sum::<u64>(), &order["refused"]), (108, &json!(0)), "{told:#}");
    }
}

#[tokio::test]
async fn how_far_the_order_goes_and_the_limits_are_those_of_a_provider() {
    let folder = TempDir::new().unwrap();
    let table = folder.path().join("agents.txt");
    std::fs::write(&table, TABLE).unwrap();
    let arguments = [
        "plan",
        "--agents",
        table.to_str().unwrap(),
        "--read",
        "1000",
        "--json",
        "--provider",
        "ollama",
    ];
    let with = async |more: &str| {
        let toml =
            format!("[providers.ollama]\nmax_concurrency = 2\nmax_queue_wait = \"1h\"\n{more}");
        report(&run_with(&toml, &arguments, &[]).await.0)
    };
    let (usual, patient) = (with("").await, with("linger = 0.0\nremember_wait = 100.0\n").await);
    assert_eq!(usual["slots"], json!(2));
    assert_eq!(usual["orders"][0], patient["orders"][0]);
    assert_ne!(usual["orders"][2], patient["orders"][2]);
}

#[tokio::test]
async fn refused_turns_are_told() {
    let said = plan(TABLE, &["--slots", "1", "--read", "1000", "--queue", "2"]).await;
    assert!(said.stdout.contains("\narrival: "), "{said:?}");
    assert!(said.stdout.contains(" times a turn was refused and asked again\n"), "{said:?}");
}

#[tokio::test]
async fn a_wrong_table_or_option_is_named_with_what_would_be_right() {
    let read = &["--read", "1000"][..];
    for (table, options, right) in [
        (TABLE, &[][..], "error: write --read RATE"),
        ("a 8 12 9k 1500 100\n", read, "agents.txt: line 1: write KEY AGENTS TURNS"),
        ("\na 8 12 9k 1500 100 2\n", read, "agents.txt: line 2: PAUSE: write a unit"),
        (TABLE, &["--read", "0"], "write tokens a second, as in 900"),
        (TABLE, &["--read", "9", "--prompt-cache", "much"], "write a number of tokens"),
        (TABLE, &["--read", "9", "--model", "m"], "--model says nothing without a log"),
        (TABLE, &["--read", "9", "--hold", "9s"], "cannot be used with"),
        (TABLE, &["--read", "9", "--load", "9s"], "cannot be used with"),
        (TABLE, &["--read", "9", "--models", "agents.txt"], "cannot be used with"),
        (TABLE, &["--read", "9", "--agents", "nowhere"], "nowhere: cannot be read"),
    ] {
        let said = plan(table, options).await;
        assert_eq!((said.status, said.stdout.as_str()), (Some(1), ""), "{options:?}");
        assert!(said.stderr.contains(right), "no {right:?} in {}", said.stderr);
    }
    let said = run(&["plan", "--arrivals", "1/s", "--hosts", "2"], &[]).await;
    assert!(said.stderr.contains("cannot be used with"), "{said:?}");
}

/// Three turns of a conversation that begins with this text.
async fn talk(gateway: &Gateway, begins: &str) {
    let mut messages = vec![json!({"role": "user", "content": begins.repeat(400)})];
    for _ in 0..3 {
        let body = json!({"model": "m0", "messages": messages, "stream": true});
        let answer: Answer = post_json(&gateway.url("/v1/chat/completions"), &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        messages.push(json!({"role": "assistant", "content": "It is as it is."}));
        messages.push(json!({"role": "user", "content": "And what else? ".repeat(9)}));
    }
}

#[tokio::test]
async fn what_a_gateway_logs_has_the_conversations_in_it() {
    let simulator = Simulator::start(SimSettings {
        models: vec!["m0".to_owned()],
        load: Duration::from_millis(1),
        read: 100_000.0,
        prompt_cache: Some(64_000),
        counts: llm_gateway::sim::Counts::Ollama,
        ..SimSettings::default()
    });
    let config = Config::new().provider(Provider::new("ollama", "ollama", &simulator.url));
    let gateway = spawn_gateway_with(config, &[("LLM_GATEWAY__LOG__FORMAT", "json")]).await;
    talk(&gateway, "why is the sky blue? ").await;
    talk(&gateway, "what is the use of a bee in winter, and in spring? ").await;
    gateway.adds_up(6).await;
    let log = gateway.log_lines().join("\n");
    gateway.end(6).await;
    let folder = TempDir::new().unwrap();
    let arguments = ["plan", "--agents", "-", "--json", "--slots", "1"];
    let told = report(&run_with_input(folder.path(), &arguments, &log).await);
    let recorded = &told["recorded"];
    let found = ["calls", "conversations", "turns"].map(|field| recorded[field].as_u64().unwrap());
    assert_eq!(found, [6, 2, 6], "{told:#}");
    assert_eq!((&recorded["provider"], &recorded["model"]), (&json!("ollama"), &json!("m0")));
    assert!(recorded["reused"].as_f64().unwrap() > 0.5 && recorded["read"].is_f64(), "{told:#}");
    // One slot and much room: the second and third turns are remembered in any order.
    for order in told["orders"].as_array().unwrap() {
        assert!(order["reused"].as_f64().unwrap() > 0.5, "{order:#}");
    }
    let said = run_with_input(folder.path(), &["plan", "--agents", "-"], &log).await;
    let inferred = "inferred from prompts that grow: 2 conversations with 6 turns, 0 calls alone";
    assert!(said.stdout.contains(inferred), "{said:?}");
}

#[tokio::test]
async fn the_guide_shows_what_is_printed() {
    let guide = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/remembered.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, shown) = guide.split_once("cat > agents.txt <<END\n").unwrap();
    let (table, shown) = shown.split_once("END\nllm-gateway plan --agents agents.txt ").unwrap();
    let (options, shown) = shown.split_once("\n```\n").unwrap();
    let output = shown.split("```text\n").nth(1).and_then(|shown| shown.split("```").next());
    let options: Vec<&str> = options.split_whitespace().collect();
    assert_eq!(plan(table, &options).await.stdout, output.unwrap());
}
