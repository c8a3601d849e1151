//! This run beside an earlier one: what moved by more than the noise that both measured themselves.

use crate::report::{Better, Figure, Scale, number};
use serde::Deserialize;
use std::path::Path;

/// What an earlier run wrote.
#[derive(Deserialize)]
pub struct Earlier {
    scales: Vec<EarlierScale>,
}

#[derive(Deserialize)]
struct EarlierScale {
    records: u64,
    bytes: u64,
    z_seconds: f64,
    figures: Vec<EarlierFigure>,
}

#[derive(Deserialize)]
struct EarlierFigure {
    part: String,
    name: String,
    unit: String,
    median: f64,
    values: Vec<f64>,
}

/// A figure of one round has no spread: it must move by this share to be noted.
const UNKNOWN_NOISE: f64 = 0.15;
/// Less than this share is never noted, however quiet both runs were.
const NOISE_MIN: f64 = 0.03;

/// Reads the JSON of an earlier run.
pub fn read(path: &Path) -> Earlier {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("read `{}`: {error}", path.display()));
    serde_json::from_slice(&text)
        .unwrap_or_else(|error| panic!("`{}` is not of this benchmark: {error}", path.display()))
}

impl Earlier {
    /// Prints what moved; the number of figures that became worse.
    pub fn print(&self, scales: &[Scale]) -> usize {
        let mut worse = 0;
        for scale in scales {
            let records = scale.facts.records;
            let Some(earlier) = self.scales.iter().find(|earlier| earlier.records == records) else {
                println!("\nThe earlier run has no {records} records.");
                continue;
            };
            if earlier.bytes != scale.facts.bytes {
                println!("\nThe corpus of {records} records is not the one of the earlier run; nothing is compared.");
                continue;
            }
            println!("\n## Compared with the earlier run, {records} records\n");
            println!("Z was {} s and is {} s.", number(earlier.z_seconds), number(scale.facts.z()));
            let mut same = 0;
            let mut rows = Vec::new();
            for figure in &scale.figures {
                let Some(before) = earlier.find(figure) else { continue };
                match moved(before, figure) {
                    Some((share, noise)) => rows.push((before, figure, share, noise)),
                    None => same += 1,
                }
            }
            if !rows.is_empty() {
                println!("\n| part | what | was | is | change | noise | |\n|---|---|---|---|---|---|---|");
            }
            for (before, figure, share, noise) in rows {
                let word = match (figure.better, share > 0.0) {
                    (Better::None, _) => "",
                    (Better::Lower, false) | (Better::Higher, true) => "better",
                    _ => "**worse**",
                };
                worse += usize::from(word == "**worse**");
                let (was, is) = (number(before.median), number(figure.median()));
                let unit = if figure.unit.is_empty() { String::new() } else { format!(", {}", figure.unit) };
                let (part, name) = (&figure.part, &figure.name);
                println!(
                    "| {part} | {name}{unit} | {was} | {is} | {:+.0} % | {:.0} % | {word} |",
                    share * 100.0,
                    noise * 100.0
                );
            }
            println!("\n{same} figures did not move by more than their noise.");
            earlier.print_alone(scale);
        }
        worse
    }
}

impl EarlierScale {
    /// Names the figures that only one of the runs has, of the parts that both have measured: they are not compared.
    fn print_alone(&self, scale: &Scale) {
        let name = |part: &str, name: &str| format!("{part}: {name}");
        let has_part = |part: &str| self.figures.iter().any(|before| before.part == part);
        let new = scale.figures.iter().filter(|figure| has_part(&figure.part) && self.find(figure).is_none());
        let new: Vec<_> = new.map(|figure| name(&figure.part, &figure.name)).collect();
        let has_part = |part: &str| scale.figures.iter().any(|figure| figure.part == part);
        let is_gone = |before: &&EarlierFigure| {
            has_part(&before.part) && !scale.figures.iter().any(|figure| before.is_of(figure))
        };
        let gone: Vec<_> = self.figures.iter().filter(is_gone).map(|before| name(&before.part, &before.name)).collect();
        for (of, names) in [("this", new), ("the earlier", gone)].into_iter().filter(|(_, names)| !names.is_empty()) {
            println!("\nOnly {of} run has {} figures: {}.", names.len(), names.join("; "));
        }
    }

    fn find(&self, figure: &Figure) -> Option<&EarlierFigure> {
        self.figures.iter().find(|other| other.is_of(figure))
    }
}

impl EarlierFigure {
    fn is_of(&self, figure: &Figure) -> bool {
        self.part == figure.part && self.name == figure.name && self.unit == figure.unit
    }
}

/// The change as a share of what it was, and the noise, if it is more than that.
fn moved(before: &EarlierFigure, now: &Figure) -> Option<(f64, f64)> {
    if before.median == 0.0 {
        let spread = spread(&before.values).max(spread(&now.values));
        return (now.median().abs() > spread).then_some((f64::INFINITY, 0.0));
    }
    let share = now.median() / before.median - 1.0;
    let noise = noise(&before.values, before.median).max(noise(&now.values, now.median()));
    (share.abs() > noise).then_some((share, noise))
}

/// How far apart the rounds of one run are, as a share of their median.
fn noise(values: &[f64], median: f64) -> f64 {
    if values.len() < 2 || median == 0.0 {
        return UNKNOWN_NOISE;
    }
    (spread(values) / median.abs()).max(NOISE_MIN)
}

fn spread(values: &[f64]) -> f64 {
    let least = values.iter().copied().fold(f64::MAX, f64::min);
    let most = values.iter().copied().fold(f64::MIN, f64::max);
    most - least
}
