//! What a server says about its loaded models, beside what the gate knows of them.
//!
//! Owns nothing. The one thing to know: a server that has no work is not asked, so that what it said
//! may be old. `expires_at` tells until when it can be true.

use std::sync::Arc;

use serde_json::Value;

use crate::admission::gate::snapshot::Snapshot;
use crate::chat::Listing;
use crate::provider::Provider;

impl Provider {
    /// The gate's state, with what the server said about the models that it has loaded.
    pub(in crate::provider) fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.gate.snapshot();
        let Some(listed) = self.catalogue.list(Listing::Loaded).models() else { return snapshot };
        for view in &mut snapshot.models {
            let Some(load) = view.load.as_mut().filter(|load| load.loaded_ms.is_some()) else {
                continue;
            };
            let key = self.lane_key(&view.model);
            let found = listed.iter().find(|model| self.lane_key(&model.name) == key);
            let Some(entry) = found.and_then(|model| model.entry.as_ref()) else { continue };
            let number = |name: &str| entry.get(name).and_then(Value::as_u64);
            load.size = number("size");
            load.context_length = number("context_length");
            load.expires_at = entry.get("expires_at").and_then(Value::as_str).map(Arc::from);
        }
        snapshot
    }
}
