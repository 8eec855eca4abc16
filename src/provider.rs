//! Providers: admission, attempts, retries.
//!
//! The admission of one provider is pure: [`gate`] decides with the present time and random numbers as arguments, and the files
//! below it each keep one thing it needs. [`slot`] puts a lock, a clock and wake-ups around it.

pub mod slot;

pub mod gate;
pub mod line;
pub mod refusal;

pub mod breaker;
pub mod concurrency;
pub mod cooldown;
pub mod estimate;
pub mod models;

pub mod budget;
pub mod retry;
pub mod retry_after;

pub mod minute;
pub mod ramp;
