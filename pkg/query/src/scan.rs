//! Pages and exports.
use crate::cursor::Cursor;
use crate::record::Record;
use crate::request::Query;
use crate::statistics::Statistics;
use timberlog_storage::Snapshot;
use timberlog_types::{Error, Result};

/// A page of records.
#[derive(Clone, Debug)]
pub struct Page {
    /// The records, in the order that was asked for.
    pub records: Vec<Record>,
    /// Where the next page begins; `None` if this was the last one.
    pub next: Option<Cursor>,
    /// What the query looked at.
    pub statistics: Statistics,
    /// What could not be read, for people: damaged blocks, segments and parts of the manifest.
    pub missing: Vec<String>,
}

/// All records of a query in order, some thousand at a time.
pub struct Export {
    _private: (),
}

impl Export {
    /// What the query has looked at so far.
    pub fn statistics(&self) -> Statistics {
        Statistics::default()
    }

    /// What could not be read so far.
    pub fn missing(&self) -> &[String] {
        &[]
    }
}

impl Iterator for Export {
    type Item = Result<Vec<Record>>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}

/// One page of records.
pub fn page(_snapshot: &Snapshot, _query: &Query) -> Result<Page> {
    Err(Error::internal("under construction"))
}

/// All records of a query in order, a page at a time, in bounded memory. The snapshot is held
/// until the iterator is dropped. An error (a malformed filter too) is the last item.
pub fn export(_snapshot: Snapshot, _query: Query) -> Export {
    Export { _private: () }
}
