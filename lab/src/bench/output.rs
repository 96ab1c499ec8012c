//! Where a benchmark's results go: raw file, table or JSON, verdict on targets, plot.

use super::Curves;
use super::plot::plot;
use super::record::Record;
use super::row::Row;
use super::table::{ratio_text, table};
use crate::error::{Context as _, Error, Result};
use crate::paths::Paths;
use crate::report;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Keeps every record as one JSON object per line; returns the file.
pub fn keep(paths: &Paths, bench: &str, records: &[Record]) -> Result<PathBuf> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let file = paths.dir("bench")?.join(format!("{bench}-{}.jsonl", since.as_secs()));
    std::fs::write(&file, lines(records)?).on("write", &file)?;
    Ok(file)
}

/// Prints the rows: a table, or JSON on standard output with the table beside it.
pub fn print(rows: &[Row], json: bool) {
    if !json {
        print!("{}", table(rows));
        return;
    }
    eprint!("{}", table(rows));
    match lines(rows) {
        Ok(text) => print!("{text}"),
        Err(error) => eprintln!("lab: {error}"),
    }
}

fn lines(values: &[impl serde::Serialize]) -> Result<String> {
    let mut text = String::new();
    for value in values {
        let line = serde_json::to_string(value)
            .map_err(|error| Error::Machine(format!("a result cannot be written: {error}")))?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// Names every missed target; the exit code is 1 where there is one, and where no row had a target
/// at all, as nothing was shown then.
pub fn check(rows: &[Row]) -> i32 {
    let stated = rows.iter().filter(|row| row.is_judged()).count();
    let missed: Vec<String> = rows.iter().filter(|row| row.misses_target()).map(verdict).collect();
    for line in &missed {
        report::step(line);
    }
    if stated == 0 {
        report::step("no row has a target: nothing was checked");
    }
    i32::from(stated == 0 || !missed.is_empty())
}

fn verdict(row: &Row) -> String {
    if let Some(most) = row.most {
        let Row { bench, case, ours, unit, .. } = row;
        return format!(
            "target missed: {bench}/{case}: {ours:.2} {unit}, {most:.1} at most was promised"
        );
    }
    let found = row.ratio.map_or_else(|| "no ratio".to_owned(), |ratio| format!("{ratio:.2}"));
    format!(
        "target missed: {}/{}: {found} against {}, {} was promised",
        row.bench,
        row.case,
        row.reference_name.as_deref().unwrap_or("nothing"),
        row.target.map(ratio_text).unwrap_or_default()
    )
}

/// Draws curves: into the file where there is one plot, else into files beside it, named after what
/// they show.
pub fn draw(plots: &[Curves], file: &Path) -> Result<Vec<PathBuf>> {
    if plots.is_empty() {
        return Err(Error::Failed("this benchmark has no curves".into()));
    }
    let mut drawn = Vec::new();
    for Curves { name, title, rows } in plots {
        let file = if plots.len() == 1 {
            file.to_owned()
        } else {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            file.with_file_name(format!("{stem}-{name}.svg"))
        };
        let svg = plot(title, rows).map_err(Error::Failed)?;
        std::fs::write(&file, svg).on("write", &file)?;
        drawn.push(file);
    }
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ratio: Option<f64>, target: Option<f64>) -> Row {
        Row {
            bench: "create".into(),
            case: "a".into(),
            unit: "ms".into(),
            ours: 1.0,
            reference: Some(1.0),
            reference_name: Some("xl".into()),
            ratio,
            target,
            most: None,
            position: None,
        }
    }

    #[test]
    fn a_check_fails_for_a_missed_target_and_for_none_at_all() {
        for (rows, code) in [
            (vec![row(Some(6.0), Some(5.0))], 0),
            (vec![row(Some(6.0), Some(5.0)), row(Some(4.9), Some(5.0))], 1),
            (vec![row(None, Some(5.0))], 1),
            (vec![row(Some(6.0), None)], 1),
            (vec![], 1),
        ] {
            assert_eq!(check(&rows), code, "{rows:?}");
        }
        let text = verdict(&row(Some(4.9), Some(5.0)));
        assert_eq!(text, "target missed: create/a: 4.90 against xl, 5.0 was promised");
    }
}
