//! What the user sees: a progress bar on a terminal, each refused record by file and line, a
//! summary.

use super::lines::Input;
use crate::output::{Output, say};
use crate::units;
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use timberlog_types::Error;

/// Refused records that are named; those behind them are only counted.
const REFUSED_NAMED_MAX: usize = 1000;
/// How often the bar moves.
const TICK: Duration = Duration::from_millis(200);

/// Counts, and tells.
pub struct Report {
    bar: ProgressBar,
    file: String,
    bytes_read: Arc<AtomicU64>,
    summary: Summary,
    started: Instant,
}

#[derive(Default, Serialize)]
struct Summary {
    files: u64,
    stored: u64,
    refused: u64,
    /// The first of them.
    refused_records: Vec<Refused>,
    bytes: u64,
    seconds: f64,
    records_per_second: f64,
}

#[derive(Serialize)]
struct Refused {
    file: String,
    line: u64,
    reason: String,
}

impl Report {
    pub fn start(inputs: &[Input], quiet: bool) -> Self {
        let bar = if quiet || !std::io::stderr().is_terminal() { ProgressBar::hidden() } else { bar(inputs) };
        let summary = Summary::default();
        Self { bar, file: String::new(), bytes_read: Arc::default(), summary, started: Instant::now() }
    }

    /// A file begins.
    pub fn file(&mut self, name: &str) {
        name.clone_into(&mut self.file);
        self.summary.files += 1;
    }

    /// Counts the bytes that are read.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes_read)
    }

    pub fn stored(&mut self, records: u64) {
        self.summary.stored += records;
        self.bar.set_position(self.bytes_read.load(Ordering::Relaxed));
        let rate = self.summary.stored as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        let refused = match self.summary.refused {
            0 => String::new(),
            refused => format!(", {} refused", units::count(refused)),
        };
        let stored = units::records(self.summary.stored);
        self.bar.set_message(format!("{stored}{refused}, {}/s", units::count(rate as u64)));
    }

    /// Names a refused record.
    pub fn refuse(&mut self, line: u64, reason: &str) {
        self.summary.refused += 1;
        let named = self.summary.refused_records.len();
        if named < REFUSED_NAMED_MAX {
            self.say(&format!("{}:{line}: refused: {reason}", self.file));
            let refused = Refused { file: self.file.clone(), line, reason: reason.to_owned() };
            self.summary.refused_records.push(refused);
        }
    }

    /// Counts refused records of which no more is known.
    pub fn refuse_unlisted(&mut self, records: u64) {
        self.summary.refused += records;
    }

    pub fn refused(&self) -> u64 {
        self.summary.refused
    }

    /// A batch must wait.
    pub fn waits(&self, error: &Error, pause: Duration) {
        self.say(&format!("waiting {}: {error}", units::duration(pause)));
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// Ends the bar and prints the summary.
    pub fn finish(&mut self, output: Output, broke_off: bool) -> Result<()> {
        self.bar.finish_and_clear();
        let summary = &mut self.summary;
        let unnamed = summary.refused - summary.refused_records.len() as u64;
        if unnamed > 0 {
            eprintln!("{} more refused", units::records(unnamed));
        }
        let elapsed = self.started.elapsed();
        summary.seconds = elapsed.as_secs_f64();
        summary.records_per_second = summary.stored as f64 / summary.seconds.max(1e-9);
        summary.bytes = self.bytes_read.load(Ordering::Relaxed);
        match output {
            Output::Json => say!("{}", serde_json::to_string_pretty(summary)?),
            Output::Jsonl => say!("{}", serde_json::to_string(summary)?),
            Output::Table => {
                let refused = match summary.refused {
                    0 => String::new(),
                    refused => format!(", refused {}", units::count(refused)),
                };
                let (stored, rate) = (units::records(summary.stored), units::count(summary.records_per_second as u64));
                let end = if broke_off { ", then it broke off" } else { "" };
                say!("stored {stored}{refused} in {} ({rate} records/s){end}", units::duration(elapsed));
            }
        }
        Ok(())
    }
}

fn bar(inputs: &[Input]) -> ProgressBar {
    let total: Option<u64> = inputs.iter().map(|input| input.len).sum();
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{bar:30} {percent:>3} %  {msg}  {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}  {msg}"),
    };
    // A template that indicatif does not take would only cost the looks.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.enable_steady_tick(TICK);
    bar
}
