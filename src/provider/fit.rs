//! Lowers the limit of an answer's tokens to what the provider says will fit: `max_tokens = "fit"`.
//!
//! It owns what follows when a limit is rejected, once for each provider, and the change to the
//! call. It never lowers a limit that the client did not set, and never raises one.
//!
//! The one thing to know: a rejected prompt is not its concern. A client that is told that its
//! prompt is too long has to shorten it.

use std::time::Duration;

use super::Provider;
use super::failed::Failed;
use super::retry::{Failure, MAX_ATTEMPTS, Next, Standing};
use super::settings::LimitWish;
use crate::backend::{UpstreamRequest, allowed_output_tokens};
use crate::chat::estimate::prompt_tokens;
use crate::job::{Job, Tried};
use crate::wire::splice::Outline;

/// The names of the limit where it is a field of the body.
const FIELDS: [&str; 3] = ["max_tokens", "max_completion_tokens", "max_output_tokens"];

/// What follows when a provider rejects the limit and says what would fit; `None` for other
/// failures.
pub(super) fn lowered(
    provider: &Provider,
    job: &mut Job,
    failed: &Failed,
    standing: &Standing,
) -> Option<Next> {
    let is_wanted = provider.settings.max_tokens == LimitWish::Fit;
    if !is_wanted || failed.failure != Failure::Rejected || job.tried.room.is_some() {
        return None;
    }
    let chat = job.request.chat()?;
    let room = allowed_output_tokens(failed.words()?, prompt_tokens(chat))?;
    let asked = chat.sampling.max_tokens.or(provider.quirks.default_max_tokens)?;
    let may_ask = standing.attempts < MAX_ATTEMPTS && !standing.left.is_zero();
    if !may_ask || room >= u64::from(asked) {
        return None;
    }
    job.tried.room = Some(room);
    Some(Next::Again { after: Duration::ZERO, fresh: false, free: false })
}

/// Lowers the limit of a call to what an earlier rejection said would fit. Returns the call's
/// dropped fields, with this change.
pub(super) fn applied(call: &mut UpstreamRequest, tried: &Tried) -> Vec<String> {
    let mut dropped = std::mem::take(&mut call.dropped);
    if let Some(room) = tried.room
        && let Some(outline) = Outline::read(&call.body)
    {
        let is_set = |field: &&str| outline.get(field).is_some_and(|value| value != b"null");
        let mut edits = outline.edit();
        for field in FIELDS.into_iter().filter(is_set) {
            edits.set(field, room.to_string());
            dropped.push(field.to_owned());
        }
        call.body = edits.apply();
    }
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_lowered_in_its_own_field_and_the_change_is_named() {
        let call = |body: &str| UpstreamRequest {
            path: String::new(),
            headers: Vec::new(),
            body: body.into(),
            dropped: Vec::new(),
        };
        let lowered = |body: &str, room: Option<u64>| {
            let mut call = call(body);
            let dropped = applied(&mut call, &Tried { room, ..Tried::default() });
            (String::from_utf8(call.body).unwrap(), dropped)
        };
        let body = r#"{"a": 1.0, "max_completion_tokens": 9, "b": {"max_tokens": 9}}"#;
        let (fits, dropped) = lowered(body, Some(5));
        assert_eq!(fits, body.replacen('9', "5", 1));
        assert_eq!(dropped, ["max_completion_tokens"]);
        assert_eq!(lowered(body, None), (body.to_owned(), Vec::new()));
        assert_eq!(lowered("{}", Some(5)), ("{}".to_owned(), Vec::new()));
    }
}
