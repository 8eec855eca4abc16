//! Asks a provider for what its list of models leaves out: context lengths and capabilities.
//!
//! It owns two sources: the descriptions of an older Ollama, whose list has neither, and the longer
//! list of LM Studio. It delays no list: it begins when the list is there, and what it finds is
//! shown from then on. Like a look at the list it takes no slot, and its failure counts against no
//! provider.
//!
//! The one thing to know: an Ollama is asked once for each digest, which names the content of a
//! model, and nothing more after the first failure. LM Studio is recognized by the owner that it
//! gives every model.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::catalogue::facts;
use super::client::Call;
use super::discovery::{self, LOOK_TIME, describe, read};
use super::settings::BackendName;
use super::station::Station;
use crate::backend::UpstreamRequest;
use crate::chat::{Ask, Facts, Listing, Model, ShowRequest};

/// How many descriptions one look asks for. The next look continues.
const MOST: usize = 32;

/// The longest time for one of them, so that a slow server is soon left alone.
const EACH: Duration = Duration::from_secs(2);

/// The owner of every model in LM Studio's list.
const LM_STUDIO: &str = "organization_owner";

/// Refreshes one list of the provider as [`discovery::look`] does, then asks for what it leaves
/// out.
pub(super) async fn look(station: Rc<Station>, listing: Listing) {
    discovery::look(Rc::clone(&station), listing).await;
    complete(&station, listing).await;
}

async fn complete(station: &Station, listing: Listing) {
    let provider = &station.provider;
    let models = provider.catalogue.list(Listing::Installed).models();
    let Some(models) = models.filter(|_| listing == Listing::Installed) else { return };
    match provider.settings.backend {
        BackendName::Ollama => describe_each(station, &models).await,
        BackendName::Openai if is_lm_studio(&models) => read_longer(station, &models).await,
        BackendName::Openai | BackendName::Gemini | BackendName::Anthropic => {}
    }
}

async fn describe_each(station: &Station, models: &[Model]) {
    let catalogue = &station.provider.catalogue;
    let mut asked = 0;
    for model in models {
        let Some(digest) = model.digest().filter(|_| model.facts.is_incomplete()) else { continue };
        if asked == MOST || !catalogue.claim(digest, Instant::now()) {
            continue;
        }
        asked += 1;
        let show = Ask::Show(ShowRequest { model: model.name.clone(), verbose: false });
        match timeout(EACH, describe(station, &show, &model.name)).await {
            Ok(Ok(description)) => catalogue.keep(digest, facts(&description)),
            Ok(Err(why)) => return untold(station, &why),
            Err(_) => return untold(station, "no answer in time"),
        }
    }
}

fn is_lm_studio(models: &[Model]) -> bool {
    !models.is_empty() && models.iter().all(|model| model.owner.as_deref() == Some(LM_STUDIO))
}

async fn read_longer(station: &Station, models: &[Model]) {
    let provider = &station.provider;
    let now = Instant::now();
    if models.iter().all(|model| provider.catalogue.described(&model.name, now).is_some()) {
        return;
    }
    let key = provider.api_key().map(|key| ("authorization", format!("Bearer {key}")));
    let request = UpstreamRequest {
        path: "/api/v0/models".to_owned(),
        headers: key.into_iter().collect(),
        body: Vec::new(),
        dropped: Vec::new(),
    };
    let read = timeout(LOOK_TIME, read(station, Call::at_root(request))).await;
    let body = match read {
        Ok(Ok(body)) => body,
        Ok(Err(unlisted)) => {
            untold(station, &unlisted.why);
            Vec::new()
        }
        Err(_) => {
            untold(station, "no answer in time");
            Vec::new()
        }
    };
    let told = provider.backend.read_listing(&body).unwrap_or_default();
    for model in models {
        let told = told.iter().find(|told| told.name == model.name);
        // A failure is kept too, so that a server without this list is not asked each time.
        let facts = told.map_or_else(Facts::default, |told| told.facts.clone());
        provider.catalogue.describe_as(&Arc::from(model.name.as_str()), facts, now);
    }
}

fn untold(station: &Station, why: &str) {
    log::debug!("provider `{}` does not describe its models: {why}", station.provider.name);
}
