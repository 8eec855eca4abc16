//! A gateway between HTTP clients with bursty load and a few slow, expensive model servers.
//!
//! Each provider has an admission gate that never lets more calls through than the operator allows, a bounded line
//! behind it, and honest answers for everybody who has to wait or go away. Everything else (APIs, retries, fallback)
//! hangs on that. This page is the map; `README.md` is for those who run it, `docs/concepts.md` for the numbers,
//! `docs/decisions.md` for the reasons.
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
//! Each worker has actors of its own, so that a request, its upstream connection and its answer stay on one thread.
//! What must hold for the whole process is in the provider's gate, a state machine behind one short lock.
//!
//! - Actors decide, tasks carry: a handler never awaits and never touches the bytes of a body.
//! - The mailbox is the door, not the line: work goes by `try_send`, a full mailbox is a 503 at once, and whoever
//!   has to wait waits in the gate, with a deadline, fairly, and can leave.
//! - The [`job::Job`] carries its return address. Whoever holds it owes the answer; dropping it answers `internal`.
//! - Dropping is cancelling: the client leaves, its response is dropped, with it the event channel, with that the
//!   attempt, its connection and its slot.
//! - N + M, not N × M: dialects (what clients speak) and backends (what providers speak) know [`chat`] and not each
//!   other. Both are pure.
//! - The status line is held until the first event is in hand. Until then a request can be tried again or elsewhere;
//!   afterwards another provider goes on where the answer broke off, if it repeats what was delivered, or there is an
//!   error event and a broken connection, never a clean end. Only a streamed request that
//!   waits longer than `server.heartbeat_after` gets its headers before that.
//!
//! # The path of a request
//!
//! 1. [`http`] finds the dialect by the path and begins an exchange, which counts the outcome once, however it ends.
//!    A key becomes a [`job::Caller`]; headers may set a deadline and the data policy.
//! 2. The body is read within bounds of size, time and memory, and [`dialect::Dialect::decode`] makes a
//!    [`chat::ChatRequest`] of it. From here nobody knows the dialect.
//! 3. A request that repeats [`cache::Cache::claim`]s its answer: one that is kept, a call in flight that asks the
//!    same, or the lead of a call that others may join.
//! 4. [`router::Submit`] goes to this thread's [`router::RouterActor`]. [`router::route`] turns the name asked for
//!    into candidates in order; data policy and the caller's scope are filters in the one place where a provider
//!    becomes a candidate.
//! 5. [`provider::Dispatch`] goes to the first candidate's [`provider::ProviderActor`], which asks the gate. *Run*
//!    spawns an attempt; *wait* spawns a task that waits for the slot, the deadline or the client's leaving; *refuse*
//!    sends a [`provider::Bounce`] back to the router, which tries the next candidate or answers. Beside all workers
//!    one [`provider::HealthActor`] tells the gates who lives.
//! 6. The attempt checks the data policy again, has [`backend::Backend::encode`] write the call, sends it, and feeds
//!    what comes to the [`backend::Decoder`]. The first event answers the [`job::Reply`]; the rest goes through a
//!    channel of [`job::EVENTS`] events. What fails is decided by [`provider::retry`]: again after a pause without a
//!    slot, elsewhere, or the end. After the first event the job is still at hand: it goes elsewhere where its route
//!    allows that, and [`job::Continuation`] joins the two answers.
//! 7. [`http`] writes events with the dialect's [`dialect::Encoder`]: a streamed body with signs of life, or a whole
//!    one at the end. [`telemetry::RequestEnded`] is the access line and the counter, and the last thing that
//!    [`telemetry::journal`] notes of the request, from which `GET /admin/events` tells the console.
//!
//! # Where things are
//!
//! Floors; a module uses lower ones only, which `tests/floors.rs` checks, together with purity, rings of
//! files and the size of files:
//!
//! ```text
//! 7  main
//! 6  app        config
//! 5  http       admin     sim   plan
//! 4  router
//! 3  provider
//! 2  admission  cache     limit
//! 1  dialect    backend   wire  job   redis   telemetry
//! 0  chat       policy    units secret
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`chat`] | the canonical request, event and error; pure |
//! | [`policy`], [`units`], [`secret`] | words for priority and trust; durations and sizes; text that does not print itself |
//! | [`dialect`] | what clients speak, in the table [`dialect::DIALECTS`]; pure |
//! | [`backend`] | what providers speak, listed in [`provider::settings::BackendName`]; pure |
//! | [`wire`] | framings and JSON shapes that both sides share; pure |
//! | [`job`] | a request on its way, its return address, the stream of its answer |
//! | [`redis`] | the link to the Redis that replicas share, where there is one |
//! | [`telemetry`] | internal events: each is a struct whose `emit` writes the log line and moves the metric |
//! | [`cache`] | answers used again: those kept, and those in flight that several share |
//! | [`admission`] | the gate of a provider: slots, the waiting line, breaker, cooldown, retry budget; pure but for its slots and leases |
//! | [`provider`] | a configured provider: the actor that decides, the attempt, its client, discovery, health checks |
//! | [`limit`] | what each key may ask: requests, tokens, how many at one time |
//! | [`router`] | the actor that hands jobs over and on; the routing rules, pure |
//! | [`http`] | the main listener: keys, bounds, the chat handler, bodies, draining |
//! | [`admin`] | the admin listener: metrics, snapshots, knobs, and the console, whose page is in `admin/console/` |
//! | [`sim`] | the simulated Ollama behind `demo` and `sim` |
//! | [`plan`] | capacity planning: arrivals against the gate in simulated time |
//! | [`config`] | reads and checks the file and the environment; composes the sections that the modules define |
//! | [`app`] | starts and stops everything in order; reloads |
//!
//! Settings live beside what they tune, in files named `settings.rs`. `tests/gateway` runs the real binary against a
//! scripted upstream, `tests/clients` drives it with the official clients, `tests/browser` drives the console with
//! Chromium, and `tests/golden.rs` reads what providers answer from `tests/fixtures`.
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
//! | an internal event | a struct in `src/telemetry/events.rs`, and one `emit` where the thing happens |
//! | a metric | its field in `src/telemetry/metrics.rs`, moved by an event |
//! | a kind of error | [`chat::ErrorKind`]; the compiler lists the rest, except where a dialect has a default |
//! | a reason to refuse | [`admission::refusal::RefusalReason`], its words in `src/provider/refusal_error.rs`, its row in `docs/errors.md` |
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

pub mod sim;

pub mod plan;

pub mod config;

pub mod app;

pub mod secret;

pub mod units;
