//! The features of a model behind this API, by its name: documents, system messages amid a
//! conversation, effort.
//!
//! The one thing to know: an unknown name is assumed to have fewer features, except for documents
//! that a user asks about: there the server's own refusal is the best message.

use serde_json::{Value, json};

use super::family::{Family, is_open, reasons};
use crate::backend::Target;
use crate::backend::degrade::{Documents, Features};
use crate::chat::{Api, ChatRequest, Document, DocumentSource, Effort};
use crate::wire::pdf;

/// The features of a model. Documents in tool results are sent to models that may read them; models
/// on servers that read none get a note instead, because a refusal would end the session.
pub(super) fn features(family: Family, target: Target<'_>) -> Features {
    let reads = family != Family::Other || !is_open(target.model);
    Features {
        api: Api::OpenAi,
        user_documents: Documents::Inline,
        tool_documents: if reads { Documents::Inline } else { Documents::None },
        // A setting of the provider decides where they are put.
        late_system: true,
        keeps_volatile: target.quirks.keeps_volatile,
    }
}

/// The effort, for models that reason. Other models refuse the field; an effort of none needs no
/// field for them.
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

/// A document within the request; documents of other kinds have been refused or replaced by text
/// before.
pub(super) fn file(document: &Document) -> Option<Value> {
    let DocumentSource::Inline { media_type, base64 } = &document.source else { return None };
    // The name is required, and OpenAI tells the type of a file by its extension.
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
        // OpenAI's own default; a server that does not reason by default needs it written out.
        Effort::On | Effort::Medium | Effort::Budget(1025..=8192) => "medium",
        // Few models know `xhigh` and `max`; every model with efforts knows `high`.
        Effort::High | Effort::XHigh | Effort::Max | Effort::Budget(8193..) => "high",
    }
}
