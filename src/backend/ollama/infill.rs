//! Writes bare prompts, and infills (fill in the middle), which have a `suffix`: `/api/generate`.
//!
//! The one thing to know: Ollama itself refuses a model without the capability `insert`, with 400.
//! An empty prompt would only load the model here, so it is sent as a chat.

use serde::Serialize;

use super::common::{Settings, inline};
use crate::backend::history::infill;
use crate::backend::{Target, UpstreamRequest, bearer};
use crate::chat::{ChatRequest, GatewayError, Part};

/// Whether it is a bare prompt, for which Ollama answers with all that the model writes.
pub(super) fn is_bare(request: &ChatRequest) -> bool {
    let [only] = request.messages.as_slice() else { return false };
    request.is_prompt && !only.joined_text().trim().is_empty()
}

/// Builds the call for a bare prompt, or for the text between the prompt and `suffix`.
pub(super) fn prompt(
    request: &ChatRequest,
    Target { model, api_key, .. }: Target<'_>,
    settings: Settings<'_>,
    dropped: Vec<String>,
) -> Result<UpstreamRequest, GatewayError> {
    let infill = infill(request)?;
    let images = infill.message.content.iter().filter_map(Part::as_image);
    let body = Body {
        model,
        prompt: infill.message.joined_text(),
        suffix: request.suffix.as_deref(),
        system: infill.instructions,
        images: images.map(|image| inline(&image.source)).collect::<Result<_, _>>()?,
        stream: true,
        settings,
    };
    Ok(UpstreamRequest::post("/api/generate", bearer(api_key), &body, dropped))
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    suffix: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<&'a str>,
    stream: bool,
    #[serde(flatten)]
    settings: Settings<'a>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::backend::ollama::Ollama;
    use crate::backend::testing::{decode, done, encode, message, text, user};
    use crate::backend::{Backend, Target};
    use crate::chat::{Ask, ChatEvent, Finish, Role, Usage};

    #[test]
    fn a_bare_prompt_is_sent_as_one_unless_it_is_empty() {
        let mut request = user("Once upon");
        request.is_prompt = true;
        request.sampling.max_tokens = Some(16);
        let path = |request: &crate::chat::ChatRequest| {
            Ollama.encode(&Ask::Chat(request.clone()), Target::new("m", None)).unwrap().path
        };
        assert_eq!(path(&request), "/api/generate");
        let (body, dropped) = encode(&Ollama, &request, "m");
        let expected = json!({"model": "m", "prompt": "Once upon", "stream": true,
            "options": {"num_predict": 16}});
        assert_eq!((body, dropped.len()), (expected, 0));
        assert_eq!(path(&crate::chat::ChatRequest { is_prompt: true, ..user(" ") }), "/api/chat");
        assert_eq!(path(&user("hi")), "/api/chat");
    }

    #[test]
    fn an_infill_is_requested_and_read() {
        let mut request = user("def f(a, b):\n");
        request.suffix = Some("return c".into());
        request.messages.insert(0, message(Role::System, vec![text("python")]));
        request.sampling.max_tokens = Some(16);
        let (body, dropped) = encode(&Ollama, &request, "coder");
        let expected = json!({"model": "coder", "prompt": "def f(a, b):\n", "suffix": "return c",
            "system": "python", "stream": true, "options": {"num_predict": 16}});
        assert_eq!((body, dropped.len()), (expected, 0));
        let call = Ollama.encode(&Ask::Chat(request.clone()), Target::new("coder", None)).unwrap();
        assert_eq!(call.path, "/api/generate");
        let lines = "{\"response\":\" c = a\",\"done\":false}\n\
                     {\"response\":\"\",\"done\":true,\"done_reason\":\"stop\"}\n";
        let (events, ended) = decode(&Ollama, &request, &[lines.as_bytes()]);
        assert_eq!(ended, Ok(()));
        let end = done(Finish::Stop, Usage::default());
        assert_eq!(events, [ChatEvent::Text(" c = a".into()), end]);
    }
}
