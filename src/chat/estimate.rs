//! An estimate of a prompt's tokens, for decisions before a tokeniser has counted them.
//!
//! It owns a rule of thumb: four bytes of text are a token, as in Ollama's own estimate, and an
//! image has as many tokens as a large one has at Anthropic.
//!
//! The one thing to know: it is an estimate and must be marked as one wherever it is shown.

use super::{ChatEvent, ChatRequest, DocumentSource, EmbedRequest, Part, Tool, ToolCall};

/// Bytes of text per token.
const BYTES: usize = 4;
/// The tokens of an image: 1568 × 1568 pixels at 750 pixels per token, reduced because most images
/// are smaller.
const PICTURE: u64 = 1600;
/// The tokens of a document's page, and its bytes of base64: Anthropic says 1500 to 3000 tokens,
/// and a page of text and figures has about 50 kB.
const PAGE: u64 = 2000;
const PAGE_BYTES: usize = 64 * 1024;
/// The tokens of a message or a tool beside its text.
const FRAME: u64 = 4;

/// About how many tokens the prompt of `request` has; at least 1.
#[must_use]
pub fn prompt_tokens(request: &ChatRequest) -> u64 {
    let messages = request.messages.iter();
    let messages: u64 = messages.map(|message| FRAME + parts(&message.content)).sum();
    let tools: u64 = request.tools.iter().map(tool).sum();
    (messages + tools).max(1)
}

/// About how many tokens the texts of an embeddings request have.
#[must_use]
pub fn embed_tokens(request: &EmbedRequest) -> u64 {
    request.input.iter().map(|input| text(input)).sum()
}

/// How many bytes of text an event adds to an answer, reasoning and tool calls included.
#[must_use]
pub fn answer_bytes(event: &ChatEvent) -> usize {
    match event {
        ChatEvent::Text(said) | ChatEvent::Reasoning(said) => said.len(),
        ChatEvent::ToolCall(piece) => {
            piece.arguments.len() + piece.name.as_ref().map_or(0, String::len)
        }
        ChatEvent::Signature(_)
        | ChatEvent::Logprobs(_)
        | ChatEvent::Whole(_)
        | ChatEvent::Carried(_)
        | ChatEvent::Done(_) => 0,
    }
}

/// About how many tokens this many bytes of text are.
#[must_use]
pub fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(BYTES)).unwrap_or(u64::MAX)
}

/// About how many pages a document has.
fn pages(base64: &str) -> u64 {
    u64::try_from(base64.len().div_ceil(PAGE_BYTES)).unwrap_or(u64::MAX / PAGE)
}

fn parts(parts: &[Part]) -> u64 {
    let part = |part: &Part| match part {
        Part::Text(said) => text(said),
        Part::Image(_) => PICTURE,
        Part::Reasoning { text: thought, signature: _ } => text(thought),
        Part::ToolCall(ToolCall { name, arguments, id: _ }) => text(name) + text(arguments),
        Part::ToolResult(result) => FRAME + self::parts(&result.content),
        Part::CacheMark(_) => 0,
        Part::Document(document) => match &document.source {
            DocumentSource::Text(said) => text(said),
            DocumentSource::Inline { base64, .. } => pages(base64) * PAGE,
            DocumentSource::Url(_) | DocumentSource::Upload(_) => PAGE,
        },
        Part::Foreign(foreign) => foreign.text.as_deref().map_or(0, text),
    };
    parts.iter().map(part).sum()
}

fn tool(tool: &Tool) -> u64 {
    let schema = tool.parameters.as_ref().map(ToString::to_string).unwrap_or_default();
    FRAME + text(&tool.name) + text(tool.description.as_deref().unwrap_or_default()) + text(&schema)
}

fn text(text: &str) -> u64 {
    tokens(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Message, Role};

    #[test]
    fn text_tools_and_images_all_count() {
        let mut request = ChatRequest::default();
        assert_eq!(prompt_tokens(&request), 1);
        request.messages = vec![Message::text(Role::User, "x".repeat(400))];
        assert_eq!(prompt_tokens(&request), 104);
        let parameters = Some(serde_json::json!({"type": "object"}));
        let tool = Tool { name: "look".into(), parameters, ..Tool::default() };
        request.tools = vec![tool];
        assert_eq!(prompt_tokens(&request), 104 + 4 + 1 + 5);
        let source = crate::chat::ImageSource::Url("http://x/y".into());
        let image = crate::chat::Image { source, detail: None };
        request.messages.push(Message {
            role: Role::User,
            content: vec![Part::Image(image)],
            name: None,
        });
        assert_eq!(prompt_tokens(&request), 104 + 10 + 1604);
    }
}
