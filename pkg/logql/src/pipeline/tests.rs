//! Tables of stages, lines and what comes out.

use std::fmt::Write as _;
use std::sync::Arc;

use super::{Pipeline, Wanted};
use crate::ast::LogExpr;

mod parsers;

/// A stream's labels and metadata that most tables use.
const STREAM: &[(&str, &str)] = &[("app", "web"), ("foo", "stream")];
const METADATA: &[(&str, &str)] = &[("pod", "p-1")];

fn stages(text: &str) -> LogExpr {
    crate::parse_log(&format!("{{app=\"web\"}} {text}")).unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

/// What the stages make of a line: `line {labels}`, `dropped`, or what is wrong with them. Metadata
/// is marked with `~`, parsed labels with `+`.
fn run_with(text: &str, line: &[u8], stream: &[(&str, &str)], metadata: &[(&str, &str)]) -> String {
    let pipeline = match Pipeline::new(&stages(text).stages, None, Wanted::All) {
        Ok(pipeline) => Arc::new(pipeline),
        Err(error) => return format!("invalid: {error}"),
    };
    let mut runner = pipeline.runner();
    runner.set_stream(stream);
    let metadata: Vec<(&str, &[u8])> = metadata.iter().map(|&(name, value)| (name, value.as_bytes())).collect();
    // Twice, because nothing may be left over from the first time.
    runner.run(0, line, &metadata);
    if !runner.run(0, line, &metadata) {
        return "dropped".to_owned();
    }
    let mut out = String::from_utf8_lossy(runner.line()).into_owned();
    out.push_str(" {");
    runner.for_each_label(&mut |label| {
        let mark = match label.origin {
            crate::Origin::Stream => "",
            crate::Origin::Metadata => "~",
            crate::Origin::Parsed => "+",
        };
        let comma = if out.ends_with('{') { "" } else { ", " };
        let _ = write!(out, "{comma}{mark}{}={:?}", label.name, label.value);
    });
    out.push('}');
    out
}

fn run(text: &str, line: &str) -> String {
    run_with(text, line.as_bytes(), &[], &[])
}

/// Rows of stages, line and result.
fn check(table: &[(&str, &str, &str)]) {
    let mut wrong = String::new();
    for (stages, line, expected) in table {
        let got = run(stages, line);
        if got != *expected {
            let _ = write!(wrong, "{stages} over {line}\n  expected {expected}\n  got      {got}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The same with a stream and metadata, whose labels are left out of what is compared unless they
/// were changed.
fn check_full(table: &[(&str, &str, &str)]) {
    let mut wrong = String::new();
    for (stages, line, expected) in table {
        let got = run_with(stages, line.as_bytes(), STREAM, METADATA);
        if got != *expected {
            let _ = write!(wrong, "{stages} over {line}\n  expected {expected}\n  got      {got}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
