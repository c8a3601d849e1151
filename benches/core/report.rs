//! The figures: kept with all of their rounds, printed as Markdown, written as JSON.

use crate::facts::Facts;
use crate::process::Usage;
use serde_json::{Value, json};

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Lower,
    Higher,
    /// Neither: it describes.
    None,
}

/// One thing that was measured, once a round.
#[derive(Clone, Debug)]
pub struct Figure {
    pub part: String,
    pub name: String,
    /// `s CPU` is also shown in Z.
    pub unit: String,
    pub better: Better,
    pub values: Vec<f64>,
}

/// What was measured at one number of records.
pub struct Scale {
    pub facts: Facts,
    pub figures: Vec<Figure>,
    /// Answers that were not what a scan of the corpus says.
    pub wrong: Vec<String>,
    /// Parts that were left out, and why.
    pub skipped: Vec<String>,
    printed: usize,
}

impl Figure {
    pub fn median(&self) -> f64 {
        median(&self.values)
    }

    pub fn least(&self) -> f64 {
        self.values.iter().copied().fold(f64::MAX, f64::min)
    }

    pub fn most(&self) -> f64 {
        self.values.iter().copied().fold(f64::MIN, f64::max)
    }
}

impl Scale {
    pub fn new(facts: Facts) -> Self {
        Self { facts, figures: Vec::new(), wrong: Vec::new(), skipped: Vec::new(), printed: 0 }
    }

    /// Notes the value of a round.
    pub fn add(&mut self, part: &str, name: &str, unit: &str, better: Better, value: f64) {
        let same = |figure: &&mut Figure| figure.part == part && figure.name == name;
        match self.figures.iter_mut().find(same) {
            Some(figure) => figure.values.push(value),
            None => self.figures.push(Figure {
                part: part.to_owned(),
                name: name.to_owned(),
                unit: unit.to_owned(),
                better,
                values: vec![value],
            }),
        }
    }

    /// Notes a value of which less is better.
    pub fn cost(&mut self, part: &str, name: &str, unit: &str, value: f64) {
        self.add(part, name, unit, Better::Lower, value);
    }

    /// Notes what a process had to do with a disk, fsyncs if it says them; `of` stands in front of the names.
    pub fn disk(&mut self, part: &str, of: &str, usage: &Usage, fsyncs: Option<u64>) {
        self.cost(part, &format!("{of}read from disk"), "MB", usage.read_bytes as f64 / 1e6);
        self.cost(part, &format!("{of}written to disk"), "MB", usage.written_bytes as f64 / 1e6);
        if let Some(fsyncs) = fsyncs {
            self.cost(part, &format!("{of}fsyncs"), "", fsyncs as f64);
        }
    }

    /// Notes that something is not what it must be.
    pub fn check(&mut self, what: &str, found: u64, expected: u64) {
        if found != expected {
            let message = format!("{what}: {found}, expected {expected}");
            eprintln!("WRONG: {message}");
            self.wrong.push(message);
        }
    }

    /// Notes that a part was left out.
    pub fn skip(&mut self, what: &str, why: &str) {
        println!("\n{what}: skipped: {why}");
        self.skipped.push(format!("{what}: {why}"));
    }

    /// The figure of the same name.
    fn find(&self, of: &Figure) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.part == of.part && figure.name == of.name)
    }

    /// Prints what was not printed yet, a table for each part.
    pub fn print(&mut self) {
        let mut part = "";
        for figure in self.figures.iter().skip(self.printed) {
            if figure.part != part {
                part = &figure.part;
                println!("\n### {part}\n\n| what | median | spread | in Z |\n|---|---|---|---|");
            }
            let in_z = match figure.unit.as_str() {
                "s CPU" => number(figure.median() / self.facts.z()),
                _ => String::new(),
            };
            let spread = match figure.values.as_slice() {
                [_] => String::new(),
                _ => format!("{} to {}", number(figure.least()), number(figure.most())),
            };
            let median = format!("{} {}", number(figure.median()), figure.unit);
            println!("| {} | {} | {spread} | {in_z} |", figure.name, median.trim_end());
        }
        self.printed = self.figures.len();
    }

    pub fn json(&self) -> Value {
        let figure = |figure: &Figure| {
            json!({
                "part": figure.part, "name": figure.name, "unit": figure.unit, "median": figure.median(),
                "better": match figure.better { Better::Lower => "lower", Better::Higher => "higher", Better::None => "" },
                "values": figure.values,
            })
        };
        json!({
            "records": self.facts.records, "bytes": self.facts.bytes, "z_seconds": self.facts.z(),
            "zstd_bytes": self.facts.zstd_bytes, "wrong": self.wrong, "skipped": self.skipped,
            "figures": self.figures.iter().map(figure).collect::<Vec<_>>(),
        })
    }
}

/// Prints what each figure is at each number of records, with half of its spread, and the growth from the first to the last.
pub fn print_growth(scales: &[Scale]) {
    let (Some(first), Some(last)) = (scales.first(), scales.last()) else { return };
    if scales.len() < 2 {
        return;
    }
    let counts: String = scales.iter().map(|scale| format!(" {} |", scale.facts.records)).collect();
    println!("\n## Growth: {} times the records\n", number(last.facts.records as f64 / first.facts.records as f64));
    println!("| part | what |{counts} growth |\n|---|---|{}---|", "---|".repeat(scales.len()));
    for figure in &first.figures {
        let cell = |figure: &Figure| match figure.values.as_slice() {
            [value] => number(*value),
            _ => format!("{} ± {}", number(figure.median()), number((figure.most() - figure.least()) / 2.0)),
        };
        let cells: String =
            scales.iter().map(|scale| format!(" {} |", scale.find(figure).map_or_else(String::new, cell))).collect();
        let growth =
            last.find(figure).filter(|_| figure.median() > 0.0).map(|last| number(last.median() / figure.median()));
        let unit = if figure.unit.is_empty() { String::new() } else { format!(", {}", figure.unit) };
        println!("| {} | {}{unit} |{cells} {} |", figure.part, figure.name, growth.unwrap_or_default());
    }
}

/// The median; of an even number the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
    }
}

/// Three digits that matter.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
