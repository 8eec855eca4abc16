//! Admission: how many calls a provider gets at one time, who waits for a slot, and who is refused.
//!
//! A [`gate::Gate`] decides about one provider. It owns a concurrency limit, a bounded waiting
//! line, a circuit breaker and a cooldown for the provider and each of its models, and the retry
//! budget. It is a pure state machine: the present time and random numbers are arguments.
//! [`slot::SharedGate`] puts one lock, a clock and wake-ups around it, and hands out
//! [`slot::Slot`]s that free themselves when they are dropped.
//!
//! ```text
//!  Arrival ──► Gate::admit ──► Run(Permit) ──────────────► Gate::end(Ended)
//!                 │  │                          ▲               │
//!                 │  └──► Wait(Key) ── Grant ───┘ ◄── next ─────┘
//!                 └─────► Refuse(Refusal)
//! ```
//!
//! It knows nothing of HTTP, of providers' formats or of actors. Providers use it, and so does
//! capacity planning, which runs the same gate in simulated time. With a Redis, [`leases`] splits
//! one limit between several gateways.
//!
//! The one thing to know: the files below import each other in one direction. [`types`] holds the
//! types that all of them share.

pub mod types;

pub mod gate;
pub mod slot;

pub mod line;
pub mod refusal;

pub mod concurrency;
pub mod cost;
pub mod estimate;

pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod cooldown;
pub mod crowding;
pub mod evidence;
pub mod models;
pub mod quarantine;
pub mod ramp;
pub mod remembered;
pub mod sliding_window;
pub mod unready;
pub mod warm;

pub mod leases;
pub mod turns;

pub use evidence::Fault;
pub use gate::Gate;
pub use types::{Arrival, Decision, Ended, Limits, Moment, Permit, Transition, Wake};
