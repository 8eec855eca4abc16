//! What is known about a model beside its name: its context length and its capabilities.
//!
//! The one thing to know: no source has every fact. An unknown fact is `None`, and clients are then
//! shown what is true of nearly all models: they chat and call tools. If the model cannot, its
//! provider says so itself.

use serde::{Deserialize, Serialize};

/// A capability of a model, in Ollama's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ability {
    /// It generates text.
    Completion,
    /// It calls tools.
    Tools,
    /// It reads images.
    Vision,
    /// It reasons before it answers.
    Thinking,
    /// It fills in the middle of a text.
    Insert,
    /// It computes embeddings.
    Embedding,
    /// It hears audio.
    Audio,
}

/// What is known about a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// How many tokens prompt and answer may have together.
    pub context: Option<u64>,
    /// The known capabilities, each once, and whether the model has them.
    abilities: Vec<(Ability, bool)>,
}

impl Ability {
    /// All of them, in the order in which Ollama lists them.
    pub const ALL: [Self; 7] = [
        Self::Completion,
        Self::Tools,
        Self::Vision,
        Self::Thinking,
        Self::Insert,
        Self::Embedding,
        Self::Audio,
    ];

    /// Its name in Ollama's API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Completion => "completion",
            Self::Tools => "tools",
            Self::Vision => "vision",
            Self::Thinking => "thinking",
            Self::Insert => "insert",
            Self::Embedding => "embedding",
            Self::Audio => "audio",
        }
    }
}

impl Facts {
    /// A model that has exactly these capabilities.
    #[must_use]
    pub fn exactly(context: Option<u64>, can: impl Fn(Ability) -> bool) -> Self {
        let abilities = Ability::ALL.map(|ability| (ability, can(ability)));
        Self { context, abilities: abilities.into() }
    }

    /// A model without known capabilities.
    #[must_use]
    pub fn taking(context: Option<u64>) -> Self {
        Self { context, abilities: Vec::new() }
    }

    /// Adds a capability, unless it is known already.
    #[must_use]
    pub fn with(mut self, ability: Ability, can: Option<bool>) -> Self {
        if let (Some(can), None) = (can, self.can(ability)) {
            self.abilities.push((ability, can));
        }
        self
    }

    /// Whether the model has the capability; `None` if that is unknown.
    #[must_use]
    pub fn can(&self, ability: Ability) -> Option<bool> {
        self.abilities.iter().find(|(known, _)| *known == ability).map(|(_, can)| *can)
    }

    /// These facts, completed by `others`.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        let context = self.context.or(others.context);
        let these = Self { context, ..self };
        others.abilities.iter().fold(these, |all, (ability, can)| all.with(*ability, Some(*can)))
    }

    /// Whether the context length or all capabilities are unknown.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.context.is_none() || self.abilities.is_empty()
    }

    /// Whether no capability is known.
    #[must_use]
    pub fn has_no_known_ability(&self) -> bool {
        self.abilities.is_empty()
    }

    /// The known or likely capabilities, for clients that hide a model without any.
    #[must_use]
    pub fn capabilities(&self, name: &str) -> Vec<&'static str> {
        let is_named_so = || name.to_ascii_lowercase().contains("embed");
        let embeds = self.can(Ability::Embedding).unwrap_or_else(is_named_so);
        let can = |ability: &Ability| {
            self.can(*ability).unwrap_or(match ability {
                Ability::Completion | Ability::Tools => !embeds,
                Ability::Embedding => embeds,
                Ability::Vision | Ability::Thinking | Ability::Insert | Ability::Audio => false,
            })
        };
        Ability::ALL.into_iter().filter(can).map(Ability::word).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_capabilities_are_those_of_nearly_all_models() {
        let unknown = Facts::default();
        assert_eq!(unknown.capabilities("qwen3"), ["completion", "tools"]);
        assert_eq!(unknown.capabilities("Nomic-Embed-text"), ["embedding"]);
        let deaf = Facts::exactly(None, |ability| ability == Ability::Completion);
        assert_eq!(deaf.capabilities("embed-not"), ["completion"]);
        let seeing = unknown.with(Ability::Vision, Some(true)).with(Ability::Vision, Some(false));
        assert_eq!(seeing.capabilities("m"), ["completion", "tools", "vision"]);
    }

    #[test]
    fn the_first_source_of_a_fact_wins() {
        let own = Facts::taking(Some(1)).with(Ability::Tools, Some(false));
        let others = Facts::exactly(Some(2), |_| true);
        let both = own.or(&others);
        assert_eq!((both.context, both.can(Ability::Tools)), (Some(1), Some(false)));
        assert_eq!(both.can(Ability::Vision), Some(true));
        assert_eq!(Facts::default().or(&others).context, Some(2));
    }
}
