//! The request to a provider when part of the answer was already delivered.
//!
//! It owns the choice between two requests: the same request again, whose answer must repeat the
//! delivered part before anything else is let through; or, where the provider's model continues a
//! last assistant message, a request to continue. It does not guess: if a model might begin anew,
//! the same request is made again.
//!
//! A model that refuses to continue gets the same request again.
//!
//! The one thing to know: a model that continues does not know how much was said before, so a
//! request with a token limit or a format for the whole answer is always repeated.

use std::borrow::Cow;
use std::time::Duration;

use super::retry::{Failure, MAX_ATTEMPTS, Next, Standing};
use crate::backend::Backend;
use crate::chat::{Ask, ChatRequest, Format, Message, Role};
use crate::job::{Continuation, Job};
use crate::policy::OnCut;

/// Prepares the job for one more answer, and returns the request for it.
pub(super) fn asked<'a>(job: &'a mut Job, backend: &dyn Backend, model: &str) -> Cow<'a, Ask> {
    let Ask::Chat(chat) = &*job.request else { return Cow::Borrowed(&*job.request) };
    if job.tried.cut.is_none() {
        job.continuation = Continuation::default();
        // The delivered part is kept only where it may be resumed.
        if job.on_cut == OnCut::Resume && chat.stream && chat.logprobs.is_none() {
            job.continuation = Continuation::keeping();
        }
    }
    if job.candidates.is_empty() {
        job.continuation.stop_keeping();
    }
    let may_go_on = !job.tried.prefill_refused
        && may_be_continued(chat)
        && backend.continues_prefill(chat, model);
    match job.continuation.open_end().filter(|_| may_go_on) {
        Some(text) => {
            let mut chat = chat.clone();
            chat.messages.push(Message::text(Role::Assistant, text));
            job.continuation.go_on();
            Cow::Owned(Ask::Chat(chat))
        }
        None => {
            job.continuation.repeat();
            Cow::Borrowed(&*job.request)
        }
    }
}

/// What follows when a model that was asked to continue rejects the last assistant message: the
/// same request again from the start, whose answer has to repeat. `None` for other failures.
pub(super) fn without_prefill(
    job: &mut Job,
    failure: &Failure,
    standing: &Standing,
) -> Option<Next> {
    if !job.continuation.was_to_go_on() || job.tried.prefill_refused {
        return None;
    }
    let is_refused = *failure == Failure::Rejected;
    // Some providers reject it with 500, after which the same request is not made again either.
    job.tried.prefill_refused =
        is_refused || matches!(failure, Failure::Status { status: 500, .. });
    let may_ask = standing.attempts < MAX_ATTEMPTS && !standing.left.is_zero();
    (is_refused && may_ask).then_some(Next::Again {
        after: Duration::ZERO,
        fresh: false,
        free: false,
    })
}

/// Whether the request allows an answer in two parts by two models.
fn may_be_continued(chat: &ChatRequest) -> bool {
    // A last assistant message is the client's own prefill, and no API defines what two of them
    // mean.
    let begins_anew = chat.messages.last().is_some_and(|last| last.role != Role::Assistant);
    begins_anew
        && chat.format == Format::Text
        && chat.tools.is_empty()
        && chat.hosted.is_empty()
        && chat.sampling.max_tokens.is_none()
        && chat.suffix.is_none()
        && !chat.is_prompt
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Anthropic, Gemini, Ollama, OpenAi};
    use crate::chat::{Effort, Sampling, Tool};

    fn chat() -> ChatRequest {
        ChatRequest { messages: vec![Message::text(Role::User, "hi")], ..ChatRequest::default() }
    }

    #[test]
    fn only_a_plain_chat_can_be_continued() {
        let tool = Tool { name: "f".into(), ..Tool::default() };
        let sampling = Sampling { max_tokens: Some(9), ..Sampling::default() };
        let mut begun = chat();
        begun.messages.push(Message::text(Role::Assistant, "Hel"));
        assert!(may_be_continued(&chat()));
        for other in [
            ChatRequest { format: Format::Json, ..chat() },
            ChatRequest { tools: vec![tool], ..chat() },
            ChatRequest { sampling, ..chat() },
            ChatRequest { suffix: Some("}".into()), ..chat() },
            ChatRequest { is_prompt: true, ..chat() },
            begun,
        ] {
            assert!(!may_be_continued(&other), "{other:?}");
        }
    }

    #[test]
    fn a_model_is_asked_to_continue_only_where_its_provider_supports_it() {
        let thinks = |effort| ChatRequest { effort: Some(effort), ..chat() };
        assert!(Ollama.continues_prefill(&chat(), "llama3.1"));
        assert!(!Ollama.continues_prefill(&thinks(Effort::High), "qwen3"));
        assert!(Anthropic.continues_prefill(&chat(), "claude-3-5-haiku-20241022"));
        assert!(!Anthropic.continues_prefill(&thinks(Effort::On), "claude-3-7-sonnet-20250219"));
        assert!(!Anthropic.continues_prefill(&chat(), "claude-opus-9"));
        assert!(!OpenAi.continues_prefill(&chat(), "claude-3-5-haiku-20241022"));
        assert!(!Gemini.continues_prefill(&chat(), "gemini-2.5-flash"));
    }
}
