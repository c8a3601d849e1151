//! Streams and values into the columns of a batch, within the limits.

use crate::loki::pairs::Pairs;
use crate::options::{DecodeOptions, STREAM_LABELS_MAX};
use crate::record::excerpt;
use crate::roles::{KEYS, SERVICES};
use crate::streams::StreamTable;
use timberlog_types::{BatchBuilder, level, time};

/// Takes one payload. The first error ends it.
pub(super) struct Sink<'r> {
    builder: &'r mut BatchBuilder,
    streams: &'r mut StreamTable,
    options: &'r DecodeOptions<'r>,
    /// The place of the open stream in the payload, then the number of streams.
    stream: usize,
    /// The place of the next value in its stream.
    value: usize,
    /// Ids of the open stream and of its level.
    ids: (u32, u16),
}

impl<'r> Sink<'r> {
    pub fn new(builder: &'r mut BatchBuilder, streams: &'r mut StreamTable, options: &'r DecodeOptions<'r>) -> Self {
        Self { builder, streams, options, stream: 0, value: 0, ids: (0, 0) }
    }

    /// Begins a stream; of two labels of one name the last counts.
    pub fn open(&mut self, labels: &mut Pairs) -> Result<(), String> {
        self.value = 0;
        labels.sort();
        labels.keep_last();
        // No label and an empty one are the same to every query.
        labels.drop_empty();
        let labelled = self.admit(labels);
        self.ids = labelled.map_err(|reason| format!("stream {}: {reason}", self.stream))?;
        Ok(())
    }

    /// Ends a stream.
    pub fn close(&mut self) -> Result<(), String> {
        if self.value == 0 {
            return Err(format!("stream {}: no values, expected at least one", self.stream));
        }
        self.stream += 1;
        Ok(())
    }

    /// Ends the payload.
    pub fn finish(&self) -> Result<(), String> {
        if self.stream == 0 { Err("no streams, expected at least one".to_owned()) } else { Ok(()) }
    }

    /// Why a stream in which a key stands twice is none: of what stands under it, some would be lost.
    pub fn twice(&self, key: &str) -> String {
        format!("stream {}: `{key}` stands twice", self.stream)
    }

    /// What is wrong with the value that is being read.
    pub fn wrong(&self, what: &str) -> String {
        format!("stream {}, value {}: {what}", self.stream, self.value)
    }

    /// Reads the time of a value.
    pub fn timestamp(&self, text: &str) -> Result<i64, String> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let number = if digits.bytes().all(|byte| byte.is_ascii_digit()) { text.parse::<i64>().ok() } else { None };
        let Some(ns) = number else {
            return Err(self.wrong(&format!("timestamp `{}`, expected ns since 1970", excerpt(text))));
        };
        if ns > self.options.now_ns.saturating_add(self.options.limits.max_future_ns) {
            let hours = self.options.limits.max_future_ns / (3600 * time::SECOND_NS);
            return Err(self.wrong(&format!(
                "timestamp `{text}` is {}, more than {hours} h ahead (limit `max_future_ns`)",
                time::format_rfc3339(ns)
            )));
        }
        if ns < self.options.keep_from_ns {
            return Err(self.wrong(&format!(
                "timestamp `{text}` is {} and has expired: records are kept from {} on (`--retention`)",
                time::format_rfc3339(ns),
                time::format_rfc3339(self.options.keep_from_ns)
            )));
        }
        Ok(ns)
    }

    /// Takes a value of the open stream.
    pub fn value(&mut self, timestamp: i64, line: &[u8]) -> Result<(), String> {
        let max = self.options.limits.record_bytes_max;
        if line.len() > max {
            return Err(self.wrong(&format!("a line of {} bytes (limit `record_bytes_max`: {max})", line.len())));
        }
        let (stream, level) = self.ids;
        match self.builder.finish_row(timestamp, stream, level, line) {
            Ok(()) => {
                self.value += 1;
                Ok(())
            }
            Err(error) => Err(self.wrong(&error.to_string())),
        }
    }

    fn admit(&mut self, labels: &Pairs) -> Result<(u32, u16), String> {
        let limits = self.options.limits;
        if labels.len() == 0 {
            return Err("no labels, expected at least one with a value".to_owned());
        }
        let max = limits.labels_max.min(STREAM_LABELS_MAX);
        if labels.len() > max {
            return Err(format!("{} labels (limit `labels_max`: {max})", labels.len()));
        }
        for (name, value) in labels.iter() {
            if name.is_empty() {
                return Err("a label without a name".to_owned());
            }
            if name.len() > limits.label_name_bytes_max {
                let (found, max) = (excerpt(name), limits.label_name_bytes_max);
                return Err(format!(
                    "label `{found}` has a longer name than {max} bytes (limit `label_name_bytes_max`)"
                ));
            }
            if value.len() > limits.label_value_bytes_max {
                let (found, max) = (excerpt(name), limits.label_value_bytes_max);
                return Err(format!(
                    "label `{found}` has a longer value than {max} bytes (limit `label_value_bytes_max`)"
                ));
            }
        }
        let mut room = [("", ""); STREAM_LABELS_MAX];
        room.iter_mut().zip(labels.iter()).for_each(|(slot, label)| *slot = label);
        let sorted = room.get(..labels.len()).unwrap_or_default();
        let service = SERVICES.filter_map(|slot| labels.get(KEYS[slot])).next();
        let service = service.unwrap_or(self.options.default_service);
        let stream = self.streams.id(service, sorted, self.builder, self.options.streams);
        let stream = stream.map_err(|error| error.to_string())?;
        let spelling = level::KEYS.iter().find_map(|key| labels.get(key));
        let level = self.builder.level(spelling).map_err(|error| error.to_string())?;
        Ok((stream, level))
    }
}
