//! Figures of the two servers side by side: a table of 80 columns, and JSON for whoever compares runs.

use std::fs;

use anyhow::Result;
use serde::Serialize;

use crate::run::target;

/// One quantity, measured on both servers in the same rounds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figure {
    nginx: Vec<f64>,
    plimsoll: Vec<f64>,
}

impl Figure {
    /// A quantity measured once.
    pub fn single(nginx: f64, plimsoll: f64) -> Figure {
        Figure { nginx: vec![nginx], plimsoll: vec![plimsoll] }
    }

    /// One more round.
    pub fn push(&mut self, nginx: f64, plimsoll: f64) {
        self.nginx.push(nginx);
        self.plimsoll.push(plimsoll);
    }

    /// Plimsoll over nginx for each round.
    fn ratios(&self) -> Vec<f64> {
        self.nginx.iter().zip(&self.plimsoll).map(|(nginx, plimsoll)| plimsoll / nginx).collect()
    }
}

/// All figures of a run.
#[derive(Default, Serialize)]
pub struct Report {
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    case: String,
    unit: String,
    #[serde(flatten)]
    figure: Figure,
    ratio: Spread,
}

/// Median and extremes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Spread {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
        Spread { median: (at(low) + at(high)) / 2.0, least: at(0), most: at(sorted.len().saturating_sub(1)) }
    }
}

impl Report {
    /// Adds a row.
    pub fn add(&mut self, case: &str, unit: &str, figure: Figure) {
        let ratio = Spread::of(&figure.ratios());
        self.rows.push(Row { case: case.to_owned(), unit: unit.to_owned(), figure, ratio });
    }

    /// The table, on standard output.
    pub fn print(&self) {
        println!(
            "{:<17} {:<17} {:>10} {:>10} {:>6}  spread",
            "case", "per request", "nginx", "plimsoll", "ratio"
        );
        for row in &self.rows {
            println!("{}", row.line());
        }
    }

    /// The rounds as JSON, in the target folder.
    pub fn save(&self) -> Result<()> {
        let path = target().join("bench.json");
        fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?;
        println!("\nall rounds: {}", path.display());
        Ok(())
    }
}

impl Row {
    fn line(&self) -> String {
        let median = |values: &[f64]| number(Spread::of(values).median);
        let Spread { median: ratio, least, most } = self.ratio;
        let spread =
            if self.figure.nginx.len() > 1 { format!("{least:.2}-{most:.2}") } else { String::new() };
        let ratio = if ratio.is_finite() { format!("{ratio:.2}") } else { "-".to_owned() };
        let (nginx, plimsoll) = (median(&self.figure.nginx), median(&self.figure.plimsoll));
        let line =
            format!("{:<17} {:<17} {nginx:>10} {plimsoll:>10} {ratio:>6}  {spread}", self.case, self.unit);
        line.trim_end().to_owned()
    }
}

fn number(value: f64) -> String {
    match value {
        v if v >= 1000.0 => format!("{v:.0}"),
        v if v >= 100.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_odd_and_even_counts() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
    }

    #[test]
    fn a_row_fits_into_80_columns() {
        let mut report = Report::default();
        let figure = Figure { nginx: vec![123_456.0, 123_457.0], plimsoll: vec![99_999.0, 99_998.0] };
        report.add("conn-per-request", "bytes/connection", figure);
        let line = report.rows[0].line();
        assert!(line.len() <= 80, "{line}");
        assert!(line.contains(" 0.81  0.81-0.81"), "{line}");
    }
}
