//! Stored responses: reads them, lists their input, deletes them.
//!
//! It owns the three paths below `/v1/responses/`. A caller gets its own responses; all others are
//! not found.
//!
//! The one thing to know: storage is bounded by size and age ([`crate::cache::responses`]), so a
//! missing response is normal.

use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::exchange::Exchange;
use super::{Front, refuse, wrong_method};
use crate::chat::GatewayError;
use crate::dialect::{OpenAiResponses, Turn, response_not_found};
use crate::telemetry::Outcome;
use crate::wire::json;

/// What begins as every path of a response does.
pub(super) const PATHS: [&str; 2] = ["/v1/responses/{id}", "/responses/{id}"];

/// The paths.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    for path in PATHS {
        let resource =
            web::resource(path).route(web::get().to(one)).route(web::delete().to(forget));
        config.service(resource.default_service(web::to(not_allowed)));
    }
    for path in ["/v1/responses/{id}/input_items", "/responses/{id}/input_items"] {
        let resource = web::resource(path).route(web::get().to(input));
        config.service(resource.default_service(web::to(super::not_get)));
    }
}

async fn not_allowed(request: HttpRequest, front: Data<Front>) -> HttpResponse {
    wrong_method(&request, &front, "GET, DELETE")
}

async fn one(request: HttpRequest, front: Data<Front>) -> HttpResponse {
    found(&request, &front, |_, turn| Value::Object(turn.response)).await
}

async fn input(request: HttpRequest, front: Data<Front>) -> HttpResponse {
    let list = |id: &str, turn: Turn| {
        let hex = id.trim_start_matches("resp_");
        let mut items = turn.input;
        for (index, item) in items.iter_mut().enumerate() {
            if let Some(item) = item.as_object_mut() {
                item.entry("type").or_insert_with(|| json!("message"));
                item.entry("id").or_insert_with(|| json!(format!("item_{hex}{index}")));
            }
        }
        // The newest first, unless the client says otherwise.
        if !request.query_string().split('&').any(|pair| pair == "order=asc") {
            items.reverse();
        }
        let id = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
        json!({
            "object": "list", "first_id": id(items.first()), "last_id": id(items.last()),
            "has_more": false, "data": items,
        })
    };
    found(&request, &front, list).await
}

async fn found(
    request: &HttpRequest,
    front: &Data<Front>,
    write: impl FnOnce(&str, Turn) -> Value,
) -> HttpResponse {
    let caller = match front.identify(request) {
        Ok(known) => known.caller,
        Err(error) => return refuse(request, front, &error),
    };
    let id = request.match_info().query("id");
    match front.responses.one(&caller.name, id).await {
        Some(turn) => answer(request, front, &write(id, turn)),
        None => refuse(request, front, &missing(id)),
    }
}

async fn forget(request: HttpRequest, front: Data<Front>) -> HttpResponse {
    let caller = match front.identify(&request) {
        Ok(known) => known.caller,
        Err(error) => return refuse(&request, &front, &error),
    };
    let id = request.match_info().query("id");
    if !front.responses.forget(&caller.name, id).await {
        return refuse(&request, &front, &missing(id));
    }
    answer(&request, &front, &json!({"id": id, "object": "response", "deleted": true}))
}

fn missing(id: &str) -> GatewayError {
    response_not_found("the response", id)
}

fn answer(request: &HttpRequest, front: &Front, document: &Value) -> HttpResponse {
    let mut exchange = Exchange::begin(&OpenAiResponses, request, front.drain.enter());
    exchange.status = Some(200);
    let mut response = exchange.response(StatusCode::OK);
    exchange.end(Outcome::Ok, None);
    response.content_type("application/json").body(json::to_vec(document))
}
