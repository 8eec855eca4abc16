//! Whether a provider refuses the gateway's key, after one of its answers said 401.
//!
//! Owns the question and its last answer, which a burst of refused requests shares. A 401 may be
//! about the key, the model or the request; the list of models, requested with the same key, shows
//! which.
//!
//! The one thing to know: many servers show their list to any client. A list therefore says little
//! about the key, but one caller's request must not open the provider's breaker for all callers; a
//! refused list proves that the key is refused.

use std::time::{Duration, Instant};

use super::discovery;
use super::station::Station;
use crate::chat::Listing;

/// Whether a provider accepts the gateway's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// The list of models is refused too.
    Refused,
    /// The list of models is shown.
    Accepted,
    /// Unknown, because there is no list.
    Unknown,
}

/// The last result, and the lock for asking again.
#[derive(Debug, Default)]
pub struct Asked(tokio::sync::Mutex<Option<(Instant, Credentials)>>);

/// How long a result holds for requests that were refused at about the same time.
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
