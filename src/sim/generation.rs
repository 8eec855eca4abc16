//! The endpoints that generate text: `/api/chat`, `/api/generate`, `/v1/chat/completions`.
//!
//! Owns the order of the checks and the pace of the answer. All three take the same path: an
//! [`Ask`], a turn with the engine, a pause until the first token, then one pump. Not even headers
//! are sent before the first token. Refuses what the model cannot do.
//!
//! The slot is free before the last line is sent: a client that reads `done` may rely on that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_rt::time::{sleep, sleep_until};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{Error, HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::{Stream, stream};

use super::answer::{Answer, DoneReason, Piece, plan};
use super::ask::Ask;
use super::catalog::Model;
use super::engine::{Engine, Turn};
use super::field;
use super::openai::Openai;
use super::prompt::prompt;
use super::prompt_cache::Prompt;
use super::refusal::Refusal;
use super::runner_options::RunnerOptions;
use super::scheduler::Want;
use super::told::Times;
use super::wire::{Shape, Writer};

/// `POST /api/chat`.
pub async fn chat(engine: Data<Engine>, body: web::Bytes) -> HttpResponse {
    let ask = field::parse(&body).and_then(|body| Ask::chat(&body));
    respond(engine.into_inner(), ask, Shape::Chat).await
}

/// `POST /api/generate`.
pub async fn generate(engine: Data<Engine>, body: web::Bytes) -> HttpResponse {
    let ask = field::parse(&body).and_then(|body| Ask::generate(&body));
    respond(engine.into_inner(), ask, Shape::Generate).await
}

/// `POST /v1/chat/completions`.
pub async fn completions(engine: Data<Engine>, body: web::Bytes) -> HttpResponse {
    let number = engine.snapshot().requests % 999;
    match field::parse(&body).and_then(|body| Openai::read(&body, number)) {
        Ok((ask, openai)) => respond(engine.into_inner(), Ok(ask), Shape::Openai(openai)).await,
        Err(refusal) => {
            let shape = Shape::Openai(Openai::default());
            respond(engine.into_inner(), Err(refusal), shape).await
        }
    }
}

/// A call's needs, for the scheduler.
pub fn want(
    engine: &Engine,
    model: &Model,
    keep_alive: Option<Duration>,
    mut options: RunnerOptions,
) -> Want {
    // A context that is longer than the model's becomes the model's; one below 4 tokens becomes 4.
    options.num_ctx = options.num_ctx.clamp(4, model.context_length());
    Want {
        model: model.blob.clone(),
        name: model.key.clone(),
        options,
        load: engine.load(&model.key),
        size: model.size,
        slots: if model.is_serial { 1 } else { engine.settings.slots.max(1) as usize },
        keep_alive,
        generates: true,
        prompt: Prompt::default(),
    }
}

/// A refusal as a response.
pub fn refused(refusal: &Refusal, body: Bytes) -> HttpResponse {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(HttpResponse::build(status), body)
}

/// A JSON response with Ollama's content type.
pub fn json(mut response: HttpResponseBuilder, body: Bytes) -> HttpResponse {
    response.content_type("application/json; charset=utf-8").body(body)
}

async fn respond(engine: Arc<Engine>, ask: Result<Ask, Refusal>, shape: Shape) -> HttpResponse {
    let arrived = Instant::now();
    let mut writer = Writer { shape, model: String::new(), counts: engine.settings.counts };
    let answered = match ask {
        Ok(ask) => {
            writer.model.clone_from(&ask.model);
            answer(&engine, &ask, &writer, arrived).await
        }
        Err(refusal) => Err(refusal),
    };
    answered.unwrap_or_else(|refusal| refused(&refusal, writer.refusal(&refusal)))
}

async fn answer(
    engine: &Arc<Engine>,
    ask: &Ask,
    writer: &Writer,
    arrived: Instant,
) -> Result<HttpResponse, Refusal> {
    let model = able(engine, ask, &writer.shape)?;
    let want = want(engine, model, ask.keep_alive, ask.options.clone());
    if ask.messages.is_empty() {
        return silent(engine, want, writer, arrived).await;
    }
    let answer = plan(ask, model, engine.settings.seed);
    let want = Want { prompt: prompt(ask, &answer.pieces), ..want };
    let turn = engine.enter(want).await?;
    let granted = Instant::now();
    sleep(engine.settings.first_token + turn.reading.takes).await;
    let first = Instant::now();
    let pump = Pump {
        engine: Arc::clone(engine),
        writer: writer.clone(),
        answer,
        turn,
        arrived,
        granted,
        first,
    };
    if ask.stream {
        let mut response = HttpResponse::Ok();
        response.content_type(writer.stream_type());
        return Ok(response.streaming(pump.lines()));
    }
    Ok(json(HttpResponse::Ok(), pump.whole().await))
}

/// Answers a request without messages: loads the model, or unloads it.
async fn silent(
    engine: &Arc<Engine>,
    want: Want,
    writer: &Writer,
    arrived: Instant,
) -> Result<HttpResponse, Refusal> {
    let (reason, load) = if want.keep_alive == Some(Duration::ZERO) {
        engine.unload(&want.model);
        (DoneReason::Unload, Duration::ZERO)
    } else {
        let turn = engine.enter(Want { generates: false, ..want }).await?;
        (DoneReason::Load, turn.load)
    };
    let times = Times { total: arrived.elapsed(), load, ..Times::default() };
    Ok(json(HttpResponse::Ok(), writer.whole(&Answer::silent(reason), times)))
}

/// The requested model, if it is installed and capable of the request.
fn able<'a>(engine: &'a Engine, ask: &Ask, shape: &Shape) -> Result<&'a Model, Refusal> {
    let name = &ask.model;
    let verb = match shape {
        Shape::Generate => "generate",
        Shape::Chat | Shape::Openai(_) if name.is_empty() => {
            return Err(Refusal::bad("model is required"));
        }
        Shape::Chat | Shape::Openai(_) => "chat",
    };
    let model = engine.catalog.find(name).ok_or_else(|| Refusal::not_found(name))?;
    let unloads = ask.messages.is_empty() && ask.keep_alive == Some(Duration::ZERO);
    if model.embeds && !unloads {
        return Err(Refusal::bad(format!("{name:?} does not support {verb}")));
    }
    if ask.think == Some(true) && !model.thinks {
        return Err(Refusal::bad(format!("{name:?} does not support thinking")));
    }
    if !ask.tools.is_empty() && !model.tools {
        return Err(Refusal::bad(format!("{name} does not support tools")));
    }
    if ask.fills && !model.inserts {
        return Err(Refusal::bad(format!("{name} does not support insert")));
    }
    Ok(model)
}

/// An answer that is being sent. Dropping it cancels the call.
struct Pump {
    engine: Arc<Engine>,
    writer: Writer,
    answer: Answer,
    turn: Turn,
    arrived: Instant,
    granted: Instant,
    first: Instant,
}

/// The pump's position in the answer.
enum Stage {
    /// Before piece `at`, with `said` tokens before it.
    Piece { pump: Box<Pump>, at: usize, said: u64 },
    /// After the last line.
    Over,
}

impl Pump {
    /// Sends one item per piece when it is due, then the last line.
    fn lines(self) -> impl Stream<Item = Result<Bytes, Error>> {
        let start = Stage::Piece { pump: Box::new(self), at: 0, said: 0 };
        stream::unfold(start, |stage| async {
            let Stage::Piece { pump, at, said } = stage else { return None };
            let Some(piece) = pump.answer.pieces.get(at) else {
                return Some((Ok(pump.end(Writer::last)), Stage::Over));
            };
            pump.wait_for(said, piece).await;
            let line = pump.writer.piece(piece);
            let said = said + piece.tokens();
            Some((Ok(line), Stage::Piece { pump, at: at + 1, said }))
        })
    }

    /// Returns the whole answer when its last token is due.
    async fn whole(self) -> Bytes {
        if let Some(last) = self.answer.pieces.last() {
            self.wait_for(self.answer.tokens() - last.tokens(), last).await;
        }
        self.end(Writer::whole)
    }

    /// Waits until the last token of a piece is due: a tool call is sent once it is complete.
    async fn wait_for(&self, said: u64, piece: &Piece) {
        let before = said + piece.tokens() - 1;
        let due = self.first + self.engine.pace(before);
        if before > 0 && due > Instant::now() {
            sleep_until(due.into()).await;
        }
    }

    fn end(self, write: impl FnOnce(&Writer, &Answer, Times) -> Bytes) -> Bytes {
        let times = Times {
            total: self.arrived.elapsed(),
            load: self.turn.load,
            prompt: self.first - self.granted,
            eval: self.first.elapsed(),
            reading: self.turn.reading,
        };
        self.turn.finish();
        write(&self.writer, &self.answer, times)
    }
}
