//! The words for who goes first, where a prompt may go and what follows a cut, shared by callers,
//! jobs and providers.
//!
//! Owns four closed sets and their spelling in configuration and headers. Refuses anything with
//! behaviour: what follows from a word is decided by the router and the gate.
//!
//! What a reader would get wrong: [`Trust`] says where a provider runs, [`DataPolicy`] what a
//! request insists on. A request without a policy may go to either kind.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a caller's work ranks when there is too much of it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Shed first, and at most 80 % of a provider's slots.
    Batch,
    /// Somebody is waiting for the answer. The default.
    #[default]
    Interactive,
}

/// Where a provider runs, and so who sees the prompts sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// On machines of the operator.
    Local,
    /// With somebody else.
    Cloud,
}

/// What a request or a key insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataPolicy {
    /// Only providers with [`Trust::Local`], whatever fails.
    Local,
}

/// What happens to an answer that dies midway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnCut {
    /// Another provider is asked for it, and what follows the part already delivered is sent.
    #[default]
    Resume,
    /// The client gets one error event and an abnormal end.
    Error,
}

impl Priority {
    /// The word in the configuration: `interactive` or `batch`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Interactive => "interactive",
        }
    }
}

impl Trust {
    /// The word in the configuration: `local` or `cloud`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Cloud => "cloud",
        }
    }
}

impl Trust {
    /// Who sees a prompt for this model at a provider of this trust. An Ollama server, wherever it
    /// runs, hands models whose tag is `cloud` or ends in `-cloud` on to its makers' machines.
    pub fn of_model(self, model: &str) -> Self {
        let tag = model.rsplit_once(':').map_or("", |(_, tag)| tag).to_ascii_lowercase();
        if tag == "cloud" || tag.ends_with("-cloud") { Self::Cloud } else { self }
    }
}

impl DataPolicy {
    /// The word in the configuration and in `x-gateway-data-policy`: `local`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
        }
    }

    /// Whether a provider of this trust may see the request.
    pub fn allows(self, trust: Trust) -> bool {
        match (self, trust) {
            (Self::Local, Trust::Local) => true,
            (Self::Local, Trust::Cloud) => false,
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Display for DataPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_configuration() {
        let written = serde_json::json!([
            Priority::Batch,
            Priority::Interactive,
            Trust::Local,
            Trust::Cloud,
            DataPolicy::Local
        ]);
        let words = serde_json::json!([
            Priority::Batch.as_str(),
            Priority::Interactive.as_str(),
            Trust::Local.as_str(),
            Trust::Cloud.as_str(),
            DataPolicy::Local.as_str()
        ]);
        assert_eq!(written, words);
    }

    #[test]
    fn a_model_of_ollama_s_cloud_is_not_local_wherever_it_is_asked_for() {
        for model in ["gpt-oss:120b-cloud", "glm-4.6:cloud", "a/b:CLOUD", "x:8b-Cloud"] {
            assert_eq!(Trust::Local.of_model(model), Trust::Cloud, "{model}");
        }
        for model in ["llama3.1", "cloud", "my-cloud", "a-cloud/b", "x:cloud-8b", "x:8b", ""] {
            assert_eq!(Trust::Local.of_model(model), Trust::Local, "{model}");
            assert_eq!(Trust::Cloud.of_model(model), Trust::Cloud, "{model}");
        }
    }

    #[test]
    fn a_local_policy_allows_local_providers_only() {
        assert!(DataPolicy::Local.allows(Trust::Local));
        assert!(!DataPolicy::Local.allows(Trust::Cloud));
    }
}
