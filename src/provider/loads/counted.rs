//! The models that a server has listed as loaded, for the metrics: by the gateway or by others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::admission::gate::loading::Loaded;
use crate::chat::untagged;
use crate::provider::Provider;
use crate::provider::settings::BackendName;
use crate::telemetry::{LoadedBy, ModelLoaded, ModelsLoaded};

/// What a server had loaded when it was last asked; `None` before the first time.
pub(in crate::provider) type Seen = Option<BTreeSet<Arc<str>>>;

impl Provider {
    /// Counts the models that the server has loaded since it was last asked, except the one that
    /// the gateway ordered, which is counted already.
    pub(super) fn count_loads(&self, loaded: &[Loaded], ordered: Option<&str>) {
        let now: BTreeSet<Arc<str>> = loaded.iter().map(|one| Arc::clone(&one.model)).collect();
        let mut seen = self.seen_loaded.lock();
        let before = seen.replace(now.clone());
        drop(seen);
        let is_ours = |model: &str| ordered.is_some_and(|own| untagged(own) == untagged(model));
        let known = before.as_ref();
        let is_new = |model: &&Arc<str>| known.is_some_and(|known| !known.contains(*model));
        for model in now.iter().filter(is_new).filter(|model| !is_ours(model)) {
            let (provider, model) = (&*self.name, self.model_label(model));
            let is_ollama = self.settings.backend == BackendName::Ollama;
            let by = if is_ollama { LoadedBy::Ollama } else { LoadedBy::Server };
            ModelLoaded { provider, model, by }.emit();
        }
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        for model in before.iter().flatten() {
            counts.insert(self.model_label(model), 0);
        }
        for model in &now {
            *counts.entry(self.model_label(model)).or_default() += 1;
        }
        ModelsLoaded { provider: &self.name, counts: &counts }.emit();
    }
}
