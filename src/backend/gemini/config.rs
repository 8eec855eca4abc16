//! Writes Gemini's `generationConfig`, whose rules differ by the model's generation.

use serde_json::{Map, Value, json};

use crate::backend::history::stop_texts;
use crate::chat::{ChatRequest, Effort, Format, GatewayError};

/// The prefix of a client's own fields of `generationConfig`.
pub(super) const OWN: &str = "generationConfig.";

/// Adds a client's own fields, which never replace fields that are already written.
pub(super) fn extend(config: &mut Map<String, Value>, own: &[(&str, &Value)]) {
    for (name, value) in own {
        let name = name.strip_prefix(OWN).unwrap_or(name).to_owned();
        config.entry(name).or_insert_with(|| (*value).clone());
    }
}

/// How a model is asked to think, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generation {
    /// Before 2.5: no thinking, but penalties.
    Plain,
    /// 2.5, and names without a version: a budget of tokens.
    Budget,
    /// 3 and later: a level, and signatures that must be sent back.
    Level,
}

impl Generation {
    /// The generation of a model, by its name without `models/`.
    pub(super) fn of(model: &str) -> Self {
        let Some(version) = model.strip_prefix("gemini-") else {
            return if model.starts_with("gemma") { Self::Plain } else { Self::Budget };
        };
        let major = version.split(|letter: char| !letter.is_ascii_digit()).next();
        match major.and_then(|major| major.parse::<u32>().ok()) {
            Some(3..) => Self::Level,
            Some(2) if !version.starts_with("2.0") => Self::Budget,
            Some(_) => Self::Plain,
            None => Self::Budget,
        }
    }
}

/// Writes the settings of the answer, and reports those that have no field as dropped.
pub(super) fn generation(
    request: &ChatRequest,
    limit: Option<u32>,
    model: &str,
    generation: Generation,
    dropped: &mut Vec<String>,
) -> Result<Map<String, Value>, GatewayError> {
    let sampling = &request.sampling;
    let stops = stop_texts(request);
    let mut untold = |name: &str, is_set: bool| {
        if is_set {
            dropped.push(name.to_owned());
        }
    };
    untold("min_p", sampling.min_p.is_some_and(|p| p != 0.0));
    untold("repeat_penalty", sampling.repeat_penalty.is_some_and(|penalty| penalty != 1.0));
    // Models since 2.5 answer 400 to every penalty but zero.
    let mut penalty = |name: &str, value: Option<f64>| {
        let value = value.filter(|value| *value != 0.0);
        untold(name, value.is_some() && generation != Generation::Plain);
        value.filter(|_| generation == Generation::Plain).map(|value| json!(value))
    };
    let presence = penalty("presence_penalty", sampling.presence_penalty);
    let frequency = penalty("frequency_penalty", sampling.frequency_penalty);
    let (media_type, schema) = match &request.format {
        Format::Text => (None, None),
        Format::Json => (Some(json!("application/json")), None),
        Format::Schema { schema, .. } => (Some(json!("application/json")), Some(schema.clone())),
    };
    let fields = [
        ("temperature", sampling.temperature.map(|value| json!(value))),
        ("topP", sampling.top_p.map(|value| json!(value))),
        ("topK", sampling.top_k.map(|value| json!(value))),
        ("maxOutputTokens", limit.map(|value| json!(value))),
        ("presencePenalty", presence),
        ("frequencyPenalty", frequency),
        ("seed", sampling.seed.map(|seed| json!(to_32_bits(seed)))),
        ("stopSequences", (!stops.is_empty()).then(|| json!(stops))),
        ("responseMimeType", media_type),
        ("responseJsonSchema", schema),
        ("responseLogprobs", request.logprobs.map(|_| json!(true))),
        ("logprobs", request.logprobs.filter(|top| *top > 0).map(|top| json!(top))),
        ("thinkingConfig", thinking(request, limit, model, generation, dropped)),
    ];
    let set = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Ok(set.collect())
}

/// Seeds have 32 bits here: of larger ones the low 31 bits are kept.
fn to_32_bits(seed: i64) -> i64 {
    if i32::try_from(seed).is_ok() { seed } else { seed & i64::from(i32::MAX) }
}

/// Amounts of thinking: the tokens are those that Google's own OpenAI endpoint uses for efforts.
fn thinking(
    request: &ChatRequest,
    limit: Option<u32>,
    model: &str,
    generation: Generation,
    dropped: &mut Vec<String>,
) -> Option<Value> {
    let effort = request.effort?;
    let off = effort == Effort::None;
    // 2.5 Pro always thinks.
    let always_thinks = off && generation == Generation::Budget && model.contains("pro");
    if generation == Generation::Plain || always_thinks {
        // A model without thinking needs no field to turn it off.
        if !off || always_thinks {
            dropped.push("reasoning_effort".to_owned());
        }
        return None;
    }
    let mut config = Map::new();
    if !off {
        // Without this field thinking is charged but not shown.
        config.insert("includeThoughts".to_owned(), json!(true));
    }
    if generation == Generation::Level {
        let level = match effort {
            Effort::On => None,
            Effort::None | Effort::Minimal => Some("MINIMAL"),
            Effort::Low | Effort::Budget(..=1024) => Some("LOW"),
            Effort::Medium | Effort::Budget(1025..=8192) => Some("MEDIUM"),
            Effort::High | Effort::XHigh | Effort::Max | Effort::Budget(8193..) => Some("HIGH"),
        };
        config.extend(level.map(|level| ("thinkingLevel".to_owned(), json!(level))));
    } else {
        let budget = match effort {
            // The model decides.
            Effort::On => -1,
            Effort::None => 0,
            Effort::Minimal | Effort::Low => 1024,
            Effort::Medium => 8192,
            Effort::High | Effort::XHigh | Effort::Max => 24_576,
            Effort::Budget(tokens) => i64::from(tokens),
        };
        let most = limit.map_or(i64::MAX, |most| i64::from(most) - 1);
        config.insert("thinkingBudget".to_owned(), json!(budget.min(most)));
    }
    Some(Value::Object(config))
}
