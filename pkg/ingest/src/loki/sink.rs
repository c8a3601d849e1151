//! Streams and entries into the columns of a batch, within the limits, in Loki's words.

use super::detect;
use super::labels::display;
use super::pairs::Pairs;
use crate::decoded::Decoded;
use crate::options::{DecodeOptions, STREAM_LABELS_MAX};
use crate::record::excerpt;
use crate::roles::{KEYS, SERVICES};
use crate::streams::{StreamError, StreamTable};
use timberlog_types::batch::LevelRef;
use timberlog_types::stream::{SERVICE_NAME_KEYS, SERVICE_NAME_UNKNOWN};
use timberlog_types::{BatchBuilder, Level, ValueKind, level, time};

/// How the refusal of an entry begins whose stream would be one too many.
pub const STREAM_LIMIT_WORDS: &str = "maximum active stream limit exceeded";
/// The metadata in which Loki's distributor files a level that it found out.
const DETECTED_LEVEL: &str = "detected_level";
const SERVICE_NAME: &str = "service_name";
const SEVERITY_NUMBER: &str = "severity_number";

/// Takes streams and their entries.
pub(super) struct Sink<'r> {
    builder: &'r mut BatchBuilder,
    streams: &'r mut StreamTable,
    options: &'r DecodeOptions<'r>,
    derive_labels: bool,
    decoded: Decoded,
    /// The index of the next entry.
    index: usize,
    stream_count: usize,
    open: Open,
}

/// What is known of the open stream.
#[derive(Default)]
struct Open {
    /// Its id and that of the level that its labels tell, or why its entries are refused; `None`
    /// before its first entry.
    ids: Option<Result<(u32, Option<u16>), String>>,
}

impl<'r> Sink<'r> {
    pub fn new(
        builder: &'r mut BatchBuilder,
        streams: &'r mut StreamTable,
        options: &'r DecodeOptions<'r>,
        derive_labels: bool,
    ) -> Self {
        let (decoded, open) = (Decoded::default(), Open::default());
        Self { builder, streams, options, derive_labels, decoded, index: 0, stream_count: 0, open }
    }

    /// The number of streams, and what became of the entries.
    pub fn into_counts(self) -> (usize, Decoded) {
        (self.stream_count, self.decoded)
    }

    /// Entries of another stream follow.
    pub fn open_stream(&mut self) {
        self.open = Open::default();
    }

    /// Counts a stream, with or without entries.
    pub fn close_stream(&mut self) {
        self.stream_count += 1;
    }

    /// Takes an entry of the open stream; `None` is a time that is missing or out of range.
    pub fn entry(&mut self, labels: &Pairs, timestamp: Option<i64>, line: &[u8], metadata: &Pairs) {
        let index = self.index;
        self.index += 1;
        if let Err(reason) = self.push(labels, timestamp, line, metadata) {
            self.builder.abort_row();
            self.decoded.refuse(index, || reason);
        }
    }

    fn push(&mut self, labels: &Pairs, timestamp: Option<i64>, line: &[u8], metadata: &Pairs) -> Result<(), String> {
        let limits = self.options.limits;
        if let Some(Err(reason)) = &self.open.ids {
            return Err(reason.clone());
        }
        let Some(timestamp) = timestamp else {
            return Err(format!(
                "entry for stream '{}' has no timestamp, or one that nanoseconds since 1970 cannot tell",
                self.words(labels)
            ));
        };
        if timestamp > self.options.now_ns.saturating_add(limits.max_future_ns) {
            let text = to_the_second(timestamp);
            return Err(format!("entry for stream '{}' has timestamp too new: {text}", self.words(labels)));
        }
        if timestamp < self.options.keep_from_ns {
            let (text, oldest) = (to_the_second(timestamp), to_the_second(self.options.keep_from_ns));
            return Err(format!(
                "entry for stream '{}' has timestamp too old: {text}, oldest acceptable timestamp is: {oldest}",
                self.words(labels)
            ));
        }
        if line.len() > limits.record_bytes_max {
            return Err(format!(
                "max entry size '{}' bytes exceeded for stream '{}' while adding an entry with length '{}' bytes",
                limits.record_bytes_max,
                self.words(labels),
                line.len()
            ));
        }
        self.check_metadata(labels, metadata)?;
        let (stream, level) = match &self.open.ids {
            Some(ids) => ids.clone()?,
            None => {
                let ids = self.admit(labels);
                self.open.ids = Some(ids.clone());
                ids?
            }
        };
        let level = self.fields(level, line, metadata)?;
        self.builder.finish_row(timestamp, stream, level, line).map_err(|error| error.to_string())
    }

    /// Ids of a stream and of the level that its labels tell.
    fn admit(&mut self, labels: &Pairs) -> Result<(u32, Option<u16>), String> {
        self.check_labels(labels)?;
        let mut room = [("", ""); STREAM_LABELS_MAX];
        let count = labels.len().min(room.len());
        room.iter_mut().zip(labels.iter()).for_each(|(slot, label)| *slot = label);
        let sorted = room.get(..count).unwrap_or_default();
        let service = SERVICES.filter_map(|slot| labels.get(KEYS[slot])).next();
        let service = service.unwrap_or(self.options.default_service);
        let stream = self.streams.id(service, sorted, self.builder, self.options.streams);
        let stream = stream.map_err(|error| match error {
            StreamError::TooMany => format!(
                "{STREAM_LIMIT_WORDS} when trying to create stream {}, reduce the number of active streams \
                 (reduce labels or reduce label values), or raise the limit (`--streams-max`)",
                self.words(labels)
            ),
            StreamError::Build(_) => error.to_string(),
        })?;
        let spelling = level::KEYS.iter().find_map(|key| labels.get(key));
        let level = spelling.map(|spelling| self.builder.level(Some(spelling))).transpose();
        Ok((stream, level.map_err(|error| error.to_string())?))
    }

    fn check_labels(&self, labels: &Pairs) -> Result<(), String> {
        let limits = self.options.limits;
        if labels.len() == 0 && !self.derive_labels {
            return Err("error at least one label pair is required per stream".into());
        }
        let count = labels.iter().filter(|&(name, _)| name != SERVICE_NAME).count();
        let max = limits.labels_max.min(STREAM_LABELS_MAX);
        if count > max || labels.len() > STREAM_LABELS_MAX {
            return Err(format!("entry for stream '{}' has {count} label names; limit {max}", self.words(labels)));
        }
        let mut last = "";
        for (name, value) in labels.iter() {
            let stream = || self.words(labels);
            if name.len() > limits.label_name_bytes_max {
                return Err(format!("stream '{}' has label name too long: '{name}'", stream()));
            }
            if value.len() > limits.label_value_bytes_max {
                return Err(format!("stream '{}' has label value too long: '{value}'", stream()));
            }
            if name == last {
                return Err(format!("stream '{}' has duplicate label name: '{name}'", stream()));
            }
            last = name;
        }
        Ok(())
    }

    fn check_metadata(&self, labels: &Pairs, metadata: &Pairs) -> Result<(), String> {
        let limits = self.options.limits;
        if metadata.len() > limits.fields_max {
            return Err(format!(
                "stream '{}' has too many structured metadata labels: '{}', limit: '{}'",
                self.words(labels),
                metadata.len(),
                limits.fields_max
            ));
        }
        if metadata.bytes() > limits.record_bytes_max {
            return Err(format!(
                "stream '{}' has structured metadata too large: '{}' bytes, limit: '{}' bytes",
                self.words(labels),
                metadata.bytes(),
                limits.record_bytes_max
            ));
        }
        for (name, _) in metadata.iter() {
            if name.is_empty() {
                return Err("label name is empty".into());
            }
            if name.len() > limits.field_name_bytes_max {
                return Err(format!(
                    "stream '{}' has structured metadata whose name is too long: '{}'",
                    self.words(labels),
                    excerpt(name)
                ));
            }
        }
        Ok(())
    }

    /// Gives the open row its metadata; the id of its level.
    fn fields(&mut self, of_labels: Option<u16>, line: &[u8], metadata: &Pairs) -> Result<u16, String> {
        let told = if of_labels.is_none() { self.told(metadata) } else { None };
        // The level column says it; but where another name says the same, it could not be told from
        // one that was not sent.
        let is_column = |name: &str, value: &str| {
            name == level::KEYS[0]
                && told.is_some_and(|(key, text)| key == name && text == value)
                && !metadata.iter().any(|(other, text)| text == value && other != name && level::KEYS.contains(&other))
        };
        let mut detected = None;
        for (name, value) in metadata.iter().filter(|(_, value)| !value.is_empty()) {
            let mut value = value;
            if name == DETECTED_LEVEL && self.derive_labels {
                value = level::detected(value.as_bytes()).unwrap_or(value);
                detected = Some(value);
            }
            if !is_column(name, value) {
                self.field(name, value)?;
            }
        }
        let level = match (of_labels, told, detected) {
            (Some(id), ..) => return Ok(id),
            (None, Some((_, spelling)), _) => self.builder.level(Some(spelling)),
            (None, None, Some(detected)) => self.found(Level::normalise(detected)),
            (None, None, None) if self.derive_labels => {
                let level = match metadata.get(SEVERITY_NUMBER).filter(|text| !text.is_empty()) {
                    Some(number) => detect::of_severity_number(number),
                    None => detect::of_line(line),
                };
                // Our levels have no word of their own for it.
                if level == "critical" {
                    self.field(DETECTED_LEVEL, level)?;
                }
                self.found(Level::normalise(level))
            }
            (None, None, None) => self.builder.level(None),
        };
        level.map_err(|error| error.to_string())
    }

    fn found(&mut self, level: Level) -> Result<u16, timberlog_types::batch::BuildError> {
        self.builder.level_of(LevelRef { level, spelling: None })
    }

    fn field(&mut self, name: &str, value: &str) -> Result<(), String> {
        self.builder
            .field(name, ValueKind::String, value.as_bytes())
            .map_err(|error| format!("structured metadata `{}`: {error}", excerpt(name)))
    }

    /// The metadata that tells the level: the first name that counts, of two of one name the last.
    fn told<'m>(&self, metadata: &'m Pairs) -> Option<(&'m str, &'m str)> {
        let max = self.options.limits.label_value_bytes_max;
        let mut best = None;
        for (name, value) in metadata.iter() {
            // Nearly all names are ruled out by their first byte.
            if !matches!(name.as_bytes().first(), Some(b'l' | b'L' | b's' | b'S')) || value.is_empty() {
                continue;
            }
            if let Some(rank) = level::KEYS.iter().position(|key| *key == name)
                && value.len() <= max
                && best.is_none_or(|(other, _)| rank <= other)
            {
                best = Some((rank, (name, value)));
            }
        }
        best.map(|(_, told)| told)
    }

    /// The stream in words, as Loki would see it.
    fn words(&self, labels: &Pairs) -> String {
        if !self.derive_labels || labels.get(SERVICE_NAME).is_some() {
            return display(labels.iter());
        }
        let service = SERVICE_NAME_KEYS.iter().find_map(|key| labels.get(key)).unwrap_or(SERVICE_NAME_UNKNOWN);
        let mut all: Vec<(&str, &str)> = labels.iter().chain([(SERVICE_NAME, service)]).collect();
        all.sort_by_key(|&(name, _)| name);
        display(all.into_iter())
    }
}

/// A time as Loki writes it.
fn to_the_second(timestamp: i64) -> String {
    let text = time::format_rfc3339(timestamp.saturating_sub(timestamp.rem_euclid(time::SECOND_NS)));
    format!("{}Z", text.split('.').next().unwrap_or_default().trim_end_matches('Z'))
}
