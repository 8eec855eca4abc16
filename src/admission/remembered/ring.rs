//! The last few of a series of numbers, and their median.

/// The last `N` numbers.
#[derive(Clone, Debug)]
pub struct Ring<const N: usize> {
    numbers: [f64; N],
    len: usize,
    next: usize,
}

impl<const N: usize> Ring<N> {
    /// Adds a number in the place of the oldest.
    pub fn push(&mut self, number: f64) {
        if let Some(place) = self.numbers.get_mut(self.next) {
            *place = number;
        }
        self.next = (self.next + 1) % N;
        self.len = (self.len + 1).min(N);
    }

    /// The median, the lower one of two; `None` if there is no number.
    pub fn median(&self) -> Option<f64> {
        let mut sorted = self.numbers;
        let sorted = sorted.get_mut(..self.len)?;
        sorted.sort_by(f64::total_cmp);
        sorted.get(self.len.checked_sub(1)? / 2).copied()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.len
    }

    /// The largest; `None` if there is no number.
    pub fn largest(&self) -> Option<f64> {
        self.numbers.get(..self.len)?.iter().copied().max_by(f64::total_cmp)
    }
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self { numbers: [0.0; N], len: 0, next: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_numbers_count() {
        let mut ring = Ring::<3>::default();
        assert_eq!((ring.median(), ring.largest()), (None, None));
        [9.0, 1.0].into_iter().for_each(|number| ring.push(number));
        assert_eq!((ring.median(), ring.largest()), (Some(1.0), Some(9.0)));
        [2.0, 3.0].into_iter().for_each(|number| ring.push(number));
        assert_eq!((ring.median(), ring.largest()), (Some(2.0), Some(3.0)));
    }
}
