//! Series: records that are the same but for their time, counted in all or by steps of time.
//!
//! Records are read oldest first, some thousand at a time, and only one of each series is kept.

use crate::Record;
use crate::error::QueryError;
use crate::request::{Order, Query};
use crate::scan::export;
use crate::statistics::Statistics;
use std::collections::HashMap;
use timberlog_storage::Snapshot;
use timberlog_types::{Result, ValueKind};

/// Bytes that a series takes in memory beside its texts.
const SERIES_BYTES: u64 = 256;
/// Bytes that a step of a series takes in memory.
const STEP_BYTES: u64 = 16;

/// A question for series.
#[derive(Clone, Debug)]
pub struct SeriesQuery {
    /// Which records; their order, limit and cursor have no say.
    pub records: Query,
    /// Counted by steps of this many ns, aligned to 1970-01-01 UTC.
    pub step: Option<i64>,
    /// The most series; more is an error, never a silent cut.
    pub series_max: usize,
}

/// Records of one service, level, message and set of labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// The derived service.
    pub service: String,
    /// The level as it was sent, else the normalised one.
    pub level: String,
    /// The message.
    pub message: String,
    /// Stream labels and fields, sorted by name: of one name the label, no null, and neither
    /// service nor level a second time.
    pub labels: Vec<(String, String)>,
    /// The number of records.
    pub count: u64,
    /// The newest time, in ns.
    pub last: i64,
    /// Where each step that has records begins, in ns, and how many; empty if no steps were asked
    /// for.
    pub counts: Vec<(i64, u64)>,
}

/// The answer: series, the largest first, then the one seen last.
#[derive(Clone, Debug)]
pub struct SeriesFound {
    /// The series.
    pub series: Vec<Series>,
    /// What the query looked at.
    pub statistics: Statistics,
    /// What could not be read and so is not counted, for people.
    pub missing: Vec<String>,
}

/// Counts the records of each series.
///
/// # Errors
/// `Invalid` if the filter is, for a step that is not positive or an answer of too many series;
/// `Overloaded` if a limit ends the query.
pub fn distinct_records(snapshot: Snapshot, query: SeriesQuery) -> Result<SeriesFound> {
    if query.step.is_some_and(|step| step <= 0) {
        return Err(QueryError::Invalid("the step of a series must be more than 0 ns".to_owned()).into());
    }
    let limits = query.records.limits;
    let mut known: HashMap<Vec<u8>, Series> = HashMap::new();
    let mut key = Vec::new();
    let mut memory = 0_u64;
    let mut export = export(snapshot, Query { order: Order::OldestFirst, cursor: None, ..query.records });
    for records in &mut export {
        for record in records? {
            let labels = labels(&record);
            key.clear();
            encode(&record, &labels, &mut key);
            if !known.contains_key(&key) {
                if known.len() >= query.series_max {
                    return Err(QueryError::Invalid(format!(
                        "the answer has more than {} series (limit `series_max`); ask for less, or for counts by \
                         names with `aggregate`",
                        query.series_max
                    ))
                    .into());
                }
                memory += 2 * key.len() as u64 + SERIES_BYTES;
                known.insert(key.clone(), Series::new(&record, labels));
            }
            if let Some(series) = known.get_mut(&key)
                && series.add(record.timestamp, query.step)
            {
                memory += STEP_BYTES;
            }
            if memory > limits.memory {
                return Err(QueryError::Memory { limit: limits.memory }.into());
            }
        }
    }
    let mut series: Vec<Series> = known.into_values().collect();
    let name = |series: &Series| (series.service.clone(), series.level.clone(), series.message.clone());
    series.sort_by(|a, b| {
        let by_size = (b.count, b.last).cmp(&(a.count, a.last));
        by_size.then_with(|| name(a).cmp(&name(b))).then_with(|| a.labels.cmp(&b.labels))
    });
    Ok(SeriesFound { series, statistics: export.statistics(), missing: export.missing() })
}

impl Series {
    fn new(record: &Record, labels: Vec<(&str, &str)>) -> Self {
        Self {
            service: record.service.clone(),
            level: level(record).to_owned(),
            message: record.message.clone(),
            labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            count: 0,
            last: i64::MIN,
            counts: Vec::new(),
        }
    }

    /// Counts a record; whether it began a step.
    fn add(&mut self, timestamp: i64, step: Option<i64>) -> bool {
        self.count += 1;
        self.last = self.last.max(timestamp);
        let Some(step) = step else { return false };
        // The step in which time begins does not begin in time.
        let start = timestamp.div_euclid(step).checked_mul(step).unwrap_or(i64::MIN);
        match self.counts.last_mut() {
            Some((last, count)) if *last == start => {
                *count += 1;
                false
            }
            _ => {
                self.counts.push((start, 1));
                true
            }
        }
    }
}

fn level(record: &Record) -> &str {
    record.level_spelling.as_deref().unwrap_or(record.level.as_str())
}

fn labels(record: &Record) -> Vec<(&str, &str)> {
    let labels = record.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let fields = record.fields.iter().filter(|(_, kind, _)| *kind != ValueKind::Null);
    let mut all: Vec<(&str, &str)> =
        labels.chain(fields.map(|(name, _, text)| (name.as_str(), text.as_str()))).collect();
    // Stable, and labels came first.
    all.sort_by_key(|&(name, _)| name);
    all.dedup_by_key(|&mut (name, _)| name);
    all.retain(|&pair| pair != ("service", record.service.as_str()) && pair != ("level", level(record)));
    all
}

/// The same bytes for the same series, and no others.
fn encode(record: &Record, labels: &[(&str, &str)], out: &mut Vec<u8>) {
    let mut put = |text: &str| {
        out.extend_from_slice(&(text.len() as u64).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    };
    [record.service.as_str(), level(record), &record.message].into_iter().for_each(&mut put);
    labels.iter().flat_map(|&(name, value)| [name, value]).for_each(&mut put);
}
