//! The clues in a message for a tool's arguments: its numbers and its quoted texts.
//!
//! Owns only how to find them. Refuses to understand the message: type and order alone decide which
//! clue goes into which argument.
//!
//! What a reader would get wrong: an apostrophe is not a quotation mark. A text is quoted if no
//! part of a word touches its opening mark from the left or its closing mark from the right.

use std::collections::VecDeque;

/// Opening and closing marks.
const MARKS: [(char, char); 5] =
    [('"', '"'), ('\'', '\''), ('`', '`'), ('\u{201c}', '\u{201d}'), ('\u{2018}', '\u{2019}')];

/// The clues that are not used yet, in the order of the message.
#[derive(Clone, Debug, Default)]
pub struct Clues {
    numbers: VecDeque<f64>,
    quotes: VecDeque<String>,
}

impl Clues {
    /// Finds the clues in a message.
    pub fn in_message(text: &str) -> Self {
        Self { numbers: numbers(text), quotes: quotes(text) }
    }

    /// Takes the next number, if it fits.
    pub fn next_number(&mut self, fits: impl Fn(f64) -> bool) -> Option<f64> {
        let fitting = self.numbers.front().is_some_and(|number| fits(*number));
        fitting.then(|| self.numbers.pop_front()).flatten()
    }

    /// Takes the next quoted text, if it fits.
    pub fn next_quote(&mut self, fits: impl Fn(&str) -> bool) -> Option<String> {
        let fitting = self.quotes.front().is_some_and(|quote| fits(quote));
        fitting.then(|| self.quotes.pop_front()).flatten()
    }
}

fn numbers(text: &str) -> VecDeque<f64> {
    let in_word = |c: char| c.is_alphanumeric() || "-._".contains(c);
    let words = text.split(|c| !in_word(c)).map(|word| word.trim_end_matches(['.', '-']));
    let starts_well =
        |word: &&str| word.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
    words
        .filter(starts_well)
        .filter_map(|word| word.parse().ok())
        .filter(|it: &f64| it.is_finite())
        .collect()
}

fn quotes(text: &str) -> VecDeque<String> {
    let mut found = VecDeque::new();
    let (mut rest, mut before) = (text, None);
    while let Some(first) = rest.chars().next() {
        let inner = rest.get(first.len_utf8()..).unwrap_or_default();
        let opens = before.is_none_or(|before: char| !before.is_alphanumeric());
        let close = MARKS.iter().find(|(open, _)| *open == first && opens).map(|(_, close)| *close);
        if let Some((quoted, after)) = close.and_then(|close| closed(inner, close)) {
            found.push_back(quoted.to_owned());
            (rest, before) = (after, close);
        } else {
            (rest, before) = (inner, Some(first));
        }
    }
    found
}

/// The text up to the closing mark, and the text after the mark.
fn closed(text: &str, close: char) -> Option<(&str, &str)> {
    text.match_indices(close).find_map(|(at, mark)| {
        let after = text.get(at + mark.len()..)?;
        let is_end = at > 0 && !after.starts_with(char::is_alphanumeric);
        is_end.then_some((text.get(..at)?, after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_and_names_with_digits_are_not() {
        let text = "f_2(3) of llama3.1, then -4.5. On 2026-01-15 at v7: 1e3, inf and nan";
        assert_eq!(numbers(text), [3.0, -4.5, 1000.0]);
    }

    #[test]
    fn quoted_texts_are_found_and_apostrophes_are_not_marks() {
        let text = "it's 'a b' and \"it's\", don\u{2019}t \u{201c}你好\u{201d} but 'open";
        assert_eq!(quotes(text), ["a b", "it's", "你好"]);
        assert!(quotes("'' and \"").is_empty());
    }

    #[test]
    fn a_clue_that_does_not_fit_stays() {
        let mut clues = Clues::in_message("3.5 then 2");
        assert_eq!(clues.next_number(|number| number.fract() == 0.0), None);
        assert_eq!(clues.next_number(|_| true), Some(3.5));
        assert_eq!(clues.next_number(|_| true), Some(2.0));
        assert_eq!(clues.next_number(|_| true), None);
        assert_eq!(clues.next_quote(|_| true), None);
    }
}
