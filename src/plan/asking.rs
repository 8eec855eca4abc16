//! Asking the gate in simulated time.

use std::time::Instant;

use fastrand::Rng;

use crate::admission::{Gate, Moment, Wake};

/// Asks the gate for a decision. Returns it with the requests that the gate starts or refuses.
pub(super) fn ask<R>(
    gate: &mut Gate<usize>,
    random: &mut Rng,
    now: Instant,
    decide: impl FnOnce(&mut Gate<usize>, &mut Moment<'_>, &mut Vec<Wake<usize>>) -> R,
) -> (R, Vec<Wake<usize>>) {
    let mut wakes = Vec::new();
    let mut unit = || random.f64();
    let result = decide(gate, &mut Moment { now, unit: &mut unit }, &mut wakes);
    (result, wakes)
}
