//! The lists of models, in every vendor's form.
//!
//! It owns the lists: nothing here is ever passed on to a provider. A list is built from the
//! providers' latest lists; a request that finds them stale has them refreshed and waits a little.
//!
//! The one thing to know: no request waits longer than [`PATIENCE`], and only one in a while waits
//! for a provider that does not answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::drain::draining;
use super::exchange::Exchange;
use super::request_options::RequestOptions;
use super::{Front, not_get, nowhere, shard};
use crate::chat::{Ask, EdgeReason, ErrorKind, GatewayError, Listing, Offer, Origin};
use crate::dialect::{self, Anthropic, Dialect, Gemini, Ollama, OpenAiChat};
use crate::policy::DataPolicy;
use crate::provider::Provider;
use crate::router::Browse;
use crate::router::model_list::ModelList;
use crate::telemetry::Outcome;
use crate::wire::json;

/// How long a request for a list waits for the providers.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// What begins as every path of lists and liveness does.
pub(super) const PATHS: [&str; 8] = [
    "/v1/models",
    "/models",
    "/v1/models/{id:.*}",
    "/v1beta/models",
    "/v1beta/models/{id:.*}",
    "/api/tags",
    "/api/ps",
    "/api/version",
];

/// The paths of lists and liveness.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    for path in ["/v1/models", "/models"] {
        readable(config, path, web::get().to(models), web::head().to(models));
    }
    readable(config, "/v1/models/{id:.*}", web::get().to(model), web::head().to(model));
    readable(config, "/v1beta/models", web::get().to(googles), web::head().to(googles));
    let one = web::resource("/v1beta/models/{id:.*}")
        .route(web::get().to(google))
        .route(web::head().to(google))
        // A method that models do not have here.
        .route(web::post().to(nowhere));
    config.service(one.default_service(web::to(not_get)));
    readable(config, "/api/tags", web::get().to(installed), web::head().to(installed));
    readable(config, "/api/ps", web::get().to(loaded), web::head().to(loaded));
    readable(config, "/api/version", web::get().to(version), web::head().to(version));
    readable(config, "/", web::get().to(alive), web::head().to(alive));
}

fn readable(
    config: &mut web::ServiceConfig,
    path: &str,
    get: actix_web::Route,
    head: actix_web::Route,
) {
    let resource = web::resource(path).route(get).route(head);
    config.service(resource.default_service(web::to(not_get)));
}

async fn models(request: HttpRequest, front: Data<Front>) -> HttpResponse {
    let is_anthropic = is_anthropic(&request);
    let write = match is_anthropic {
        true => dialect::anthropic_models,
        false => dialect::openai_models,
    };
    let list = |models: &ModelList<'_>| Ok(write(&models.offers(Listing::Installed)));
    answer(listed_by(is_anthropic), Listing::Installed, &request, &front, list).await
}

async fn model(request: HttpRequest, front: Data<Front>) -> HttpResponse {
    let is_anthropic = is_anthropic(&request);
    let write = match is_anthropic {
        true => dialect::anthropic_model,
        false => dialect::openai_model,
    };
    named(listed_by(is_anthropic), &request, &front, write).await
}

async fn googles(request: HttpRequest, front: Data<Front>) -> HttpResponse {
    let list =
        |models: &ModelList<'_>| Ok(dialect::gemini_models(&models.offers(Listing::Installed)));
    answer(&Gemini::Generate, Listing::Installed, &request, &front, list).await
}

async fn google(request: HttpRequest, front: Data<Front>) -> HttpResponse {
    named(&Gemini::Generate, &request, &front, dialect::gemini_model).await
}

/// Answers with what `write` makes of the model that the path names.
async fn named(
    dialect: &'static dyn Dialect,
    request: &HttpRequest,
    front: &Front,
    write: fn(&Offer) -> Value,
) -> HttpResponse {
    let name = unescaped(request.match_info().query("id"));
    let one = |models: &ModelList<'_>| match models.offer(&name) {
        Some(offer) => Ok(write(&offer)),
        None => {
            let shown: String = name.chars().take(128).collect();
            let message = format!("the model `{shown}` does not exist or is not for this key");
            let error = GatewayError::new(ErrorKind::ModelNotFound, message).from(Origin::Client);
            Err(error.turned_away(EdgeReason::ModelNotFound))
        }
    };
    answer(dialect, Listing::Installed, request, front, one).await
}

async fn installed(request: HttpRequest, front: Data<Front>) -> HttpResponse {
    let list = |models: &ModelList<'_>| Ok(dialect::installed(&models.offers(Listing::Installed)));
    answer(&Ollama::Chat, Listing::Installed, &request, &front, list).await
}

async fn loaded(request: HttpRequest, front: Data<Front>) -> HttpResponse {
    let list = |models: &ModelList<'_>| Ok(dialect::loaded(&models.offers(Listing::Loaded)));
    answer(&Ollama::Chat, Listing::Loaded, &request, &front, list).await
}

/// Ollama's version for its clients: no key, nothing counted.
async fn version() -> HttpResponse {
    HttpResponse::Ok().json(json!({"version": dialect::OLLAMA_VERSION}))
}

/// The text that Ollama's clients look for.
async fn alive() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("Ollama is running")
}

/// Answers a request that failed with `error`. A request to describe a model that is listed but
/// that no provider describes gets what is known of it.
pub(super) async fn unanswered(
    mut exchange: Exchange,
    ask: &Ask,
    error: &GatewayError,
    request: &HttpRequest,
    front: &Front,
) -> HttpResponse {
    let (Ask::Show(show), ErrorKind::ModelNotFound) = (ask, error.kind) else {
        return exchange.fail(error);
    };
    let known = |models: &ModelList<'_>| {
        Ok(models.offer(&show.model).map(|offer| dialect::described(&offer)))
    };
    match listed(&mut exchange, Listing::Installed, request, front, known).await {
        Ok(Some(body)) => written(exchange, &body),
        Ok(None) | Err(_) => exchange.fail(error),
    }
}

fn written(mut exchange: Exchange, body: &Value) -> HttpResponse {
    exchange.status = Some(200);
    let mut response = exchange.response(StatusCode::OK);
    exchange.end(Outcome::Ok, None);
    response.content_type("application/json").body(json::to_vec(body))
}

/// Answers with the caller's model list, formatted by `write`.
async fn answer(
    dialect: &'static dyn Dialect,
    listing: Listing,
    request: &HttpRequest,
    front: &Front,
    write: impl Fn(&ModelList<'_>) -> Result<Value, GatewayError>,
) -> HttpResponse {
    let mut exchange = Exchange::begin(dialect, request, front.drain.enter());
    match listed(&mut exchange, listing, request, front, write).await {
        Ok(body) => written(exchange, &body),
        Err(error) => exchange.fail(&error),
    }
}

pub(super) async fn listed<T>(
    exchange: &mut Exchange,
    listing: Listing,
    request: &HttpRequest,
    front: &Front,
    write: impl Fn(&ModelList<'_>) -> Result<T, GatewayError>,
) -> Result<T, GatewayError> {
    if front.drain.has_begun() {
        return Err(draining());
    }
    let caller = front.identify(request)?.caller;
    exchange.caller = Some(Arc::clone(&caller));
    let local = RequestOptions::read(request)?.local;
    let policy = local.then_some(DataPolicy::Local).or(caller.policy);
    let routing = front.routing();
    let is_open = |provider: &&Arc<Provider>| {
        caller.providers.matches(&provider.name)
            && policy.is_none_or(|policy| policy.allows(provider.trust))
    };
    let asked = Instant::now();
    refresh(listing, routing.providers.iter().filter(is_open), front).await;
    exchange.upstream += asked.elapsed();
    write(&ModelList { routing: &routing, caller: &caller, policy })
}

/// Refreshes the lists that are not fresh, and waits a little for them.
async fn refresh(listing: Listing, providers: impl Iterator<Item = &Arc<Provider>>, front: &Front) {
    let now = Instant::now();
    let is_stale = |provider: &&Arc<Provider>| !provider.catalogue.list(listing).is_fresh(now);
    let stale: Vec<Arc<Provider>> = providers.filter(is_stale).cloned().collect();
    if stale.is_empty() {
        return;
    }
    shard::browse(front, Browse { listing, providers: stale.clone() });
    let all_fresh = async {
        for provider in &stale {
            provider.catalogue.list(listing).fresh(now).await;
        }
    };
    // The next request gets the lists that do not arrive in time.
    drop(tokio::time::timeout(PATIENCE, all_fresh).await);
}

fn listed_by(is_anthropic: bool) -> &'static dyn Dialect {
    if is_anthropic { &Anthropic } else { &OpenAiChat }
}

/// Anthropic's clients use the same path as OpenAI's, and always send this header.
fn is_anthropic(request: &HttpRequest) -> bool {
    request.headers().contains_key("anthropic-version")
}

/// A model's name in a path. actix has decoded everything except what could change the path's
/// meaning.
pub(super) fn unescaped(name: &str) -> String {
    name.replace("%2F", "/").replace("%2f", "/").replace("%2B", "+").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_in_paths_may_contain_slashes_escaped_or_not() {
        assert_eq!(unescaped("hf.co%2Forg%2fname:Q4"), "hf.co/org/name:Q4");
        assert_eq!(unescaped("hf.co/org/name:Q4"), "hf.co/org/name:Q4");
        assert_eq!(unescaped("a%252F"), "a%2F");
    }
}
