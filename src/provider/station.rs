//! What the actor of one provider on one worker, and the tasks that it starts, share.

use std::sync::Arc;

use super::Provider;
use super::client::Client;

/// One provider as one worker calls it.
pub(super) struct Station {
    /// What is the same for all workers.
    pub provider: Arc<Provider>,
    /// This worker's connections.
    pub client: Client,
}
