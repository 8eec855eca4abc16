//! A gateway between HTTP clients with bursty load and a few slow, expensive model servers.
//!
//! Each provider has an admission gate that never admits more calls than the operator allows, a
//! bounded line behind it, and clear answers for requests that have to wait or are refused.
//! Everything else (APIs, retries, fallback) builds on that. This page is the map; `README.md` is
//! for operators, `docs/concepts.md` for the numbers, `docs/decisions.md` for the reasons.
//!
//! # The shape
//!
//! ```text
//!  a worker thread, one of several                                     shared by all workers
//!  ┌────────────────────────────────────────────────────────────┐
//!  │ http ──Submit──► RouterActor ──Dispatch──► ProviderActor ──┼────► gate of the provider:
//!  │  ▲                    ▲                     │    │         │      slots, line, breaker,
//!  │  │                    └───────Bounce────────┘    │ spawns  │      cooldown, retry budget
//!  │  └─── Reply, then events ◄─────────────────── attempt ─────┼────► the provider, over HTTP
//!  └────────────────────────────────────────────────────────────┘
//! ```
//!
//! Each worker has its own actors, so that a request, its upstream connection and its answer stay
//! on one thread. State that must hold for the whole process is in the provider's gate, a state
//! machine behind one short lock.
//!
//! - Actors decide, tasks carry: a handler never awaits and never touches the bytes of a body.
//! - The mailbox is the door, not the line: work is handed over by `try_send`, a full mailbox is a
//!   503 at once, and a request that has to wait waits in the gate, in fair order, with a deadline,
//!   and leaves it when its client disconnects.
//! - The [`job::Job`] carries its return address. Its holder owes the answer; dropping it answers
//!   `internal`.
//! - Dropping is cancelling: when a client disconnects, its response is dropped, with it the event
//!   channel, and with that the attempt, its connection and its slot.
//! - N + M, not N × M: dialects (what clients speak) and backends (what providers speak) know
//!   [`chat`] but not each other. Both are pure.
//! - A request goes one of three ways, decided in [`provider::way`]: carried as it came where the
//!   provider speaks the client's API, passed on untouched at the paths that the operator lists,
//!   else translated. Pump, gate and outcome are the same.
//! - The status line is held until the first event is in hand. Until then a request can be retried,
//!   or handed to another provider. Afterwards another provider continues where the answer broke
//!   off, if it repeats what was delivered, or the stream ends with an error event and a broken
//!   connection, never cleanly. Only a streamed request that waits longer than
//!   `server.heartbeat_after` gets its headers before that.
//!
//! # The path of a request
//!
//! 1. [`http`] selects the dialect by the path and begins an exchange, which counts the outcome
//!    once, however it ends. A key becomes a [`job::Caller`]; headers may set a deadline and the
//!    data policy.
//! 2. It reads the body within bounds of size, time and memory, and [`dialect::Dialect::decode`]
//!    turns it into a [`chat::ChatRequest`]. From here on no module knows the dialect.
//! 3. A request whose answer may be shared [`cache::Cache::claim`]s it: a cached answer, an
//!    identical call in flight, or the lead of a call that others may join.
//! 4. [`router::Submit`] goes to this thread's [`router::RouterActor`]. [`router::route`] turns the
//!    requested name into candidates in order; data policy and the caller's scope are filters in
//!    the one place where a provider becomes a candidate.
//! 5. [`provider::Dispatch`] goes to the first candidate's [`provider::ProviderActor`], which asks
//!    the gate. *Run* spawns an attempt; *wait* spawns a task that waits for the slot, the deadline
//!    or the client's disconnect; *refuse* sends a [`provider::Bounce`] back to the router, which
//!    tries the next candidate or answers. One [`provider::HealthActor`] for all workers tells the
//!    gates which providers are alive, and one [`provider::LoadsActor`] which models they have
//!    loaded; it carries out the loads that the gates order.
//! 6. The attempt checks the data policy again, has [`backend::Backend::encode`] write the call,
//!    sends it, and feeds the answer to the [`backend::Decoder`]. The first event answers the
//!    [`job::Reply`]; the rest goes through a channel of [`job::EVENTS`] events.
//!    [`provider::retry`] decides what follows a failure: a retry after a pause without a slot,
//!    another provider, or the end. After the first event the attempt still holds the job: it can
//!    go to another provider if its route allows that, and [`job::Continuation`] joins the two
//!    answers.
//! 7. [`http`] writes events with the dialect's [`dialect::Encoder`]: a streamed body with
//!    heartbeats, or a whole one at the end. [`telemetry::RequestEnded`] is the access line and the
//!    counter, and the last entry about the request in [`telemetry::journal`], from which `GET
//!    /admin/events` informs the console.
//!
//! # Where things are
//!
//! A module uses only modules on lower floors. `tests/floors.rs` checks that, and also purity,
//! cycles between files and the size of files:
//!
//! ```text
//! 7  main
//! 6  app        config
//! 5  http       admin     sim   plan
//! 4  router
//! 3  provider
//! 2  admission  cache     limit
//! 1  dialect    backend   wire  job   redis   telemetry  listener
//! 0  chat       policy    units secret
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`chat`] | the canonical request, event and error; pure |
//! | [`policy`], [`units`], [`secret`] | words for priority and trust; durations and sizes; text that is never printed |
//! | [`dialect`] | what clients speak, in the table [`dialect::DIALECTS`]; pure |
//! | [`backend`] | what providers speak, listed in [`provider::settings::BackendName`]; pure |
//! | [`wire`] | framings and JSON shapes that both sides share; pure |
//! | [`job`] | a request, its return address, the stream of its answer |
//! | [`redis`] | the link to the Redis that replicas share, if there is one |
//! | [`listener`] | how the admin listener and the simulator end connections |
//! | [`telemetry`] | internal events: each is a struct whose `emit` writes the log line and moves the metric |
//! | [`cache`] | reused answers: cached ones, and calls in flight that several requests share |
//! | [`admission`] | the gate of a provider: slots, the waiting line, loaded models, breaker, cooldown, retry budget; pure but for its slots and leases |
//! | [`provider`] | a configured provider: the actor that decides, the attempt, its client, discovery, health checks, loads |
//! | [`limit`] | the limits of each key: requests, tokens, requests under way |
//! | [`router`] | the actor that hands jobs to providers; the routing rules, pure |
//! | [`http`] | the main listener: keys, bounds, the chat handler, bodies, draining |
//! | [`admin`] | the admin listener: metrics, snapshots, knobs, and the console, whose page is in `admin/console/` |
//! | [`sim`] | the simulated Ollama behind `demo` and `sim` |
//! | [`plan`] | capacity planning: arrivals against the gate in simulated time, and several models on one server |
//! | [`config`] | reads and checks the file and the environment; composes the sections that the modules define |
//! | [`app`] | starts and stops everything in order; reloads |
//!
//! Settings live beside what they tune, in files named `settings.rs`. `tests/gateway` runs the real
//! binary against a scripted upstream, `tests/clients` drives it with the official clients,
//! `tests/browser` drives the console with Chromium, and `tests/golden.rs` decodes recorded answers
//! of providers from `tests/fixtures`.
//!
//! # To add something
//!
//! | to add | touch |
//! | --- | --- |
//! | a dialect | `src/dialect/NAME.rs` and its line in [`dialect::DIALECTS`]; it names its own paths |
//! | a backend | `src/backend/NAME.rs` and [`provider::settings::BackendName`], where the compiler lists the rest; a folder of fixtures, which `tests/golden.rs` finds |
//! | a configuration key | the settings struct and `config/gateway.toml`; a test fails until both agree |
//! | a check of the configuration | `src/config/check/`, and a case in `src/config/tests/bad.txt` |
//! | something on the console | `src/admin/feed.rs` or [`telemetry::journal`], and its module in `src/admin/console/`; a case in `tests/browser` |
//! | an internal event | a struct in `src/telemetry/events.rs`, and one `emit` where the event happens |
//! | a metric | its field in `src/telemetry/metrics.rs`, updated by an event |
//! | a kind of error | [`chat::ErrorKind`]; the compiler lists the rest, except where a dialect has a default |
//! | a reason to refuse | [`chat::RefusalReason`], its words in `src/provider/refusal_error.rs`, its row in `docs/errors.md` |
//! | a failure that may be retried | [`provider::retry::Failure`]; the compiler lists the rest |

// In reading order: first what is said, then the way of a request, then what holds it together.

pub mod chat;

pub mod policy;

pub mod dialect;

pub mod backend;

pub mod wire;

pub mod job;

pub mod http;

pub mod router;

pub mod admission;

pub mod provider;

pub mod limit;

pub mod redis;

pub mod cache;

pub mod telemetry;

pub mod admin;

pub mod listener;

pub mod sim;

pub mod plan;

pub mod config;

pub mod app;

pub mod secret;

pub mod units;
