//! The models that the operator wants to have loaded before anybody asks for them: `preload`.
//!
//! Each is wished for once, in the order of the list, when the gateway starts or a reload adds it.
//! Afterwards it is a model like all others: it goes when another one is worth more.
//!
//! The one thing to know: what fits is unknown before it was tried. A model for which one before
//! it in the list had to go is the last that is tried, and the ones before it are loaded again.

use std::sync::Arc;
use std::time::Duration;

use super::Provider;
use crate::admission::warm::LoadState;
use crate::chat::ErrorKind;
use crate::policy::Priority;

/// After so long a server that could not load a model is asked again; each time twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// And at most so long.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Has the provider's models loaded that were not wished for before.
pub(super) async fn preload(provider: Arc<Provider>) {
    let mut loaded: Vec<&String> = Vec::new();
    for model in &provider.settings.preload {
        if provider.preloaded.lock().contains(model) {
            loaded.push(model);
            continue;
        }
        let is_loaded = load(&provider, model).await;
        provider.preloaded.lock().insert(model.clone());
        if !is_loaded {
            continue;
        }
        let is_there = |model: &&String| provider.is_loaded(model).unwrap_or(true);
        let gone: Vec<&String> = loaded.iter().copied().filter(|it| !is_there(it)).collect();
        if !gone.is_empty() {
            log::warn!(
                "provider `{}`: `{model}` does not fit beside what was loaded before it: nothing \
                 more is loaded",
                provider.name
            );
            for model in gone {
                load(&provider, model).await;
            }
            return;
        }
        loaded.push(model);
    }
}

/// Has one model loaded, however long its server takes to come up. Returns whether it is loaded.
async fn load(provider: &Arc<Provider>, model: &str) -> bool {
    let name = &provider.name;
    let mut pause = FIRST_PAUSE;
    loop {
        match provider.load_model(model, Priority::Batch).await {
            Ok(took) => {
                log::info!("provider `{name}`: `{model}` is loaded, after {} ms", took.as_millis());
                return true;
            }
            // The server does not have it, or loads nothing of the kind.
            Err(error)
                if matches!(error.kind, ErrorKind::ModelNotFound | ErrorKind::InvalidRequest) =>
            {
                log::warn!("{}: it cannot be loaded in advance", error.message);
                return false;
            }
            Err(error) => {
                log::warn!("`{model}` is not loaded yet, and tried again: {}", error.message);
                // Perhaps the server says by now what it has loaded.
                provider.surprised.notify_one();
                actix_rt::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

impl Provider {
    /// Whether a model is loaded; `None` if that is unknown.
    fn is_loaded(&self, model: &str) -> Option<bool> {
        match self.gate.load_state(&self.lane_key(model))? {
            LoadState::Loaded | LoadState::Leaving => Some(true),
            LoadState::Loading { .. } | LoadState::Waiting { .. } | LoadState::Cold => Some(false),
        }
    }
}
