//! Replaces references to earlier turns by their content.
//!
//! It owns `previous_response_id` and items of the kind `item_reference`: they are replaced by what
//! they refer to before anything else is decoded, so that a conversation by references is decoded
//! like one that was sent in full.
//!
//! The one thing to know: the id of an item contains that of its response, so no index is needed.

use serde::Deserialize;
use serde_json::Value;

use crate::chat::{ErrorKind, GatewayError, Origin};
use crate::dialect::{Turn, Turns};

/// The prefix of the ids of responses.
const PREFIX: &str = "resp_";

/// The digits of an answer's random id.
const DIGITS: usize = 32;

/// The field with the id of the previous turn.
pub(super) const PREVIOUS: &str = "previous_response_id";

/// The error for a response or an item that is not stored, with the remedy.
#[must_use]
pub fn not_found(what: &str, id: &str) -> GatewayError {
    let shown: String = id.chars().take(128).collect();
    let message = format!(
        "{what} `{shown}` is not remembered here (any more); send the whole conversation as \
         `input`, as SDKs do with `store: false`"
    );
    GatewayError::new(ErrorKind::NotFound, message).from(Origin::Client)
}

/// The parts of a body that may refer to earlier answers.
#[derive(Deserialize)]
struct Body {
    previous_response_id: Option<Value>,
    conversation: Option<Value>,
    input: Option<Value>,
}

impl Body {
    /// The ids of the items that are only references.
    fn references(&self) -> impl Iterator<Item = &str> {
        let items = self.input.as_ref().and_then(Value::as_array);
        items.into_iter().flatten().filter_map(reference)
    }
}

/// The ids of the responses that a body refers to.
pub(super) fn referenced_ids(body: &[u8]) -> Vec<String> {
    // Bodies without references are parsed only once, later. A reference may be just an id.
    let holds = |word: &str| body.windows(word.len()).any(|window| window == word.as_bytes());
    if !holds(PREVIOUS) && !holds("\"id\"") {
        return Vec::new();
    }
    let Ok(body) = serde_json::from_slice::<Body>(body) else { return Vec::new() };
    let previous = body.previous_response_id.as_ref().and_then(Value::as_str);
    let referred = body.references().filter_map(response_of);
    previous.map(str::to_owned).into_iter().chain(referred).collect()
}

/// The error for a body that continues something which only a provider may know (a response, an
/// item, a conversation); `None` if the body is complete by itself.
pub(super) fn unknown_reference(body: &[u8]) -> Option<GatewayError> {
    fn id(value: &Value) -> Option<&str> {
        value.get("id").unwrap_or(value).as_str()
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let previous = body.previous_response_id.as_ref().and_then(id).map(|id| ("the response", id));
    let conversation = body.conversation.as_ref().and_then(id).map(|id| ("the conversation", id));
    let item = body.references().next().map(|id| ("the item", id));
    let (what, id) = previous.or(conversation).or(item)?;
    Some(not_found(what, id))
}

/// The id that an item refers to, if it is only a reference. The kind may be missing.
fn reference(item: &Value) -> Option<&str> {
    let id = item.get("id")?.as_str()?;
    match item.get("type") {
        Some(kind) if kind == "item_reference" => Some(id),
        None | Some(Value::Null) if item.as_object()?.len() == 1 => Some(id),
        Some(_) | None => None,
    }
}

/// The id of the response to which the item with this id belongs.
fn response_of(item: &str) -> Option<String> {
    let (_, rest) = item.split_once('_')?;
    let digits = rest.get(..DIGITS)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| format!("{PREFIX}{digits}"))
}

/// The items of the turns up to and including `previous`, oldest first.
pub(super) fn before(previous: &str, turns: &Turns) -> Result<Vec<Value>, GatewayError> {
    let mut chain: Vec<&Turn> = Vec::new();
    let mut next = Some(previous);
    while let Some(id) = next {
        let turn = turns.get(id).filter(|_| chain.len() < turns.len());
        let turn = turn.ok_or_else(|| not_found("the response", id))?;
        chain.push(turn);
        next = turn.previous.as_deref();
    }
    let items = chain.into_iter().rev().flat_map(|turn| turn.input.iter().chain(output(turn)));
    Ok(items.cloned().collect())
}

/// Replaces references by the items they refer to.
pub(super) fn resolve(items: &mut [Value], turns: &Turns) -> Result<(), GatewayError> {
    for item in items {
        let Some(id) = reference(item) else { continue };
        let turn = response_of(id).and_then(|response| turns.get(&response));
        let all = turn.into_iter().flat_map(|turn| output(turn).chain(&turn.input));
        let found = all.into_iter().find(|other| other.get("id").is_some_and(|own| own == id));
        *item = found.ok_or_else(|| not_found("the item", id))?.clone();
    }
    Ok(())
}

fn output(turn: &Turn) -> impl Iterator<Item = &Value> {
    turn.response.get("output").and_then(Value::as_array).into_iter().flatten()
}
