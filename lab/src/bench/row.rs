//! One line of a benchmark: what ours took, what the reference took, and the ratio.
//!
//! The ratio is always oriented so that above 1 means that ours is better, whether the unit is a
//! time (less is better) or a rate (more is better). Pure: made from [`Samples`], printed by
//! [`super::table`], drawn by [`super::plot`].

use super::samples::Samples;
use serde::{Deserialize, Serialize};

/// Which direction of a unit is the good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Times, sizes, counts of requests.
    Less,
    /// Rates.
    More,
}

/// Where a row stands on a curve: by count of domains, by message size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// What the axis counts, with its unit.
    pub axis: String,
    /// Where on it this row stands.
    pub at: f64,
}

/// A result, as `--json` prints it: one object per line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The benchmark's name, as on the command line.
    pub bench: String,
    /// What was measured, e.g. `create-paused/small/256MiB/warm`.
    pub case: String,
    /// Unit of `ours` and `reference`.
    pub unit: String,
    /// Median of ours.
    pub ours: f64,
    /// Median of the reference, where there is one.
    pub reference: Option<f64>,
    /// What the reference is: `xl`, `floor`, …
    pub reference_name: Option<String>,
    /// Above 1 always means that ours is better. Absent without a reference, or when a zero makes
    /// it meaningless.
    pub ratio: Option<f64>,
    /// The ratio that was promised, where one was.
    pub target: Option<f64>,
    /// The most that ours may be, where that was promised whatever the reference is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<f64>,
    /// Place on a curve, for `--plot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

/// What a row compares against.
#[derive(Clone, Debug)]
pub struct Reference<'a> {
    /// `xl`, `floor`, …
    pub name: &'a str,
    /// Its measurements, in the unit of ours.
    pub samples: &'a Samples,
    /// The ratio that was promised.
    pub target: Option<f64>,
}

impl Row {
    /// A row from raw measurements.
    ///
    /// # Errors
    /// Which side has no measurement at all.
    pub fn new(
        (bench, case): (&str, &str),
        (unit, better): (&str, Better),
        ours: &Samples,
        reference: Option<Reference<'_>>,
    ) -> Result<Self, String> {
        let ours = ours.median().ok_or_else(|| format!("{bench}/{case}: ours has no sample"))?;
        let mut row = Self {
            bench: bench.to_owned(),
            case: case.to_owned(),
            unit: unit.to_owned(),
            ours,
            reference: None,
            reference_name: None,
            ratio: None,
            target: None,
            most: None,
            position: None,
        };
        if let Some(Reference { name, samples, target }) = reference {
            let theirs =
                samples.median().ok_or_else(|| format!("{bench}/{case}: {name} has no sample"))?;
            row.reference = Some(theirs);
            row.reference_name = Some(name.to_owned());
            row.ratio = ratio(better, ours, theirs);
            row.target = target;
        }
        Ok(row)
    }

    /// The same row with a place on a curve.
    #[must_use]
    pub fn at(mut self, axis: &str, at: f64) -> Self {
        self.position = Some(Position { axis: axis.to_owned(), at });
        self
    }

    /// The same row with the most that ours may be.
    #[must_use]
    pub fn at_most(mut self, most: f64) -> Self {
        self.most = Some(most);
        self
    }

    /// Whether anything was promised.
    #[must_use]
    pub const fn is_judged(&self) -> bool {
        self.target.is_some() || self.most.is_some()
    }

    /// Whether what was promised is missed. A target without a ratio is missed: nothing was shown.
    #[must_use]
    pub fn misses_target(&self) -> bool {
        self.target.is_some_and(|target| self.ratio.is_none_or(|ratio| ratio < target))
            || self.most.is_some_and(|most| self.ours > most)
    }
}

fn ratio(better: Better, ours: f64, theirs: f64) -> Option<f64> {
    let (above, below) = match better {
        Better::Less => (theirs, ours),
        Better::More => (ours, theirs),
    };
    (above > 0.0 && below > 0.0).then(|| above / below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(value: f64) -> Samples {
        let mut samples = Samples::default();
        samples.push(value).unwrap();
        samples
    }

    fn row(better: Better, ours: f64, theirs: f64, target: Option<f64>) -> Row {
        let theirs = samples(theirs);
        let reference = Reference { name: "xl", samples: &theirs, target };
        Row::new(("create", "a"), ("ms", better), &samples(ours), Some(reference)).unwrap()
    }

    #[test]
    fn above_one_always_means_that_ours_is_better() {
        for (better, ours, theirs, ratio) in [
            (Better::Less, 10.0, 40.0, Some(4.0)),
            (Better::Less, 40.0, 10.0, Some(0.25)),
            (Better::More, 40.0, 10.0, Some(4.0)),
            (Better::Less, 0.0, 10.0, None),
            (Better::More, 10.0, 0.0, None),
        ] {
            assert_eq!(row(better, ours, theirs, None).ratio, ratio, "{better:?} {ours} {theirs}");
        }
    }

    #[test]
    fn a_target_is_missed_below_it_and_met_at_it() {
        for (theirs, target, missed) in [
            (49.0, Some(5.0), true),
            (50.0, Some(5.0), false),
            (50.0, None, false),
            (0.0, Some(5.0), true),
        ] {
            assert_eq!(row(Better::Less, 10.0, theirs, target).misses_target(), missed, "{theirs}");
        }
    }

    #[test]
    fn what_may_be_nothing_is_judged_without_a_ratio() {
        for (ours, most, missed) in [(0.0, 0.0, false), (0.1, 0.0, true), (2.0, 2.0, false)] {
            let row = row(Better::Less, ours, 1.0, None).at_most(most);
            assert_eq!((row.is_judged(), row.misses_target()), (true, missed), "{ours}");
        }
        assert!(!row(Better::Less, 1.0, 1.0, None).is_judged());
    }

    #[test]
    fn json_has_the_documented_keys() {
        let json = serde_json::to_value(row(Better::Less, 10.0, 40.0, Some(2.0))).unwrap();
        for key in
            ["bench", "case", "unit", "ours", "reference", "reference_name", "ratio", "target"]
        {
            assert!(json.get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn no_sample_is_an_error_that_names_the_side() {
        let empty = Samples::default();
        let error = Row::new(("create", "a"), ("ms", Better::Less), &empty, None).unwrap_err();
        assert_eq!(error, "create/a: ours has no sample");
        let reference = Reference { name: "xl", samples: &empty, target: None };
        let error = Row::new(("create", "a"), ("ms", Better::Less), &samples(1.0), Some(reference))
            .unwrap_err();
        assert_eq!(error, "create/a: xl has no sample");
    }
}
