//! How long a model stays that may have to go for another one.
//!
//! Owns three calls: one gives it the shortest time to stay, so that the server chooses it when it
//! needs the room; the other gives that time back when it did not; and one unloads what holds up a
//! load that is late.
//!
//! The one thing to know: each call could load a model that is not loaded, so each follows a look.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{LoadOrder, Loaded, Station, ask, call};
use crate::chat::{LoadBy, untagged};

/// How often it is looked whether a load is late.
const LATE_EVERY: Duration = Duration::from_secs(1);
/// Seconds that a model stays without calls where the operator says nothing: Ollama's default.
const USUAL: u64 = 300;

/// Makes the models that should go the ones that the server chooses, by giving them the shortest
/// time to stay. Returns those for which it worked.
pub(super) async fn shorten(station: &Station, order: &LoadOrder) -> Vec<(Arc<str>, LoadBy)> {
    let mut shortened = Vec::new();
    if order.leaving.is_empty() {
        return shortened;
    }
    let Ok(loaded) = ask(station, None).await else { return shortened };
    if loaded.len() < 2 {
        return shortened;
    }
    // In seconds.
    let leaves = json!(order.stay.as_secs().max(1));
    for (model, by) in &order.leaving {
        if !is_there(&loaded, model) {
            continue;
        }
        match call(station, model, *by, Some(&leaves)).await {
            Ok(()) => shortened.push((Arc::clone(model), *by)),
            Err(failed) => {
                log::debug!("`{model}` keeps its time to stay: {}", failed.error.message);
            }
        }
    }
    shortened
}

/// Lets those stay that did not have to go.
pub(super) async fn lengthen(
    station: &Station,
    shortened: Vec<(Arc<str>, LoadBy)>,
    loaded: &[Loaded],
) {
    for (model, by) in shortened {
        let stays = station.provider.own_stay(&model).unwrap_or_else(|| json!(USUAL));
        if is_there(loaded, &model)
            && let Err(failed) = call(station, &model, by, Some(&stays)).await
        {
            log::debug!("`{model}` keeps its short time to stay: {}", failed.error.message);
        }
    }
}

/// Unloads models that hold up the load that is being carried out, for as long as this is awaited.
///
/// A server that needs more room than one model's waits until a second one has no calls, and
/// meanwhile each of that one's calls gives it its whole time to stay again.
pub(super) async fn unload_when_late(station: &Station) {
    loop {
        actix_rt::time::sleep(LATE_EVERY).await;
        let models = station.provider.gate.holding_up();
        if models.is_empty() {
            continue;
        }
        let Ok(loaded) = ask(station, None).await else { continue };
        for model in models.iter().filter(|model| is_there(&loaded, model)) {
            // This call unloads models of either kind.
            if let Err(failed) = call(station, model, LoadBy::Prompt, Some(&json!(0))).await {
                log::debug!("`{model}` holds up a load: {}", failed.error.message);
            }
        }
    }
}

fn is_there(loaded: &[Loaded], model: &str) -> bool {
    loaded.iter().any(|one| untagged(&one.model) == untagged(model))
}
