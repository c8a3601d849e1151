//! The labels of one line while stages work on it.
//!
//! Three kinds: those of the stream, the metadata, and what stages found (parsed). A parsed label
//! hides one of the other kinds with its name; metadata whose name the stream has is renamed. All
//! values of a line are in one buffer that only grows during a run, so that a span stays valid
//! until the next one. Go's Loki keeps the same lists; where the order of its look-ups shows in a
//! result it is kept here.

use super::names::{NameId, Names};
use crate::labels::Origin;

/// A value: where it is in the buffer of the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: usize,
    end: usize,
}

impl Span {
    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// A label that a run left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) name: NameId,
    pub(super) value: Span,
    pub(super) origin: Origin,
}

/// Names that every query has, at numbers that never change.
pub(super) const ERROR: NameId = 0;
pub(super) const ERROR_DETAILS: NameId = 1;
pub(super) const PRESERVE_ERROR: NameId = 2;
pub(super) const RESERVED: [&str; 3] = ["__error__", "__error_details__", "__preserve_error__"];

/// Bytes of values that stages may find or make for one line: what a thread holds of it, whatever
/// the query.
pub(super) const VALUES_BYTES_MAX: usize = 64 << 20;

/// The labels of one line.
#[derive(Debug, Default)]
pub(super) struct Builder {
    pub(super) names: Names,
    values: Vec<u8>,
    /// Bytes at the front of `values` that belong to the stream.
    stream_bytes: usize,
    stream: Vec<(NameId, Span)>,
    metadata: Vec<(NameId, Span)>,
    parsed: Vec<(NameId, Span)>,
    deleted: Vec<NameId>,
    error: Span,
    error_details: Span,
    marks: Vec<Mark>,
    line: u64,
    stream_number: u64,
    /// Names of the query that its parsers must find, by number, and how many they are.
    required: Vec<bool>,
    required_count: usize,
    required_found: usize,
}

/// What is known of a name: each field holds the line (or stream) for which it is so.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    stream: u64,
    metadata: u64,
    extracted: u64,
    parsed: u64,
    parsed_at: usize,
}

impl Builder {
    pub(super) fn new(names: Names, required: &[NameId]) -> Self {
        let mut flags = vec![false; names.len()];
        for &id in required {
            if let Some(flag) = flags.get_mut(id) {
                *flag = true;
            }
        }
        let required_count = flags.iter().filter(|&&flag| flag).count();
        Self { names, required: flags, required_count, line: 1, stream_number: 1, ..Self::default() }
    }

    /// Starts the lines of another stream.
    pub(super) fn set_stream<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>) {
        self.stream_number += 1;
        self.values.clear();
        self.stream.clear();
        for (name, value) in labels {
            let id = self.names.intern(name);
            let value = self.keep(value.as_bytes());
            self.stream.push((id, value));
            let stream_number = self.stream_number;
            self.mark(id).stream = stream_number;
        }
        self.stream_bytes = self.values.len();
    }

    /// Starts over with the names of the query and the stream as it was.
    pub(super) fn forget_names(&mut self, of_query: &Names) {
        let stream: Vec<(String, String)> = self
            .stream
            .iter()
            .map(|&(id, value)| {
                (self.names.text(id).to_owned(), String::from_utf8_lossy(self.value(value)).into_owned())
            })
            .collect();
        self.names = of_query.clone();
        self.marks.clear();
        self.set_stream(stream.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    }

    /// Starts a line.
    pub(super) fn start_line(&mut self) {
        self.line += 1;
        self.values.truncate(self.stream_bytes);
        self.metadata.clear();
        self.parsed.clear();
        self.deleted.clear();
        self.error = Span::default();
        self.error_details = Span::default();
        self.required_found = 0;
    }

    /// Adds a metadata label: under another name if the stream has its own, as the error if it is
    /// named so.
    pub(super) fn add_metadata(&mut self, name: &str, value: &[u8]) {
        let mut id = self.names.intern(name);
        if self.in_stream(id) {
            id = self.names.suffixed(id);
        }
        let value = self.keep(value);
        match id {
            ERROR => self.error = value,
            ERROR_DETAILS => self.error_details = value,
            _ if self.in_metadata(id) => {
                if let Some((_, old)) = self.metadata.iter_mut().find(|(other, _)| *other == id) {
                    *old = value;
                }
            }
            _ => {
                self.metadata.push((id, value));
                let line = self.line;
                self.mark(id).metadata = line;
            }
        }
    }

    /// Copies a value into the buffer of the line, which holds nothing but UTF-8: a replacement
    /// character stands for each byte that is not.
    pub(super) fn keep(&mut self, value: &[u8]) -> Span {
        let start = self.values.len();
        if value.is_ascii() || std::str::from_utf8(value).is_ok() {
            self.values.extend_from_slice(value);
        } else {
            for chunk in value.utf8_chunks() {
                self.values.extend_from_slice(chunk.valid().as_bytes());
                chunk.invalid().iter().for_each(|_| self.values.extend_from_slice("\u{fffd}".as_bytes()));
            }
        }
        Span { start, end: self.values.len() }
    }

    /// Whether so many more bytes of values are within the limit.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.values.len().saturating_add(bytes) <= VALUES_BYTES_MAX
    }

    /// A value as text.
    pub(super) fn text(&self, span: Span) -> &str {
        std::str::from_utf8(self.value(span)).unwrap_or_default()
    }

    pub(super) fn value(&self, span: Span) -> &[u8] {
        self.values.get(span.start..span.end).unwrap_or_default()
    }

    /// Whether the stream has the label.
    pub(super) fn in_stream(&self, id: NameId) -> bool {
        self.marks.get(id).is_some_and(|mark| mark.stream == self.stream_number)
    }

    fn in_metadata(&self, id: NameId) -> bool {
        self.marks.get(id).is_some_and(|mark| mark.metadata == self.line)
    }

    fn in_parsed(&self, id: NameId) -> bool {
        self.marks.get(id).is_some_and(|mark| mark.parsed == self.line)
    }

    /// Whether a parsed label of the name would collide.
    pub(super) fn is_taken(&self, id: NameId) -> bool {
        self.marks.get(id).is_some_and(|mark| mark.stream == self.stream_number || mark.metadata == self.line)
    }

    /// The name under which a parsed label is filed: its own, or with a suffix if that is taken.
    pub(super) fn free_name(&mut self, id: NameId) -> NameId {
        if self.is_taken(id) { self.names.suffixed(id) } else { id }
    }

    /// Whether a stage before has found a label of the name.
    pub(super) fn is_extracted(&self, id: NameId) -> bool {
        self.marks.get(id).is_some_and(|mark| mark.extracted == self.line)
    }

    /// Whether parsers should find the label: all, unless the query says which it needs.
    pub(super) fn should_extract(&self, id: NameId) -> bool {
        self.required_count == 0 || self.required.get(id).copied().unwrap_or_default()
    }

    /// Whether a name that begins so should be found.
    pub(super) fn should_extract_prefix(&self, prefix: &str) -> bool {
        let required = || self.required.iter().enumerate().filter(|&(_, &required)| required);
        self.required_count == 0 || required().any(|(id, _)| self.names.text(id).starts_with(prefix))
    }

    /// Whether the query says which labels it needs.
    pub(super) fn has_required(&self) -> bool {
        self.required_count > 0
    }

    /// Whether all labels that the query needs have been found.
    pub(super) fn all_extracted(&self) -> bool {
        self.required_count > 0 && self.required_found == self.required_count
    }

    /// Sets a parsed label, which hides metadata and labels of the stream.
    pub(super) fn set(&mut self, id: NameId, value: Span) {
        if self.in_metadata(id) {
            self.remove_metadata(id);
        }
        let line = self.line;
        let at = self.parsed.len();
        let required = self.required.get(id).copied().unwrap_or_default();
        let mark = self.mark(id);
        let found = required && mark.extracted != line;
        mark.extracted = line;
        if mark.parsed == line {
            let at = mark.parsed_at;
            if let Some((_, old)) = self.parsed.get_mut(at) {
                *old = value;
            }
        } else {
            mark.parsed = line;
            mark.parsed_at = at;
            self.parsed.push((id, value));
        }
        self.required_found += usize::from(found);
    }

    /// [`Builder::set`] with a text.
    pub(super) fn set_text(&mut self, id: NameId, value: &[u8]) {
        let value = self.keep(value);
        self.set(id, value);
    }

    /// The value of a label.
    pub(super) fn get(&self, id: NameId) -> Option<Span> {
        let in_list = |list: &[(NameId, Span)]| list.iter().find(|&&(other, _)| other == id).map(|&(_, value)| value);
        let mark = self.marks.get(id)?;
        if mark.metadata == self.line {
            return in_list(&self.metadata);
        }
        if mark.parsed == self.line {
            return self.parsed.get(mark.parsed_at).map(|&(_, value)| value);
        }
        if mark.stream != self.stream_number || self.deleted.contains(&id) {
            return None;
        }
        in_list(&self.stream).filter(|value| !value.is_empty())
    }

    /// Deletes a label, of whatever kind.
    pub(super) fn delete(&mut self, id: NameId) {
        if self.in_metadata(id) {
            self.remove_metadata(id);
        }
        if self.in_parsed(id) {
            self.parsed.retain(|&(other, _)| other != id);
            self.mark(id).parsed = 0;
            for at in 0..self.parsed.len() {
                if let Some(&(other, _)) = self.parsed.get(at) {
                    self.mark(other).parsed_at = at;
                }
            }
        }
        self.deleted.push(id);
    }

    fn remove_metadata(&mut self, id: NameId) {
        self.metadata.retain(|&(other, _)| other != id);
        self.mark(id).metadata = 0;
    }

    fn mark(&mut self, id: NameId) -> &mut Mark {
        if id >= self.marks.len() {
            self.marks.resize(id + 1, Mark::default());
        }
        &mut self.marks[id]
    }

    /// `__error__`; empty if there is none.
    pub(super) fn error(&self) -> &[u8] {
        self.value(self.error)
    }

    /// `__error_details__`; empty if there are none.
    pub(super) fn error_details(&self) -> &[u8] {
        self.value(self.error_details)
    }

    pub(super) fn has_error(&self) -> bool {
        !self.error.is_empty()
    }

    /// Sets `__error__`.
    pub(super) fn set_error(&mut self, error: &str) {
        self.error = self.keep(error.as_bytes());
    }

    /// Sets `__error_details__`.
    pub(super) fn set_error_details(&mut self, details: &str) {
        self.error_details = self.keep(details.as_bytes());
    }

    pub(super) fn reset_error(&mut self) {
        self.error = Span::default();
    }

    pub(super) fn reset_error_details(&mut self) {
        self.error_details = Span::default();
    }

    fn is_unchanged(&self) -> bool {
        self.deleted.is_empty() && self.metadata.is_empty() && self.parsed.is_empty()
    }

    /// All labels in no order, with the errors. As in Loki, details without an error show only when
    /// there are labels beyond those of the stream.
    pub(super) fn collect(&self, out: &mut Vec<Entry>) {
        out.clear();
        let entry = |origin| move |&(name, value): &(NameId, Span)| Entry { name, value, origin };
        if self.is_unchanged() && !self.has_error() {
            out.extend(self.stream.iter().map(entry(Origin::Stream)));
            return;
        }
        out.extend(self.stream.iter().filter(|&&(id, _)| self.shows_stream(id)).map(entry(Origin::Stream)));
        out.extend(self.metadata.iter().map(entry(Origin::Metadata)));
        // A key of the line may be named like an error; then the error hides it.
        let is_error =
            |id| (id == ERROR && self.has_error()) || (id == ERROR_DETAILS && !self.error_details.is_empty());
        out.extend(self.parsed.iter().filter(|&&(id, _)| !is_error(id)).map(entry(Origin::Parsed)));
        for (name, value) in [(ERROR, self.error), (ERROR_DETAILS, self.error_details)] {
            if !value.is_empty() {
                out.push(Entry { name, value, origin: Origin::Parsed });
            }
        }
    }

    fn shows_stream(&self, id: NameId) -> bool {
        !self.in_metadata(id) && !self.in_parsed(id) && !self.deleted.contains(&id)
    }

    /// The labels that `by` leaves. As in Loki, a label that was deleted and set again is not among
    /// them.
    pub(super) fn collect_by(&self, names: &[NameId], out: &mut Vec<Entry>) {
        out.clear();
        for &name in names {
            if self.deleted.contains(&name) {
                continue;
            }
            if let Some(value) = self.get(name) {
                out.push(Entry { name, value, origin: Origin::Parsed });
            }
        }
    }

    /// The labels that `without` leaves.
    pub(super) fn collect_without(&self, names: &[NameId], out: &mut Vec<Entry>) {
        self.collect(out);
        out.retain(|entry| !names.contains(&entry.name) && entry.name != ERROR && entry.name != ERROR_DETAILS);
    }

    /// Sorts labels by name.
    pub(super) fn sort(&self, entries: &mut [Entry]) {
        entries.sort_unstable_by(|left, right| self.names.text(left.name).cmp(self.names.text(right.name)));
    }
}
