//! The state shared by a provider's actor on one worker and the tasks that it starts.

use std::sync::Arc;

use super::Provider;
use super::client::Client;

/// One provider as one worker calls it.
pub(super) struct Station {
    /// The part that all workers share.
    pub provider: Arc<Provider>,
    /// This worker's connections.
    pub client: Client,
}
