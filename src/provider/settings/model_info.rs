//! `[providers.NAME.models_info]`: the operator's facts about models that their provider does not
//! describe.

use serde::{Deserialize, Serialize};

use crate::chat::{Ability, Facts};

/// Facts about the models that match a pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelInfo {
    /// How many tokens prompt and answer may have together, 1 or more. Default: what the provider
    /// says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<u64>,
    /// All their capabilities. Default: what the provider says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<Ability>>,
}

impl ModelInfo {
    /// The same as facts.
    #[must_use]
    pub fn facts(&self) -> Facts {
        match &self.capabilities {
            Some(list) => Facts::exactly(self.context, |ability| list.contains(&ability)),
            None => Facts::taking(self.context),
        }
    }
}
