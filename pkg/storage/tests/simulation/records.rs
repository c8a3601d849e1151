//! Made-up batches, and records as one line of text each, so that what comes back can be compared
//! to what was sent, whatever batch or block it stands in.

use std::fmt::Write;
use timberlog_disk::sim::Rng;
use timberlog_types::{Batch, BatchBuilder, Day, ValueKind};

/// The first day that records have: 2026-01-01.
pub const FIRST_DAY: i32 = 20_454;
/// Different days.
const DAYS: u64 = 5;

/// Builds a batch of random records. Each message begins with the batch's number and the row's.
pub fn batch(number: u64, rng: &mut Rng) -> Batch {
    batch_from(FIRST_DAY, number, rng)
}

/// The same, of the days from another one on.
pub fn batch_from(first_day: i32, number: u64, rng: &mut Rng) -> Batch {
    let (rows, message_len) = match rng.below(12) {
        0..7 => (1 + rng.below(4), 40),
        7..10 => (8 + rng.below(20), 120),
        10 => (1 + rng.below(3), 4_000),
        // Written past the gathering of small frames, and longer than a WAL file.
        _ => (2 + rng.below(3), 14_000),
    };
    let day = Day(first_day + rng.below(DAYS) as i32);
    let is_spread = rng.percent(25);
    // Then many records are equal in time and stream, and only their arrival tells them apart.
    let times = if rng.percent(30) { 3 } else { 86_400_000 };
    let mut builder = BatchBuilder::new();
    for row in 0..rows {
        let day = if is_spread { Day(first_day + rng.below(DAYS) as i32) } else { day };
        let timestamp = day.range().start + (rng.below(times) * 1_000_000) as i64;
        let service = ["web", "db", ""][rng.below(3) as usize];
        let host = format!("host-{}", rng.below(3));
        let stream = builder.stream(service, &[("host", &host)]).unwrap();
        let level = builder.level([None, Some("info"), Some("ERROR"), Some("odd")][rng.below(4) as usize]).unwrap();
        if rng.percent(60) {
            builder.field("trace_id", ValueKind::String, format!("{:032x}", rng.next()).as_bytes()).unwrap();
        }
        if rng.percent(60) {
            builder.field("status", ValueKind::Number, rng.below(600).to_string().as_bytes()).unwrap();
        }
        if rng.percent(20) {
            let kind = [ValueKind::Bool, ValueKind::Null, ValueKind::Json][rng.below(3) as usize];
            let text = match kind {
                ValueKind::Bool => "true",
                ValueKind::Json => "[1,2]",
                _ => "",
            };
            builder.field("mixed", kind, text.as_bytes()).unwrap();
        }
        builder.finish_row(timestamp, stream, level, message(number, row, message_len, rng).as_bytes()).unwrap();
    }
    builder.finish().unwrap()
}

fn message(number: u64, row: u64, len: usize, rng: &mut Rng) -> String {
    let mut text = format!("batch {number} row {row}:");
    while text.len() < len {
        match rng.below(4) {
            0 => text.push_str(" connection from 10.0.0.1 closed"),
            1 => write!(text, " took {} ms", rng.below(10_000)).unwrap(),
            2 => write!(text, " {:016x}", rng.next()).unwrap(),
            _ => text.push_str(" authentication failure"),
        }
    }
    text
}

/// The number of the batch that a record came in.
pub fn batch_number(batch: &Batch, row: usize) -> Option<u64> {
    std::str::from_utf8(batch.message(row)).ok()?.strip_prefix("batch ")?.split(' ').next()?.parse().ok()
}

/// Where each record stands in the order of records: its timestamp and stream, and when it arrived:
/// its batch's number and its row there.
pub fn arrivals(batch: &Batch) -> impl Iterator<Item = (Place, Arrival)> + '_ {
    (0..batch.rows()).filter_map(|row| {
        let stream = batch.stream(batch.stream_id(row)).as_bytes().to_vec();
        let mut words = std::str::from_utf8(batch.message(row)).ok()?.split([' ', ':']);
        let arrival = (words.nth(1)?.parse().ok()?, words.nth(1)?.parse().ok()?);
        Some(((batch.timestamp(row), stream), arrival))
    })
}

/// Timestamp and stream.
pub type Place = (i64, Vec<u8>);
/// A batch's number and a row.
pub type Arrival = (u64, u64);

/// What deletes can name of a record.
pub struct Row {
    pub timestamp: i64,
    pub service: String,
    /// Its number in the batch.
    pub number: u64,
}

/// The records of a batch.
pub fn rows(batch: &Batch) -> impl Iterator<Item = Row> + '_ {
    (0..batch.rows()).map(|row| Row {
        timestamp: batch.timestamp(row),
        service: batch.stream(batch.stream_id(row)).service().to_owned(),
        number: row as u64,
    })
}

/// The records of a block, whose numbers stand in their messages.
pub fn rows_of_block(batch: &Batch) -> impl Iterator<Item = Row> + '_ {
    let numbers = arrivals(batch).map(|(_, (_, number))| number);
    rows(batch).zip(numbers).map(|(row, number)| Row { number, ..row })
}

/// Every record of a batch as a line: equal lines, equal records.
pub fn lines(batch: &Batch) -> impl Iterator<Item = String> + '_ {
    (0..batch.rows()).map(|row| {
        let stream = batch.stream(batch.stream_id(row));
        let labels: Vec<(&str, &str)> = stream.labels().collect();
        let level = batch.level(batch.level_id(row)).spelling;
        let mut fields: Vec<_> = batch
            .fields()
            .filter_map(|field| {
                let value = field.get(row)?;
                Some((field.name(), value.kind, String::from_utf8_lossy(value.text)))
            })
            .collect();
        fields.sort();
        let message = String::from_utf8_lossy(batch.message(row));
        let (timestamp, service) = (batch.timestamp(row), stream.service());
        format!("{message} @{timestamp} {service:?} {labels:?} {level:?} {fields:?}")
    })
}
