//! Whether a provider refuses the gateway's key, after one of its answers said 401.
//!
//! Owns the question and its last answer, which a burst of refused requests shares. A 401 may be about the key, but also
//! about the model or the request; the list of models, asked for with the same key, tells.
//!
//! The one thing to know: many servers show their list to anybody. That a list is given says little of the key, but a
//! provider must not be closed for everybody on account of a request that only one caller makes; that it is refused says all.

use std::time::{Duration, Instant};

use super::discovery;
use super::station::Station;
use crate::chat::Listing;

/// What is known of the gateway's key at a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// The list of models is refused too.
    Refused,
    /// The list of models is given.
    Accepted,
    /// Nobody can say, because there is no list.
    Unknown,
}

/// The last answer, and the right to ask for the next one.
#[derive(Debug, Default)]
pub struct Asked(tokio::sync::Mutex<Option<(Instant, Credentials)>>);

/// How long an answer holds for requests that were refused at about the same time.
const FRESH: Duration = Duration::from_secs(2);

/// Finds out whether the provider refuses the gateway's key.
///
/// # Cancellation
///
/// Dropping it closes the connection; the next one asks again.
pub(super) async fn check(station: &Station) -> Credentials {
    let mut last = station.provider.credentials.0.lock().await;
    if let Some((at, credentials)) = *last
        && at.elapsed() < FRESH
    {
        return credentials;
    }
    let credentials = ask(station).await;
    *last = Some((Instant::now(), credentials));
    credentials
}

async fn ask(station: &Station) -> Credentials {
    match discovery::is_refused(station, Listing::Installed).await {
        Some(true) => Credentials::Refused,
        Some(false) => Credentials::Accepted,
        None => Credentials::Unknown,
    }
}
