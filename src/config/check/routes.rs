//! The rules for `[[routes]]`, `[hints]` and `[default]`.
//!
//! Owns that every provider named in them exists, and that the local-only hints name only local
//! providers.

use super::Review;
use crate::config::key_path::KeyPath;
use crate::policy::Trust;
use crate::router::settings::{LOCAL_HINTS, TargetSettings};

impl Review<'_> {
    pub(super) fn routes(&mut self) {
        for (index, route) in self.config.routes.iter().enumerate() {
            let path = KeyPath::of("routes").index(index);
            self.glob(&path.key("model"), &route.model);
            if route.targets.is_empty() {
                let message = r#"write at least one target, as in [{ provider = "ollama" }]"#;
                self.problem(&path.key("targets"), message);
            }
            self.targets(&path.key("targets"), &route.targets);
            self.targets(&path.key("fallback"), &route.fallback);
        }
        self.hints();
        let path = KeyPath::of("default").key("providers");
        self.provider_list(&path, &self.config.default.providers);
    }

    fn targets(&mut self, path: &KeyPath, targets: &[TargetSettings]) {
        for (index, target) in targets.iter().enumerate() {
            let path = path.index(index);
            if target.provider.is_empty() {
                self.problem(&path.key("provider"), "missing: write a provider's name");
            } else {
                self.provider(&path.key("provider"), &target.provider);
            }
            if target.model.as_ref().is_some_and(|model| model.trim().is_empty()) {
                let message = "write a model's name, or leave the key out for the name asked for";
                self.problem(&path.key("model"), message);
            }
            self.in_range(&path.key("weight"), target.weight, 1..=1000);
            if target.context == Some(0) {
                let message =
                    "write how many tokens the model takes, as in 128000, or leave it out";
                self.problem(&path.key("context"), message);
            }
        }
    }

    fn hints(&mut self) {
        let config = self.config;
        for (hint, providers) in &config.hints {
            let path = KeyPath::of("hints").key(hint);
            if hint.trim().is_empty() {
                self.problem(&path, "write a name for this hint");
            }
            self.provider_list(&path, providers);
            if !LOCAL_HINTS.contains(&hint.as_str()) {
                continue;
            }
            for (index, name) in providers.iter().enumerate() {
                let trust = config.providers.get(name).map(|provider| provider.trust());
                if trust == Some(Trust::Cloud) {
                    let message = format!(
                        "`{name}` has trust = \"cloud\": the hint `{hint}` may name local providers only"
                    );
                    self.problem(&path.index(index), message);
                }
            }
        }
    }
}
