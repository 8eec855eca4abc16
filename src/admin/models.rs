//! A provider's models, loaded and unloaded by the operator.
//!
//! The one thing to know: names of models contain `/` and `:`, so that all between `models/` and
//! the last word of the path is the name.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path};
use serde_json::{Value, json};

use super::Admin;
use super::knobs::unknown;
use super::operator::Operator;
use crate::chat::GatewayError;
use crate::policy::Priority;
use crate::provider::Provider;
use crate::telemetry::journal::{JOURNAL, NoteKind};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/admin/providers/{name}/models/{model:.+}/load", web::post().to(load))
        .route("/admin/providers/{name}/models/{model:.+}/unload", web::post().to(unload));
}

async fn load(
    admin: Data<Admin>,
    operator: Operator,
    path: Path<(String, String)>,
) -> HttpResponse {
    let (name, model) = path.into_inner();
    let provider = match scheduling(&admin, &name) {
        Ok(provider) => provider,
        Err(answer) => return *answer,
    };
    match provider.load_model(&model, Priority::Interactive).await {
        Ok(took) => {
            JOURNAL.noted(NoteKind::Load, Some(&provider.name), &model);
            operator.did(&format!("provider `{name}`: {model:?} was loaded"));
            let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            done(&name, &model, &json!({"status": "loaded", "took_ms": took}))
        }
        Err(error) => failed(&error),
    }
}

async fn unload(
    admin: Data<Admin>,
    operator: Operator,
    path: Path<(String, String)>,
) -> HttpResponse {
    let (name, model) = path.into_inner();
    let provider = match scheduling(&admin, &name) {
        Ok(provider) => provider,
        Err(answer) => return *answer,
    };
    match provider.unload_model(&model).await {
        Ok(()) => {
            JOURNAL.noted(NoteKind::Unload, Some(&provider.name), &model);
            operator.did(&format!("provider `{name}`: {model:?} is unloaded once it is idle"));
            done(&name, &model, &json!({"status": "unloaded"}))
        }
        Err(error) => failed(&error),
    }
}

/// The provider of this name, if it loads its models as the gateway orders.
fn scheduling(admin: &Admin, name: &str) -> Result<Arc<Provider>, Box<HttpResponse>> {
    let Some(provider) = admin.front.routing().provider(name).cloned() else {
        return Err(Box::new(unknown(name)));
    };
    if !provider.schedules_loads() {
        let detail = format!(
            "the loads of provider `{name}` are its own: only with scheduling = \"warm\" the \
             gateway orders them"
        );
        let refusal = HttpResponse::Conflict().json(json!({ "detail": detail }));
        return Err(Box::new(refusal));
    }
    Ok(provider)
}

fn done(provider: &str, model: &str, said: &Value) -> HttpResponse {
    let mut answer = json!({"provider": provider, "model": model});
    if let (Some(answer), Some(said)) = (answer.as_object_mut(), said.as_object()) {
        answer.extend(said.clone());
    }
    HttpResponse::Ok().json(answer)
}

fn failed(error: &GatewayError) -> HttpResponse {
    let status = StatusCode::from_u16(error.kind.status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    HttpResponse::build(status).json(json!({"detail": error.message, "code": error.kind.code()}))
}
