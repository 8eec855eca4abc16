//! A job's conversation, as it is recognized when it comes again.

use std::sync::{Arc, OnceLock};

use super::Job;
use crate::chat::{Ask, Chain};

/// How much of a prompt is believed to be in its server's prompt cache, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// What need not be read again, as far as the caller itself has sent it before.
    pub tokens: u64,
    /// All of it.
    pub total: u64,
}

/// What a job's conversation is recognized by, once that was asked for.
#[derive(Debug, Default)]
pub struct Chained(OnceLock<Option<Arc<Chain>>>);

impl Job {
    /// What its conversation is recognized by, made when it is first asked for; `None` if it has no
    /// conversation.
    pub fn chain(&self) -> Option<&Arc<Chain>> {
        let chain = self.chained.0.get_or_init(|| {
            let Ask::Chat(chat) = &*self.request else { return None };
            // A request that cannot be translated was only outlined, so its body counts.
            let outlined = self.carry.as_ref().filter(|carry| carry.refusal.is_some());
            let chain = match outlined {
                Some(carry) => Chain::of_bytes(&carry.body),
                None => Chain::new(chat),
            };
            (chain.size() > 0).then(|| Arc::new(chain))
        });
        chain.as_ref()
    }

    /// The same, if it was asked for before.
    pub fn made_chain(&self) -> Option<&Arc<Chain>> {
        self.chained.0.get()?.as_ref()
    }
}
