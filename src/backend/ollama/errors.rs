//! Reads Ollama's errors, and those of the runners and servers behind it.

use serde_json::Value;

use crate::backend::overflow::is_prompt_too_long;
use crate::backend::report::Report;
use crate::backend::stream::NO_REASON;
use crate::backend::{Rejection, RejectionClass, blame, class_of_status, shorten};
use crate::policy::Trust;

/// A 404 without Ollama's own JSON does not come from Ollama's API: most often base_url ends in
/// `/v1`.
const WRONG_ADDRESS: &str = "status 404, which is not Ollama's: base_url is the server alone, as in \
                         `http://localhost:11434`, without `/v1` or `/api`";

/// Reads an answer whose status is not 2xx.
pub(super) fn read(status: u16, body: &[u8], model: &str) -> Rejection {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        if status == 404 {
            let class = RejectionClass::Broken;
            return Rejection { class, message: WRONG_ADDRESS.to_owned(), retry_after: None };
        }
        return classify(status, Some(status), &Report::default(), model);
    };
    let report = Report::find(&body).unwrap_or_default();
    // Ollama asks only for models that run elsewhere to sign in, whatever their names.
    let is_told = body.get("signin_url").is_some_and(|url| !url.is_null());
    if status == 401 && (is_told || is_remote(model)) {
        return signed_out(&report.message, model);
    }
    classify(status, Some(status), &report, model)
}

/// Reads an error within an answer that began as a success; `None` if there is none.
pub(super) fn in_band(body: &Value) -> Option<Rejection> {
    // Here `message` holds the model's output: if it has another shape it is damaged, but not an
    // error.
    let is_answer = body.get("message").is_some() && body.get("error").is_none();
    let report = Report::find(body).filter(|_| !is_answer)?;
    let rejection = classify(report.status(), None, &report, "");
    let has_words = !report.message.is_empty();
    let message = if has_words { rejection.message } else { NO_REASON.to_owned() };
    Some(Rejection { message, ..rejection })
}

/// `status` counts if the error itself says nothing; `answer_status` is the status of the answer,
/// if it has one.
fn classify(status: u16, answer_status: Option<u16>, report: &Report, model: &str) -> Rejection {
    let class = match class_of_status(status) {
        _ if is_prompt_too_long(report, answer_status) => RejectionClass::ContextTooLong,
        // Cancelled while loading, perhaps because another client disconnected.
        RejectionClass::BadRequest if status == 499 => RejectionClass::Broken,
        class => blame::refine(class, &report.message.to_ascii_lowercase()),
    };
    let said = shorten(&report.message);
    let is_unknown = class == RejectionClass::UnknownModel && !model.is_empty();
    let message = match (is_unknown, said.is_empty()) {
        (true, true) => {
            format!("model '{model}' not found; install it with `ollama pull {model}`")
        }
        (true, false) => format!("{said}; install it with `ollama pull {model}`"),
        (false, true) => format!("status {status}"),
        (false, false) => said,
    };
    Rejection { class, message, retry_after: None }
}

/// Whether Ollama passes calls for the model on to its makers' servers.
fn is_remote(model: &str) -> bool {
    Trust::Local.of_model(model) == Trust::Cloud
}

/// The gateway is not signed in at ollama.com, which concerns only the models that run there.
fn signed_out(said: &str, model: &str) -> Rejection {
    let said = if said.is_empty() { "unauthorized" } else { said };
    let message = format!(
        "{}: model '{model}' runs at ollama.com; sign in there with `ollama signin`",
        shorten(said)
    );
    Rejection { class: RejectionClass::UnknownModel, message, retry_after: None }
}
