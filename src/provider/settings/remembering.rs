//! Whether and how far the order of requests follows what a server has in its prompt cache.

use super::{BackendName, ProviderSettings};
use crate::admission::remembered::RememberPolicy;
use crate::policy::Trust;

impl ProviderSettings {
    /// Whether its prompt cache decides about the order of requests: as written, else by its kind.
    pub fn remembers(&self) -> bool {
        self.remember.unwrap_or(match self.backend {
            BackendName::Ollama | BackendName::Openai => self.trust() == Trust::Local,
            BackendName::Gemini | BackendName::Anthropic => false,
        })
    }

    /// How far the order of requests, or else the choice between equals, follows what it remembers;
    /// `None`: not at all.
    pub fn remember_policy(&self) -> Option<RememberPolicy> {
        let orders = self.remembers();
        let policy = RememberPolicy { wait: self.remember_wait, linger: self.linger, orders };
        (orders || !self.affinity_wait.is_zero()).then_some(policy)
    }
}
