//! `:embedContent` and `:batchEmbedContents`: requests and answers.
//!
//! The one thing to know: Google's clients always send a batch, in which each text may have its own
//! settings. Here all texts must have the same settings; other batches are rejected.

use serde_json::json;

use super::camel;
use crate::chat::{Api, EmbedRequest, Extra, Whole};
use crate::dialect::Encoder;
use crate::dialect::single::single;
use crate::wire::fields::{Fields, Object};
use crate::wire::json;

/// The most texts of one request, as for OpenAI's route.
const MOST_TEXTS: usize = 2048;

/// Decodes the request for one embedding.
pub(super) fn one(fields: &mut Fields, body: &mut Object) -> EmbedRequest {
    body.swap_remove("model");
    let text = text(fields, body);
    let dimensions = fields.unsigned(body, "outputDimensionality", 1);
    let mut extra = std::mem::take(body);
    extra.retain(|_, value| !value.is_null());
    let extra = (!extra.is_empty()).then_some(Extra { api: Api::Gemini, fields: extra });
    EmbedRequest { input: vec![text], dimensions, extra, ..EmbedRequest::default() }
}

/// Decodes the request for several.
pub(super) fn many(fields: &mut Fields, body: &mut Object) -> EmbedRequest {
    let list = fields.required_list(body, "requests").unwrap_or_default();
    if list.len() > MOST_TEXTS {
        fields.problem("requests", "too_long", "at most 2048 texts are accepted");
        return EmbedRequest::default();
    }
    let mut batch: Option<EmbedRequest> = None;
    fields.within("requests", |fields| {
        for (index, item) in list.into_iter().enumerate() {
            let Some(item) = fields.item(index, item) else { continue };
            let read = fields.within(index, |fields| one(fields, &mut camel(item)));
            match &mut batch {
                None => batch = Some(read),
                Some(batch) => {
                    if batch.dimensions != read.dimensions || batch.extra != read.extra {
                        let message =
                            "all texts of a batch are read alike, ask for this in another";
                        fields.problem(&index.to_string(), "unsupported", message);
                    }
                    batch.input.extend(read.input);
                }
            }
        }
    });
    batch.unwrap_or_default()
}

/// The text of `content`, its parts joined.
fn text(fields: &mut Fields, body: &mut Object) -> String {
    let mut content = fields.required_object(body, "content").map(camel).unwrap_or_default();
    fields.within("content", |fields| {
        let list = fields.required_list(&mut content, "parts").unwrap_or_default();
        let mut texts = Vec::with_capacity(list.len());
        fields.each("parts", list, |fields, mut item| {
            texts.extend(fields.required_text(&mut item, "text"));
        });
        texts.join("\n")
    })
}

/// Begins to write the embeddings.
pub(super) fn encoder(is_batch: bool) -> Box<dyn Encoder> {
    single(move |result, usage, _| {
        let Whole::Embeddings(vectors) = result else { return None };
        let mut vectors = vectors.into_iter().map(|values| json!({"values": values}));
        let mut body = match is_batch {
            true => json!({"embeddings": vectors.collect::<Vec<_>>()}),
            false => json!({"embedding": vectors.next()?}),
        };
        if let (Some(prompt), Some(fields)) = (usage.prompt, body.as_object_mut()) {
            fields.insert("usageMetadata".to_owned(), json!({"promptTokenCount": prompt}));
        }
        Some(json::to_vec(&body))
    })
}
