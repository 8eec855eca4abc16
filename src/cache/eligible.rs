//! Which answers may be reused.
//!
//! It owns two decisions: whether a request is repeatable, and whether an answer is worth keeping.
//! It knows nothing of settings; the parent module combines both.
//!
//! The one thing to know: a `seed` is no guarantee. Providers call it best effort, and clients use
//! it to compare two answers, so only `temperature` 0 counts.

use crate::chat::{Ask, ChatEvent, Finish, Whole};

/// Whether a second call would give the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// Yes, as far as the provider can.
    Yes,
    /// Only by chance: one answer stands for all only if that is wanted.
    Sampled,
    /// Never: it loads a model, or asks for a state.
    Never,
}

/// Whether a second call of this request would give the same answer.
#[must_use]
pub fn repeats(ask: &Ask) -> Repeats {
    match ask {
        Ask::Chat(chat) if chat.messages.is_empty() => Repeats::Never,
        Ask::Chat(chat) if chat.sampling.temperature == Some(0.0) => Repeats::Yes,
        Ask::Chat(_) => Repeats::Sampled,
        Ask::Embed(embed) if embed.input.is_empty() => Repeats::Never,
        Ask::Embed(_) => Repeats::Yes,
        Ask::Show(_) | Ask::CountTokens(_) | Ask::Raw(_) => Repeats::Never,
    }
}

/// Whether an answer that ends with this event is worth keeping: complete, and neither cut short
/// nor refused.
#[must_use]
pub fn is_worth_keeping(last: &ChatEvent) -> bool {
    match last {
        ChatEvent::Done(completion) => match completion.finish {
            Finish::Stop | Finish::ToolCalls => true,
            Finish::Length
            | Finish::ContentFilter
            | Finish::Paused
            | Finish::Load
            | Finish::Unload => false,
        },
        ChatEvent::Text(_)
        | ChatEvent::Reasoning(_)
        | ChatEvent::Signature(_)
        | ChatEvent::ToolCall(_)
        | ChatEvent::Logprobs(_)
        | ChatEvent::Carried(_)
        | ChatEvent::Whole(Whole::Embeddings(_) | Whole::Document(_) | Whole::Tokens(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{
        ChatRequest, Completion, EmbedRequest, Message, Role, Sampling, ShowRequest, Usage,
    };

    fn chat(temperature: Option<f64>) -> ChatRequest {
        let sampling = Sampling { temperature, ..Sampling::default() };
        let messages = vec![Message::text(Role::User, "hi")];
        ChatRequest { messages, sampling, ..ChatRequest::default() }
    }

    #[test]
    fn only_embeddings_and_chats_without_chance_repeat() {
        assert_eq!(repeats(&Ask::Chat(chat(Some(0.0)))), Repeats::Yes);
        assert_eq!(repeats(&Ask::Chat(chat(Some(0.1)))), Repeats::Sampled);
        let mut seeded = chat(None);
        seeded.sampling.seed = Some(1);
        assert_eq!(repeats(&Ask::Chat(seeded)), Repeats::Sampled);
        let texts = EmbedRequest { input: vec!["a".into()], ..EmbedRequest::default() };
        assert_eq!(repeats(&Ask::Embed(texts)), Repeats::Yes);
    }

    #[test]
    fn loading_a_model_and_questions_about_it_never_repeat() {
        let mut load = chat(Some(0.0));
        load.messages.clear();
        for ask in [
            Ask::Chat(load),
            Ask::Embed(EmbedRequest::default()),
            Ask::Show(ShowRequest::default()),
            Ask::CountTokens(chat(Some(0.0))),
        ] {
            assert_eq!(repeats(&ask), Repeats::Never, "{ask:?}");
        }
    }

    #[test]
    fn only_a_complete_answer_is_kept() {
        let ends = |finish| {
            let (stop_sequence, usage) = (None, Usage::default());
            is_worth_keeping(&ChatEvent::Done(Completion { finish, stop_sequence, usage }))
        };
        assert!(ends(Finish::Stop) && ends(Finish::ToolCalls));
        assert!(!ends(Finish::Length) && !ends(Finish::ContentFilter));
        assert!(!ends(Finish::Load) && !ends(Finish::Unload));
        assert!(!is_worth_keeping(&ChatEvent::Text("cut off".into())));
    }
}
