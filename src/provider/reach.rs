//! Whether a provider answers, asked once: for people, at a start and by `check --connect`.
//!
//! It asks for the list of models, as health checks do, and changes nothing by what it hears: no
//! breaker, no health, no catalogue.

use std::sync::Arc;

use super::Provider;
use super::client::Client;
use super::discovery::{self, LOOK_TIME};
use super::station::Station;
use crate::chat::Listing;

/// What a provider answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// Its models: how many, and whether its default one is among them, if it has one.
    Lists {
        /// How many.
        models: usize,
        /// Whether requests that name no model would find theirs.
        has_default: bool,
    },
    /// It answers, but does not list its models, for this reason.
    Answers(String),
    /// It refuses the gateway's credentials.
    Refuses,
    /// It does not answer, for this reason.
    Silent(String),
}

/// Asks a provider for its models, for at most five seconds.
pub async fn reach(provider: &Arc<Provider>) -> Reached {
    let client = Client::new(provider);
    let station = Station { provider: Arc::clone(provider), client };
    let asked = tokio::time::timeout(LOOK_TIME, discovery::ask(&station, Listing::Installed));
    match asked.await {
        Ok(Ok(models)) => {
            let default = provider.settings.default_model();
            let has_default =
                default.is_empty() || models.iter().any(|model| model.is_called(default));
            Reached::Lists { models: models.len(), has_default }
        }
        Ok(Err(unlisted)) if unlisted.is_alive => {
            match discovery::is_refused(&station, Listing::Installed).await {
                Some(true) => Reached::Refuses,
                Some(false) | None => Reached::Answers(unlisted.why),
            }
        }
        Ok(Err(unlisted)) => Reached::Silent(unlisted.why),
        Err(_) => Reached::Silent(format!("no answer within {} s", LOOK_TIME.as_secs())),
    }
}

impl Reached {
    /// Whether requests would be served.
    #[must_use]
    pub fn is_well(&self) -> bool {
        match self {
            Self::Lists { .. } | Self::Answers(_) => true,
            Self::Refuses | Self::Silent(_) => false,
        }
    }

    /// In words, about this provider.
    #[must_use]
    pub fn words(&self, provider: &Provider) -> String {
        match self {
            Self::Lists { models: 0, .. } => "it answers, and has no models".to_owned(),
            Self::Lists { models, has_default: true } => format!("it answers: {models} models"),
            Self::Lists { models, has_default: false } => format!(
                "it answers: {models} models, without its default_model `{}`",
                provider.settings.default_model()
            ),
            Self::Answers(why) => format!("it answers, without a list of models: {why}"),
            Self::Refuses => "it refuses the gateway's credentials".to_owned(),
            Self::Silent(why) => format!("it does not answer: {why}"),
        }
    }
}
