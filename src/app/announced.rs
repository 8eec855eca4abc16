//! What a start tells: where it listens, who may call, and each provider with its limits and
//! whether it answers.
//!
//! The one thing to know: nothing waits for a provider. Each is told of once it has answered, or has
//! not for some seconds.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::provider::settings::{BackendName, MaxConcurrency, ProviderSettings};
use crate::provider::{Provider, Reached, reach};
use crate::units::format_duration;

/// Tells where clients and operators connect, and who may call.
pub(super) fn listeners(main: SocketAddr, admin: SocketAddr, keys: usize) {
    let callers = match keys {
        0 => "for anybody: there are no keys".to_owned(),
        1 => "for callers with the one key".to_owned(),
        count => format!("for callers with one of {count} keys"),
    };
    log::info!(target: "llm_gateway", "gateway listening on http://{main} {callers}");
    log::info!(
        target: "llm_gateway",
        "admin listening on http://{admin} with the console, metrics and knobs"
    );
}

/// Tells of each provider once it is known whether it answers.
pub(super) fn providers(providers: &[Arc<Provider>]) {
    let providers = providers.to_vec();
    drop(actix_rt::spawn(async move {
        join_all(providers.iter().map(tell)).await;
    }));
}

async fn tell(provider: &Arc<Provider>) {
    let reached = reach(provider).await;
    let is_right = match &reached {
        Reached::Lists { models, has_default } => *models > 0 && *has_default,
        Reached::Answers(_) => true,
        Reached::Refuses | Reached::Silent(_) => false,
    };
    let level = if is_right { log::Level::Info } else { log::Level::Warn };
    let (name, limits) = (&provider.name, limits(&provider.settings));
    let words = reached.words(provider);
    log::log!(target: "llm_gateway", level, "provider `{name}`, {limits}; {words}");
}

/// A provider's kind, address and limits.
fn limits(settings: &ProviderSettings) -> String {
    let slots = match settings.max_concurrency {
        MaxConcurrency::Fixed(1) => "1 slot".to_owned(),
        MaxConcurrency::Fixed(most) => format!("{most} slots"),
        MaxConcurrency::Auto => "slots by measure".to_owned(),
    };
    let backend = settings.backend;
    let needs = match (backend, settings.max_concurrency) {
        (BackendName::Ollama, MaxConcurrency::Fixed(most @ 2..)) => {
            format!(" (an Ollama runs one call unless OLLAMA_NUM_PARALLEL={most})")
        }
        _ => String::new(),
    };
    let line = match settings.max_queue {
        0 => "no line".to_owned(),
        places => format!("a line of {places} for {}", format_duration(settings.max_queue_wait)),
    };
    format!("{backend} at {}: {slots}{needs}, {line}", settings.base_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_in_a_line() {
        let mut settings = ProviderSettings::default();
        assert_eq!(
            limits(&settings),
            "ollama at http://localhost:11434: 4 slots (an Ollama runs one call unless OLLAMA_NUM_PARALLEL=4), a line of 64 for 30s"
        );
        (settings.max_concurrency, settings.max_queue) = (MaxConcurrency::Fixed(1), 0);
        assert_eq!(limits(&settings), "ollama at http://localhost:11434: 1 slot, no line");
        settings.max_concurrency = MaxConcurrency::Auto;
        assert!(limits(&settings).contains("slots by measure, no line"));
    }
}
