//! What all parsers do with a label that they find.

use super::builder::{Builder, PRESERVE_ERROR};
use super::label_filter::LabelTest;
use super::names::{Keys, NameId};

/// What the query says about labels that parsers find (which labels it requires is the builder's).
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// No label is looked at: parsers need not run.
    pub(super) no_labels: bool,
    /// The query looks at `__error__`: lines that a parser cannot read say so in a label too.
    pub(super) preserve_error: bool,
    /// Label filters that decide by one label: a line can be dropped as soon as it is found. As in
    /// Loki, wherever the filter stands in the query.
    pub(super) tests: Vec<(NameId, LabelTest)>,
}

/// What a parser works with.
pub(super) struct Parsing<'a> {
    pub(super) labels: &'a mut Builder,
    pub(super) keys: &'a mut Keys,
    pub(super) hints: &'a Hints,
    pub(super) bytes: &'a mut Vec<u8>,
    pub(super) text: &'a mut String,
}

impl Parsing<'_> {
    /// Whether nothing need be found (any more).
    pub(super) fn is_idle(&self) -> bool {
        self.hints.no_labels || self.labels.all_extracted()
    }

    /// The name under which a label that was found is filed; `None` if it is not wanted or was found
    /// before.
    pub(super) fn wanted(&mut self, name: NameId) -> Option<NameId> {
        let name = self.labels.free_name(name);
        (self.labels.should_extract(name) && !self.labels.is_extracted(name)).then_some(name)
    }

    /// Whether the line may still pass with the label as it was just set.
    pub(super) fn may_pass(&mut self, name: NameId) -> bool {
        match self.hints.tests.iter().find(|(other, _)| *other == name) {
            Some((_, test)) => test.passes(self.labels),
            None => true,
        }
    }

    /// Sets the error of a line that a parser cannot read.
    pub(super) fn fail(&mut self, error: &str, details: Option<&dyn std::fmt::Display>) {
        self.labels.set_error(error);
        if let Some(details) = details {
            self.labels.set_error_details(&details.to_string());
        }
        if self.hints.preserve_error {
            self.labels.set_text(PRESERVE_ERROR, b"true");
        }
    }
}
