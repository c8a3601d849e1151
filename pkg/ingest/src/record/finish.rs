//! The end of a record: which keys won their role, what is left, and the row that comes of it.

use super::{Leaf, RecordReader, State, excerpt, too_long};
use crate::options::DecodeOptions;
use crate::roles::{KEYS, LEVELS, MERGED, MESSAGES, RESERVED, SERVICES, Schema, TIMES};
use crate::scan::{Raw, Scanner, Shape};
use crate::unescape::unescape;
use std::ops::Range;
use timberlog_types::time::{self, SECOND_NS, TimeError};

impl RecordReader<'_, '_> {
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

    pub(super) fn finish(&mut self) -> Result<(), String> {
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

/// Refuses what is no time, too far ahead, or expired.
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
        Ok(time) if time < options.keep_from_ns => Err(format!(
            "`{key}`: `{}` has expired: records are kept from {} on (`--retention`)",
            excerpt(text),
            time::format_rfc3339(options.keep_from_ns)
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
