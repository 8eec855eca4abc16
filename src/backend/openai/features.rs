//! What a model behind this API can be told, by its name: documents, late instructions, an effort.
//!
//! The one thing to know: what a name does not tell is taken to be a server that knows less, except about documents
//! that a user asks about, where the server's own refusal says it best.

use serde_json::{Value, json};

use super::family::{Family, is_open, reasons};
use crate::backend::Target;
use crate::backend::degrade::{Documents, Features};
use crate::chat::{Api, ChatRequest, Document, DocumentSource, Effort};
use crate::wire::pdf;

/// What these models can be told. Documents that tools answered go to models that may read them: those that are known
/// to run on servers that know none get a note, since a session with one could not go on.
pub(super) fn features(family: Family, model: &str) -> Features {
    let reads = family != Family::Other || !is_open(model);
    Features {
        api: Api::OpenAi,
        user_documents: Documents::Inline,
        tool_documents: if reads { Documents::Inline } else { Documents::None },
        // Where they go is a setting of the provider's.
        late_system: true,
        is_anthropic: false,
    }
}

/// The effort, for models that reason. Others refuse to be told any; not to reason is what they do anyway.
pub(super) fn effort_of(
    request: &ChatRequest,
    target: Target<'_>,
    dropped: &mut Vec<String>,
) -> Option<&'static str> {
    let wanted = request.effort?;
    if reasons(target.model, target.thinks) {
        return Some(effort(wanted));
    }
    if wanted != Effort::None {
        dropped.push("reasoning_effort".to_owned());
    }
    None
}

/// A document in the request; others have been refused or are text by now.
pub(super) fn file(document: &Document) -> Option<Value> {
    let DocumentSource::Inline { media_type, base64 } = &document.source else { return None };
    // The name is required; without an ending of its own OpenAI does not know what the file is.
    let name = document.title.as_deref().unwrap_or("document");
    let ending = if name.contains('.') || media_type != pdf::MEDIA_TYPE { "" } else { ".pdf" };
    let data = format!("data:{media_type};base64,{base64}");
    Some(
        json!({"type": "file", "file": {"filename": format!("{name}{ending}"), "file_data": data}}),
    )
}

fn effort(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Minimal | Effort::Low | Effort::Budget(..=1024) => "low",
        // What OpenAI thinks when told nothing; said aloud, it also wakes models that do not think by default.
        Effort::On | Effort::Medium | Effort::Budget(1025..=8192) => "medium",
        // `xhigh` and `max` are known to few models, `high` to all that know efforts.
        Effort::High | Effort::XHigh | Effort::Max | Effort::Budget(8193..) => "high",
    }
}
