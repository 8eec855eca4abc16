//! Names the model in a body of Gemini's API.
//!
//! It owns the places where such a body may name its model beside the path: in a request, in one to
//! be counted, and in each of a batch. It never adds a name.
//!
//! The one thing to know: the path decides. A body that names another model gets the path's name.
//! Google accepts each field in two spellings, `generationConfig` and `generation_config`.

use crate::wire::splice::{Edits, Outline, items, quoted};

/// Writes `model` wherever a body names another one.
pub(super) fn name(outline: &Outline<'_>, edits: &mut Edits<'_, '_>, model: &str) {
    name_here(outline, edits, model);
    for inner in ["generateContentRequest", "generate_content_request"] {
        if let Some(renamed) = outline.get(inner).and_then(|request| renamed(request, model)) {
            edits.set(inner, renamed);
        }
    }
    if let Some(list) = outline.get("requests")
        && let Some(renamed) = each_renamed(list, model)
    {
        edits.set("requests", renamed);
    }
}

/// Whether two names mean the same field.
pub(super) fn alike(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    one == other || plain(one) == plain(other)
}

fn name_here(outline: &Outline<'_>, edits: &mut Edits<'_, '_>, model: &str) {
    fn bare(name: &str) -> &str {
        name.strip_prefix("models/").unwrap_or(name)
    }
    let Some(said) = outline.get("model") else { return };
    let said: Option<String> = serde_json::from_slice(said).ok();
    if said.is_none_or(|said| bare(&said) != bare(model)) {
        let is_tuned = model.starts_with("tunedModels/");
        let whole = if is_tuned { model.to_owned() } else { format!("models/{}", bare(model)) };
        edits.set("model", quoted(&whole));
    }
}

/// A request that names the model; `None` if nothing changes.
fn renamed(request: &[u8], model: &str) -> Option<Vec<u8>> {
    let outline = Outline::read(request)?;
    let mut edits = outline.edit();
    name_here(&outline, &mut edits, model);
    (!edits.is_empty()).then(|| edits.apply())
}

/// A list of requests that name the model; `None` if nothing changes.
fn each_renamed(list: &[u8], model: &str) -> Option<Vec<u8>> {
    let (mut out, mut at) = (Vec::new(), 0);
    for place in items(list)? {
        let Some(renamed) = renamed(list.get(place.clone())?, model) else { continue };
        out.extend_from_slice(list.get(at..place.start)?);
        out.extend_from_slice(&renamed);
        at = place.end;
    }
    if at == 0 {
        return None;
    }
    out.extend_from_slice(list.get(at..)?);
    Some(out)
}
