//! What can be asked: pages of records and aggregations.

use crate::cursor::Cursor;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use timberlog_filter::{Filter, Interrupt};
use timberlog_types::{Tenant, TimeRange};

/// Which records come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The newest record first.
    #[default]
    NewestFirst,
    /// The oldest record first.
    OldestFirst,
}

/// Ends a query from outside. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Interrupt);

impl Cancel {
    /// Ends the query at the next chance, which comes every few ms.
    pub fn cancel(&self) {
        self.0.interrupt();
    }

    /// What tells the filter.
    pub(crate) fn interrupt(&self) -> &Interrupt {
        &self.0
    }

    /// Whether it was ended.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_interrupted()
    }
}

/// What one query may use; reaching a limit ends it with an error that names the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Time from start to end.
    pub time: Duration,
    /// Bytes of columns looked at, as they are in memory, whether they were cached or read.
    pub bytes: u64,
    /// Bytes of memory for keys, groups and records of the answer.
    pub memory: u64,
}

impl Default for QueryLimits {
    /// 60 s, 64 GiB, 256 MiB.
    fn default() -> Self {
        Self { time: Duration::from_secs(60), bytes: 64 << 30, memory: 256 << 20 }
    }
}

/// A question for records.
#[derive(Clone, Debug)]
pub struct Query {
    /// Whose records.
    pub tenant: Tenant,
    /// From when to when.
    pub range: TimeRange,
    /// Which of them.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// How many at most; `export` knows no limit and ignores it.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
    /// What it may use.
    pub limits: QueryLimits,
    /// Ends it from outside.
    pub cancel: Cancel,
}

impl Query {
    /// The newest 100 records of all time.
    pub fn new(tenant: Tenant) -> Self {
        Self {
            tenant,
            range: TimeRange::ALL,
            filter: Filter::All,
            order: Order::NewestFirst,
            limit: 100,
            cursor: None,
            limits: QueryLimits::default(),
            cancel: Cancel::default(),
        }
    }
}

/// A question for counts: in all, by the values of names, by steps of time, or by both.
#[derive(Clone, Debug)]
pub struct Aggregation {
    /// Whose records.
    pub tenant: Tenant,
    /// From when to when.
    pub range: TimeRange,
    /// Which of them.
    pub filter: Filter,
    /// Counted by the values of these names, as filters understand names (`level` is normalised).
    pub by: Vec<String>,
    /// Counted by steps of this many ns, aligned to 1970-01-01 UTC.
    pub step: Option<i64>,
    /// The most groups that the answer may have; more is an error, never a silent cut.
    pub groups_max: usize,
    /// What it may use.
    pub limits: QueryLimits,
    /// Ends it from outside.
    pub cancel: Cancel,
}

impl Aggregation {
    /// The number of all records.
    pub fn new(tenant: Tenant) -> Self {
        Self {
            tenant,
            range: TimeRange::ALL,
            filter: Filter::All,
            by: Vec::new(),
            step: None,
            groups_max: 100_000,
            limits: QueryLimits::default(),
            cancel: Cancel::default(),
        }
    }
}
