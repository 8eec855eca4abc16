//! Reading Ollama's errors, and those of the runners and servers behind it.

use serde_json::Value;

use crate::backend::overflow::is_prompt_too_long;
use crate::backend::report::Report;
use crate::backend::stream::NO_REASON;
use crate::backend::{Rejection, RejectionClass, blame, class_of_status, shorten};
use crate::policy::Trust;

/// What answers 404 without Ollama's own JSON is not Ollama's API: most often its address with `/v1` behind it.
const ELSEWHERE: &str = "status 404, which is not Ollama's: base_url is the server alone, as in \
                         `http://localhost:11434`, without `/v1` or `/api`";

/// Reads an answer whose status is not 2xx.
pub(super) fn read(status: u16, body: &[u8], model: &str) -> Rejection {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        if status == 404 {
            let class = RejectionClass::Broken;
            return Rejection { class, message: ELSEWHERE.to_owned(), retry_after: None };
        }
        return classed(status, Some(status), &Report::default(), model);
    };
    let report = Report::find(&body).unwrap_or_default();
    // Whoever is asked to sign in asked for a model that runs elsewhere, whatever it is called here.
    let is_told = body.get("signin_url").is_some_and(|url| !url.is_null());
    if status == 401 && (is_told || is_remote(model)) {
        return signed_out(&report.message, model);
    }
    classed(status, Some(status), &report, model)
}

/// Reads an error within an answer that began as a success; `None` when it is none.
pub(super) fn in_band(body: &Value) -> Option<Rejection> {
    // Here `message` is what the model says: one of another shape is damaged, and no error's words.
    let is_answer = body.get("message").is_some() && body.get("error").is_none();
    let report = Report::find(body).filter(|_| !is_answer)?;
    let rejection = classed(report.status(), None, &report, "");
    let has_words = !report.message.is_empty();
    let message = if has_words { rejection.message } else { NO_REASON.to_owned() };
    Some(Rejection { message, ..rejection })
}

/// `status` is what counts where the error itself says nothing, `told` that of the answer.
fn classed(status: u16, told: Option<u16>, report: &Report, model: &str) -> Rejection {
    let class = match class_of_status(status) {
        _ if is_prompt_too_long(report, told) => RejectionClass::ContextTooLong,
        // Cancelled while loading; somebody else's leaving may have caused it.
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

/// Whether Ollama hands the model on to its makers' machines.
fn is_remote(model: &str) -> bool {
    Trust::Local.of_model(model) == Trust::Cloud
}

/// The account elsewhere is missing: that concerns the models that run there, and no other.
fn signed_out(said: &str, model: &str) -> Rejection {
    let said = if said.is_empty() { "unauthorized" } else { said };
    let message = format!(
        "{}: model '{model}' runs at ollama.com; sign in there with `ollama signin`",
        shorten(said)
    );
    Rejection { class: RejectionClass::UnknownModel, message, retry_after: None }
}
