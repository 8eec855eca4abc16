//! Asking a provider which models it has.
//!
//! A look takes no slot and counts as no attempt: it is short, it says nothing of a caller, and a provider whose slots
//! are all taken must still be found. It is bounded in time and size, and its failure is nobody's failure.

use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::actor::Lane;
use super::attempt::Connection;
use crate::chat::{Listing, Model};

/// How long a look may take, connecting included.
const LOOK_TIME: Duration = Duration::from_secs(5);
/// The longest list that is read.
const LONGEST: usize = 8 * 1024 * 1024;

/// Looks at one list of the provider, unless somebody else does or did lately.
pub(super) async fn look(lane: Rc<Lane>, listing: Listing) {
    let provider = &lane.provider;
    let Some(look) = provider.catalogue.shelf(listing).look(Instant::now()) else { return };
    let asked = tokio::time::timeout(LOOK_TIME, ask(&lane, listing)).await;
    match asked.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
        Ok(models) => look.found(models),
        Err(why) => {
            log::debug!("provider `{}` does not list its models: {why}", provider.name);
        }
    }
}

async fn ask(lane: &Lane, listing: Listing) -> Result<Vec<Model>, String> {
    let provider = &lane.provider;
    let call = provider.backend.listing(listing, provider.api_key());
    let Some(call) = call else { return Ok(Vec::new()) };
    // A kept connection may be dead; a fresh one shows whether the provider is.
    let sent = lane.client.send(call, "discovery", Connection::Fresh).await;
    let mut head = sent.map_err(|error| error.into_failed(provider).error.to_string())?;
    if head.status != 200 {
        return Err(format!("status {}", head.status));
    }
    let mut body = Vec::new();
    while let Some(piece) = head.body.next().await {
        let piece = piece.map_err(|error| error.to_string())?;
        if body.len().saturating_add(piece.len()) > LONGEST {
            return Err(format!("more than {LONGEST} bytes"));
        }
        body.extend_from_slice(&piece);
    }
    provider.backend.read_listing(listing, &body).map_err(|error| error.to_string())
}
