//! Embedding vectors: the same text always has the same vector, and similar texts have similar
//! ones.
//!
//! Owns the vectors and the reading of `/api/embed` bodies. Each word has its own direction, and a
//! text has the sum of its words' directions, so that texts that share words are close. Refuses
//! inputs that are neither a string nor a list of strings.
//!
//! What a reader would get wrong: `/api/embed` returns vectors of length 1, and cuts them to
//! `dimensions` before it scales them; the old `/api/embeddings` does not scale at all.

use std::time::Duration;

use serde_json::Value;

use super::ask::{keep_alive, runner_options};
use super::field::Fields;
use super::refusal::Refusal;
use super::runner_options::RunnerOptions;
use super::text;

/// The most inputs in one request; Ollama sets no limit, OpenAI sets this one.
const MOST_INPUTS: usize = 2048;

/// The body of a request for embeddings.
#[derive(Clone, Debug, PartialEq)]
pub struct Embed {
    /// The model as the client wrote it.
    pub model: String,
    /// The texts, possibly none.
    pub inputs: Vec<String>,
    /// Whether a text that is too long for the model is cut instead of refused.
    pub truncate: bool,
    /// The length to cut the vectors to.
    pub dimensions: Option<usize>,
    /// How long the model stays after this request, if it says so.
    pub keep_alive: Option<Duration>,
    /// The options that the model must be loaded with.
    pub options: RunnerOptions,
}

impl Embed {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 for an input that is not text, for more than 2048 inputs, or for a wrong type.
    pub fn read(body: &Value) -> Result<Self, Refusal> {
        let fields = Fields::new("EmbedRequest", body)?;
        let invalid = || Refusal::bad("invalid input type");
        let inputs = match fields.get("input") {
            None => Vec::new(),
            Some(Value::String(text)) if text.is_empty() => Vec::new(),
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(texts)) if texts.len() > MOST_INPUTS => {
                return Err(Refusal::bad(format!("at most {MOST_INPUTS} inputs are accepted")));
            }
            Some(Value::Array(texts)) => {
                let text = |it: &Value| it.as_str().map(str::to_owned).ok_or_else(invalid);
                texts.iter().map(text).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(invalid()),
        };
        let dimensions = fields.get("dimensions").and_then(Value::as_u64);
        Ok(Self {
            model: fields.string("model")?.to_owned(),
            inputs,
            truncate: fields.boolean("truncate", true)?,
            dimensions: dimensions.and_then(|it| usize::try_from(it).ok()).filter(|it| *it > 0),
            keep_alive: keep_alive(&fields)?,
            options: runner_options(&fields)?,
        })
    }
}

/// The first words of a text, at most `most`, and whether these are all of them.
pub fn words(text: &str, most: usize) -> (Vec<&str>, bool) {
    let mut words = text.split_whitespace();
    let kept = words.by_ref().take(most).collect();
    (kept, words.next().is_none())
}

/// The sum of the words' directions, not scaled.
pub fn raw(seed: u64, words: &[&str], length: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f32; length];
    // A text without words has a direction too.
    let some: &[&str] = if words.is_empty() { &[""] } else { words };
    for word in some {
        let own = text::seed_of([&seed.to_le_bytes()[..], word.to_lowercase().as_bytes()]);
        let mut random = fastrand::Rng::with_seed(own);
        sum.iter_mut().for_each(|part| *part += random.f32() - 0.5);
    }
    sum
}

/// Cuts a vector to `dimensions` and scales it to length 1.
pub fn normalised(mut vector: Vec<f32>, dimensions: Option<usize>) -> Vec<f32> {
    vector.truncate(dimensions.unwrap_or(usize::MAX));
    let length = vector.iter().map(|part| part * part).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|part| *part /= length);
    }
    vector
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vector(text: &str) -> Vec<f32> {
        normalised(raw(1, &words(text, 100).0, 256), None)
    }

    fn likeness(one: &[f32], other: &[f32]) -> f32 {
        one.iter().zip(other).map(|(one, other)| one * other).sum()
    }

    #[test]
    fn vectors_have_length_one_even_if_cut_or_without_words() {
        for text in ["", "one", "one two three"] {
            let own = vector(text);
            assert!((likeness(&own, &own) - 1.0).abs() < 1e-4, "{text}");
        }
        let cut = normalised(raw(1, &["one"], 256), Some(8));
        assert_eq!(cut.len(), 8);
        assert!((likeness(&cut, &cut) - 1.0).abs() < 1e-4);
    }

    #[test]
    fn texts_that_share_words_are_closer_than_those_that_do_not() {
        let (base, near, far) =
            (vector("the lake is cold"), vector("The lake is warm"), vector("buy more hardware"));
        assert!(likeness(&base, &near) > likeness(&base, &far) + 0.3);
        assert_eq!(base, vector("the lake is cold"));
    }

    #[test]
    fn inputs_are_a_text_or_a_list_of_texts() {
        let read = |input: Value| Embed::read(&json!({"model": "m", "input": input}));
        assert_eq!(read(json!("a")).expect("accepted").inputs, ["a"]);
        assert_eq!(read(json!(["a", ""])).expect("accepted").inputs, ["a", ""]);
        assert!(read(json!(null)).expect("accepted").inputs.is_empty());
        for odd in [json!(3), json!([1, 2]), json!({"a": 1})] {
            assert_eq!(read(odd).expect_err("refused").text, "invalid input type");
        }
        assert_eq!(read(json!(vec!["a"; 2049])).expect_err("refused").status, 400);
    }
}
