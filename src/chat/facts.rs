//! What is known of a model beside its name: how much it takes and what it can do.
//!
//! The one thing to know: nobody tells everything. What nobody said is `None`, which clients are then told as what
//! nearly all models do: they chat and call tools. A provider says by itself what its model cannot.

use serde::{Deserialize, Serialize};

/// Something that a model can do, by Ollama's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ability {
    /// It answers.
    Completion,
    /// It calls tools.
    Tools,
    /// It reads pictures.
    Vision,
    /// It thinks before it answers.
    Thinking,
    /// It fills a gap.
    Insert,
    /// It makes vectors.
    Embedding,
    /// It hears.
    Audio,
}

/// What is known of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// How many tokens prompt and answer may have together.
    pub context: Option<u64>,
    /// What it can and cannot do, each once.
    abilities: Vec<(Ability, bool)>,
}

impl Ability {
    /// Every one, in the order in which Ollama tells them.
    pub const ALL: [Self; 7] = [
        Self::Completion,
        Self::Tools,
        Self::Vision,
        Self::Thinking,
        Self::Insert,
        Self::Embedding,
        Self::Audio,
    ];

    /// The word for it.
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
    /// A model that can do these and nothing else.
    #[must_use]
    pub fn exactly(context: Option<u64>, can: impl Fn(Ability) -> bool) -> Self {
        let abilities = Ability::ALL.map(|ability| (ability, can(ability)));
        Self { context, abilities: abilities.into() }
    }

    /// A model of which no ability is known.
    #[must_use]
    pub fn taking(context: Option<u64>) -> Self {
        Self { context, abilities: Vec::new() }
    }

    /// The same with what is known of one ability, unless that was known before.
    #[must_use]
    pub fn with(mut self, ability: Ability, can: Option<bool>) -> Self {
        if let (Some(can), None) = (can, self.can(ability)) {
            self.abilities.push((ability, can));
        }
        self
    }

    /// Whether it can do that; `None` when nobody said.
    #[must_use]
    pub fn can(&self, ability: Ability) -> Option<bool> {
        self.abilities.iter().find(|(known, _)| *known == ability).map(|(_, can)| *can)
    }

    /// These, and the others where these say nothing.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        let context = self.context.or(others.context);
        let these = Self { context, ..self };
        others.abilities.iter().fold(these, |all, (ability, can)| all.with(*ability, Some(*can)))
    }

    /// Whether nobody said anything of what it can do.
    #[must_use]
    pub fn says_no_ability(&self) -> bool {
        self.abilities.is_empty()
    }

    /// What it can do as far as is known, for clients that hide a model of which they are told nothing.
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
    fn what_nobody_said_is_what_nearly_all_models_do() {
        let unknown = Facts::default();
        assert_eq!(unknown.capabilities("qwen3"), ["completion", "tools"]);
        assert_eq!(unknown.capabilities("Nomic-Embed-text"), ["embedding"]);
        let deaf = Facts::exactly(None, |ability| ability == Ability::Completion);
        assert_eq!(deaf.capabilities("embed-not"), ["completion"]);
        let seeing = unknown.with(Ability::Vision, Some(true)).with(Ability::Vision, Some(false));
        assert_eq!(seeing.capabilities("m"), ["completion", "tools", "vision"]);
    }

    #[test]
    fn the_first_who_says_something_is_believed() {
        let own = Facts::taking(Some(1)).with(Ability::Tools, Some(false));
        let others = Facts::exactly(Some(2), |_| true);
        let both = own.or(&others);
        assert_eq!((both.context, both.can(Ability::Tools)), (Some(1), Some(false)));
        assert_eq!(both.can(Ability::Vision), Some(true));
        assert_eq!(Facts::default().or(&others).context, Some(2));
    }
}
