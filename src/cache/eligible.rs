//! What may be answered a second time with the same words.
//!
//! It owns two judgements: whether a request asks for something that repeats, and whether an answer is one to keep.
//! It knows nothing of settings; the front of the module puts both together.
//!
//! The one thing to know: a `seed` is no promise. Providers call it best effort, and clients use it to see whether
//! two answers agree, so that only `temperature` 0 counts.

use crate::chat::{Ask, ChatEvent, Finish, Whole};

/// Whether asking again would give the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// As far as the provider can.
    Yes,
    /// Only by accident: one answer stands for all if somebody wants that.
    Sampled,
    /// It is not about an answer: it loads a model, or asks how things stand.
    Never,
}

/// Whether asking this again would give the same answer.
#[must_use]
pub fn repeats(ask: &Ask) -> Repeats {
    match ask {
        Ask::Chat(chat) if chat.messages.is_empty() => Repeats::Never,
        Ask::Chat(chat) if chat.sampling.temperature == Some(0.0) => Repeats::Yes,
        Ask::Chat(_) => Repeats::Sampled,
        Ask::Embed(embed) if embed.input.is_empty() => Repeats::Never,
        Ask::Embed(_) => Repeats::Yes,
        Ask::Show(_) | Ask::CountTokens(_) => Repeats::Never,
    }
}

/// Whether an answer that ends with this event is one to keep: whole, and neither cut short nor refused.
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
    fn loading_a_model_and_questions_about_it_never_do() {
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
    fn only_an_answer_that_came_to_its_own_end_is_kept() {
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
