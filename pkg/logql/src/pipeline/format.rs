//! `line_format` and `label_format`.

use super::StageError;
use super::builder::{Builder, Entry, VALUES_BYTES_MAX};
use super::names::{NameId, Names};
use crate::ast::{FormatValue, LabelFormat};
use crate::template::{Context, Fields, Template};

const TEMPLATE_ERROR: &str = "TemplateFormatErr";

/// A `line_format`.
#[derive(Debug)]
pub(super) struct LineTemplate {
    template: Template,
    /// The label that is the whole line.
    only: Option<NameId>,
}

impl LineTemplate {
    pub(super) fn new(text: &str, names: &mut Names) -> Result<Self, StageError> {
        let template = Template::parse(text).map_err(|error| StageError(format!("invalid line template: {error}")))?;
        let only = template.only_field().map(|name| names.intern(name));
        Ok(Self { template, only })
    }

    pub(super) fn fields(&self) -> Fields {
        self.template.fields()
    }

    /// Writes the new line; false if it stays as it is.
    pub(super) fn run(
        &self,
        line: &Line<'_>,
        labels: &mut Builder,
        entries: &mut Vec<Entry>,
        out: &mut Vec<u8>,
    ) -> bool {
        out.clear();
        if let Some(name) = self.only {
            // As in Loki, `__error__` is no label here, though it is one for other templates.
            out.extend_from_slice(labels.get(name).map_or(&[][..], |value| labels.value(value)));
            return true;
        }
        labels.collect(entries);
        match self.template.render(&View { line, labels, entries }, out) {
            Ok(()) => true,
            Err(error) => {
                fail(labels, &error);
                false
            }
        }
    }
}

/// The assignments of a `label_format`.
#[derive(Debug)]
pub(super) struct LabelTemplates {
    formats: Vec<(NameId, Value)>,
}

#[derive(Debug)]
enum Value {
    Rename(NameId),
    Template(Template),
}

impl LabelTemplates {
    pub(super) fn new(formats: &[LabelFormat], names: &mut Names) -> Result<Self, StageError> {
        let mut known: Vec<&str> = Vec::new();
        for LabelFormat { name, .. } in formats {
            if name == "__error__" {
                return Err(StageError(format!("{name} cannot be formatted")));
            }
            if known.contains(&name.as_str()) {
                let message = format!("multiple label name '{name}' not allowed in a single format operation");
                return Err(StageError(message));
            }
            known.push(name);
        }
        let mut out = Vec::with_capacity(formats.len());
        for LabelFormat { name, value } in formats {
            let value = match value {
                FormatValue::Rename(from) => Value::Rename(names.intern(from)),
                FormatValue::Template(text) => Value::Template(
                    Template::parse_label(text)
                        .map_err(|error| StageError(format!("invalid template for label '{name}': {error}")))?,
                ),
            };
            out.push((names.intern(name), value));
        }
        Ok(Self { formats: out })
    }

    /// The labels that it looks at: those that it renames, and what its templates name.
    pub(super) fn each_field(&self, mut renamed: impl FnMut(NameId), mut named: impl FnMut(Fields)) {
        for (_, value) in &self.formats {
            match value {
                Value::Rename(from) => renamed(*from),
                Value::Template(template) => named(template.fields()),
            }
        }
    }

    /// The labels that it sets.
    pub(super) fn set_names(&self) -> impl Iterator<Item = NameId> {
        self.formats.iter().map(|&(name, _)| name)
    }

    /// Sets the labels. All templates see the labels as they are before the first of them (but
    /// after the renames in front of it).
    pub(super) fn run(&self, line: &Line<'_>, labels: &mut Builder, entries: &mut Vec<Entry>, out: &mut Vec<u8>) {
        entries.clear();
        for (name, value) in &self.formats {
            match value {
                Value::Rename(from) => {
                    if let Some(value) = labels.get(*from) {
                        labels.set(*name, value);
                        labels.delete(*from);
                    }
                }
                Value::Template(template) => {
                    if entries.is_empty() {
                        labels.collect(entries);
                    }
                    out.clear();
                    match template.render(&View { line, labels, entries }, out) {
                        Ok(()) if labels.has_room(out.len()) => labels.set_text(*name, out),
                        Ok(()) => fail(labels, &format_args!("labels of more than {VALUES_BYTES_MAX} bytes")),
                        Err(error) => fail(labels, &error),
                    }
                }
            }
        }
    }
}

fn fail(labels: &mut Builder, error: &dyn std::fmt::Display) {
    labels.set_error(TEMPLATE_ERROR);
    labels.set_error_details(&error.to_string());
}

/// The line that a template sees.
pub(super) struct Line<'a> {
    pub(super) text: &'a [u8],
    pub(super) timestamp_ns: i64,
    pub(super) now_ns: i64,
}

struct View<'a> {
    line: &'a Line<'a>,
    labels: &'a Builder,
    entries: &'a [Entry],
}

impl Context for View<'_> {
    fn label(&self, name: &str) -> Option<&str> {
        let name = self.labels.names.find(name.as_bytes())?;
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        Some(self.labels.text(entry.value))
    }

    fn line(&self) -> &[u8] {
        self.line.text
    }

    fn timestamp_ns(&self) -> i64 {
        self.line.timestamp_ns
    }

    fn now_ns(&self) -> i64 {
        self.line.now_ns
    }

    fn for_each_label<'a>(&'a self, visit: &mut dyn FnMut(&'a str, &'a str)) {
        for entry in self.entries {
            visit(self.labels.names.text(entry.name), self.labels.text(entry.value));
        }
    }
}
