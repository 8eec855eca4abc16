//! Earlier turns in the place of what refers to them.
//!
//! It owns `previous_response_id` and items of the kind `item_reference`: what they stand for is put in their place
//! before anything else is read, so that a conversation told by references is read as one that was sent whole.
//!
//! The one thing to know: the id of an item holds that of its response, so that no index is needed.

use serde::Deserialize;
use serde_json::Value;

use crate::chat::{ErrorKind, GatewayError, Origin};
use crate::dialect::{Turn, Turns};

/// How the ids of responses begin.
const PREFIX: &str = "resp_";

/// The digits of an answer's random id.
const DIGITS: usize = 32;

/// The field that names the turn before.
pub(super) const PREVIOUS: &str = "previous_response_id";

/// Says that a response or an item is not remembered, and how to go on.
#[must_use]
pub fn not_found(what: &str, id: &str) -> GatewayError {
    let shown: String = id.chars().take(128).collect();
    let message = format!(
        "{what} `{shown}` is not remembered here (any more); send the whole conversation as \
         `input`, as SDKs do with `store: false`"
    );
    GatewayError::new(ErrorKind::NotFound, message).from(Origin::Client)
}

/// What of a body may refer to what was answered before.
#[derive(Deserialize)]
struct Body {
    previous_response_id: Option<Value>,
    conversation: Option<Value>,
    input: Option<Value>,
}

impl Body {
    /// The ids of the items that are only referred to.
    fn references(&self) -> impl Iterator<Item = &str> {
        let items = self.input.as_ref().and_then(Value::as_array);
        items.into_iter().flatten().filter_map(reference)
    }
}

/// The ids of the responses that a body refers to.
pub(super) fn refers(body: &[u8]) -> Vec<String> {
    // Bodies that cannot are read once. A reference may be an id and nothing else.
    let holds = |word: &str| body.windows(word.len()).any(|window| window == word.as_bytes());
    if !holds(PREVIOUS) && !holds("\"id\"") {
        return Vec::new();
    }
    let Ok(body) = serde_json::from_slice::<Body>(body) else { return Vec::new() };
    let previous = body.previous_response_id.as_ref().and_then(Value::as_str);
    let referred = body.references().filter_map(response_of);
    previous.map(str::to_owned).into_iter().chain(referred).collect()
}

/// Says of a body that goes on from what only a provider may know (a response, an item, a conversation) that it is not
/// remembered here; `None` when the body stands for itself.
pub(super) fn refers_to_unknown(body: &[u8]) -> Option<GatewayError> {
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

/// The id that an item refers to, if it does nothing else. The kind may be left out.
fn reference(item: &Value) -> Option<&str> {
    let id = item.get("id")?.as_str()?;
    match item.get("type") {
        Some(kind) if kind == "item_reference" => Some(id),
        None | Some(Value::Null) if item.as_object()?.len() == 1 => Some(id),
        Some(_) | None => None,
    }
}

/// The id of the response that an item with this id is of.
fn response_of(item: &str) -> Option<String> {
    let (_, rest) = item.split_once('_')?;
    let digits = rest.get(..DIGITS)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| format!("{PREFIX}{digits}"))
}

/// The items of the turns up to and with `previous`, the oldest first.
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

/// Puts items in the place of references to them.
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
