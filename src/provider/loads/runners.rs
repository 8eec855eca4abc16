//! What a server runs for each of its models, read once from each list.
//!
//! Owns the table that requests are looked up in, so that no request reads a list.

use std::collections::HashMap;
use std::sync::Arc;

use crate::admission::warm::Needs;
use crate::backend::{Backend, ModelRunner, Swapper};
use crate::chat::{Listing, LoadBy, Model, untagged};
use crate::provider::Provider;

/// What is known of a provider's runners.
#[derive(Debug, Default)]
pub(in crate::provider) struct Known {
    last: Option<Arc<Runners>>,
    /// Whether the log says already that the server does not tell what it has loaded.
    is_untold: bool,
}

/// The runners of the models of one list.
#[derive(Debug)]
pub(in crate::provider) struct Runners {
    list: Arc<[Model]>,
    /// By their untagged names.
    by_name: HashMap<Box<str>, Needs>,
    /// How many models the server loads.
    count: usize,
    /// What it is, if it is a server that loads models as others of its API do not.
    swapper: Option<Swapper>,
}

impl Runners {
    fn of(list: Arc<[Model]>, backend: &dyn Backend) -> Self {
        let swapper = backend.swapper(&list);
        let runner = |model| match swapper {
            Some(swapper) => swapper.runner(model),
            None => backend.runner(model),
        };
        let runners: Vec<Option<ModelRunner>> = list.iter().map(runner).collect();
        // The first name of each digest, so that a model with one name is found by that name,
        // whether or not the list is known.
        let mut first: HashMap<&str, &str> = HashMap::new();
        for model in list.iter() {
            let name = untagged(&model.name);
            if let Some(digest) = model.digest() {
                let least = first.entry(digest).or_insert(name);
                *least = name.min(*least);
            }
        }
        let (mut by_name, mut seen) = (HashMap::new(), std::collections::HashSet::new());
        for (model, runner) in list.iter().zip(&runners) {
            let name = untagged(&model.name);
            // The first entry of a name counts.
            if seen.insert(name)
                && let Some(ModelRunner { by, slots }) = *runner
            {
                let key = model.digest().and_then(|digest| first.get(digest)).copied();
                let key = Arc::from(key.unwrap_or(name));
                let needs = Needs { key, by, slots };
                for alias in &model.aliases {
                    by_name.entry(Box::from(untagged(alias))).or_insert_with(|| needs.clone());
                }
                by_name.insert(Box::from(name), needs);
            }
        }
        let count = runners.iter().flatten().count();
        Self { list: Arc::clone(&list), by_name, count, swapper }
    }
}

impl Provider {
    /// The runners of the last list; `None` when there was never one.
    fn runners(&self) -> Option<Arc<Runners>> {
        let list = self.catalogue.list(Listing::Installed).models()?;
        let mut known = self.runners.lock();
        match &known.last {
            Some(last) if Arc::ptr_eq(&last.list, &list) => Some(Arc::clone(last)),
            _ => {
                let read = Arc::new(Runners::of(list, self.backend));
                let is_silent =
                    self.schedules_loads() && read.swapper.is_none() && !self.has_loaded_list();
                if is_silent && !std::mem::replace(&mut known.is_untold, true) {
                    log::warn!(
                        "provider `{}`: scheduling = \"warm\" has no effect, since its server does \
                         not say which of its models are loaded: requests are served in the order \
                         of the line",
                        self.name
                    );
                }
                known.last = Some(Arc::clone(&read));
                Some(read)
            }
        }
    }

    /// What its server is, if its loads are scheduled in another way than an Ollama's.
    pub(in crate::provider) fn swapper(&self) -> Option<Swapper> {
        if !self.schedules_loads() {
            return None;
        }
        self.runners()?.swapper
    }

    /// Whether its server says what it has loaded, as far as that is known; `None` while it has not
    /// listed its models.
    pub(super) fn tells_loads(&self) -> Option<bool> {
        match self.has_loaded_list() {
            true => Some(true),
            false => Some(self.runners()?.swapper.is_some()),
        }
    }

    /// Whether all servers of its API say what they have loaded.
    pub(in crate::provider) fn has_loaded_list(&self) -> bool {
        self.backend.listing(Listing::Loaded, None).is_some()
    }

    /// Whether it has listed no more than one model that it loads: then none competes with another.
    pub(super) fn has_one_model(&self) -> bool {
        self.runners().is_some_and(|runners| runners.count < 2)
    }

    /// What a job for this model needs; `None` where the server loads nothing for it.
    pub(in crate::provider) fn needs_of(&self, model: &str, embeds: bool) -> Option<Needs> {
        let own = self.model_settings(model).and_then(|settings| settings.max_concurrency);
        let Some(runners) = self.runners() else {
            // A server that does not list its models may still say which are loaded.
            let by = if embeds { LoadBy::Embedding } else { LoadBy::Prompt };
            return Some(Needs { key: Arc::from(untagged(model)), by, slots: own });
        };
        let needs = runners.by_name.get(untagged(model))?;
        Some(Needs { key: Arc::clone(&needs.key), by: needs.by, slots: own.or(needs.slots) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::backend::Ollama;

    #[test]
    fn names_of_one_digest_have_one_key_and_models_that_run_elsewhere_none() {
        let body = json!({ "models": [
            { "name": "b:7b", "digest": "1" },
            { "name": "a:latest", "digest": "1" },
            { "name": "c", "digest": "2" },
            { "name": "plain" },
            { "name": "far", "digest": "3", "remote_model": "far" },
        ] });
        let list = Ollama.read_listing(body.to_string().as_bytes()).unwrap();
        let runners = Runners::of(list.into(), &Ollama);
        let key = |name: &str| runners.by_name.get(name).map(|needs| needs.key.to_string());
        assert_eq!((key("b:7b"), key("a")), (Some("a".into()), Some("a".into())));
        assert_eq!(
            (key("c"), key("plain"), key("far")),
            (Some("c".into()), Some("plain".into()), None)
        );
        assert_eq!(runners.count, 4);
    }
}
