//! The rows of a benchmark as a table for people.

use super::row::Row;
use std::fmt::Write as _;

const HEADINGS: [&str; 7] = ["case", "unit", "ours", "reference", "", "ratio", "target"];

/// Columns padded to their widest cell; numbers to the right. Ends with a newline.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut cells = vec![HEADINGS.map(str::to_owned)];
    cells.extend(rows.iter().map(line));
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| cells.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in &cells {
        let mut out = String::new();
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            // Writing to a String cannot fail.
            let _ = if matches!(column, 2 | 3 | 5 | 6) {
                write!(out, "{cell:>width$}  ")
            } else {
                write!(out, "{cell:<width$}  ")
            };
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
    text
}

fn line(row: &Row) -> [String; 7] {
    let target = match row.target {
        _ if !row.is_judged() => String::new(),
        target => {
            let promised = target.map(ratio_text).into_iter();
            let promised = promised.chain(row.most.map(|most| format!("≤{most:.1}")));
            let verdict = if row.misses_target() { "MISSED" } else { "met" };
            format!("{} {verdict}", promised.collect::<Vec<_>>().join(" "))
        }
    };
    [
        row.case.clone(),
        row.unit.clone(),
        number(row.ours),
        row.reference.map(number).unwrap_or_default(),
        row.reference_name.clone().unwrap_or_default(),
        row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
        target,
    ]
}

/// A ratio that is promised. Those near one need the second digit.
pub fn ratio_text(target: f64) -> String {
    if target < 2.0 { format!("{target:.2}") } else { format!("{target:.1}") }
}

/// Three significant digits at least, never an exponent.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::{Better, Reference};
    use super::super::samples::Samples;
    use super::*;

    #[test]
    fn columns_line_up_and_a_missed_target_stands_out() {
        let one = |value| {
            let mut samples = Samples::default();
            samples.push(value).unwrap();
            samples
        };
        let xl = one(304.0);
        let reference = Reference { name: "xl", samples: &xl, target: Some(10.0) };
        let rows = [
            Row::new(("create", "paused/small"), ("ms", Better::Less), &one(60.8), Some(reference))
                .unwrap(),
            Row::new(("create", "x"), ("requests", Better::Less), &one(7.0), None).unwrap(),
        ];
        assert_eq!(
            table(&rows),
            "case          unit      ours  reference      ratio       target\n\
             paused/small  ms        60.8        304  xl   5.00  10.0 MISSED\n\
             x             requests  7.00\n"
        );
    }
}
