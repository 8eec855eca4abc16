//! What a provider is asked when a part of the answer is delivered already.
//!
//! It owns the choice between two questions. The same again, and what is delivered must come again before anything
//! else is let through; or, where the provider's model goes on after a last assistant message, to go on. It refuses to
//! guess: whatever might make a model begin anew is asked again.
//!
//! A model that refuses to go on is asked for the same again.
//!
//! The one thing to know: a model that goes on is told nothing of how much it has said, so that a request with a limit
//! of tokens or a shape for the whole answer is asked again.

use std::borrow::Cow;
use std::time::Duration;

use super::retry::{Failure, MAX_ATTEMPTS, Next, Standing};
use crate::backend::Backend;
use crate::chat::{Ask, ChatRequest, Format, Message, Role};
use crate::job::{Continuation, Job};
use crate::policy::OnCut;

/// Gets the job ready for one more answer, and gives what is asked for it.
pub(super) fn asked<'a>(job: &'a mut Job, backend: &dyn Backend, model: &str) -> Cow<'a, Ask> {
    let Ask::Chat(chat) = &*job.request else { return Cow::Borrowed(&*job.request) };
    if job.tried.cut.is_none() {
        job.continuation = Continuation::default();
        // What nobody could go on with is not kept.
        if job.on_cut == OnCut::Resume && chat.stream && chat.logprobs.is_none() {
            job.continuation = Continuation::keeping();
        }
    }
    if job.candidates.is_empty() {
        job.continuation.stop_keeping();
    }
    let may_go_on = !job.tried.prefill_refused && can_go_on(chat) && backend.goes_on(chat, model);
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

/// What follows when a model that was to go on refuses what it was given, a last assistant message: it is asked again, from
/// the start, and has to repeat. `None` when it was not that.
pub(super) fn without_prefill(
    job: &mut Job,
    failure: &Failure,
    standing: &Standing,
) -> Option<Next> {
    if !job.continuation.was_to_go_on() || job.tried.prefill_refused {
        return None;
    }
    let is_refused = *failure == Failure::Rejected;
    // Some say so with 500, after which the same is not asked again either.
    job.tried.prefill_refused =
        is_refused || matches!(failure, Failure::Status { status: 500, .. });
    let may_ask = standing.attempts < MAX_ATTEMPTS && !standing.left.is_zero();
    (is_refused && may_ask).then_some(Next::Again {
        after: Duration::ZERO,
        fresh: false,
        free: false,
    })
}

/// Whether what is asked allows an answer in two parts by two models.
fn can_go_on(chat: &ChatRequest) -> bool {
    // A last assistant message is the client's own beginning, and what would become of two is nowhere said.
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
    fn only_a_plain_question_can_be_gone_on_with() {
        let tool = Tool { name: "f".into(), ..Tool::default() };
        let sampling = Sampling { max_tokens: Some(9), ..Sampling::default() };
        let mut begun = chat();
        begun.messages.push(Message::text(Role::Assistant, "Hel"));
        assert!(can_go_on(&chat()));
        for other in [
            ChatRequest { format: Format::Json, ..chat() },
            ChatRequest { tools: vec![tool], ..chat() },
            ChatRequest { sampling, ..chat() },
            ChatRequest { suffix: Some("}".into()), ..chat() },
            ChatRequest { is_prompt: true, ..chat() },
            begun,
        ] {
            assert!(!can_go_on(&other), "{other:?}");
        }
    }

    #[test]
    fn a_model_goes_on_only_where_its_provider_is_known_for_it() {
        let thinks = |effort| ChatRequest { effort: Some(effort), ..chat() };
        assert!(Ollama.goes_on(&chat(), "llama3.1"));
        assert!(!Ollama.goes_on(&thinks(Effort::High), "qwen3"));
        assert!(Anthropic.goes_on(&chat(), "claude-3-5-haiku-20241022"));
        assert!(!Anthropic.goes_on(&thinks(Effort::On), "claude-3-7-sonnet-20250219"));
        assert!(!Anthropic.goes_on(&chat(), "claude-opus-9"));
        assert!(!OpenAi.goes_on(&chat(), "claude-3-5-haiku-20241022"));
        assert!(!Gemini.goes_on(&chat(), "gemini-2.5-flash"));
    }
}
