//! What a decoder is told: limits, stream labels, the time of arrival, who counts streams.

use timberlog_types::time::DAY_NS;

/// The most names that [`DecodeOptions::stream_labels`] may have.
pub const STREAM_LABELS_MAX: usize = 32;

/// Limits on one record. A record beyond one is refused with the reason; it never fails a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a record as it was sent.
    pub record_bytes_max: usize,
    /// Fields of a record, after flattening.
    pub fields_max: usize,
    /// Bytes of a field's name, with the names of the objects around it.
    pub field_name_bytes_max: usize,
    /// Objects and arrays around the innermost value, the record's own object included.
    pub depth_max: usize,
    /// Stream labels of a record whose labels come with it (gRPC, Loki).
    pub labels_max: usize,
    /// Bytes of a stream label's name.
    pub label_name_bytes_max: usize,
    /// Bytes of a stream label's value, of a service and of a level.
    pub label_value_bytes_max: usize,
    /// How far ahead of its arrival a record's timestamp may be.
    pub max_future_ns: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes_max: 16 << 20,
            fields_max: 1_000,
            field_name_bytes_max: 1_024,
            depth_max: 64,
            labels_max: STREAM_LABELS_MAX,
            label_name_bytes_max: 1_024,
            label_value_bytes_max: 2_048,
            max_future_ns: DAY_NS,
        }
    }
}

/// Says whether a tenant may have another stream.
pub trait StreamRegistry {
    /// Whether the stream with this hash ([`timberlog_types::StreamRef::hash`]) may be written to:
    /// it is known, or there is room for it. Asked once for each stream of a body.
    fn admit(&self, hash: u64) -> bool;
}

/// Admits every stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStreamLimit;

impl StreamRegistry for NoStreamLimit {
    fn admit(&self, _hash: u64) -> bool {
        true
    }
}

impl<F: Fn(u64) -> bool> StreamRegistry for F {
    fn admit(&self, hash: u64) -> bool {
        self(hash)
    }
}

/// How a body is to be read.
#[derive(Clone, Copy)]
pub struct DecodeOptions<'a> {
    /// The time of arrival in ns: the timestamp of records without one.
    pub now_ns: i64,
    /// Records before this time, in ns, have expired and are refused; `i64::MIN` if none has.
    pub keep_from_ns: i64,
    /// The names of the fields that name the stream; `service` stands for the derived service and
    /// `level` for the level as it was sent. Order and repeats do not matter.
    pub stream_labels: &'a [String],
    /// The service of records that name none; empty for none.
    pub default_service: &'a str,
    /// Whether one refused record refuses the batch.
    pub strict: bool,
    /// Limits on each record.
    pub limits: &'a Limits,
    /// Who counts the tenant's streams.
    pub streams: &'a dyn StreamRegistry,
}
