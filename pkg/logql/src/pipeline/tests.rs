//! Stages over lines, against what a Loki (3.8) answered for them, and what holds of any line.
//!
//! `lines.txt` has the lines, numbered. `answers.txt` has stages, which lines they let pass, and
//! for some of these what became of the line (`=`: nothing) and which labels are not as they came:
//! `+` found or made by a stage, `~` metadata, `-` gone. `series.txt` has metric queries and what
//! they count for each set of labels that is left.

mod against_loki;
mod any_line;
mod parts;
mod runs;

use std::sync::Arc;

use super::{Pipeline, Runner, Wanted};
use crate::Origin;

/// A runner of stages as they are written.
fn runner(stages: &str, wanted: Wanted) -> Result<Runner, String> {
    let log = crate::parse_log(&format!("{{job=\"x\"}} {stages}")).map_err(|error| error.to_string())?;
    let pipeline = Pipeline::new(&log.stages, None, wanted).map_err(|error| format!("parse error : {error}"))?;
    Ok(Arc::new(pipeline).runner())
}

/// The labels that the last run left.
fn labels(runner: &mut Runner) -> Vec<(String, String, Origin)> {
    let mut out = Vec::new();
    runner.for_each_label(&mut |label| out.push((label.name.to_owned(), label.value.to_owned(), label.origin)));
    out
}

/// The value of a label, empty if there is none.
fn value_of(runner: &mut Runner, name: &str) -> String {
    labels(runner).into_iter().find(|(other, ..)| other == name).map(|(_, value, _)| value).unwrap_or_default()
}
