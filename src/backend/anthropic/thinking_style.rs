//! Tells by a model's name how it is asked to think.
//!
//! It owns the guess by the name, because nothing else tells. It knows generations, not single
//! models.
//!
//! The one thing to know: a version above all known ones counts as newer still, and a name without
//! a version of Anthropic's counts as an imitator's, which knows only the older fields.

/// How a model is asked to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ThinkingStyle {
    /// Before 3.7: it does not think.
    Plain,
    /// From 3.7 to 4.5, and imitators: a budget of tokens.
    Budget,
    /// 4.6 and later: the model decides how much, guided by an effort.
    Adaptive,
}

impl ThinkingStyle {
    /// The style of a model, by its name at Anthropic, at an aggregator or at a cloud.
    pub(super) fn of(model: &str) -> Self {
        let name = model.to_ascii_lowercase();
        let Some((_, name)) = name.split_once("claude-") else {
            return Self::Budget;
        };
        let mut words = name.split(['-', '.', '@', ':', '_']);
        let first = words.next().unwrap_or_default();
        if first == "instant" {
            return Self::Plain;
        }
        let is_version_first = first.starts_with(|letter: char| letter.is_ascii_digit());
        let major = if is_version_first { Some(first) } else { words.next() };
        // A date has eight digits, a version at most two.
        let number = |word: Option<&str>| {
            word.map(|word| word.trim_start_matches('v'))
                .filter(|word| word.len() <= 2)?
                .parse()
                .ok()
        };
        match (number(major), number(words.next()).unwrap_or(0)) {
            (Some(3), 7..) => Self::Budget,
            (Some(..=3), _) if is_version_first => Self::Plain,
            (Some(4), 6..) | (Some(5..), _) => Self::Adaptive,
            (Some(_) | None, _) => Self::Budget,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_generation() {
        for (style, names) in [
            (
                ThinkingStyle::Plain,
                &[
                    "claude-3-5-sonnet-20241022",
                    "claude-3-haiku-20240307",
                    "claude-2.1",
                    "claude-instant-1.2",
                ][..],
            ),
            (
                ThinkingStyle::Budget,
                &[
                    "claude-3-7-sonnet-20250219",
                    "claude-opus-4-20250514",
                    "claude-opus-4-1-20250805",
                    "claude-sonnet-4-5",
                    "claude-haiku-4-5-20251001",
                    "anthropic/claude-sonnet-4.5",
                    "us.anthropic.claude-sonnet-4-20250514-v1:0",
                    "claude-sonnet-4-5@20250929",
                    "kimi-k2",
                    "glm-4.6",
                    "claude",
                    "claude-next",
                ],
            ),
            (
                ThinkingStyle::Adaptive,
                &[
                    "claude-opus-4-6",
                    "claude-opus-4-8",
                    "claude-sonnet-5-20260601",
                    "claude-opus-4-10",
                    "anthropic/claude-opus-4.7",
                    "claude-fable-5",
                ],
            ),
        ] {
            for name in names {
                assert_eq!(ThinkingStyle::of(name), style, "{name}");
            }
        }
    }
}
