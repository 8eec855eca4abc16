//! Which of several equals goes first because it remembers the conversation: for providers whose
//! lines are not reordered, such as clouds, where what is remembered is cheaper and read faster.
//!
//! Pure, and a decision about the order only: who is a candidate is decided elsewhere.

use std::time::Duration;

/// What speaks for a provider, and what against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Affinity {
    /// The size of the conversation's beginning that it is believed to remember, in bytes.
    pub known: u32,
    /// How long a newcomer would wait there.
    pub wait: Duration,
    /// It is preferred unless that is longer by more than this.
    pub within: Duration,
}

/// The place of the one that goes first; `None` if they stay in their order: if none of them
/// remembers anything, or the first one is of another kind. Those of another kind are `None`.
pub fn preferred(equals: &[Option<Affinity>]) -> Option<usize> {
    let known = || equals.iter().enumerate().filter_map(|(place, one)| Some((place, (*one)?)));
    if equals.first()?.is_none() || known().all(|(_, one)| one.known == 0) {
        return None;
    }
    let shortest = known().map(|(_, one)| one.wait).min()?;
    let near = known().filter(|(_, one)| one.wait <= shortest.saturating_add(one.within));
    // Of those that remember as much, the first one in their order.
    near.rev().max_by_key(|(_, one)| one.known).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(known: u32, wait: u64) -> Option<Affinity> {
        let [wait, within] = [wait, 1_000].map(Duration::from_millis);
        Some(Affinity { known, wait, within })
    }

    #[test]
    fn the_one_that_remembers_more_goes_first_unless_its_line_is_much_longer() {
        for (equals, first) in [
            (vec![one(0, 0), one(5, 1_000)], Some(1)),
            (vec![one(0, 0), one(5, 1_001)], Some(0)),
            (vec![one(5, 1_001), one(0, 0)], Some(1)),
            (vec![one(4, 0), one(5, 0), one(5, 0)], Some(1)),
            (vec![one(4, 0), one(9, 5_000), one(5, 500)], Some(2)),
            (vec![one(0, 9_000), one(0, 0)], None),
            (vec![None, one(5, 0)], None),
            (vec![one(0, 0), None, one(5, 0)], Some(2)),
            (vec![], None),
        ] {
            assert_eq!(preferred(&equals), first, "{equals:?}");
        }
    }
}
