//! Raw measurements of one thing, and what may be said of them.
//!
//! Comes from a benchmark's loop, goes into a [`super::row::Row`] and, whole, into the raw file that
//! is kept beside the table. Knows nothing of what was measured.

use serde::{Deserialize, Serialize};

/// Measurements in the order they were taken, in one unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds one measurement; what is not a finite number is a fault of the benchmark.
    ///
    /// # Errors
    /// The value as text where it is infinite or not a number.
    pub fn push(&mut self, value: f64) -> Result<(), String> {
        if !value.is_finite() {
            return Err(format!("a measurement of {value} is none"));
        }
        self.0.push(value);
        Ok(())
    }

    /// All measurements, in the order they were taken.
    #[cfg(test)]
    #[must_use]
    pub fn all(&self) -> &[f64] {
        &self.0
    }

    /// The middle value; for an even count the mean of the two in the middle. `None` when empty.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        let sorted = self.sorted();
        let count = sorted.len();
        match count {
            0 => None,
            _ if count % 2 == 1 => Some(sorted[count / 2]),
            _ => Some(f64::midpoint(sorted[count / 2 - 1], sorted[count / 2])),
        }
    }

    /// Smallest and largest value. `None` when empty.
    #[must_use]
    pub fn range(&self) -> Option<(f64, f64)> {
        let sorted = self.sorted();
        Some((*sorted.first()?, *sorted.last()?))
    }

    /// How far the values lie apart, as a share of the median. `None` when empty or about zero.
    #[must_use]
    pub fn spread(&self) -> Option<f64> {
        let (low, high) = self.range()?;
        self.median().filter(|median| *median > 0.0).map(|median| (high - low) / median)
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Samples {
        let mut samples = Samples::default();
        for value in values {
            samples.push(*value).unwrap();
        }
        samples
    }

    #[test]
    fn median_and_range_do_not_depend_on_order() {
        for (values, median, range) in [
            (&[][..], None, None),
            (&[3.0][..], Some(3.0), Some((3.0, 3.0))),
            (&[4.0, 1.0][..], Some(2.5), Some((1.0, 4.0))),
            (&[9.0, 1.0, 5.0][..], Some(5.0), Some((1.0, 9.0))),
        ] {
            let samples = of(values);
            assert_eq!((samples.median(), samples.range()), (median, range), "{values:?}");
            assert_eq!(samples.all(), values, "the raw order is kept");
        }
    }

    #[test]
    fn the_spread_is_a_share_of_the_median() {
        for (values, spread) in [
            (&[][..], None),
            (&[0.0][..], None),
            (&[4.0][..], Some(0.0)),
            (&[4.0, 3.0, 5.0][..], Some(0.5)),
        ] {
            assert_eq!(of(values).spread(), spread, "{values:?}");
        }
    }

    #[test]
    fn a_division_by_zero_is_not_a_measurement() {
        let mut samples = Samples::default();
        assert!(samples.push(f64::INFINITY).is_err());
        assert!(samples.push(f64::NAN).is_err());
        assert_eq!(samples.median(), None);
    }
}
