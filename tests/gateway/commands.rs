//! The commands: what they print, and the exit status that scripts and containers rely on.

mod agents;
mod connect;
mod plan;

use std::net::TcpListener;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::client::{ask, chat, get, post_json, post_json_with, stream, streamed_chat};
use crate::harness::{
    Printed, Provider, Signal, run, run_in, spawn_demo, spawn_gateway, spawn_gateway_in,
};
use crate::patience::{eventually, within};
use crate::upstream::{Gate, Upstream, ollama};

/// Runs a command with this configuration file; returns the file's name too.
async fn run_with(toml: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (Printed, String) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, toml).unwrap();
    let file = file.to_str().unwrap();
    let printed = run(&[arguments, &["--config", file]].concat(), variables).await;
    (printed, file.to_owned())
}

#[tokio::test]
async fn every_problem_of_a_configuration_is_listed_with_its_place_and_nothing_starts() {
    let bad = "[server]\nworker = 3\ndrain = \"soon\"\n[providers.ollama]\nmax_concurency = 3\n\
        [[routes]]\nmodel = \"x\"\ntargets = [{ provider = \"nobody\" }]\n";
    for command in ["check", "serve"] {
        let (printed, file) = run_with(bad, &[command], &[]).await;
        assert_eq!(printed.status, Some(78), "{printed:?}");
        let lines: Vec<&str> = printed.stderr.lines().collect();
        let tells = |start: &str, word: &str| {
            let start = format!("error: {file}:{start}");
            lines.iter().any(|line| line.starts_with(&start) && line.contains(word))
        };
        assert!(tells("2: server.worker: ", "did you mean `workers`?"), "{lines:#?}");
        assert!(tells("3: server.drain: ", ""), "{lines:#?}");
        assert!(tells("5: providers.ollama.max_concurency: ", "did you mean"), "{lines:#?}");
        assert!(tells("8: routes[0].targets[0].provider: ", "nobody"), "{lines:#?}");
        assert_eq!((lines.len(), printed.stdout.as_str()), (4, ""), "{lines:#?}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_78() {
    for arguments in [["check", "--config", "nowhere.toml"], ["serve", "--config", "nowhere.toml"]]
    {
        let printed = run(&arguments, &[]).await;
        assert_eq!(printed.status, Some(78), "{printed:?}");
        assert!(printed.stderr.contains("nowhere.toml"), "{printed:?}");
    }
}

const ROUTED: &str = "[[keys]]\nname = 'wide'\nenv = 'W'\n[providers.ollama]\n[providers.gpu]\nbackend = 'ollama'\n\
    models = ['llama*']\n[providers.openai]\napi_key_env = 'K'\nmodels = ['gpt-*']\n\
    [[keys]]\nname = 'narrow'\nenv = 'K'\nproviders = ['openai']\n\
    [[routes]]\nmodel = 'gpt-4o'\ntargets = [{ provider = 'openai' }]\n\
    fallback = [{ provider = 'ollama', model = 'llama3.1' }]\n\
    [[routes]]\nmodel = 'fast-*'\ntargets = [{ provider = 'gpu', model = 'small', weight = 3 }, \
    { provider = 'ollama', model = 'small' }]\n[hints]\nonline = ['openai']\n";

#[tokio::test]
async fn check_says_ok_in_a_line_and_asks_the_providers_if_it_is_told_to() {
    let keyed = "[[keys]]\nname = 'a'\nenv = 'K'\n";
    let (printed, file) = run_with(keyed, &["check"], &[("K", "k")]).await;
    let said = format!("ok: {file}: 1 provider, 1 key, 0 routes\n");
    assert_eq!((printed.status, printed.stdout, printed.stderr), (Some(0), said, String::new()));
    let printed = run(&["check"], &[]).await;
    assert_eq!(
        printed.stdout,
        "ok: built-in defaults: 1 provider, no keys: anybody may call, 0 routes\n"
    );

    let (up, locked) =
        (Upstream::ollama(), Upstream::spawn_whole(|_| ollama::error(401, "who are you?")));
    let answering = format!("[providers.ollama]\nbase_url = '{}'\n", up.url());
    let connect = ["check", "--connect"];
    let (printed, file) = run_with(&answering, &connect, &[]).await;
    let said = format!(
        "ollama at {}: it answers: 1 models\nok: {file}: 1 provider, no keys: anybody may call, 0 routes\n",
        up.url()
    );
    assert_eq!((printed.status, printed.stdout, printed.stderr), (Some(0), said, String::new()));
    let dead = crate::upstream::refusing();
    let gone = dead.address();
    let broken = format!(
        "{answering}[providers.gone]\nbackend = 'ollama'\nbase_url = 'http://{gone}'\n\
         [providers.locked]\nbackend = 'openai'\nbase_url = '{}/v1'\n",
        locked.url()
    );
    let (printed, _) = run_with(&broken, &connect, &[]).await;
    assert_eq!(printed.status, Some(1), "{printed:?}");
    assert_eq!(printed.stdout, format!("ollama at {}: it answers: 1 models\n", up.url()));
    let said = format!("error: gone at http://{gone}: it does not answer: ");
    let lines: Vec<&str> = printed.stderr.lines().collect();
    assert!(lines[0].starts_with(&said) && lines[0].contains("refused"), "{lines:?}");
    let said =
        format!("error: locked at {}/v1: it refuses the gateway's credentials", locked.url());
    assert_eq!(lines[1..], [said], "{lines:?}");
}

#[tokio::test]
async fn check_names_an_ollama_address_and_variables_that_mean_something_else() {
    let file = "[providers.ollama]\nbase_url = 'http://localhost:11434/v1'\n";
    let variables = [("API_KEY", "sk-planted"), ("LLM_GATEWAY_SERVER_LISTEN", "0.0.0.0:1")];
    let (printed, file) = run_with(file, &["check"], &variables).await;
    assert_eq!(printed.status, Some(0), "{printed:?}");
    for warning in [
        &format!(
            "{file}:2: providers.ollama.base_url: the API of this backend is not there, write http://localhost:11434"
        ),
        "environment: API_KEY: is not read, and no key is needed: write API_KEYS",
        "environment: LLM_GATEWAY_SERVER_LISTEN: is not read: write LLM_GATEWAY__SERVER__LISTEN",
    ] {
        assert!(printed.stderr.contains(&format!("warning: {warning}")), "{warning}: {printed:?}");
    }
    assert!(!printed.stderr.contains("planted"));
}

#[tokio::test]
async fn check_shows_which_provider_answers_to_which_name() {
    let (printed, _) = run_with(ROUTED, &["check", "--print"], &[("K", "k"), ("W", "w")]).await;
    assert_eq!(printed.status, Some(0), "{printed:?}");
    for line in [
        "# no model -> ollama/llama3.1",
        "# `gpt-4o` -> openai/gpt-4o, then ollama/llama3.1",
        "# `fast-...` -> gpu/small (weight 3) or ollama/small (weight 1)",
        "# hint `online` -> openai/(no model)",
        "# hint `secure` -> ollama/llama3.1 (local only)",
        "# hint `gemini` -> nobody",
        "# `gpu/...` -> gpu/...",
        "# `llama...` -> gpu/llama...",
        "# `...` -> ollama/...",
    ] {
        assert!(printed.stdout.lines().any(|one| one == line), "{line}: {}", printed.stdout);
    }
    let table: toml::Table = printed.stdout.parse().expect("the output is TOML");
    assert_eq!(table["routes"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn every_example_about_providers_and_migration_is_accepted_without_a_warning() {
    let pages = ["docs/providers.md", "docs/migration.md"];
    let pages = pages.map(|page| std::fs::read_to_string(page).unwrap());
    let examples: Vec<&str> = pages
        .iter()
        .flat_map(|page| page.split("```toml\n").skip(1))
        .map(|rest| rest.split_once("\n```").expect("the block ends").0)
        .collect();
    assert!(examples.len() >= 12, "only {} were read", examples.len());
    for example in examples {
        let is_variable = |word: &str| {
            word.contains('_') && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        };
        let words = example.split('"').filter(|word| is_variable(word));
        let variables: Vec<(&str, &str)> = words.map(|name| (name, "k")).collect();
        let (printed, _) = run_with(example, &["check", "--print"], &variables).await;
        assert_eq!((printed.status, printed.stderr.as_str()), (Some(0), ""), "{example}");
        assert!(!printed.stdout.contains("no model -> nobody"), "{}", printed.stdout);
    }
}

#[tokio::test]
async fn check_says_which_way_what_is_asked_at_a_path_would_go() {
    let file = "[providers.openai]\nmodels = ['m']\n[providers.ollama]\nmodels = ['m']\n";
    let check = async |path: &str| {
        let arguments = ["check", "--route", "m", "--path", path];
        let (printed, _) = run_with(file, &arguments, &[("OPENAI_API_KEY", "k")]).await;
        (printed.status, printed.stdout + &printed.stderr)
    };
    let (status, said) = check("/v1/chat/completions").await;
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("openai/m: candidate, by the shortest wait, carried: "), "{said}");
    assert!(said.contains("ollama/m: candidate, by the shortest wait, translated: "), "{said}");
    let (_, said) = check("/api/chat").await;
    assert!(said.contains("ollama/m: candidate, by the shortest wait, carried: "), "{said}");
    let (status, said) = check("/v1/tea").await;
    assert!(status != Some(0) && said.contains("nothing is asked at `/v1/tea`"), "{said}");
}

#[tokio::test]
async fn check_explains_one_request_step_by_step() {
    let explain = async |arguments: &[&str]| {
        let (printed, _) =
            run_with(ROUTED, &[&["check"], arguments].concat(), &[("K", "k"), ("W", "w")]).await;
        (printed.status.unwrap(), printed.stdout, printed.stderr)
    };
    let (status, steps, _) = explain(&["--route", "gpt-4o", "--local"]).await;
    assert_eq!(
        steps,
        "model: gpt-4o\nhint: none\nkey: none\nresult: 401 invalid_api_key: a key is needed here; \
         to explain a request with one add --key wide or --key narrow\n"
    );
    assert_eq!(status, 1);
    let (status, steps, _) = explain(&["--route", "gpt-4o", "--local", "--key", "wide"]).await;
    assert_eq!(
        steps,
        "model: gpt-4o\nhint: none\nkey: wide\ndata policy: local, the request says so\n\
         rule: route 1, `gpt-4o`\n\
         openai/gpt-4o: left out: the data policy allows local providers only\n\
         ollama/llama3.1: candidate\nresult: ollama/llama3.1\n"
    );
    assert_eq!(status, 0);
    let (status, steps, _) = explain(&["--route", "fast-1", "--key", "narrow"]).await;
    assert!(steps.contains("gpu/small: left out: the key may not use"), "{steps}");
    assert!(steps.contains("result: 403 not_allowed"), "{steps}");
    assert_eq!(status, 1, "nobody would answer");
    let (status, steps, _) = explain(&["--hint", "nowhere", "--key", "wide"]).await;
    assert!(status == 1 && steps.contains("rule: none"), "{steps}");
    let (status, _, complaint) = explain(&["--key", "stranger"]).await;
    assert_eq!(complaint, "error: no key is named `stranger`; known are wide, narrow\n");
    assert_eq!(status, 1);
}

#[tokio::test]
async fn check_prints_what_is_in_force_and_masks_every_secret() {
    let toml = "[admin]\ntoken = \"token-planted\"\n[[keys]]\nname = \"a\"\nkey = \"sk-planted\"\n\
        [[keys]]\nname = \"b\"\nenv = \"B_KEY\"\n[providers.ollama]\napi_key = \"key-planted\"\n";
    let environment = [
        ("B_KEY", "sk-b-planted"),
        ("LLM_GATEWAY__PROVIDERS__OLLAMA__MAX_CONCURRENCY", "8"),
        ("OLLAMA_BASE_URL", "http://ollama:11434"),
    ];
    let (printed, file) = run_with(toml, &["check", "--print"], &environment).await;
    assert_eq!(printed.status, Some(0), "{printed:?}");
    assert!(!printed.stdout.contains("planted") && !printed.stderr.contains("planted"));
    let effective: toml::Table = printed.stdout.parse().unwrap();
    let ollama = &effective["providers"]["ollama"];
    assert_eq!(ollama["max_concurrency"].as_integer(), Some(8));
    assert_eq!(ollama["base_url"].as_str(), Some("http://ollama:11434"));
    assert_eq!(ollama["max_queue"].as_integer(), Some(64));
    // Secrets in a file work, and are warned about with their place.
    assert!(printed.stderr.contains(&format!("warning: {file}:5: keys[0].key: ")), "{printed:?}");
}

#[tokio::test]
async fn a_public_listener_without_keys_is_refused_unless_anonymous_is_set() {
    let public = "[server]\nlisten = \"0.0.0.0:0\"\n";
    let (printed, file) = run_with(public, &["serve"], &[]).await;
    assert_eq!(printed.status, Some(78), "{printed:?}");
    assert!(
        printed.stderr.starts_with(&format!("error: {file}:2: server.listen: ")),
        "{printed:?}"
    );
    assert!(printed.stderr.contains("auth.anonymous"), "{printed:?}");
    for allowed in ["[auth]\nanonymous = true\n", "[[keys]]\nname = \"a\"\nkey = \"sk-a\"\n"] {
        let (printed, _) = run_with(&format!("{public}{allowed}"), &["check"], &[]).await;
        assert_eq!(printed.status, Some(0), "{printed:?}");
    }
    let console = "[admin]\nlisten = \"0.0.0.0:0\"\n";
    let (printed, _) = run_with(console, &["check"], &[]).await;
    assert!(printed.status == Some(78) && printed.stderr.contains("admin.token"), "{printed:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_69() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).unwrap();
    for (server, admin) in [(taken.1.as_str(), "127.0.0.1:0"), ("127.0.0.1:0", taken.1.as_str())] {
        let toml = format!("[server]\nlisten = \"{server}\"\n[admin]\nlisten = \"{admin}\"\n");
        let (printed, _) = run_with(&toml, &["serve"], &[]).await;
        assert_eq!(printed.status, Some(69), "{printed:?}");
        assert!(printed.stderr.contains(&format!("error: cannot listen on {}", taken.1)));
    }
    let printed = run(&["sim", "--listen", &taken.1], &[]).await;
    assert_eq!(printed.status, Some(69), "{printed:?}");
}

#[tokio::test]
async fn without_a_command_it_serves_and_without_a_flag_the_file_is_found() {
    let folder = TempDir::new().unwrap();
    let bad = |key: &str| format!("[server]\n{key} = 1\n");
    std::fs::create_dir(folder.path().join("config")).unwrap();
    std::fs::write(folder.path().join("config/gateway.toml"), bad("usual")).unwrap();
    std::fs::write(folder.path().join("named.toml"), bad("named")).unwrap();
    let printed = run_in(folder.path(), &[], &[]).await;
    assert!(printed.status == Some(78) && printed.stderr.contains("server.usual"), "{printed:?}");
    let named = [("LLM_GATEWAY_CONFIG", "named.toml")];
    let printed = run_in(folder.path(), &[], &named).await;
    assert!(printed.status == Some(78) && printed.stderr.contains("server.named"), "{printed:?}");
}

#[tokio::test]
async fn wrong_arguments_are_1_and_help_is_0() {
    for arguments in [&["swerve"][..], &["serve", "--port", "1"], &["keys"], &["keys", "new"]] {
        let printed = run(arguments, &[]).await;
        assert!(printed.status == Some(1) && !printed.stderr.is_empty(), "{printed:?}");
    }
    for arguments in [["--help"], ["--version"]] {
        let printed = run(&arguments, &[]).await;
        assert!(printed.status == Some(0) && printed.stdout.contains("llm-gateway"), "{printed:?}");
    }
}

#[tokio::test]
async fn a_new_key_works_once_its_lines_are_pasted() {
    let printed = run(&["keys", "new", "--name", "team-a"], &[]).await;
    assert_eq!(printed.status, Some(0), "{printed:?}");
    let (above, lines) = printed.stdout.split_once("[[keys]]").unwrap();
    let key = above.split_whitespace().find(|word| word.starts_with("sk-")).unwrap();
    assert!(!lines.contains(key), "{lines}");
    let upstream = Upstream::ollama();
    let provider = Provider::ollama(&upstream);
    let gateway = spawn_gateway(&format!("{provider}\n[[keys]]{lines}")).await;
    let url = gateway.url("/v1/chat");
    assert_eq!(post_json(&url, &chat("hi")).await.status, 401);
    assert_eq!(post_json_with(&url, &[("x-api-key", key)], &chat("hi")).await.status, 200);
    assert!(gateway.logged("outcome=ok").await.contains("caller=team-a"));
    assert!(!gateway.log_lines().iter().any(|line| line.contains(key)));
    gateway.end(2).await;
}

#[tokio::test]
async fn health_is_0_while_ready_and_1_while_stopping_or_without_a_gateway() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let config = Provider::ollama(&upstream);
    let mut gateway = spawn_gateway(&config).await;
    let address = gateway.address().to_string();
    let url = gateway.url("/readyz");
    let by_url = ["health", "--url", &url];
    assert_eq!(run(&by_url, &[]).await.status, Some(0));
    let by_file = format!("[server]\nlisten = \"{address}\"\n");
    assert_eq!(run_with(&by_file, &["health"], &[]).await.0.status, Some(0));

    let chat_url = gateway.url("/v1/chat");
    let running = tokio::spawn(async move { post_json(&chat_url, &chat("hi")).await });
    upstream.calls(1).await;
    gateway.signal(Signal::Term);
    gateway.logged("stopping").await;
    let printed = run(&by_url, &[]).await;
    assert!(printed.status == Some(1) && printed.stderr.contains("503"), "{printed:?}");
    gate.open();
    assert_eq!(running.await.unwrap().status, 200);
    assert_eq!(gateway.exited().await.code(), Some(0));
    assert_eq!(run(&by_url, &[]).await.status, Some(1));
}

#[tokio::test]
async fn the_demonstration_answers_without_a_file_a_model_or_a_key() {
    let gateway = spawn_demo().await;
    let curl = format!("curl http://{}/v1/chat", gateway.address());
    eventually(
        || format!("{curl} is printed: {:#?}", gateway.printed_lines()),
        async || gateway.printed_lines().iter().any(|line| line.contains(&curl)).then_some(()),
    )
    .await;
    let answer = post_json(&gateway.url("/v1/chat"), &chat("Why is the sky blue?")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.json()["content"].as_str().unwrap().is_empty());
    let streamed = stream(&gateway.url("/v1/chat"), &streamed_chat("hi")).await;
    assert!(streamed.rest().await.text().ends_with("data: [DONE]\n\n"));
    gateway.end(2).await;
}

#[tokio::test]
async fn the_demonstration_of_an_image_is_reachable_and_its_knobs_ask_for_a_token() {
    // What the image sets, with a port that is free.
    let variables = [("LLM_GATEWAY__SERVER__LISTEN", "0.0.0.0:0")];
    let mut gateway = spawn_gateway_in(TempDir::new().unwrap(), &["demo"], &variables).await;
    let port = gateway.address().port();
    gateway.logged(&format!("gateway listening on http://0.0.0.0:{port}")).await;
    let url = format!("http://127.0.0.1:{port}/v1/chat");
    assert_eq!(post_json(&url, &chat("hi")).await.status, 200);
    let bearer = eventually(
        || format!("the commands are printed: {:#?}", gateway.printed_lines()),
        async || {
            let lines = gateway.printed_lines();
            let chat = format!("curl http://localhost:{port}/v1/chat");
            let token = lines.iter().find_map(|line| line.split_once("Bearer "))?.1.to_owned();
            let is_whole = lines.iter().any(|line| line.contains(&chat));
            is_whole.then(|| token.trim_end_matches('\'').to_owned())
        },
    )
    .await;
    let admin = gateway.admin_url("/admin/providers");
    let authorization = format!("Bearer {bearer}");
    assert_eq!(get(&admin).await.status, 401);
    let own = [("authorization", authorization.as_str())];
    assert_eq!(ask("GET", &admin, &own).await.status, 200);
    gateway.signal(Signal::Term);
    assert_eq!(gateway.exited().await.code(), Some(0));
}

#[tokio::test]
async fn the_simulator_alone_answers_as_ollama_does_and_stops_in_order() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llm-gateway"));
    command.env_clear().args(["sim", "--listen", "127.0.0.1:0", "--load-ms", "0"]);
    command.args(["--first-token-ms", "1", "--tokens-per-second", "0", "--seed", "7"]);
    let mut sim = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut log = BufReader::new(sim.stderr.take().unwrap()).lines();
    let url = within("the simulator listens", async {
        loop {
            let line = log.next_line().await.unwrap().unwrap();
            if let Some((_, url)) = line.split_once("listening on ") {
                return url.trim().to_owned();
            }
        }
    })
    .await;
    assert!(get(&format!("{url}/api/version")).await.json()["version"].is_string());
    let answer = post_json(&format!("{url}/api/chat"), &{
        let mut chat = chat("hi");
        chat["model"] = "llama3.1".into();
        chat["stream"] = false.into();
        chat
    })
    .await;
    assert_eq!((answer.status, &answer.json()["done"]), (200, &true.into()));
    let wish = [("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")];
    let wished = ask("GET", &format!("{url}/api/version"), &wish).await;
    assert_eq!((wished.status, wished.header("connection")), (200, Some("close")));
    let pid = sim.id().unwrap().to_string();
    let signalled = std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(signalled.success());
    let status = within("the end of the simulator", sim.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
}
