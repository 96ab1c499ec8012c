//! Rows that form a curve, drawn as one self-contained SVG.
//!
//! Ours is one line, each reference another; the horizontal axis is the rows' position. Pure: text
//! in, text out.

use super::row::Row;
use std::collections::BTreeMap;
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const MARGIN_LEFT: f64 = 70.0;
const MARGIN_RIGHT: f64 = 140.0;
const MARGIN_TOP: f64 = 40.0;
const MARGIN_BOTTOM: f64 = 50.0;
const COLOURS: [&str; 6] = ["#0b6e4f", "#c1292e", "#235789", "#f1a208", "#6a4c93", "#444444"];

/// An SVG document, or why these rows cannot be drawn.
///
/// # Errors
/// When no row has a position, or positions or units of different kinds are mixed.
pub fn plot(title: &str, rows: &[Row]) -> Result<String, String> {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.position.is_some()).collect();
    let first = *rows.first().ok_or("nothing to draw: no row stands on a curve")?;
    let axis = first.position.as_ref().map(|position| position.axis.clone()).unwrap_or_default();
    for row in &rows {
        if row.unit != first.unit {
            return Err(format!("{} and {} do not share a plot", first.unit, row.unit));
        }
        if row.position.as_ref().is_some_and(|position| position.axis != axis) {
            return Err(format!("{} is not measured by {axis}", row.case));
        }
    }
    let curves = curves(&rows);
    let points = || curves.values().flatten();
    let right = points().map(|point| point.0).fold(f64::MIN_POSITIVE, f64::max);
    let top = points().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
    let scale = Scale { right: round_up(right), top: round_up(top) };
    let mut svg = frame(title, &axis, &first.unit, &scale);
    for (index, (name, points)) in curves.iter().enumerate() {
        curve(&mut svg, index, name, points, &scale);
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// Points by curve name, ascending by position. The case is part of the name when rows of several
/// cases share the plot.
fn curves(rows: &[&Row]) -> BTreeMap<String, Vec<(f64, f64)>> {
    let several = rows.iter().any(|row| row.case != rows[0].case);
    let mut curves: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for row in rows {
        let Some(position) = &row.position else { continue };
        let suffix = if several { format!(" {}", row.case) } else { String::new() };
        curves.entry(format!("xlr{suffix}")).or_default().push((position.at, row.ours));
        if let (Some(name), Some(value)) = (&row.reference_name, row.reference) {
            curves.entry(format!("{name}{suffix}")).or_default().push((position.at, value));
        }
    }
    for points in curves.values_mut() {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Ours stands in a row for each reference.
        points.dedup();
    }
    curves
}

struct Scale {
    right: f64,
    top: f64,
}

impl Scale {
    fn x(&self, at: f64) -> f64 {
        MARGIN_LEFT + at / self.right * (WIDTH - MARGIN_LEFT - MARGIN_RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - MARGIN_BOTTOM - value / self.top * (HEIGHT - MARGIN_TOP - MARGIN_BOTTOM)
    }
}

/// The next of 1, 2, 5, 10 times a power of ten, so that the grid falls on round numbers.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|bound| *bound >= value)
        .unwrap_or(10.0 * power)
}

fn frame(title: &str, axis: &str, unit: &str, scale: &Scale) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN_LEFT}\" y=\"20\" font-size=\"15\">{}</text>\n",
        escape(title)
    );
    let (left, bottom) = (scale.x(0.0), scale.y(0.0));
    for step in 0..=5 {
        let part = f64::from(step) / 5.0;
        let (x, y) = (scale.x(scale.right * part), scale.y(scale.top * part));
        let (x_label, y_label) = (label(scale.right * part), label(scale.top * part));
        let right = scale.x(scale.right);
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            "<path d=\"M{left:.1} {y:.1}H{right:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{y_label}</text>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{x_label}</text>\n",
            left - 6.0,
            y + 4.0,
            bottom + 16.0
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
         <text x=\"14\" y=\"{:.1}\">{}</text>\n",
        f64::midpoint(left, scale.x(scale.right)),
        HEIGHT - 12.0,
        escape(axis),
        MARGIN_TOP - 8.0,
        escape(unit)
    );
    svg
}

fn curve(svg: &mut String, index: usize, name: &str, points: &[(f64, f64)], scale: &Scale) {
    let colour = COLOURS[index % COLOURS.len()];
    let path: Vec<String> = points
        .iter()
        .map(|(at, value)| format!("{:.1},{:.1}", scale.x(*at), scale.y(*value)))
        .collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        path.join(" ")
    );
    for point in &path {
        let (x, y) = point.split_once(',').unwrap_or(("0", "0"));
        let _ = writeln!(svg, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>");
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
        WIDTH - MARGIN_RIGHT + 10.0,
        MARGIN_TOP + 16.0 * index as f64,
        escape(name)
    );
}

fn label(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::row::{Better, Reference};
    use super::super::samples::Samples;
    use super::*;

    fn row(case: &str, unit: &str, at: f64) -> Row {
        let mut samples = Samples::default();
        samples.push(at * 2.0).unwrap();
        let reference = Reference { name: "xl", samples: &samples, target: None };
        Row::new(("scale", case), (unit, Better::Less), &samples, Some(reference))
            .unwrap()
            .at("domains", at)
    }

    #[test]
    fn every_curve_is_drawn_once_and_inside_the_frame() {
        let rows = [row("create", "ms", 400.0), row("create", "ms", 10.0)];
        let svg = plot("create <by> count", &rows).unwrap();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("create &lt;by&gt; count"));
        assert!(svg.contains(">500<"), "the axis ends on a round number");
    }

    #[test]
    fn ours_is_one_line_against_several_references() {
        let floor = Row { reference_name: Some("floor".into()), ..row("create", "ms", 10.0) };
        let svg = plot("t", &[row("create", "ms", 10.0), floor]).unwrap();
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert_eq!(svg.matches("<circle").count(), 3);
    }

    #[test]
    fn what_forms_no_curve_is_refused_with_the_reason() {
        assert!(plot("t", &[]).unwrap_err().contains("nothing to draw"));
        let mixed = [row("a", "ms", 1.0), row("a", "MiB", 1.0)];
        assert_eq!(plot("t", &mixed).unwrap_err(), "ms and MiB do not share a plot");
    }

    #[test]
    fn axes_end_on_one_two_or_five() {
        for (value, bound) in
            [(0.7, 1.0), (1.0, 1.0), (135.0, 200.0), (400.0, 500.0), (501.0, 1000.0)]
        {
            assert!((round_up(value) - bound).abs() < 1e-9, "{value}");
        }
    }
}
