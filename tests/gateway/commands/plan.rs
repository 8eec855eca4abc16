//! `llm-gateway plan`: what it prints, from which limits, and its errors for wrong options.

use std::time::Duration;

use llm_gateway::sim::SimSettings;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::run_with;
use crate::client::{chat, post_json};
use crate::harness::{Config, Provider, run, run_in, run_with_input, spawn_gateway_with};
use crate::simulator::Simulator;

#[tokio::test]
async fn an_hour_is_planned_from_options_and_the_same_seed_says_the_same() {
    let arguments =
        ["plan", "--arrivals", "2/s", "--hold", "1500ms", "--queue", "8", "--seed", "7"];
    let first = run(&arguments, &[]).await;
    assert_eq!((first.status, first.stderr.as_str()), (Some(0), ""), "{first:?}");
    for line in ["limits   4 slots, a line of 8, ", "served ", "p95", "slots busy", "longest line"]
    {
        assert!(first.stdout.contains(line), "no {line:?} in {}", first.stdout);
    }
    assert_eq!(run(&arguments, &[]).await.stdout, first.stdout);
    let other = [&arguments[..7], &["--seed", "8"]].concat();
    assert_ne!(run(&other, &[]).await.stdout, first.stdout);
}

#[tokio::test]
async fn the_numbers_come_as_json_and_add_up() {
    let load =
        ["--arrivals", "60/m", "--hold", "6s", "--distribution", "lognormal", "--burst", "5"];
    let mix = ["--clients", "3", "--batch-share", "0.2", "--deadline", "60s", "--max-wait", "30s"];
    let arguments = [&["plan", "--json", "--slots", "4"], &load[..], &mix[..]].concat();
    let printed = run(&arguments, &[]).await;
    assert_eq!(printed.status, Some(0), "{printed:?}");
    let report: Value = serde_json::from_str(&printed.stdout).unwrap();
    let refused: u64 =
        report["refused"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    let count = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(count("served") + count("cut_off") + refused, count("requests"), "{report:#}");
    assert!(report["batch_wait_seconds"]["p99"].is_f64() && report["verdict"].is_string());
    assert!(report["wait_seconds"]["max"].as_f64().unwrap() <= 30.0, "{report:#}");
}

#[tokio::test]
async fn limits_are_those_of_a_provider_of_the_configuration_and_options_win() {
    let toml = "[providers.ollama]\nmax_concurrency = 2\nmax_queue = 9\n\
        [providers.spare]\nbackend = \"ollama\"\nbase_url = \"http://127.0.0.1:1\"\n";
    let arguments = ["plan", "--arrivals", "1/s", "--provider", "ollama", "--queue", "5"];
    let (printed, _) = run_with(toml, &arguments, &[]).await;
    assert!(printed.stdout.starts_with("limits   2 slots, a line of 5, "), "{printed:?}");
    let unknown = ["plan", "--arrivals", "1/s", "--provider", "olama"];
    let (printed, _) = run_with(toml, &unknown, &[]).await;
    let said = "error: no provider is named `olama`: write --provider ollama or spare";
    assert_eq!((printed.status, printed.stderr.trim()), (Some(1), said), "{printed:?}");
    let (printed, _) = run_with(toml, &["plan", "--arrivals", "1/s"], &[]).await;
    assert!(printed.status == Some(1) && printed.stderr.contains("--provider NAME"), "{printed:?}");
}

#[tokio::test]
async fn recorded_arrivals_are_replayed_from_a_file() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("day.txt"), "0 10\n0 10 # at once\n1 10\n20 10\n").unwrap();
    let arguments =
        ["plan", "--arrivals-file", "day.txt", "--slots", "1", "--queue", "1", "--json"];
    let printed = run_in(folder.path(), &arguments, &[]).await;
    let report: Value = serde_json::from_str(&printed.stdout).unwrap();
    let told =
        [&report["served"], &report["refused"]["queue_full"], &report["wait_seconds"]["max"]];
    assert_eq!(told, [&json!(3), &json!(1), &json!(10.0)], "{report:#}");
    std::fs::write(folder.path().join("day.txt"), "0\nnoon\n").unwrap();
    let printed = run_in(folder.path(), &arguments, &[]).await;
    let said =
        "error: day.txt: line 2: write the seconds of its arrival and of its call, as in `12.5 3`";
    assert_eq!((printed.status, printed.stderr.trim()), (Some(1), said), "{printed:?}");
}

/// An access line with what `plan` reads, a minute and a second after eight.
fn access(minute: u32, second: u32, key: &str, model: &str, outcome: &str) -> String {
    json!({
        "time": format!("2026-11-30T08:{minute:02}:{second:02}.000Z"), "target": "access",
        "outcome": outcome, "caller": key, "provider": "ollama", "model": model, "attempts": 1,
        "queue_ms": 0, "first_ms": 1000, "total_ms": 4000,
    })
    .to_string()
        + "\n"
}

#[tokio::test]
async fn a_recorded_day_is_compared_like_a_table_and_lines_that_do_not_count_are_named() {
    let models = ["m0", "m1"];
    let mut log = String::new();
    for minute in 0..40 {
        for second in [5, 25, 45] {
            let model = models[(minute as usize + second as usize / 20) % 2];
            log += &access(minute, second, model, model, "ok");
        }
    }
    let fine = log.clone();
    log += "thread panicked\n{\"target\":\"access\",\"time\":\"2026-11-30T08:00:00Z\"}\n";
    log += "{\"target\":\"loads\",\"provider\":\"ollama\",\"model\":\"m0\",\"load_ms\":30000}\n";
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("day.log"), &log).unwrap();
    let arguments = ["plan", "--models", "day.log", "--load", "m1=20s", "--slots", "1"];
    let printed = run_in(folder.path(), &arguments, &[]).await;
    assert_eq!((printed.status, printed.stderr.as_str()), (Some(0), ""), "{printed:?}");
    for line in [
        "120 recorded at `ollama`, 2026-11-30T08:00:01Z to 2026-11-30T08:39:41Z",
        "m0                             60    4.0 s   30.0 s",
        "m1                             60    4.0 s   20.0 s",
        "passed over: line 121: is no JSON object",
        "passed over: line 122: has no `",
        "120 requests, room for 1, 1 slots per model",
    ] {
        assert!(printed.stdout.contains(line), "no {line:?} in {}", printed.stdout);
    }
    // The same from standard input, beside a table, whose load time counts for both.
    std::fs::write(folder.path().join("more.txt"), "night m1 6/m 2s 20s batch\n").unwrap();
    let arguments = [
        "plan", "--models", "-", "--models", "more.txt", "--load", "30s", "--slots", "1", "--json",
    ];
    let printed = run_with_input(folder.path(), &arguments, &fine).await;
    let report: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!(report["recorded"]["requests"], json!(120), "{report:#}");
    assert_eq!(report["recorded"]["models"][1]["load_seconds"], json!(30.0), "{report:#}");
    let [_, fair, warm] = &report["schedules"].as_array().unwrap()[..] else { panic!() };
    let answered = |served: &Value| served["wait_seconds"]["answered"].as_u64().unwrap();
    assert!(answered(warm) > answered(fair), "{report:#}");
    assert!(warm["by_key"]["night"]["of"].as_u64().unwrap() > 150, "{report:#}");
    assert_eq!(warm["by_key"]["m0"]["of"], json!(60), "{report:#}");
}

#[tokio::test]
async fn a_log_that_does_not_say_enough_is_refused_with_what_is_missing() {
    let folder = TempDir::new().unwrap();
    let line = access(0, 9, "a", "m0", "ok");
    for (log, options, said) in [
        (line.replace("queue_ms", "waited_ms"), &["--load", "9s"][..], "has no `queue_ms`"),
        (line.clone(), &[], "does not say how long `m0` takes to load: write --load m0=20s"),
        (
            line.replace("\"ok\"", "\"overloaded\""),
            &["--load", "9s"],
            "no request that was answered",
        ),
        (
            line.clone() + &line.replace("\"ollama\"", "\"spare\""),
            &["--load", "9s"],
            "has requests at `ollama` and `spare`: choose one with --provider NAME",
        ),
        (line.clone(), &["--load", "9"], "write a unit"),
        (line.clone(), &["--load", "9s", "--models", "day.log"], "is a second log"),
    ] {
        std::fs::write(folder.path().join("day.log"), &log).unwrap();
        let arguments = [&["plan", "--models", "day.log"], options].concat();
        let printed = run_in(folder.path(), &arguments, &[]).await;
        assert_eq!((printed.status, printed.stdout.as_str()), (Some(1), ""), "{options:?}");
        assert!(printed.stderr.contains(said), "no {said:?} in {}", printed.stderr);
    }
}

#[tokio::test]
async fn what_a_gateway_logs_can_be_planned_with() {
    let simulator = Simulator::start(SimSettings {
        models: ["m0", "m1"].map(str::to_owned).to_vec(),
        max_loaded_models: 1,
        load: Duration::from_millis(20),
        ..SimSettings::default()
    });
    let config = Config::new().provider(Provider::new("ollama", "ollama", &simulator.url));
    let gateway = spawn_gateway_with(config, &[("LLM_GATEWAY__LOG__FORMAT", "json")]).await;
    for model in ["m0", "m1", "m0"] {
        let mut body = chat("hi");
        body["model"] = model.into();
        assert_eq!(post_json(&gateway.url("/v1/chat"), &body).await.status, 200);
    }
    gateway.adds_up(3).await;
    let log = gateway.log_lines().join("\n");
    gateway.end(3).await;
    let folder = TempDir::new().unwrap();
    let arguments = ["plan", "--models", "-", "--json"];
    let printed = run_with_input(folder.path(), &arguments, &log).await;
    let report: Value = serde_json::from_str(&printed.stdout)
        .unwrap_or_else(|error| panic!("{error}: {printed:?}, {log}"));
    assert_eq!((&report["requests"], &report["recorded"]["requests"]), (&json!(3), &json!(3)));
    let models = report["recorded"]["models"].as_array().unwrap();
    let counts: Vec<_> = models.iter().map(|model| (&model["name"], &model["requests"])).collect();
    assert_eq!(counts, [(&json!("m0"), &json!(2)), (&json!("m1"), &json!(1))]);
}

#[tokio::test]
async fn a_wrong_option_gets_an_error_that_says_what_is_right() {
    for (options, right) in [
        (&[][..], "--arrivals <RATE>"),
        (&["--arrivals", "fast"], "as in 2/s"),
        (&["--arrivals", "1/s", "--hold", "8"], "write a unit, as in \"8s\""),
        (&["--arrivals", "1/s", "--hold", "0s"], "write more than 0s"),
        (&["--arrivals", "1/s", "--slots", "0"], "1..=100000"),
        (&["--arrivals", "1/s", "--batch-share", "20"], "from 0 to 1"),
        (&["--arrivals", "1/s", "--distribution", "normal"], "lognormal"),
        (&["--arrivals", "1/s", "--arrivals-file", "x"], "cannot be used with"),
        (&["--arrivals", "9000/s", "--duration", "1h"], "a shorter --duration"),
        (&["--arrivals-file", "nowhere"], "nowhere: cannot be read"),
    ] {
        let printed = run(&[&["plan"], options].concat(), &[]).await;
        assert_eq!(printed.status, Some(1), "{options:?}: {printed:?}");
        assert!(printed.stderr.contains(right), "{options:?}: {}", printed.stderr);
    }
}

#[tokio::test]
async fn models_fit_by_number_or_by_memory_and_their_sizes_are_needed_then() {
    let folder = TempDir::new().unwrap();
    let table = "a small 6/m 2s 8s 4GiB\nb large 6/m 2s 20s 12GiB batch\n";
    std::fs::write(folder.path().join("models.txt"), table).unwrap();
    let plan = async |more: &[&str]| {
        run_in(folder.path(), &[&["plan", "--models", "models.txt"], more].concat(), &[]).await
    };
    let loads = |printed: &str| -> Vec<u64> {
        let report: Value = serde_json::from_str(printed).unwrap();
        let schedules = report["schedules"].as_array().unwrap();
        schedules.iter().map(|one| one["loads"].as_u64().unwrap()).collect()
    };
    // Both fit in 32 GiB, and not in 16.
    let wide = plan(&["--json", "--memory", "32GiB"]).await;
    assert_eq!(loads(&wide.stdout), [2, 2, 2], "{wide:?}");
    let narrow = plan(&["--json", "--memory", "16GiB"]).await;
    assert!(loads(&narrow.stdout).iter().all(|loads| *loads > 2), "{narrow:?}");
    let said = plan(&["--memory", "16GiB"]).await;
    assert!(said.stdout.contains(" requests, 16GiB of memory, "), "{said:?}");
    let both = plan(&["--memory", "32GiB", "--room", "1"]).await;
    assert!(both.stdout.contains(" requests, room for 1, 32GiB of memory, "), "{both:?}");
    assert!(plan(&[]).await.stdout.contains(" requests, room for 1, "));
    std::fs::write(folder.path().join("models.txt"), "a small 6/m 2s 8s\n").unwrap();
    let unsaid = plan(&["--memory", "16GiB"]).await;
    let right = "error: the size of `small` is unknown: write --sizes small=40GiB";
    assert_eq!((unsaid.status, unsaid.stderr.trim()), (Some(1), right), "{unsaid:?}");
    let said = plan(&["--memory", "16GiB", "--sizes", "small:latest=40GiB", "--json"]).await;
    assert_eq!(loads(&said.stdout), [1, 1, 1], "{said:?}");
}

#[tokio::test]
async fn the_tuning_guide_shows_what_is_printed() {
    let guide = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tuning.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let mut shown = 0;
    for block in guide.split("```console\n$ llm-gateway plan ").skip(1) {
        let block = block.split("```").next().unwrap().replace("\\\n", " ");
        let (options, output) = block.split_once('\n').unwrap();
        let arguments: Vec<&str> = ["plan"].into_iter().chain(options.split_whitespace()).collect();
        assert_eq!(run(&arguments, &[]).await.stdout, output, "{options}");
        shown += 1;
    }
    assert_eq!(shown, 5);
}
