//! Which candidates may be asked after a failure.
//!
//! Owns what a failure says about the remaining candidates. It does not decide whether one of them
//! is asked; `retry.rs` does.
//!
//! The one thing to know: removed candidates stay removed, so that no candidate asked later has a
//! smaller context than one for which the prompt was too long.

use std::collections::VecDeque;

use super::retry::Failure;
use crate::job::Candidate;

/// Removes from `candidates` those that would fail as `tried` did, and adds those that may succeed.
///
/// A prompt that was too long goes on along its route, but to no candidate known to take no more
/// tokens; without a route, to none. A model that is missing here may have been installed at one of
/// the `reserve` by now.
pub fn narrow(
    failure: &Failure,
    tried: Option<&Candidate>,
    candidates: &mut VecDeque<Candidate>,
    reserve: &mut VecDeque<Candidate>,
) {
    if *failure == Failure::ContextLength {
        match tried.filter(|tried| tried.part.is_some()) {
            Some(tried) => candidates.retain(|candidate| !candidate.is_no_larger_than(tried)),
            None => candidates.clear(),
        }
    }
    if *failure == Failure::NoModel && candidates.is_empty() {
        *candidates = std::mem::take(reserve);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::job::RoutePart;

    fn candidate(name: &str, context: Option<u64>, part: Option<RoutePart>) -> Candidate {
        Candidate { provider: Arc::from(name), model: Arc::from("m"), context, part }
    }

    fn names(left: &VecDeque<Candidate>) -> Vec<&str> {
        left.iter().map(|candidate| &*candidate.provider).collect()
    }

    #[test]
    fn a_prompt_that_is_too_long_skips_candidates_known_to_take_no_more() {
        let part = Some(RoutePart::Fallback);
        let all = || {
            let contexts =
                [("less", Some(7)), ("same", Some(8)), ("more", Some(9)), ("unsaid", None)];
            contexts.into_iter().map(|(name, context)| candidate(name, context, part)).collect()
        };
        for (tried, left) in [
            (candidate("a", Some(8), part), vec!["more", "unsaid"]),
            (candidate("a", None, part), vec!["less", "same", "more", "unsaid"]),
            (candidate("a", Some(8), None), vec![]),
        ] {
            let (mut candidates, mut reserve) = (all(), VecDeque::new());
            narrow(&Failure::ContextLength, Some(&tried), &mut candidates, &mut reserve);
            assert_eq!(names(&candidates), left, "{tried:?}");
        }
    }

    #[test]
    fn the_reserve_is_asked_when_no_candidate_that_listed_the_model_has_it() {
        let one = |name| VecDeque::from([candidate(name, None, None)]);
        let after = |failure: Failure, mut candidates: VecDeque<Candidate>| {
            let mut reserve = one("reserve");
            narrow(&failure, None, &mut candidates, &mut reserve);
            names(&candidates).join(",")
        };
        assert_eq!(after(Failure::NoModel, VecDeque::new()), "reserve");
        assert_eq!(after(Failure::NoModel, one("next")), "next");
        assert_eq!(after(Failure::Connect, VecDeque::new()), "");
    }
}
