//! The table of routes, and the endpoints that generate no text: lists, models, embeddings.
//!
//! Owns which methods each path accepts: another method gets 405, an unknown path gets 404 in JSON.
//! There are no endpoints that change the installed models. Bodies may have up to 64 MiB; Ollama
//! sets no bound.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix_web::guard::{Any, Get, Head};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, Route};
use bytes::Bytes;
use serde_json::{Value, json};

use super::catalog::Model;
use super::document::object;
use super::embedding::{self, Embed};
use super::engine::Engine;
use super::field::{self, Fields};
use super::generation::{self, json as respond, refused, want};
use super::refusal::Refusal;
use super::scheduler::Want;
use super::text;
use super::told::Counts;
use super::wire::{error, nanoseconds, timestamp};

/// The version of Ollama whose shapes these are.
const VERSION: &str = "0.33.0";
/// The version from which on remembered tokens are told.
const NEWER: &str = "0.34.0";
/// When every simulated model was installed.
const MODIFIED_AT: &str = "2026-01-01T00:00:00Z";
/// The same moment in seconds since 1970.
const CREATED: u64 = 1_767_225_600;
/// The size of the largest body that is read, in bytes.
const LARGEST_BODY: usize = 64 << 20;

/// Registers all routes.
pub fn routes(app: &mut ServiceConfig) {
    let table: [(&str, Route); 12] = [
        ("/", look().to(root)),
        ("/api/version", look().to(version)),
        ("/api/tags", look().to(tags)),
        ("/api/ps", web::get().to(ps)),
        ("/api/show", web::post().to(show)),
        ("/api/chat", web::post().to(generation::chat)),
        ("/api/generate", web::post().to(generation::generate)),
        ("/api/embed", web::post().to(embed)),
        ("/api/embeddings", web::post().to(embeddings)),
        ("/v1/chat/completions", web::post().to(generation::completions)),
        ("/v1/models", look().to(models)),
        ("/sim", look().to(counters)),
    ];
    for (path, route) in table {
        let otherwise = web::to(HttpResponse::MethodNotAllowed);
        app.service(web::resource(path).route(route).default_service(otherwise));
    }
    app.app_data(web::PayloadConfig::new(LARGEST_BODY)).default_service(web::to(unknown));
}

fn look() -> Route {
    web::route().guard(Any(Get()).or(Head()))
}

async fn unknown() -> HttpResponse {
    let refusal = Refusal { status: 404, text: "not found".to_owned() };
    refused(&refusal, error(&refusal))
}

async fn root() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("Ollama is running")
}

async fn version(engine: Data<Engine>) -> HttpResponse {
    let version = match engine.settings.counts {
        Counts::OlderOllama | Counts::LlamaServer => VERSION,
        Counts::Ollama => NEWER,
    };
    ok(&json!({"version": version}))
}

async fn tags(engine: Data<Engine>) -> HttpResponse {
    let entry = |model: &Model| {
        let name = model.key.short();
        json!({"name": name, "model": name, "modified_at": MODIFIED_AT, "size": model.size,
            "digest": model.digest(), "details": details(model),
            "capabilities": model.capabilities()})
    };
    ok(&json!({"models": engine.catalog.all().iter().map(entry).collect::<Vec<_>>()}))
}

/// Returns the scheduler's counters, which a real Ollama does not report: such as how often models
/// were loaded, and how many calls wait.
async fn counters(engine: Data<Engine>) -> HttpResponse {
    respond(HttpResponse::Ok(), object(&engine.snapshot()))
}

async fn models(engine: Data<Engine>) -> HttpResponse {
    let entry = |model: &Model| {
        json!({"id": model.key.short(), "object": "model", "created": CREATED,
            "owned_by": "library"})
    };
    let entries: Vec<Value> = engine.catalog.all().iter().map(entry).collect();
    ok(&json!({"object": "list", "data": entries}))
}

async fn ps(engine: Data<Engine>) -> HttpResponse {
    let now = SystemTime::now();
    let residents = engine.residents();
    let entries = residents.iter().filter_map(|resident| {
        let name = resident.name.short();
        let model = engine.catalog.find(name)?;
        let expires = now.checked_add(resident.stays).unwrap_or(now);
        Some(json!({"name": name, "model": name, "size": model.size, "digest": model.digest(),
            "details": details(model), "expires_at": timestamp(expires),
            "size_vram": model.size, "context_length": resident.num_ctx}))
    });
    ok(&json!({"models": entries.collect::<Vec<_>>()}))
}

async fn show(engine: Data<Engine>, body: web::Bytes) -> HttpResponse {
    let shown = field::parse(&body).and_then(|body| shown(&engine, &body));
    shown.map_or_else(|refusal| refused(&refusal, error(&refusal)), |shown| ok(&shown))
}

async fn embed(engine: Data<Engine>, body: web::Bytes) -> HttpResponse {
    let engine = engine.into_inner();
    let embedded = match field::parse(&body).and_then(|body| Embed::read(&body)) {
        Ok(embed) => embedded(&engine, &embed).await,
        Err(refusal) => Err(refusal),
    };
    embedded.unwrap_or_else(|refusal| refused(&refusal, error(&refusal)))
}

async fn embeddings(engine: Data<Engine>, body: web::Bytes) -> HttpResponse {
    let engine = engine.into_inner();
    let embedded = match field::parse(&body) {
        Ok(body) => embedded_once(&engine, &body).await,
        Err(refusal) => Err(refusal),
    };
    embedded.unwrap_or_else(|refusal| refused(&refusal, error(&refusal)))
}

fn ok(value: &Value) -> HttpResponse {
    respond(HttpResponse::Ok(), object(value))
}

fn details(model: &Model) -> Value {
    let parameters = format!("{:.1}B", model.billions);
    json!({"parent_model": "", "format": "gguf", "family": model.family,
        "families": [model.family], "parameter_size": parameters, "quantization_level": "Q4_K_M",
        "context_length": model.context_length(), "embedding_length": model.embedding_length})
}

fn shown(engine: &Engine, body: &Value) -> Result<Value, Refusal> {
    let fields = Fields::new("ShowRequest", body)?;
    let name = match fields.string("model")? {
        "" => fields.string("name")?,
        name => name,
    };
    if name.is_empty() {
        return Err(Refusal::bad("model is required"));
    }
    let model = engine.catalog.find(name).ok_or_else(|| Refusal::not_found(name))?;
    let family = &model.family;
    let about = json!({"general.architecture": family,
        format!("{family}.context_length"): model.context_length(),
        format!("{family}.embedding_length"): model.embedding_length});
    Ok(json!({"license": "none: this model is simulated", "parameters": "",
        "modelfile": format!("# simulated\nFROM {}\n", model.key.short()),
        "template": "{{ .Prompt }}", "details": details(model), "model_info": about,
        "capabilities": model.capabilities(), "modified_at": MODIFIED_AT}))
}

async fn embedded(engine: &Arc<Engine>, embed: &Embed) -> Result<HttpResponse, Refusal> {
    let arrived = Instant::now();
    let model = installed(engine, &embed.model)?;
    let want = want(engine, model, embed.keep_alive, embed.options.clone());
    let most = want.options.num_ctx as usize;
    let mut texts = Vec::new();
    for input in &embed.inputs {
        let (words, all) = embedding::words(input, most);
        if !all && !embed.truncate {
            return Err(Refusal::bad("the input length exceeds the context length"));
        }
        texts.push(words);
    }
    let load = run(engine, Want { generates: !texts.is_empty(), ..want }).await?;
    let vector = |words: &Vec<&str>| {
        let raw = embedding::raw(engine.settings.seed, words, model.embedding_length);
        embedding::normalised(raw, embed.dimensions)
    };
    let vectors: Vec<Vec<f32>> = texts.iter().map(vector).collect();
    let mut answer = json!({"model": embed.model, "embeddings": vectors,
        "total_duration": nanoseconds(arrived.elapsed()), "load_duration": nanoseconds(load)});
    let tokens: u64 = embed.inputs.iter().map(|input| text::prompt_tokens(input.len())).sum();
    if let (Some(fields), true) = (answer.as_object_mut(), tokens > 0) {
        fields.insert("prompt_eval_count".to_owned(), json!(tokens));
    }
    Ok(respond(HttpResponse::Ok(), object(&answer)))
}

async fn embedded_once(engine: &Arc<Engine>, body: &Value) -> Result<HttpResponse, Refusal> {
    let fields = Fields::new("EmbeddingRequest", body)?;
    let model = installed(engine, fields.string("model")?)?;
    let keep_alive = super::ask::keep_alive(&fields)?;
    let prompt = fields.string("prompt")?;
    let want = want(engine, model, keep_alive, super::ask::runner_options(&fields)?);
    if prompt.is_empty() {
        run(engine, Want { generates: false, ..want }).await?;
        return Ok(respond(HttpResponse::Ok(), Bytes::from_static(b"{\"embedding\":[]}")));
    }
    let (words, _all) = embedding::words(prompt, want.options.num_ctx as usize);
    run(engine, want).await?;
    let vector = embedding::raw(engine.settings.seed, &words, model.embedding_length);
    Ok(ok(&json!({"embedding": vector})))
}

fn installed<'a>(engine: &'a Engine, name: &str) -> Result<&'a Model, Refusal> {
    if name.is_empty() {
        return Err(Refusal::bad("model is required"));
    }
    let missing =
        || Refusal { status: 404, text: format!("model {name:?} not found, try pulling it first") };
    engine.catalog.find(name).ok_or_else(missing)
}

/// Takes a turn that lasts until the first token; returns how long the call waited for its model.
async fn run(engine: &Arc<Engine>, want: Want) -> Result<Duration, Refusal> {
    let generates = want.generates;
    let turn = engine.enter(want).await?;
    let load = turn.load;
    if generates {
        actix_rt::time::sleep(engine.settings.first_token).await;
    }
    turn.finish();
    Ok(load)
}
