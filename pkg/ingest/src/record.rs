//! One JSON object into one row: roles, flattening, labels, limits.
//!
//! A member that is a field goes to its column at once. A member with a role waits in its slot
//! until the object ends, because which of several keys wins must not depend on their order; so do
//! `metadata` and `Properties`, because what clashes is only known then.

use crate::labels::{LabelPlan, LabelValues};
use crate::options::DecodeOptions;
use crate::roles::{KEYS, LEVELS, MERGED, MESSAGES, RESERVED, Role, SERVICE_NAME, SERVICES, SLOTS, Schema, TIMES};
use crate::scan::{Raw, Scanner, Shape, Span, Syntax};
use crate::streams::StreamTable;
use crate::unescape::unescape;
use hashbrown::HashTable;
use std::ops::Range;
use timberlog_types::time::{self, SECOND_NS, TimeError};
use timberlog_types::{BatchBuilder, ValueKind};
use xxhash_rust::xxh3::xxh3_64;

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

/// A set of names in one allocation.
#[derive(Default)]
struct Names {
    text: String,
    spans: HashTable<(usize, usize)>,
}

impl Names {
    fn clear(&mut self) {
        self.text.clear();
        self.spans.clear();
    }

    fn insert(&mut self, name: &str) {
        if !self.contains(name) {
            let start = self.text.len();
            self.text.push_str(name);
            let Self { text, spans } = self;
            let hash = |&(start, end): &(usize, usize)| xxh3_64(text.as_bytes().get(start..end).unwrap_or_default());
            spans.insert_unique(xxh3_64(name.as_bytes()), (start, text.len()), hash);
        }
    }

    fn contains(&self, name: &str) -> bool {
        let is_name = |&(start, end): &(usize, usize)| self.text.get(start..end) == Some(name);
        !self.spans.is_empty() && self.spans.find(xxh3_64(name.as_bytes()), is_name).is_some()
    }
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
        if MERGED.contains(&slot) && raw.shape != Shape::Object {
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

    /// Makes labels of the fields that were noted for it. A label is a text that is not empty: null,
    /// arrays and empty texts stay fields.
    fn settle_labels(&mut self) {
        for place in 0..self.plan.fields().len() {
            let (Some(&name), Some(raw)) = (self.plan.fields().get(place), self.state.labels.noted(place)) else {
                continue;
            };
            let State { labels, value, .. } = &mut *self.state;
            let text = role_text(&self.scan, raw, value);
            if matches!(raw.shape, Shape::Null | Shape::Array | Shape::Object) || text.is_empty() {
                self.emit_field(name, raw);
                continue;
            }
            labels.set(place, text);
            let (found, max) = (text.len(), self.options.limits.label_value_bytes_max);
            if found > max {
                self.fail(|| too_long(name, found, max));
            }
        }
    }

    /// The first slot of a role that holds something: null and `{}` are not sent, nor is an empty
    /// text where `skip_empty` says so. (A `timestamp` that is an object is refused later.)
    fn winner(&self, slots: Range<usize>, skip_empty: SkipEmpty) -> Option<usize> {
        let mut filled = self.filled & bits(slots);
        while filled != 0 {
            let slot = filled.trailing_zeros() as usize;
            let raw = self.state.slots[slot];
            let is_empty = raw.shape == Shape::Plain && raw.span.start == raw.span.end;
            let is_nothing = match raw.shape {
                Shape::Null => true,
                Shape::Object => slot != TIMES.start,
                _ => is_empty && skip_empty == SkipEmpty::Yes,
            };
            if !is_nothing {
                return Some(slot);
            }
            filled &= filled - 1;
        }
        None
    }

    fn finish(&mut self) -> Result<(), String> {
        let time = self.winner(TIMES, SkipEmpty::No);
        let message = self.winner(MESSAGES, SkipEmpty::No);
        let level = self.winner(LEVELS, SkipEmpty::Yes);
        let service = self.winner(SERVICES, SkipEmpty::Yes);
        let consumed =
            [time, message].into_iter().flatten().chain(RESERVED).fold(bits(MERGED), |bits, slot| bits | 1 << slot);
        let mut left = self.filled & !consumed;
        while left != 0 {
            let slot = left.trailing_zeros() as usize;
            self.emit(KEYS[slot], self.state.slots[slot]);
            left &= left - 1;
        }
        if self.filled & bits(MERGED) != 0 {
            for slot in MERGED {
                if self.filled & 1 << slot != 0 {
                    self.merge(slot);
                }
            }
        }
        if self.plan.takes_fields() {
            self.settle_labels();
        }
        if let Some(reason) = self.failure.take() {
            return Err(reason);
        }
        let timestamp = self.timestamp(time)?;
        self.finish_row(timestamp, message, level, service)
    }

    fn finish_row(
        &mut self,
        timestamp: i64,
        message: Option<usize>,
        level: Option<usize>,
        service: Option<usize>,
    ) -> Result<(), String> {
        let Self { scan, builder, options, plan, .. } = self;
        let State { slots, streams, labels, service: service_text, level: level_text, message: message_text, .. } =
            &mut *self.state;
        let max = options.limits.label_value_bytes_max;
        let service = match service {
            Some(slot) => short(KEYS[slot], role_text(scan, slots[slot], service_text), max)?,
            None => options.default_service,
        };
        let level = match level {
            Some(slot) => Some(short(KEYS[slot], role_text(scan, slots[slot], level_text), max)?),
            None => None,
        };
        let message = message.map_or("", |slot| role_text(scan, slots[slot], message_text));
        let level_id = builder.level(level).map_err(|error| format!("`level`: {error}"))?;
        let stream = labels
            .with(plan, service, level, |labels| streams.id(service, labels, builder, options.streams))
            .map_err(|error| error.to_string())?;
        builder.finish_row(timestamp, stream, level_id, message.as_bytes()).map_err(|error| error.to_string())
    }

    /// Adds the members of the object in a slot to the fields.
    fn merge(&mut self, slot: usize) {
        let behind = self.scan.at;
        let start = self.state.slots[slot].span.start;
        let mut path = std::mem::take(&mut self.state.path);
        self.state.clashes.clear();
        for leaf in [Leaf::NoteClash, Leaf::Merge(slot)] {
            path.clear();
            self.scan.at = start;
            // It was scanned to its end before.
            let scanned = self.flatten(&mut path, 2, leaf);
            debug_assert_eq!(scanned, Ok(()));
        }
        self.state.path = path;
        self.scan.at = behind;
    }

    fn timestamp(&mut self, slot: Option<usize>) -> Result<i64, String> {
        let now = self.options.now_ns;
        let Some(slot) = slot else { return Ok(now) };
        let (raw, key) = (self.state.slots[slot], KEYS[slot]);
        let text = role_text(&self.scan, raw, &mut self.state.value);
        let parsed = match raw.shape {
            Shape::Plain | Shape::Escaped => time::parse(text.as_bytes()),
            Shape::Number if self.schema == Schema::Write => match parse_ms(text) {
                Ok(0) => return Ok(now),
                parsed => parsed,
            },
            Shape::Number => time::parse_unix(text.as_bytes()),
            shape => return Err(format!("`{key}`: found {}, {}", shape.name(), TimeError::Malformed)),
        };
        check_time(parsed, key, text, self.options)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SkipEmpty {
    Yes,
    No,
}

/// Refuses what is no time, or too far ahead.
pub(crate) fn check_time(
    parsed: Result<i64, TimeError>,
    key: &str,
    text: &str,
    options: &DecodeOptions<'_>,
) -> Result<i64, String> {
    let max = options.limits.max_future_ns;
    match parsed {
        Ok(time) if time > options.now_ns.saturating_add(max) => Err(format!(
            "`{key}`: `{}` is `{}` s after its arrival, at most `{}` s are allowed",
            excerpt(text),
            time.saturating_sub(options.now_ns) / SECOND_NS,
            max / SECOND_NS
        )),
        Ok(time) => Ok(time),
        Err(error @ TimeError::Malformed) => Err(format!("`{key}`: found `{}`, {error}", excerpt(text))),
        Err(error @ TimeError::OutOfRange) => Err(format!("`{key}`: `{}` is {error}", excerpt(text))),
    }
}

fn parse_ms(text: &str) -> Result<i64, TimeError> {
    let ms: i64 = text.parse().map_err(|_| TimeError::Malformed)?;
    ms.checked_mul(1_000_000).ok_or(TimeError::OutOfRange)
}

fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|&slot| KEYS[slot] == name)
}

fn bits(slots: Range<usize>) -> u32 {
    (1 << slots.end) - (1 << slots.start)
}

/// What a value with a role says: the text of a string, else its JSON.
fn role_text<'t>(scan: &Scanner<'t>, raw: Raw, buffer: &'t mut String) -> &'t str {
    let text = scan.text(raw.span);
    if raw.shape != Shape::Escaped {
        return text;
    }
    buffer.clear();
    unescape(text, buffer);
    buffer
}

fn short<'t>(key: &str, text: &'t str, max: usize) -> Result<&'t str, String> {
    if text.len() > max { Err(too_long(key, text.len(), max)) } else { Ok(text) }
}

pub(crate) fn too_long(name: &str, found: usize, max: usize) -> String {
    format!("`{}`: the value has `{found}` bytes, at most `{max}` are allowed", excerpt(name))
}

/// The beginning of a text that may be long.
pub(crate) fn excerpt(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}
