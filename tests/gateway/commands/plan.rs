//! `llm-gateway plan`: what it prints, from which limits, and its errors for wrong options.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::run_with;
use crate::harness::{run, run_in};

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
