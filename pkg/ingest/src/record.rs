//! One JSON object into one row: roles, flattening, labels, limits.
//!
//! A member that is a field goes to its column at once. A member with a role waits in its slot
//! until the object ends, because which of several keys wins must not depend on their order; so do
//! `metadata` and `Properties`, because what clashes is only known then.

mod finish;
mod names;

pub(crate) use finish::check_time;

use crate::labels::{LabelPlan, LabelValues};
use crate::options::DecodeOptions;
use crate::roles::{KEYS, MERGED, RESERVED, Role, SERVICE_NAME, SLOTS, Schema, TIMES};
use crate::scan::{Raw, Scanner, Shape, Span, Syntax};
use crate::streams::StreamTable;
use crate::unescape::unescape;
use names::Names;
use timberlog_types::{BatchBuilder, ValueKind};

/// Objects are flattened by recursion, so no configuration may go deeper than this.
const DEPTH_MAX: usize = 512;

/// Buffers that outlive a record.
#[derive(Default)]
pub(crate) struct State {
    pub streams: StreamTable,
    slots: [Raw; SLOTS],
    labels: LabelValues,
    clashes: Names,
    name: String,
    path: String,
    prefixed: String,
    value: String,
    message: String,
    service: String,
    level: String,
}

/// What becomes of a member found while flattening.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaf {
    /// A field, under its path.
    Field,
    /// Its name is noted if the record has that name already.
    NoteClash,
    /// A field without the prefix of the object in this slot, or with it if the name clashes.
    Merge(usize),
}

/// Reads objects from a text into a builder.
pub(crate) struct RecordReader<'r, 'a> {
    pub scan: Scanner<'a>,
    builder: &'r mut BatchBuilder,
    state: &'r mut State,
    options: &'r DecodeOptions<'r>,
    plan: LabelPlan<'r>,
    schema: Schema,
    /// Bit `n`: slot `n` holds a value.
    filled: u32,
    /// The key of the member that is being read.
    key: Option<Span>,
    failure: Option<String>,
}

impl<'r, 'a> RecordReader<'r, 'a> {
    pub fn new(
        text: &'a str,
        builder: &'r mut BatchBuilder,
        state: &'r mut State,
        options: &'r DecodeOptions<'r>,
        plan: LabelPlan<'r>,
        schema: Schema,
    ) -> Self {
        builder.clear();
        state.streams.clear();
        let scan = Scanner::new(text);
        Self { scan, builder, state, options, plan, schema, filled: 0, key: None, failure: None }
    }

    /// Reads the object that begins here and adds it to the batch. The outer error says that it
    /// cannot be read to its end, the inner one why it is refused.
    #[inline]
    pub fn read(&mut self, damaged: impl FnOnce(Span) -> Option<String>) -> Result<Result<(), String>, Syntax> {
        let start = self.scan.at;
        self.filled = 0;
        self.key = None;
        self.failure = None;
        if self.plan.takes_fields() {
            self.state.labels.clear(&self.plan);
        }
        if let Err(error) = self.members() {
            self.builder.abort_row();
            return Err(error);
        }
        self.key = None;
        let span = Span { start, end: self.scan.at };
        let max = self.options.limits.record_bytes_max;
        if span.end - span.start > max {
            self.fail(|| format!("the record has `{}` bytes, at most `{max}` are allowed", span.end - span.start));
        }
        if let Some(reason) = damaged(span) {
            self.failure = Some(reason);
        }
        let result = match self.failure.take() {
            None => self.finish(),
            Some(reason) => Err(reason),
        };
        if result.is_err() {
            self.builder.abort_row();
        }
        Ok(result)
    }

    /// The key of the member at which a record could not be read on.
    pub fn key(&self) -> Option<&'a str> {
        self.key.map(|span| self.scan.text(span))
    }

    fn fail(&mut self, reason: impl FnOnce() -> String) {
        if self.failure.is_none() {
            self.failure = Some(reason());
        }
    }

    fn members(&mut self) -> Result<(), Syntax> {
        self.scan.expect(b'{', "an object")?;
        self.scan.skip_whitespace();
        if self.scan.peek() == Some(b'}') {
            self.scan.at += 1;
            self.fail(|| "the record is an empty object, expected at least one key".into());
            return Ok(());
        }
        loop {
            let key = self.scan.key()?;
            self.key = Some(key.span);
            let text = self.scan.text(key.span);
            if key.shape == Shape::Plain {
                self.member(text)?;
            } else {
                let mut name = std::mem::take(&mut self.state.name);
                name.clear();
                unescape(text, &mut name);
                let result = self.member(&name);
                self.state.name = name;
                result?;
            }
            if !self.scan.next_key()? {
                return Ok(());
            }
        }
    }

    #[inline]
    fn member(&mut self, name: &str) -> Result<(), Syntax> {
        match self.schema.role(name) {
            Role::Field => self.field(name),
            Role::Renamed(name) => self.field(name),
            Role::Slot(slot) => self.slot(slot),
        }
    }

    fn slot(&mut self, slot: usize) -> Result<(), Syntax> {
        let raw = match self.scan.peek() {
            Some(b'{') if slot != TIMES.start && !MERGED.contains(&slot) => match self.scan.empty_object() {
                Some(raw) => raw,
                None => return self.field(KEYS[slot]),
            },
            Some(b'{' | b'[') => self.container(1)?,
            _ => self.scan.scalar()?,
        };
        if MERGED.contains(&slot) && raw.shape == Shape::Null && self.schema == Schema::Write {
            // A nil map, as Go writes it: no properties at all.
            self.filled &= !(1 << slot);
        } else if MERGED.contains(&slot) && raw.shape != Shape::Object {
            self.emit(KEYS[slot], raw);
        } else {
            self.fill(slot, raw);
        }
        Ok(())
    }

    fn fill(&mut self, slot: usize, raw: Raw) {
        self.state.slots[slot] = raw;
        self.filled |= 1 << slot;
    }

    #[inline]
    fn field(&mut self, name: &str) -> Result<(), Syntax> {
        let raw = match self.scan.peek() {
            Some(b'{') => {
                let mut path = std::mem::take(&mut self.state.path);
                path.clear();
                path.push_str(name);
                let result = self.flatten(&mut path, 2, Leaf::Field);
                self.state.path = path;
                return result;
            }
            Some(b'[') => self.container(1)?,
            _ => self.scan.scalar()?,
        };
        self.emit(name, raw);
        Ok(())
    }

    /// Reads an array or object as a whole; `depth` says how many are around it.
    fn container(&mut self, depth: usize) -> Result<Raw, Syntax> {
        let (raw, deepest) = self.scan.skip()?;
        let max = self.depth_max();
        if depth + deepest > max {
            self.fail_depth();
        }
        Ok(raw)
    }

    fn depth_max(&self) -> usize {
        self.options.limits.depth_max.min(DEPTH_MAX)
    }

    fn fail_depth(&mut self) {
        let max = self.depth_max();
        let key = self.key().unwrap_or_default();
        self.fail(|| format!("`{}`: nested deeper than `{max}` levels, which is the most allowed", excerpt(key)));
    }

    /// Reads an object and hands each of its values on under its path. `depth` counts the objects
    /// around its members.
    fn flatten(&mut self, path: &mut String, depth: usize, leaf: Leaf) -> Result<(), Syntax> {
        if depth > self.depth_max() {
            self.fail_depth();
            return self.scan.skip().map(|_| ());
        }
        let is_root = depth == 2 && leaf != Leaf::Field;
        let start = self.scan.at;
        self.scan.expect(b'{', "an object")?;
        self.scan.skip_whitespace();
        if self.scan.peek() == Some(b'}') {
            self.scan.at += 1;
            if !is_root {
                let span = Span { start, end: self.scan.at };
                self.leaf(path, Raw { shape: Shape::Object, span }, leaf);
            }
            return Ok(());
        }
        let base = path.len();
        loop {
            let key = self.scan.key()?;
            path.truncate(base);
            if !is_root {
                path.push('.');
            }
            match key.shape {
                Shape::Escaped => unescape(self.scan.text(key.span), path),
                _ => path.push_str(self.scan.text(key.span)),
            }
            match self.scan.peek() {
                Some(b'{') => self.flatten(path, depth + 1, leaf)?,
                Some(b'[') => {
                    let raw = self.container(depth)?;
                    self.leaf(path, raw, leaf);
                }
                _ => {
                    let raw = self.scan.scalar()?;
                    self.leaf(path, raw, leaf);
                }
            }
            if !self.scan.next_key()? {
                return Ok(());
            }
        }
    }

    fn leaf(&mut self, path: &str, raw: Raw, leaf: Leaf) {
        // First of all: a path of many bytes must not be hashed for each of many members.
        if !self.check_name(path) {
            return;
        }
        match leaf {
            Leaf::Field if path == KEYS[SERVICE_NAME] && self.schema == Schema::Any => {
                self.fill(SERVICE_NAME, raw);
            }
            Leaf::Field => self.emit(path, raw),
            Leaf::NoteClash => {
                let labelled = self.plan.place(path).is_some_and(|place| self.state.labels.has(place));
                if labelled || is_reserved(path) || self.builder.has_field(path) {
                    self.state.clashes.insert(path);
                }
            }
            Leaf::Merge(slot) if self.state.clashes.contains(path) => {
                let mut prefixed = std::mem::take(&mut self.state.prefixed);
                prefixed.clear();
                prefixed.push_str(KEYS[slot]);
                prefixed.push('.');
                prefixed.push_str(path);
                self.emit(&prefixed, raw);
                self.state.prefixed = prefixed;
            }
            Leaf::Merge(_) => self.emit(path, raw),
        }
    }

    /// Whether the record is good so far, and this may be the name of a field.
    #[inline]
    fn check_name(&mut self, name: &str) -> bool {
        let (found, max) = (name.len(), self.options.limits.field_name_bytes_max);
        if found > max {
            self.fail(|| format!("`{}`: the name has `{found}` bytes, at most `{max}` are allowed", excerpt(name)));
        }
        self.failure.is_none()
    }

    /// Gives the open row a field, or a label if the options say so.
    #[inline]
    fn emit(&mut self, name: &str, raw: Raw) {
        if !self.check_name(name) {
            return;
        }
        if self.plan.takes_fields()
            && let Some(place) = self.plan.place(name)
        {
            return self.state.labels.note(place, raw);
        }
        self.emit_field(name, raw);
    }

    #[inline]
    fn emit_field(&mut self, name: &str, raw: Raw) {
        let text = self.scan.text(raw.span);
        let value = &mut self.state.value;
        let (kind, text) = match raw.shape {
            Shape::Plain => (ValueKind::String, text),
            Shape::Escaped => {
                value.clear();
                unescape(text, value);
                (ValueKind::String, value.as_str())
            }
            Shape::Number => (ValueKind::Number, text),
            Shape::Bool => (ValueKind::Bool, text),
            Shape::Null => (ValueKind::Null, ""),
            Shape::Array => (ValueKind::Json, text),
            Shape::Object => (ValueKind::Json, "{}"),
        };
        let limits = self.options.limits;
        if self.builder.open_fields() >= limits.fields_max && !self.builder.has_field(name) {
            let max = limits.fields_max;
            self.fail(|| format!("the record has more than `{max}` fields, which is the most allowed"));
        } else if let Err(error) = self.builder.field(name, kind, text.as_bytes()) {
            self.fail(|| format!("`{}`: {error}", excerpt(name)));
        }
    }
}

fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|&slot| KEYS[slot] == name)
}

pub(crate) fn too_long(name: &str, found: usize, max: usize) -> String {
    format!("`{}`: the value has `{found}` bytes, at most `{max}` are allowed", excerpt(name))
}

/// The beginning of a text that may be long.
pub(crate) fn excerpt(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}
