//! The paths that change a provider's models: passed on for keys that may manage models, refused
//! for all others.
//!
//! It owns the methods and paths, and the words of the refusal, which says whether the model is
//! available and who could install it. Requests that are passed on are handled by `raw.rs`, without
//! a slot; a file for a model is passed on while it arrives, since it may be larger than the
//! memory.
//!
//! The one thing to know: the router decides which models a key may manage, and where, as it does
//! for chats.

use std::convert::Infallible;
use std::sync::Arc;

use actix_web::http::header::{CONTENT_ENCODING, HeaderValue};
use actix_web::web::{self, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use serde::Deserialize;

use super::body_reader::{self, Bounds, Buffered};
use super::exchange::Exchange;
use super::models::{PATIENCE, listed};
use super::raw::{Feed, answer_with, enter, headers};
use super::submit::Order;
use super::{Front, carry, shard, wrong_method};
use crate::chat::{
    Ask, CleanPath, EdgeReason, ErrorKind, GatewayError, Lane, Listing, Method, ModelAt, Origin,
    RawRequest,
};
use crate::dialect::raw;
use crate::job::Upload;
use crate::router::model_list::ModelList;

/// How much of a refused request is read to find its model's name.
const REFUSED_BODY: u64 = 16 * 1024;
/// The name in metrics and logs.
const LABEL: &str = "manage";
/// Where files for models are.
const BLOBS: &str = "/api/blobs/";

/// The paths that would change a provider's models.
pub(super) const PATHS: [&str; 9] = [
    "/api/pull",
    "/api/push",
    "/api/create",
    "/api/copy",
    "/api/delete",
    "/api/blobs/{digest:.*}",
    "/api/me",
    "/api/signout",
    "/api/experimental/{rest:.*}",
];

/// The paths of management.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    for path in PATHS {
        config.service(web::resource(path).default_service(web::to(manage)));
    }
}

/// Passes a request of a key that may manage models on, and refuses all others: `ollama run` also
/// sends one when it finds no model of the name.
async fn manage(
    request: HttpRequest,
    payload: Payload,
    front: Data<Front>,
) -> Result<HttpResponse, Infallible> {
    let may_manage = |front: &Front| {
        let known = front.callers.load().known(&request);
        known.is_some_and(|known| known.caller.manages_models)
    };
    let allowed = allowed(request.path());
    Ok(match allowed.filter(|_| may_manage(&front)) {
        None => refuse(request, payload, front).await,
        Some((path, methods)) => {
            let asked = request.method().as_str();
            match Method::of(asked).filter(|_| methods.split(", ").any(|method| method == asked)) {
                Some(method) => pass_on((method, path), request, payload, front).await,
                None => wrong_method(&request, &front, methods),
            }
        }
    })
}

/// The path, if it is one that is passed on, and its methods.
fn allowed(path: &str) -> Option<(CleanPath, &'static str)> {
    let methods = match path {
        "/api/pull" | "/api/push" | "/api/create" | "/api/copy" => "POST",
        "/api/delete" => "DELETE",
        path if path.strip_prefix(BLOBS).is_some_and(|digest| !digest.contains('/')) => {
            "HEAD, POST"
        }
        _ => return None,
    };
    Some((CleanPath::read(path)?, methods))
}

async fn pass_on(
    (method, path): (Method, CleanPath),
    request: HttpRequest,
    mut payload: Payload,
    front: Data<Front>,
) -> HttpResponse {
    let mut exchange = Exchange::labelled(LABEL, &request, front.drain.enter());
    let (caller, options) = match enter(&mut exchange, &request, &front).await {
        Ok(entered) => entered,
        Err(error) => return exchange.fail(&error),
    };
    let mut buffered = Buffered::new(&front.budget);
    let is_file = path.as_str().starts_with(BLOBS);
    let read = match is_file {
        true => file(&request, (method, path)),
        false => named(&request, &mut payload, (method, path), &front, &mut buffered).await,
    };
    let ask = match read {
        Ok(raw) => Arc::new(Ask::Raw(raw)),
        Err(error) => return exchange.fail(&error),
    };
    let (feed, upload) = if is_file && method == Method::Post {
        let (sender, upload) = Upload::new();
        let pause = front.settings.load().body_timeout;
        (Some(Feed { payload, sender, pause }), Some(upload))
    } else {
        (None, None)
    };
    exchange.buffered = Some(buffered);
    let carry = None;
    let order = Order { ask: Arc::clone(&ask), carry, upload, caller, options, is_local: false };
    let (job, answer) = order.into_job(&mut exchange);
    shard::enter(job, &front);
    answer_with(exchange, ask, answer, feed, &front).await
}

/// Reads a request that names the model it is about.
async fn named(
    request: &HttpRequest,
    payload: &mut Payload,
    at: (Method, CleanPath),
    front: &Front,
    buffered: &mut Buffered,
) -> Result<RawRequest, GatewayError> {
    let settings = front.settings.load();
    let bounds = Bounds { size: settings.max_body, time: settings.body_timeout };
    let body = body_reader::read(request.headers(), payload, bounds, buffered).await?.freeze();
    let (model, models) = raw::managed(&body)?;
    if model.is_none() {
        return Err(GatewayError::invalid("model: name the model"));
    }
    raw_request(request, at, body, model, models)
}

/// Reads a request about a file for a model, whose body is passed on as it is.
fn file(request: &HttpRequest, at: (Method, CleanPath)) -> Result<RawRequest, GatewayError> {
    if request.headers().contains_key(CONTENT_ENCODING) {
        let message = "a file for a model is sent without a content coding";
        let error = GatewayError::new(ErrorKind::UnsupportedMediaType, message);
        return Err(error.from(Origin::Client));
    }
    raw_request(request, at, Bytes::new(), None, Vec::new())
}

fn raw_request(
    request: &HttpRequest,
    (method, path): (Method, CleanPath),
    body: Bytes,
    model: Option<String>,
    models: Vec<String>,
) -> Result<RawRequest, GatewayError> {
    let provider = request.headers().get("x-gateway-provider").map(HeaderValue::to_str);
    let provider = provider
        .transpose()
        .or(Err(GatewayError::invalid("x-gateway-provider: write a provider's configured name")))?;
    Ok(RawRequest {
        lane: Lane::Management { provider: provider.map(str::to_owned), models },
        method,
        path,
        query: carry::without_credentials(request.query_string()),
        model,
        model_at: ModelAt::Nowhere,
        headers: headers(request.headers())?,
        boundary: None,
        body,
    })
}

/// Refuses a request that would change a provider's models. The body is read for the model's name
/// alone.
async fn refuse(request: HttpRequest, payload: Payload, front: Data<Front>) -> HttpResponse {
    let mut exchange = Exchange::stray(&request, front.drain.enter());
    let error = match front.identify(&request) {
        Err(error) => error,
        Ok(_) => {
            let name = refused_model(&request, payload, &front).await;
            let has_manager = front.callers.load().has_manager();
            let refusal =
                |models: &ModelList<'_>| Ok(not_managed(name.as_deref(), has_manager, models));
            let listing = Listing::Installed;
            listed(&mut exchange, listing, &request, &front, refusal)
                .await
                .unwrap_or_else(|error| error)
        }
    };
    exchange.fail(&error)
}

/// The model of a refused request, if its body is small and names one.
async fn refused_model(
    request: &HttpRequest,
    mut payload: Payload,
    front: &Front,
) -> Option<String> {
    /// Ollama's own client also sends an empty `name`.
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Named {
        model: String,
        name: String,
        source: String,
    }
    let bounds = Bounds { size: REFUSED_BODY, time: PATIENCE };
    let mut buffered = Buffered::new(&front.budget);
    let body =
        body_reader::read(request.headers(), &mut payload, bounds, &mut buffered).await.ok()?;
    let Named { model, name, source } = serde_json::from_slice(&body).ok()?;
    let name = [model, name, source].into_iter().find(|name| !name.is_empty())?;
    Some(name.chars().take(128).collect())
}

fn not_managed(name: Option<&str>, has_manager: bool, models: &ModelList<'_>) -> GatewayError {
    let refused = match has_manager {
        true => "models are not managed through this gateway with this key",
        false => "models are not managed through this gateway",
    };
    let or_manager = if has_manager { ", or whoever has a key with manage_models" } else { "" };
    let message = match name {
        Some(name) if models.offer(name).is_none() => {
            let ollamas: Vec<String> = models.ollamas().map(|name| format!("`{name}`")).collect();
            let who = match ollamas.as_slice() {
                [] => "whoever runs its providers can add it".to_owned(),
                ollamas => format!(
                    "whoever runs {}{or_manager} can install it there with `ollama pull {name}`",
                    ollamas.join(" or ")
                ),
            };
            format!("no provider here has the model `{name}`, and {refused}: {who}")
        }
        Some(name) => {
            format!("{refused}, ask whoever runs the provider of `{name}`{or_manager}")
        }
        None => format!("{refused}, ask whoever runs the provider{or_manager}"),
    };
    GatewayError::new(ErrorKind::NotAllowed, message)
        .from(Origin::Client)
        .turned_away(EdgeReason::NotAllowed)
}
