//! Who watches a carried answer: the decoder of its API, which may not understand everything.
//!
//! It owns the choice, and the watchers of what is one document. It refuses nothing that is JSON: a field or an event
//! that does not exist yet is somebody's news, and the client has it already.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::failure::failure;
use super::responses::Responses;
use crate::backend::stream::EventDecoder;
use crate::backend::{Anthropic, Backend, DecodeError, Decoder, MAX_PIECE, Ollama, OpenAi, whole};
use crate::chat::{Ask, Carry, ChatEvent, ChatRequest, Completion, Endpoint, Finish, Usage};

/// Who watches the answer to a request at this endpoint.
pub(super) fn over(carry: &Carry, ask: &Ask, seed: u64) -> Box<dyn Decoder> {
    let nothing = ChatRequest::default();
    let request = ask.chat().unwrap_or(&nothing);
    match carry.endpoint {
        Endpoint::OpenAiChat | Endpoint::OpenAiCompletions => OpenAi::watch(request, seed),
        Endpoint::OpenAiResponses => Box::new(EventDecoder::lenient(Responses::default())),
        Endpoint::AnthropicMessages => Anthropic::watch(request, seed),
        Endpoint::OllamaChat | Endpoint::OllamaGenerate => Ollama::watch(request, seed),
        Endpoint::AnthropicCount => {
            Box::new(Document { body: Vec::new(), texts: None, read: None })
        }
        Endpoint::OpenAiEmbeddings | Endpoint::OllamaEmbed => {
            let texts = match ask {
                Ask::Embed(embed) if carry.refusal.is_none() => Some(embed.input.len()),
                Ask::Embed(_) | Ask::Chat(_) | Ask::Show(_) | Ask::CountTokens(_) => None,
            };
            let read = match carry.endpoint {
                Endpoint::OllamaEmbed => Ollama.decoder(ask, seed),
                _ => OpenAi.decoder(ask, seed),
            };
            let read = texts.map(|_| read);
            Box::new(Document { body: Vec::new(), texts, read })
        }
    }
}

/// Watches an answer that is one document.
struct Document {
    body: Vec<u8>,
    /// For how many texts vectors are wanted.
    texts: Option<usize>,
    /// Who reads the vectors, for those who read them in another form.
    read: Option<Box<dyn Decoder>>,
}

impl Decoder for Document {
    fn feed(&mut self, bytes: &[u8], _events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        if self.body.len().saturating_add(bytes.len()) > MAX_PIECE {
            return Err(DecodeError::TooLarge);
        }
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        let said: Said = whole::parse(&self.body)?;
        if let Some(error) = said.error.as_ref().and_then(failure) {
            return Err(DecodeError::Reported(error));
        }
        if let (Some(texts), Some(vectors)) = (self.texts, said.data.or(said.embeddings))
            && vectors.len() != texts
        {
            let came = vectors.len();
            return Err(DecodeError::Malformed(format!("{came} vectors for {texts} texts")));
        }
        if let Some(read) = &mut self.read {
            let mut read_all = || {
                let mut read_events = Vec::new();
                read.feed(&self.body, &mut read_events)?;
                read.finish(&mut read_events).map(|()| read_events)
            };
            // What it does not understand the client may.
            if let Ok(read) = read_all() {
                events.extend(read);
                return Ok(());
            }
        }
        let (finish, stop_sequence) = (Finish::Stop, None);
        let prompt = said.usage.as_ref().and_then(|usage| usage.get("prompt_tokens")?.as_u64());
        let prompt = prompt.or(said.prompt_eval_count);
        let usage = Usage { prompt, ..Usage::default() };
        events.push(ChatEvent::Done(Completion { finish, stop_sequence, usage }));
        Ok(())
    }
}

/// What is looked at in such a document; vectors are passed over.
#[derive(serde::Deserialize)]
struct Said {
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    prompt_eval_count: Option<u64>,
    #[serde(default)]
    data: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    embeddings: Option<Vec<IgnoredAny>>,
}
