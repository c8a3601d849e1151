//! A pipeline applied to lines: owns what changes from line to line.

use std::sync::Arc;

use super::Pipeline;
use super::builder::{Builder, VALUES_BYTES_MAX};
use super::format::Line;
use super::group::{Empties, GroupNames, key_labels};
use super::names::Keys;
use super::parse::Parsing;
use super::stage::{Outcome, Scratch};
use crate::ast::Grouping;
use crate::labels::{Label, Labels};

/// The error of a line whose labels are too large; the stages behind do not see it.
const TOO_LARGE: &str = "LabelsTooLargeErr";

/// Bytes of a line that stages may read, all together, between two questions whether to go on.
const BYTES_PER_QUESTION: usize = 256 << 10;

/// Applies a [`Pipeline`] to one line after the other.
#[derive(Debug)]
pub struct Runner {
    pipeline: Arc<Pipeline>,
    labels: Builder,
    keys: Keys,
    scratch: Scratch,
    bytes: Vec<u8>,
    text: String,
    line: Vec<u8>,
    next_line: Vec<u8>,
    value: f64,
    now_ns: i64,
    group_names: GroupNames,
}

impl Runner {
    pub(super) fn new(pipeline: Arc<Pipeline>) -> Self {
        let labels = Builder::new(pipeline.names.clone(), &pipeline.required);
        Self {
            pipeline,
            labels,
            keys: Keys::default(),
            scratch: Scratch::default(),
            bytes: Vec::new(),
            text: String::new(),
            line: Vec::new(),
            next_line: Vec::new(),
            value: 1.0,
            now_ns: 0,
            group_names: GroupNames::default(),
        }
    }

    /// Says what the template function `now` answers.
    pub fn set_now_ns(&mut self, now_ns: i64) {
        self.now_ns = now_ns;
    }

    /// Says which stream the lines that follow are of; each name once and sanitised.
    pub fn set_stream(&mut self, labels: &[(&str, &str)]) {
        self.labels.set_stream(labels.iter().copied());
    }

    /// Runs the stages over a line; false if it is dropped, and then nothing below means anything.
    /// Metadata in any order, names sanitised.
    pub fn run(&mut self, timestamp_ns: i64, line: &[u8], metadata: &[(&str, &[u8])]) -> bool {
        self.run_while(timestamp_ns, line, metadata, &mut || true)
    }

    /// The same, and asks now and then whether to go on: a long line with many stages takes its time. Is it told not
    /// to, the line is dropped.
    pub fn run_while(
        &mut self,
        timestamp_ns: i64,
        line: &[u8],
        metadata: &[(&str, &[u8])],
        go_on: &mut dyn FnMut() -> bool,
    ) -> bool {
        if self.labels.names.is_full(&self.pipeline.names) {
            self.labels.forget_names(&self.pipeline.names);
            self.keys.clear();
            self.group_names.clear();
        }
        self.labels.start_line();
        for &(name, value) in metadata {
            self.labels.add_metadata(name, value);
        }
        let mut rewritten = std::mem::take(&mut self.line);
        let mut next = std::mem::take(&mut self.next_line);
        let passes = self.run_steps(timestamp_ns, line, &mut rewritten, &mut next, go_on);
        self.line = rewritten;
        self.next_line = next;
        passes && self.run_unwrap()
    }

    fn run_steps(
        &mut self,
        timestamp_ns: i64,
        line: &[u8],
        rewritten: &mut Vec<u8>,
        next: &mut Vec<u8>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> bool {
        let mut is_rewritten = false;
        let mut read = 0;
        let mut parsing = Parsing {
            labels: &mut self.labels,
            keys: &mut self.keys,
            hints: &self.pipeline.hints,
            bytes: &mut self.bytes,
            text: &mut self.text,
        };
        for step in &self.pipeline.steps {
            let text = if is_rewritten { rewritten.as_slice() } else { line };
            let current = Line { text, timestamp_ns, now_ns: self.now_ns };
            read += text.len();
            if read > BYTES_PER_QUESTION {
                read = 0;
                if !go_on() {
                    return false;
                }
            }
            match step.run(&current, &mut parsing, &mut self.scratch, next) {
                Outcome::Drop => return false,
                Outcome::Pass => {}
                Outcome::Rewrite => {
                    std::mem::swap(rewritten, next);
                    is_rewritten = true;
                }
            }
            if !parsing.labels.has_room(0) {
                parsing.labels.set_error(TOO_LARGE);
                parsing.labels.set_error_details(&format!("labels of more than {VALUES_BYTES_MAX} bytes"));
                break;
            }
        }
        if !is_rewritten {
            rewritten.clear();
            rewritten.extend_from_slice(line);
        }
        true
    }

    fn run_unwrap(&mut self) -> bool {
        let Some(unwrapping) = &self.pipeline.unwrapping else { return true };
        let value = unwrapping.run(&mut self.labels);
        self.value = value.unwrap_or_default();
        value.is_some()
    }

    /// The line that the last run left.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// The unwrapped value of the last run; 1 without `unwrap`, 0 if it could not be read (then
    /// [`Runner::error`] is set).
    pub fn value(&self) -> f64 {
        self.value
    }

    /// `__error__` of the last run.
    pub fn error(&self) -> Option<&str> {
        std::str::from_utf8(self.labels.error()).ok().filter(|error| !error.is_empty())
    }

    /// Gives the labels that the last run left, sorted by name, with `__error__` and
    /// `__error_details__`. A label may be empty: parsers with expressions set those not found to
    /// the empty text.
    pub fn for_each_label(&mut self, f: &mut dyn FnMut(Label<'_>)) {
        let entries = &mut self.scratch.entries;
        self.labels.collect(entries);
        self.labels.sort(entries);
        for entry in &*entries {
            let (name, value) = (self.labels.names.text(entry.name), self.labels.text(entry.value));
            f(Label { name, value, origin: entry.origin });
        }
    }

    /// Writes the key of the labels that a grouping leaves (without a grouping: all): the same
    /// labels ⇔ the same bytes. As in Loki, the unwrapped label is left out unless the
    /// grouping is `by`, and a line with `__error__` keeps all labels.
    pub fn group_key(&mut self, grouping: Option<&Grouping>, empties: Empties, out: &mut Vec<u8>) {
        let unwrapped = self.pipeline.unwrapping.as_ref().map(|unwrapping| unwrapping.name);
        self.group_names.write_key(grouping, empties, unwrapped, &mut self.labels, &mut self.scratch.entries, out);
    }

    /// The labels of a key of [`Runner::group_key`].
    pub fn key_labels(key: &[u8]) -> Labels {
        key_labels(key)
    }
}
