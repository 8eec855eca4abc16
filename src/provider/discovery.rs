//! Asks a provider which models it has, and what one of them can do.
//!
//! A look takes no slot and is not an attempt: it is short, it concerns no caller, and a provider
//! whose slots are all taken must still be listed. It is bounded in time and size, and its failure
//! counts against no provider.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Map, Value};

use super::Provider;
use super::client::{Call, Connection};
use super::station::Station;
use crate::backend::{RejectionClass, Swapper, Target};
use crate::chat::{Ask, ChatEvent, Effort, Listing, Memory, Model, ShowRequest, Whole};

/// How long a look may take, connecting included.
pub(super) const LOOK_TIME: Duration = Duration::from_secs(5);
/// The longest list that is read.
const LONGEST: usize = 8 * 1024 * 1024;

/// Why there is no list.
pub(super) struct Unlisted {
    /// The reason, for the log.
    pub why: String,
    /// Whether the provider answered without a 5xx.
    pub is_alive: bool,
}

impl Unlisted {
    pub(super) fn by_live_provider(why: String) -> Self {
        Self { why, is_alive: true }
    }
}

/// Refreshes one list of the provider, unless a look is in progress or was made lately.
pub(super) async fn look(station: Rc<Station>, listing: Listing) {
    let provider = &station.provider;
    let Some(look) = provider.catalogue.list(listing).look(Instant::now()) else { return };
    match tokio::time::timeout(LOOK_TIME, ask(&station, listing)).await {
        Ok(Ok(models)) => look.found(models),
        Ok(Err(Unlisted { why, .. })) => unlisted(provider, &why),
        Err(_) => unlisted(provider, "no answer in time"),
    }
}

/// Asks for the list, on a connection of its own.
///
/// # Errors
///
/// The reason why there is no list, and whether the provider answered at all.
///
/// # Cancellation
///
/// Dropping it closes the connection.
pub(super) async fn ask(station: &Station, listing: Listing) -> Result<Vec<Model>, Unlisted> {
    let provider = &station.provider;
    if listing == Listing::Loaded
        && let Some(swapper) = provider.swapper()
    {
        let (_, mut models) = what_is_loaded(station, swapper).await?;
        models.retain(|model| model.memory == Some(Memory::Loaded));
        return Ok(models);
    }
    let call = provider.backend.listing(listing, provider.api_key());
    let Some(call) = call else { return Ok(Vec::new()) };
    let body = read(station, call).await?;
    let models = provider.backend.read_listing(&body);
    models.map_err(|error| Unlisted::by_live_provider(error.to_string()))
}

/// Asks what is loaded, and which server it is.
///
/// # Errors
///
/// The reason why there is no list.
pub(super) async fn what_is_loaded(
    station: &Station,
    mut swapper: Swapper,
) -> Result<(Swapper, Vec<Model>), Unlisted> {
    loop {
        let call = swapper.listing(station.provider.api_key());
        let listed = match read(station, Call::at_root(call)).await {
            Ok(body) => {
                swapper.read(&body).map_err(|error| Unlisted::by_live_provider(error.to_string()))
            }
            Err(unlisted) => Err(unlisted),
        };
        match (listed, swapper.older()) {
            (Ok(models), _) => return Ok((swapper, models)),
            (Err(unlisted), Some(older)) if unlisted.is_alive => swapper = older,
            (Err(unlisted), _) => return Err(unlisted),
        }
    }
}

/// Whether the provider refuses to list its models to the gateway, by a status or words about
/// credentials. `None` when it has no list or the answer is unclear.
pub(super) async fn is_refused(station: &Station, listing: Listing) -> Option<bool> {
    let provider = &station.provider;
    let call = provider.backend.listing(listing, provider.api_key())?;
    let asked = tokio::time::timeout(LOOK_TIME, answer(station, call)).await;
    let (status, body) = asked.ok()?.ok()?;
    match status {
        200..300 => provider.backend.read_listing(&body).ok().map(|_| false),
        _ => {
            let class = provider.backend.rejection(status, &body, "").class;
            let is_ours = matches!(class, RejectionClass::Auth | RejectionClass::Forbidden);
            is_ours.then_some(true)
        }
    }
}

/// Whether `model` can think, where `ask` wants that and the kind of provider describes its models.
/// `None` when it is unknown; then the provider's own answer decides.
pub(super) async fn thinks(station: &Station, ask: &Ask, model: &Arc<str>) -> Option<bool> {
    let provider = &station.provider;
    let wanted = ask.chat().and_then(|chat| chat.effort).filter(|effort| *effort != Effort::None);
    wanted?;
    let show = Ask::Show(ShowRequest { model: model.to_string(), verbose: false });
    if provider.backend.unsupported(&show).is_some() {
        return None;
    }
    if let Some(known) = provider.catalogue.thinks(model, Instant::now()) {
        return known;
    }
    let described = tokio::time::timeout(LOOK_TIME, describe(station, &show, model)).await;
    let described = described.unwrap_or_else(|_| Err("no answer in time".to_owned()));
    if let Err(why) = &described {
        log::debug!("provider `{}` does not describe a model: {why}", provider.name);
    }
    let now = Instant::now();
    // A failure is kept too, or every request to a broken provider would wait for another look.
    provider.catalogue.describe(model, described.as_ref().ok(), now);
    provider.catalogue.thinks(model, now).flatten()
}

pub(super) async fn describe(
    station: &Station,
    show: &Ask,
    model: &str,
) -> Result<Map<String, Value>, String> {
    let provider = &station.provider;
    let call = provider.backend.encode(show, Target::new(model, provider.api_key()));
    let call = call.map_err(|error| error.to_string())?;
    let body = read(station, call).await.map_err(|unlisted| unlisted.why)?;
    let (mut decoder, mut events) = (provider.backend.decoder(show, 0), Vec::new());
    let decoded = decoder.feed(&body, &mut events).and_then(|()| decoder.finish(&mut events));
    decoded.map_err(|error| error.to_string())?;
    let document = events.into_iter().find_map(|event| match event {
        ChatEvent::Whole(Whole::Document(document)) => Some(document),
        ChatEvent::Whole(Whole::Embeddings(_) | Whole::Tokens(_))
        | ChatEvent::Text(_)
        | ChatEvent::Reasoning(_)
        | ChatEvent::Signature(_)
        | ChatEvent::ToolCall(_)
        | ChatEvent::Logprobs(_)
        | ChatEvent::Carried(_)
        | ChatEvent::Done(_) => None,
    });
    document.ok_or_else(|| "no description".to_owned())
}

/// Sends a question and reads the whole answer.
pub(super) async fn read(station: &Station, call: impl Into<Call>) -> Result<Vec<u8>, Unlisted> {
    let (status, body) = answer(station, call).await?;
    if status != 200 {
        return Err(Unlisted { why: format!("status {status}"), is_alive: status < 500 });
    }
    Ok(body)
}

/// Sends a question and reads the whole answer, whatever its status.
async fn answer(station: &Station, call: impl Into<Call>) -> Result<(u16, Vec<u8>), Unlisted> {
    let provider = &station.provider;
    let dead = |why: String| Unlisted { why, is_alive: false };
    // A kept connection may be dead; a fresh one shows whether the provider is.
    let sent = station.client.send(call, "discovery", Connection::Fresh).await;
    let mut head = sent.map_err(|error| dead(error.into_failed(provider).error.to_string()))?;
    let mut body = Vec::new();
    while let Some(piece) = head.body.next().await {
        let piece = piece.map_err(|error| dead(error.to_string()))?;
        if body.len().saturating_add(piece.len()) > LONGEST {
            return Err(Unlisted::by_live_provider(format!("more than {LONGEST} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok((head.status, body))
}

fn unlisted(provider: &Provider, why: &str) {
    log::debug!("provider `{}` does not list its models: {why}", provider.name);
}
