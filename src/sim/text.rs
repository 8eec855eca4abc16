//! The texts of the simulated models: readable sentences, cut into tokens, always the same for the
//! same question.
//!
//! Owns the phrases, the seed and the token counts. Refuses to understand anything: the words
//! depend on the question only through its hash. A token here is a word with its leading space,
//! or a punctuation mark; joining all tokens gives the text back byte for byte.

use sha2::{Digest, Sha256};

const OPENINGS: [&str; 8] = [
    "In short",
    "As far as the evidence goes",
    "Put simply",
    "Most of the time",
    "Seen from a distance",
    "For a small team",
    "On a quiet machine",
    "When the line is long",
];
const SUBJECTS: [&str; 12] = [
    "the scheduler",
    "a patient client",
    "the second answer",
    "an honest limit",
    "the waiting line",
    "a loaded model",
    "the first token",
    "every careful operator",
    "a short prompt",
    "the slower server",
    "an idle slot",
    "the last request",
];
const VERBS: [&str; 12] = [
    "keeps",
    "explains",
    "follows",
    "needs",
    "protects",
    "measures",
    "returns",
    "prefers",
    "rewards",
    "outlasts",
    "describes",
    "shares",
];
const OBJECTS: [&str; 12] = [
    "a steady pace",
    "the shape of the load",
    "what was promised",
    "a little room to spare",
    "the order of arrival",
    "an answer worth the wait",
    "a clear reason to stop",
    "more memory than expected",
    "the time it was given",
    "one thing at a time",
    "a number that adds up",
    "the quiet hours of the night",
];
const CLOSINGS: [&str; 8] = [
    "even when everything arrives at once",
    "and nothing is lost on the way",
    "which is easy to verify",
    "as long as somebody is listening",
    "unless the model has to be loaded first",
    "and the rest can wait",
    "without asking for more hardware",
    "because the limit holds",
];

/// The most words that an answer aims at; the last sentence may exceed it a little.
const MOST_WORDS: usize = 100;
/// The fewest words that an answer aims at.
const FEWEST_WORDS: usize = 20;

/// Makes a seed from parts: the same parts in the same order give the same seed on every machine.
pub fn seed_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        // The length comes first, so that moving a byte from one part to the next changes the seed.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}

/// An answer of about 20 to 120 tokens.
pub fn answer(seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let words = random.usize(FEWEST_WORDS..=MOST_WORDS);
    let mut text = String::new();
    while text.split(' ').count() < words {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&sentence(&mut random));
    }
    text
}

/// One or two sentences of thinking.
pub fn thought(seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x7468_696e_6b21);
    let first = sentence(&mut random);
    format!("Let me consider this. {first} That should be the answer.")
}

/// A tool call's id: `call_` and eight characters of base 36.
pub fn call_id(seed: u64, index: usize) -> String {
    let mut random = fastrand::Rng::with_seed(seed.wrapping_add(index as u64 + 1));
    let digits = (0..8).map(|_| random.digit(36));
    format!("call_{}", digits.collect::<String>())
}

/// Cuts a text into tokens.
pub fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut token = String::new();
    for letter in text.chars() {
        let joins = letter.is_alphanumeric() || letter == '\'';
        let after_word = token.chars().next_back().is_some_and(|last| !last.is_whitespace());
        let in_word = token.chars().next_back().is_some_and(char::is_alphanumeric);
        if after_word && !(joins && in_word) {
            tokens.push(std::mem::take(&mut token));
        }
        token.push(letter);
    }
    if !token.is_empty() {
        tokens.push(token);
    }
    tokens
}

/// The number of tokens that a prompt of this many bytes counts as: about one per four bytes.
pub fn prompt_tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

fn sentence(random: &mut fastrand::Rng) -> String {
    let [opening, closing] = [pick(&OPENINGS, random), pick(&CLOSINGS, random)];
    let core =
        format!("{} {} {}", pick(&SUBJECTS, random), pick(&VERBS, random), pick(&OBJECTS, random));
    match random.u8(0..4) {
        0 => format!("{opening}, {core}."),
        1 => format!("{}, {closing}.", capitalised(&core)),
        2 => format!("{opening}, {core}, {closing}."),
        _ => format!("{}.", capitalised(&core)),
    }
}

fn pick<'a>(phrases: &[&'a str], random: &mut fastrand::Rng) -> &'a str {
    random.choice(phrases.iter().copied()).unwrap_or_default()
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_text_and_another_a_different_one() {
        assert_eq!(answer(7), answer(7));
        assert_ne!(answer(7), answer(8));
        assert_eq!(call_id(7, 0), call_id(7, 0));
        assert_ne!(call_id(7, 0), call_id(7, 1));
    }

    #[test]
    fn answers_have_a_bounded_length_and_end_with_a_full_stop() {
        for seed in 0..500 {
            let text = answer(seed);
            let count = tokens(&text).len();
            assert!((20..=150).contains(&count), "{count}: {text}");
            assert!(text.ends_with('.') && text.starts_with(char::is_uppercase), "{text}");
        }
    }

    #[test]
    fn tokens_join_to_the_text_they_came_from() {
        for text in
            ["", " ", "a", "It's late, isn't it?  Yes.\n", "{\"a\":[1,2]}", "Zürich 🚲 東京"]
        {
            assert_eq!(tokens(text).concat(), text);
        }
        assert_eq!(tokens("The end, then."), ["The", " end", ",", " then", "."]);
    }

    #[test]
    fn a_seed_depends_on_where_one_part_ends_and_the_next_begins() {
        let seed = |parts: [&str; 2]| seed_of(parts.map(str::as_bytes));
        assert_ne!(seed(["ab", "c"]), seed(["a", "bc"]));
        assert_eq!(seed(["ab", "c"]), seed(["ab", "c"]));
    }
}
