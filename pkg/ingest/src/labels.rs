//! Which fields of a JSON record become stream labels, and the labels of the open record.

use crate::decoded::IngestError;
use crate::options::{DecodeOptions, STREAM_LABELS_MAX};
use crate::roles::{KEYS, LEVELS, SERVICES};
use crate::scan::Raw;

/// Where a label's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Service,
    Level,
    /// The field of the label's name; the number is its place in [`LabelValues`].
    Field(usize),
}

/// The labels that the options ask for, sorted by name.
pub(crate) struct LabelPlan<'a> {
    labels: Vec<(&'a str, Source)>,
    fields: Vec<&'a str>,
}

impl<'a> LabelPlan<'a> {
    pub fn new(options: &DecodeOptions<'a>) -> Result<Self, IngestError> {
        let mut names: Vec<&str> = options.stream_labels.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() > STREAM_LABELS_MAX {
            return Err(IngestError::StreamLabels(format!(
                "`{}` names, at most `{STREAM_LABELS_MAX}` are allowed",
                names.len()
            )));
        }
        let max = options.limits.label_name_bytes_max;
        if let Some(name) = names.iter().find(|name| name.is_empty() || name.len() > max) {
            return Err(IngestError::StreamLabels(format!("a name has `{}` bytes, expected 1 to `{max}`", name.len())));
        }
        let mut fields = Vec::new();
        let labels = names.into_iter().map(|name| {
            let source = if name == KEYS[SERVICES.start] {
                Source::Service
            } else if name == KEYS[LEVELS.start] {
                Source::Level
            } else {
                fields.push(name);
                Source::Field(fields.len() - 1)
            };
            (name, source)
        });
        Ok(Self { labels: labels.collect(), fields })
    }

    /// The fields that are labels, by place.
    pub fn fields(&self) -> &[&'a str] {
        &self.fields
    }

    /// Whether any field is a label.
    #[inline]
    pub fn takes_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    /// The place of a field that is a label.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| *field == name)
    }
}

/// The open record's fields that may become labels. They wait for the record's end, because of two
/// of one name the last counts.
#[derive(Default)]
pub(crate) struct LabelValues {
    waiting: Vec<Option<Raw>>,
    spans: Vec<Option<(usize, usize)>>,
    text: String,
}

impl LabelValues {
    pub fn clear(&mut self, plan: &LabelPlan<'_>) {
        self.text.clear();
        self.waiting.clear();
        self.waiting.resize(plan.fields.len(), None);
        self.spans.clear();
        self.spans.resize(plan.fields.len(), None);
    }

    /// Whether the record has a value for a place.
    pub fn has(&self, place: usize) -> bool {
        self.waiting.get(place).is_some_and(Option::is_some)
    }

    /// Notes a value; a second one replaces the first.
    pub fn note(&mut self, place: usize, raw: Raw) {
        if let Some(waiting) = self.waiting.get_mut(place) {
            *waiting = Some(raw);
        }
    }

    /// The value noted for a place.
    pub fn noted(&self, place: usize) -> Option<Raw> {
        self.waiting.get(place).copied().flatten()
    }

    /// Makes a text the label of a place.
    pub fn set(&mut self, place: usize, value: &str) {
        let start = self.text.len();
        self.text.push_str(value);
        if let Some(span) = self.spans.get_mut(place) {
            *span = Some((start, self.text.len()));
        }
    }

    fn get(&self, place: usize) -> Option<&str> {
        let (start, end) = self.spans.get(place).copied().flatten()?;
        self.text.get(start..end)
    }

    /// Calls `then` with the record's labels, sorted by name. What is missing or empty is no label.
    pub fn with<T>(
        &self,
        plan: &LabelPlan<'_>,
        service: &str,
        level: Option<&str>,
        then: impl FnOnce(&[(&str, &str)]) -> T,
    ) -> T {
        let value = |source| match source {
            Source::Service => Some(service),
            Source::Level => level,
            Source::Field(place) => self.get(place),
        };
        // The usual case apart: it needs no room for more.
        if let [(name, source)] = *plan.labels {
            return match value(source) {
                Some(value) if !value.is_empty() => then(&[(name, value)]),
                _ => then(&[]),
            };
        }
        let mut labels = [("", ""); STREAM_LABELS_MAX];
        let mut count = 0;
        for &(name, source) in &plan.labels {
            if let Some(value) = value(source).filter(|value| !value.is_empty())
                && let Some(label) = labels.get_mut(count)
            {
                *label = (name, value);
                count += 1;
            }
        }
        then(labels.get(..count).unwrap_or_default())
    }
}
