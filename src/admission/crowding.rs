//! Whether calls take longer the more of them run: then the server runs fewer at one time than it
//! is given, and the rest wait there, where the line is neither fair nor bounded.
//!
//! Owns the mean times of lonely calls and of calls among others, for one model at a time.
//!
//! The one thing to know: a server that works on several calls together also slows each of them.
//! Only a time that grows nearly as their number says that they take turns.

use std::time::Duration;

use super::line::Lane;

/// So many calls of either kind are compared.
const ENOUGH: u32 = 30;
/// Calls take turns if their time grows by more than this part of what their number does.
const TURNS: f64 = 0.75;
/// Fewer calls at one time than this tell nothing.
const CROWD: u32 = 3;

/// Calls take turns in the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded {
    /// How many ran at one time, on average.
    pub calls: u32,
    /// How many times as long as alone they took, in hundredths.
    pub hundredths: u32,
}

/// See the module's introduction.
#[derive(Debug, Default)]
pub struct Crowding {
    lane: Option<Lane>,
    alone: Sum,
    among: Sum,
    is_said: bool,
}

#[derive(Debug, Default)]
struct Sum {
    count: u32,
    calls: f64,
    seconds: f64,
}

impl Crowding {
    /// A call of this model has ended well, as one of so many, all of the same model. Says once that
    /// they take turns.
    pub fn note(&mut self, lane: Lane, calls: u32, held: Duration) -> Option<Crowded> {
        if self.is_said {
            return None;
        }
        if self.lane.replace(lane) != Some(lane) {
            (self.alone, self.among) = (Sum::default(), Sum::default());
        }
        match calls {
            1 => self.alone.add(calls, held),
            CROWD.. => self.among.add(calls, held),
            _ => {}
        }
        let found = self.found()?;
        self.is_said = true;
        Some(found)
    }

    /// Begins anew: the server or its limits are others.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    fn found(&self) -> Option<Crowded> {
        let (_, alone) = self.alone.mean()?;
        let (calls, among) = self.among.mean()?;
        let times = among / alone;
        let crowded = Crowded { calls: calls.round() as u32, hundredths: (times * 100.0) as u32 };
        (times > TURNS * calls).then_some(crowded)
    }
}

impl Sum {
    fn add(&mut self, calls: u32, held: Duration) {
        self.count = self.count.saturating_add(1);
        self.calls += f64::from(calls);
        self.seconds += held.as_secs_f64();
    }

    /// The mean number of calls and seconds, once enough are known.
    fn mean(&self) -> Option<(f64, f64)> {
        let count = f64::from(self.count);
        let is_known = self.count >= ENOUGH && self.seconds > 0.0;
        is_known.then(|| (self.calls / count, self.seconds / count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(crowding: &mut Crowding, calls: u32, millis: u64) -> Option<Crowded> {
        (0..40).find_map(|_| crowding.note(Lane(0), calls, Duration::from_millis(millis)))
    }

    #[test]
    fn calls_that_take_turns_are_told_once() {
        let mut crowding = Crowding::default();
        assert_eq!(note(&mut crowding, 1, 1000), None);
        let crowded = Crowded { calls: 4, hundredths: 390 };
        assert_eq!(note(&mut crowding, 4, 3900), Some(crowded));
        assert_eq!(note(&mut crowding, 4, 3900), None);
        crowding.forget();
        assert_eq!(note(&mut crowding, 4, 3900), None, "what a lonely call takes is not known");
        assert_eq!(note(&mut crowding, 1, 1000), Some(crowded));
    }

    #[test]
    fn a_server_that_works_on_several_together_is_not_crowded() {
        let mut crowding = Crowding::default();
        assert_eq!(note(&mut crowding, 1, 1000), None);
        assert_eq!(note(&mut crowding, 2, 9000), None);
        assert_eq!(note(&mut crowding, 8, 3000), None);
    }
}
