//! The order of equals: by weight, by wait, and by what is remembered of the conversation.
//!
//! Owns nothing. Who is a candidate at all is decided in `choice.rs`; here nobody is left out.

use std::time::Duration;

use super::{Outlook, Route};
use crate::admission::remembered::affinity::preferred;
use crate::router::settings::TargetSettings;

/// The place of the provider that goes first because it remembers the conversation: each comes
/// with its model, and whether it is an equal of the first one that may be asked.
pub(super) fn remembering<'a>(
    all: impl Iterator<Item = (&'a str, &'a str, bool)>,
    outlook: &dyn Outlook,
) -> Option<usize> {
    let equals: Vec<(usize, &str, &str)> = all
        .enumerate()
        .filter(|(_, (_, _, is_equal))| *is_equal)
        .map(|(place, (provider, model, _))| (place, provider, model))
        .collect();
    if equals.len() < 2 {
        return None;
    }
    let affinity = |(_, provider, model): &(usize, &str, &str)| outlook.affinity(provider, model);
    let known: Vec<_> = equals.iter().map(affinity).collect();
    equals.get(preferred(&known)?).map(|(place, ..)| *place)
}

/// Puts one before all others, which keep their order.
pub(super) fn to_front<T>(order: &mut [T], place: usize) {
    if let Some(until) = order.get_mut(..=place) {
        until.rotate_right(1);
    }
}

/// A route's targets, drawn by weight without replacement.
pub(super) fn drawn<'a>(
    route: &'a Route,
    draw: &mut dyn FnMut(u32) -> u32,
) -> Vec<&'a TargetSettings> {
    let mut targets: Vec<&TargetSettings> = route.targets.iter().collect();
    let mut order = Vec::with_capacity(targets.len());
    while !targets.is_empty() {
        let total = targets.iter().map(|target| target.weight).fold(0, u32::saturating_add);
        let mut ticket = draw(total.max(1));
        let winner = targets.iter().position(|target| match ticket.checked_sub(target.weight) {
            Some(left) => {
                ticket = left;
                false
            }
            None => true,
        });
        order.push(targets.remove(winner.unwrap_or(0)));
    }
    order
}

/// Sorts those of one weight among the places that were drawn for that weight, the shortest wait
/// first. Weights keep their shares, and between equal waits the dice decide.
pub(super) fn by_wait(
    order: &mut [&TargetSettings],
    wait: impl Fn(&TargetSettings) -> Option<Duration>,
) {
    let mut weights: Vec<u32> = order.iter().map(|target| target.weight).collect();
    weights.sort_unstable();
    weights.dedup();
    for weight in weights {
        let (places, mut equals): (Vec<usize>, Vec<&TargetSettings>) =
            order.iter().copied().enumerate().filter(|(_, one)| one.weight == weight).unzip();
        if equals.len() < 2 {
            continue;
        }
        // The sort is stable, and calls this once for each.
        equals.sort_by_cached_key(|target| wait(target).unwrap_or(Duration::MAX));
        for (place, target) in places.into_iter().zip(equals) {
            if let Some(one) = order.get_mut(place) {
                *one = target;
            }
        }
    }
}
