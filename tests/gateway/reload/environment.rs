//! Keys that are in the environment: `.env` is read again with the file, the process's own
//! variables never change.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{KEYS, Told, listeners, never_opens, provider, whole};
use crate::harness::{Gateway, spawn_gateway_in};
use crate::upstream::Upstream;

/// What is reported, and what was done to `.env`.
type Spoil = (&'static str, fn(&Path));

/// The gateway does not watch `.env`.
const TOLD: [Told; 2] = [Told::Post, Told::Hangup];

/// A gateway with this file and this `.env`; returns its path.
async fn started(text: &str, dotenv: &str) -> (Gateway, PathBuf) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("gateway.toml"), text).unwrap();
    let file = folder.path().join(".env");
    fs::write(&file, dotenv).unwrap();
    (spawn_gateway_in(folder, &["serve", "--config", "gateway.toml"], &[]).await, file)
}

#[tokio::test]
async fn keys_whose_variable_is_gone_open_no_door() {
    let upstream = Upstream::ollama();
    let named = KEYS.replace("key = 'sk-a'", "env = 'TEAM_A_KEY'");
    let text = whole(&upstream).replace(KEYS, &named);
    let spoils: [Spoil; 3] = [
        ("`TEAM_A_KEY` is not set", |dotenv| fs::remove_file(dotenv).unwrap()),
        ("`TEAM_A_KEY` is not set", |dotenv| fs::write(dotenv, "OTHER=1\n").unwrap()),
        ("`TEAM_A_KEY` is empty", |dotenv| fs::write(dotenv, "TEAM_A_KEY=\n").unwrap()),
    ];
    for (says, spoil) in spoils {
        let (gateway, dotenv) = started(&text, "TEAM_A_KEY=sk-a\n").await;
        never_opens(gateway, dotenv, &TOLD, says, spoil).await;
    }
}

#[tokio::test]
async fn keys_of_a_dotenv_that_vanishes_open_no_door() {
    let upstream = Upstream::ollama();
    let text = format!("{}{}", listeners("0.0.0.0:0"), provider(&upstream));
    let spoils: [Spoil; 5] = [
        ("callers need keys", |dotenv| fs::remove_file(dotenv).unwrap()),
        ("callers need keys", |dotenv| fs::write(dotenv, "").unwrap()),
        ("callers need keys", |dotenv| fs::write(dotenv, "OTHER=1\n").unwrap()),
        (".env: is cut off", |dotenv| fs::write(dotenv, "API_KEYS=sk-a,s").unwrap()),
        (".env: cannot be read", |dotenv| {
            fs::remove_file(dotenv).unwrap();
            fs::create_dir(dotenv).unwrap();
        }),
    ];
    for (says, spoil) in spoils {
        let (gateway, dotenv) = started(&text, "API_KEYS=sk-a,sk-b\n").await;
        never_opens(gateway, dotenv, &TOLD, says, spoil).await;
    }
}
