//! A job's carried request.

use super::Job;
use crate::chat::GatewayError;

impl Job {
    /// Why the request cannot be translated for a provider of another API; `None` when it can.
    #[must_use]
    pub fn refusal(&self) -> Option<&GatewayError> {
        self.carry.as_ref()?.refusal.as_ref()
    }
}
