//! Chooses the decoder that watches a carried answer: the one of its API, which may not understand
//! all of it.
//!
//! It owns the choice, and the watching of answers that are one document. It accepts everything
//! that is JSON: a field or an event that is not known here may matter to the client, which has it
//! already.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::failure::failure;
use super::responses::Responses;
use crate::backend::document::{parse, read_at_end, wrong_count};
use crate::backend::stream::EventDecoder;
use crate::backend::{Anthropic, Backend, DecodeError, Decoder, Gemini, Ollama, OpenAi};
use crate::chat::{Ask, Carry, ChatEvent, ChatRequest, Completion, Endpoint, Finish, Usage};

/// The decoder that watches the answer to a request at this endpoint.
pub(super) fn decoder(carry: &Carry, ask: &Ask, seed: u64) -> Box<dyn Decoder> {
    let nothing = ChatRequest::default();
    let request = ask.chat().unwrap_or(&nothing);
    match carry.endpoint {
        Endpoint::OpenAiChat | Endpoint::OpenAiCompletions => OpenAi::watch(request, seed),
        Endpoint::OpenAiResponses => Box::new(EventDecoder::lenient(Responses::default())),
        Endpoint::AnthropicMessages => Anthropic::watch(request, seed),
        Endpoint::OllamaChat | Endpoint::OllamaGenerate => Ollama::watch(request, seed),
        Endpoint::GeminiGenerate | Endpoint::GeminiStream => Gemini::watch(request, seed),
        Endpoint::AnthropicCount | Endpoint::GeminiCount | Endpoint::GeminiEmbed => {
            read_at_end(|body, events| read(body, None, events))
        }
        Endpoint::OpenAiEmbeddings => embeddings(&OpenAi, carry, ask, seed),
        Endpoint::OllamaEmbed => embeddings(&Ollama, carry, ask, seed),
        Endpoint::GeminiBatchEmbed => embeddings(&Gemini, carry, ask, seed),
    }
}

/// Watches vectors. If the gateway understood the request, `backend` reads them as well, for
/// clients that want them in another form.
fn embeddings(backend: &dyn Backend, carry: &Carry, ask: &Ask, seed: u64) -> Box<dyn Decoder> {
    let texts = match ask {
        Ask::Embed(embed) if carry.refusal.is_none() => embed.input.len(),
        Ask::Embed(_) | Ask::Chat(_) | Ask::Show(_) | Ask::CountTokens(_) | Ask::Raw(_) => {
            return read_at_end(|body, events| read(body, None, events));
        }
    };
    let mut decoder = Some(backend.decoder(ask, seed));
    read_at_end(move |body, events| read(body, decoder.take().map(|it| (it, texts)), events))
}

/// Reads a carried document: its error, else the events of `decoder`, else its count of tokens.
fn read(
    body: &[u8],
    decoder: Option<(Box<dyn Decoder>, usize)>,
    events: &mut Vec<ChatEvent>,
) -> Result<(), DecodeError> {
    let said: Fields = parse(body)?;
    if let Some(error) = said.error.as_ref().and_then(failure) {
        return Err(DecodeError::Reported(error));
    }
    if let Some((mut decoder, texts)) = decoder {
        if let Some(vectors) = said.data.or(said.embeddings)
            && vectors.len() != texts
        {
            return Err(wrong_count(vectors.len(), texts));
        }
        let mut read_events = Vec::new();
        let fed = decoder.feed(body, &mut read_events);
        // The client may understand a document that the decoder does not.
        if fed.and_then(|()| decoder.finish(&mut read_events)).is_ok() {
            events.append(&mut read_events);
            return Ok(());
        }
    }
    let (finish, stop_sequence) = (Finish::Stop, None);
    let prompt = said.usage.as_ref().and_then(|usage| usage.get("prompt_tokens")?.as_u64());
    let geminis = said.gemini_usage.as_ref();
    let geminis = geminis.and_then(|usage| usage.get("promptTokenCount")?.as_u64());
    let prompt = prompt.or(said.prompt_eval_count).or(geminis);
    let usage = Usage { prompt, ..Usage::default() };
    events.push(ChatEvent::Done(Completion { finish, stop_sequence, usage }));
    Ok(())
}

/// The fields that are read of such a document; vectors are skipped.
#[derive(serde::Deserialize)]
struct Fields {
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default, rename = "usageMetadata")]
    gemini_usage: Option<Value>,
    #[serde(default)]
    prompt_eval_count: Option<u64>,
    #[serde(default)]
    data: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    embeddings: Option<Vec<IgnoredAny>>,
}
