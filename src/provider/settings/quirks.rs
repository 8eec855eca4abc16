//! What a provider differs in from what is usual for its kind, by its settings and its address.
//!
//! Owns the defaults that an address tells. Refuses nothing.

use super::{BackendName, ProviderSettings};
use crate::backend::{Quirks, SystemPlace};
use crate::policy::Trust;

impl ProviderSettings {
    /// Its quirks: as written, else the usual ones of its kind.
    pub fn quirks(&self) -> Quirks {
        Quirks {
            no_stream_usage: self.stream_usage == Some(false),
            reasoning_back: self.reasoning_back.or_else(|| self.wants_reasoning_back()),
            limit_field: self.max_tokens_field.unwrap_or_default(),
            default_max_tokens: self.default_max_tokens,
            api_version: self.api_version.unwrap_or_default(),
            keeps_volatile: !self.drop_volatile || self.is_anthropics(),
            system: self.system.unwrap_or(self.usual_system()),
        }
    }

    /// Whether it is Anthropic's own service, or somebody else's that passes requests on to it.
    fn is_anthropics(&self) -> bool {
        let is_own = host(self.base_url()) == host(self.backend.base_url());
        match self.backend {
            BackendName::Anthropic => is_own || self.trust() == Trust::Cloud,
            BackendName::Ollama | BackendName::Openai | BackendName::Gemini => false,
        }
    }

    /// OpenAI's own models read system texts anywhere; other models' templates often accept only
    /// one, at the beginning.
    fn usual_system(&self) -> SystemPlace {
        if host(self.base_url()).eq_ignore_ascii_case("api.openai.com") {
            SystemPlace::Anywhere
        } else {
            SystemPlace::First
        }
    }

    /// Whether its address is that of a vendor whose models all want their reasoning back.
    fn wants_reasoning_back(&self) -> Option<bool> {
        const VENDORS: [&str; 5] = ["deepseek.", "moonshot.", "kimi.", "minimax", "z.ai"];
        let after = self.base_url.split_once("://").map_or("", |(_, after)| after);
        let host = after.split('/').next().unwrap_or_default();
        VENDORS.iter().any(|vendor| host.contains(vendor)).then_some(true)
    }
}

/// The host of an address, without scheme, port and path.
fn host(base_url: &str) -> &str {
    let authority = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    authority.split(['/', ':']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps(backend: BackendName, base_url: &str, trust: Option<Trust>, drops: bool) -> bool {
        let base_url = base_url.to_owned();
        let settings = ProviderSettings {
            backend,
            base_url,
            trust,
            drop_volatile: drops,
            ..Default::default()
        };
        settings.quirks().keeps_volatile
    }

    #[test]
    fn what_changes_with_every_call_goes_to_its_maker_and_where_the_operator_wants_it() {
        let (local, cloud) = (Some(Trust::Local), Some(Trust::Cloud));
        let relay = "https://relay.example.org";
        for (backend, base_url, trust, is_kept) in [
            (BackendName::Anthropic, "", None, true),
            (BackendName::Anthropic, "https://api.anthropic.com", local, true),
            (BackendName::Anthropic, relay, cloud, true),
            (BackendName::Anthropic, relay, local, false),
            (BackendName::Openai, "", None, false),
            (BackendName::Openai, relay, cloud, false),
            (BackendName::Gemini, "", None, false),
            (BackendName::Ollama, "", None, false),
        ] {
            let case = format!("{backend} {base_url} {trust:?}");
            assert_eq!(keeps(backend, base_url, trust, true), is_kept, "{case}");
            assert!(keeps(backend, base_url, trust, false), "{case}");
        }
    }
}
