//! `[providers.NAME.models_info]`: what an operator knows of models of which their provider says nothing.

use serde::{Deserialize, Serialize};

use crate::chat::{Ability, Facts};

/// What is known of the models that a pattern names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelInfo {
    /// How many tokens prompt and answer may have together, 1 or more. Default: what the provider says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<u64>,
    /// All that they can do. Default: what the provider says.
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
