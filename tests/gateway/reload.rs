//! Reloads of a configuration that is broken or opens a door: whatever happens to the file and
//! however it is read, a client without a key is never served, and one with a key never fails.
//!
//! It owns the load under which a file is broken and corrected, and the three ways in which it is
//! read again. Gateways here are bound beyond loopback unless a test says otherwise; clients call
//! them by loopback alone.

mod broken;
mod environment;
mod healthy;
mod in_force;
mod load;
mod meant;
mod visible;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::client::Answer;
use crate::crowd::press;
use crate::harness::{Gateway, Signal, spawn_gateway_in};
use crate::patience::eventually;
use crate::upstream::Upstream;
use load::Load;

/// Two keys; the second must not lose its last line, nor the file its last section.
const KEYS: &str = "[[keys]]\nname = 'a'\nkey = 'sk-a'\n\
    [[keys]]\nname = 'b'\nkey = 'sk-b'\ndata_policy = 'local'\n";

/// How a gateway is made to read its file again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Post,
    Hangup,
    /// It looks by itself.
    Nobody,
}

const EVERY_WAY: [Told; 3] = [Told::Post, Told::Hangup, Told::Nobody];

/// The listeners of a gateway beyond loopback; invalid keys are not counted, so that each is
/// answered 401.
fn listeners(main: &str) -> String {
    format!(
        "[server]\nlisten = '{main}'\n[admin]\nlisten = '127.0.0.1:0'\n\
         [auth]\nfailures = {{ capacity = 0 }}\n"
    )
}

/// The section of a provider, as text, which tests cut off.
fn provider(upstream: &Upstream) -> String {
    format!(
        "[providers.ollama]\nbackend = 'ollama'\nbase_url = '{}'\n\
         default_model = 'llama3.1'\nmax_concurrency = 64\n",
        upstream.url()
    )
}

/// A whole file: listeners, keys, a provider and a route.
fn whole(upstream: &Upstream) -> String {
    let route = "[[routes]]\nmodel = 'x'\ntargets = [{ provider = 'ollama' }]\n";
    format!("{}{KEYS}{}{route}", listeners("0.0.0.0:0"), provider(upstream))
}

/// Starts a gateway by this file in its folder, named by `--config` as the file is.
async fn started(file: &str, text: &str) -> Gateway {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join(file), text).unwrap();
    spawn_gateway_in(folder, &["serve", "--config", file], &[]).await
}

/// How often the log contains this.
fn times(gateway: &Gateway, words: &str) -> usize {
    gateway.log_lines().iter().filter(|line| line.contains(words)).count()
}

const REFUSED: &str = "the configuration is refused and the old one stays";
const TAKEN: &str = "the configuration was read again";

/// Changes something and has the gateway read its configuration again; returns the answer, if there
/// was one. Returns when the log has the outcome.
async fn reload(
    gateway: &Gateway,
    told: Told,
    outcome: &str,
    change: impl FnOnce(),
) -> Option<Answer> {
    let before = times(gateway, outcome);
    change();
    let answer = match told {
        Told::Post => Some(press(gateway, "reload").await),
        Told::Hangup => {
            gateway.signal(Signal::Hup);
            None
        }
        Told::Nobody => None,
    };
    let happened = async || (times(gateway, outcome) > before).then_some(());
    eventually(|| format!("{told:?}: {outcome}: {:#?}", gateway.log_lines()), happened).await;
    answer
}

/// Under load breaks the file and corrects it again, reloading in each of these ways. `says` is a
/// part of the problem.
async fn never_opens(
    gateway: Gateway,
    file: PathBuf,
    ways: &[Told],
    says: &str,
    spoil: impl Fn(&Path),
) {
    let good = std::fs::read(&file).unwrap();
    let load = Load::on(&gateway);
    for told in ways {
        let known = times(&gateway, says);
        let answer = reload(&gateway, *told, REFUSED, || spoil(&file)).await;
        if let Some(answer) = answer {
            let problems = answer.json()["problems"].to_string();
            assert!(answer.status == 422 && problems.contains(says), "{problems}");
        }
        assert!(times(&gateway, says) > known, "{told:?}: {:#?}", gateway.log_lines());
        load.goes_on().await;
        let mended = reload(&gateway, *told, TAKEN, || mend(&file, &good)).await;
        assert!(mended.is_none_or(|answer| answer.status == 200), "{told:?}");
        load.goes_on().await;
    }
    let sent = load.end().await;
    gateway.end(sent).await;
}

/// Puts the file back, whatever is in its place.
fn mend(file: &Path, good: &[u8]) {
    if file.is_dir() && !file.is_symlink() {
        std::fs::remove_dir(file).unwrap();
    }
    let draft = file.with_extension("draft");
    std::fs::write(&draft, good).unwrap();
    std::fs::rename(draft, file).unwrap();
}
