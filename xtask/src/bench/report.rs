//! Figures of the servers side by side: a table of 80 columns, and JSON for whoever compares runs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{cases, growth, worst};
use crate::run::target;

/// One quantity, measured on the servers in the same rounds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figure {
    /// A value for each round.
    pub nginx: Vec<f64>,
    /// A value for each round.
    pub plimsoll: Vec<f64>,
    /// A value for each round, or none where haproxy has nothing of the kind.
    pub haproxy: Vec<f64>,
}

impl Figure {
    /// A quantity measured once.
    pub fn single(nginx: f64, plimsoll: f64) -> Figure {
        Figure { nginx: vec![nginx], plimsoll: vec![plimsoll], haproxy: Vec::new() }
    }

    /// One more round: nginx, Plimsoll, and haproxy if it is there.
    pub fn push(&mut self, round: &[f64]) {
        let all = [&mut self.nginx, &mut self.plimsoll, &mut self.haproxy];
        all.into_iter().zip(round).for_each(|(values, value)| values.push(*value));
    }

    /// Plimsoll over nginx, round by round.
    pub fn ratio(&self) -> Spread {
        let ratios = self.nginx.iter().zip(&self.plimsoll).map(|(n, p)| p / n);
        // Nothing by nothing says nothing, and JSON could not hold it.
        Spread::of(&ratios.filter(|ratio| ratio.is_finite()).collect::<Vec<_>>())
    }
}

/// All figures, of this run and of earlier ones.
#[derive(Default, Serialize, Deserialize)]
pub struct Report {
    /// In the order of the catalogue, if [`Report::save`] has seen to it.
    pub rows: Vec<Row>,
}

/// One line of the table.
#[derive(Clone, Serialize, Deserialize)]
pub struct Row {
    /// The case.
    pub case: String,
    /// What was measured.
    pub unit: String,
    /// The day it was measured.
    pub date: String,
    /// All rounds.
    pub figure: Figure,
    /// Plimsoll over nginx.
    pub ratio: Spread,
}

/// Median and extremes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The greatest.
    pub most: f64,
}

impl Spread {
    /// Of these values; nothing but zeros if there are none.
    pub fn of(values: &[f64]) -> Spread {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
        Spread { median: (at(low) + at(high)) / 2.0, least: at(0), most: at(sorted.len().saturating_sub(1)) }
    }
}

impl Report {
    /// Where the figures are kept.
    pub fn path() -> PathBuf {
        target().join("bench.json")
    }

    /// What earlier runs measured.
    pub fn load() -> Result<Report> {
        let path = Report::path();
        let text =
            fs::read(&path).with_context(|| format!("{}: run cargo xtask bench first", path.display()))?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    /// From now on there is nothing that was measured before: neither cases, nor growth, nor the worst.
    pub fn forget() -> Result<()> {
        for file in [Report::path(), growth::file(), worst::file()] {
            if file.exists() {
                fs::remove_file(&file).with_context(|| file.display().to_string())?;
            }
        }
        Ok(())
    }

    /// Adds a row and shows it; an older one of the same quantity is replaced.
    pub fn add(&mut self, case: &str, unit: &str, figure: Figure) {
        let date = jiff::Timestamp::now().strftime("%F").to_string();
        let row = Row { case: case.to_owned(), unit: unit.to_owned(), date, ratio: figure.ratio(), figure };
        println!("{}", row.line());
        match self.rows.iter_mut().find(|old| old.case == case && old.unit == unit) {
            Some(old) => *old = row,
            None => self.rows.push(row),
        }
    }

    /// The row of this quantity.
    pub fn row(&self, case: &str, unit: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.case == case && row.unit == unit)
    }

    /// The heading of the table, on standard output.
    pub fn print_head() {
        println!("{:<17} {:<17} {:>10} {:>10} {:>6}  spread", "case", "", "nginx", "plimsoll", "ratio");
    }

    /// The rounds as JSON, in the target folder.
    pub fn save(&mut self) -> Result<()> {
        let place =
            |row: &Row| cases::CASES.iter().position(|case| case.name == row.case).unwrap_or(usize::MAX);
        self.rows.sort_by_key(place);
        Ok(fs::write(Report::path(), serde_json::to_string_pretty(self)? + "\n")?)
    }
}

impl Row {
    fn line(&self) -> String {
        let Spread { median: ratio, least, most } = self.ratio;
        let spread =
            if self.figure.nginx.len() > 1 { format!("{least:.2}-{most:.2}") } else { String::new() };
        let ratio = if ratio > 0.0 { format!("{ratio:.2}") } else { "-".to_owned() };
        let (nginx, plimsoll) = (median(&self.figure.nginx), median(&self.figure.plimsoll));
        let line =
            format!("{:<17} {:<17} {nginx:>10} {plimsoll:>10} {ratio:>6}  {spread}", self.case, self.unit);
        line.trim_end().to_owned()
    }
}

/// The median of these values, as tables show it; a dash if there are none.
pub fn median(values: &[f64]) -> String {
    match Spread::of(values).median {
        _ if values.is_empty() => "-".to_owned(),
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
        assert_eq!(median(&[]), "-");
    }

    #[test]
    fn a_row_fits_into_80_columns() {
        let mut figure = Figure::default();
        figure.push(&[123_456.0, 99_999.0, 1.0]);
        figure.push(&[123_457.0, 99_998.0, 1.0]);
        let mut report = Report::default();
        report.add("proxy-64k-default", "bytes/connection", figure);
        let line = report.rows[0].line();
        assert!(line.len() <= 80, "{line}");
        assert!(line.contains(" 0.81  0.81-0.81"), "{line}");
        report.add("proxy-64k-default", "bytes/connection", Figure::single(1.0, 2.0));
        assert_eq!(report.rows.len(), 1, "the newer figure replaces the older one");
    }
}
