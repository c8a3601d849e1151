//! The embedded database: open, append, query, snapshot, close. No server, no async runtime.

mod tail;

pub use tail::{LogTail, LogTailEvent, Tail, TailEvent};
pub use timberlog_disk::Env;
pub use timberlog_disk::real::{Niceness, fsyncs, lower_thread_priority, thread_cpu_time};
pub use timberlog_filter as filter;
pub use timberlog_logql as language;
pub use timberlog_query as query;
pub use timberlog_storage::backup::{ColdFiles, Pinned};
pub use timberlog_storage::deletes::{DeleteState, DeleteStatus, Tombstone};
pub use timberlog_storage::manifest::SegmentEntry;
pub use timberlog_storage::producers::{ProducerBatch, REFUSED_BYTES_MAX};
pub use timberlog_storage::retention::{RetentionRule, RetentionStatus};
pub use timberlog_storage::tier::snapshot_of;
pub use timberlog_storage::{
    Appended, ArchiveOptions, ArchiveStats, Compacted, CompactionOptions, CompactionStats, Durability, Hidden, Hide,
    Options, Progress, Segment, Snapshot, Stats, Storage, TierOptions, TierStats, Upto,
};
pub use timberlog_types as types;

use std::sync::Arc;
use std::time::Duration;
use timberlog_filter::Filter;
use timberlog_logql::Labels;
use timberlog_logql::ast::{LabelMatcher, LogExpr, MetricExpr};
use timberlog_logql::evaluate::Steps;
use timberlog_query::logql::{self, Computed, Entries, LogQuery, MetricError, TailFilter};
use timberlog_query::{Aggregation, Cancel, Explain, Export, Groups, Page, Query, QueryLimits};
use timberlog_storage::deletes::{Selectors, check_range};
use timberlog_types::{Batch, Result, Tenant, TimeRange};

/// A database in a folder. Clones share it; the last one to go closes it.
#[derive(Clone)]
pub struct Database {
    storage: Arc<Storage>,
    tails: Arc<tail::Tails>,
}

impl Database {
    /// Opens or creates the database of `options.data_dir`: takes its lock, checks the manifest,
    /// replays the WAL. Blocks until it is ready; `progress` tells how far it is.
    ///
    /// # Errors
    /// `Conflict` if another process, or this one, has it open, `Corrupt` if the manifest is damaged beyond
    /// falling back, `Invalid` if a newer version wrote it.
    pub fn open(mut options: Options, env: Env, progress: &Progress) -> Result<Self> {
        options.selectors = Selectors::new(logql::delete_filter);
        let tails = Arc::new(tail::Tails::default());
        let storage = Storage::open(options, env, Arc::clone(&tails) as _, progress)?;
        Ok(Self { storage: Arc::new(storage), tails })
    }

    /// Stores a batch and returns when it is on disk (in `async` mode: when it is written).
    ///
    /// # Errors
    /// `Overloaded` when the buffer or the WAL queue is full, `Unavailable` when the disk is,
    /// `Conflict` when a producer's number is too old, `Closed` after a failed fsync.
    pub fn append(&self, tenant: &Tenant, batch: Batch, producer: Option<ProducerBatch>) -> Result<Appended> {
        self.storage.append(tenant, batch, producer)
    }

    /// Stores a batch and calls `done` when it is on disk, on the thread of the WAL writer: it must not block. An error that
    /// is known at once is told on the calling thread.
    pub fn append_then(
        &self,
        tenant: &Tenant,
        batch: Batch,
        producer: Option<ProducerBatch>,
        done: Box<dyn FnOnce(Result<Appended>) + Send>,
    ) {
        self.storage.append_then(tenant, batch, producer, done);
    }

    /// Whether a stream of a tenant may be written to: known, or still within `streams_max`.
    pub fn admit_stream(&self, tenant: &Tenant, hash: u64) -> bool {
        self.storage.admit_stream(tenant, hash)
    }

    /// Writes the whole buffer to segments and returns when they are committed.
    pub fn flush(&self) -> Result<()> {
        self.storage.flush()
    }

    /// What a query sees: every acknowledged record of the tenant, each once.
    pub fn snapshot(&self, tenant: &Tenant) -> Snapshot {
        self.storage.snapshot(tenant)
    }

    /// One page of records.
    pub fn page(&self, query: &Query) -> Result<Page> {
        timberlog_query::page(&self.snapshot(&query.tenant), query)
    }

    /// All records of a query in order, a page at a time, in bounded memory. At its end
    /// [`Export::missing`] names what could not be read.
    pub fn export(&self, query: Query) -> Export {
        timberlog_query::export(self.snapshot(&query.tenant), query)
    }

    /// Counts, by fields and by time.
    pub fn aggregate(&self, aggregation: &Aggregation) -> Result<Groups> {
        timberlog_query::aggregate(&self.snapshot(&aggregation.tenant), aggregation)
    }

    /// What a query would read and what it would leave out, and why; reads no column.
    pub fn explain(&self, query: &Query) -> Result<Explain> {
        timberlog_query::explain(&self.snapshot(&query.tenant), query)
    }

    /// The names of stream labels and fields in a range of time, sorted.
    pub fn label_names(&self, tenant: &Tenant, range: TimeRange) -> Result<Vec<String>> {
        timberlog_query::label_names(&self.snapshot(tenant), range)
    }

    /// The values of a stream label, of a field, of `service` or of `level` in a range of time, sorted.
    ///
    /// # Errors
    /// `Invalid` for `timestamp`, and if there are more than 100,000 values.
    pub fn label_values(&self, tenant: &Tenant, name: &str, range: TimeRange) -> Result<Vec<String>> {
        timberlog_query::label_values(&self.snapshot(tenant), name, range)
    }

    /// Whether flushes fall behind what comes in: work that can wait leaves them the machine.
    pub fn is_tight(&self) -> bool {
        self.storage.is_tight()
    }

    /// Follows new records of a tenant that match a filter, from now on. A reader that falls
    /// behind is told how many records it missed.
    pub fn tail(&self, tenant: &Tenant, filter: Filter) -> Result<Tail> {
        self.tails.subscribe(tenant, self.ask_hidden(tenant), filter)
    }

    /// Asks as long as the database is open, and does not keep it open.
    fn ask_hidden(&self, tenant: &Tenant) -> tail::AskHidden {
        let (storage, tenant) = (Arc::downgrade(&self.storage), tenant.clone());
        Box::new(move || Some(storage.upgrade()?.hidden(&tenant)))
    }

    /// Runs a LogQL log query.
    pub fn log_query(&self, tenant: &Tenant, query: &LogQuery) -> Result<Entries> {
        logql::entries(&self.snapshot(tenant), query)
    }

    /// Runs a LogQL metric query.
    pub fn metric_query(
        &self,
        tenant: &Tenant,
        expr: &MetricExpr,
        steps: Steps,
        options: &logql::Options,
    ) -> std::result::Result<Computed, MetricError> {
        logql::compute(&self.snapshot(tenant), expr, steps, options)
    }

    /// What a LogQL log query would read and what it would leave out, and why.
    pub fn explain_log_query(&self, tenant: &Tenant, query: &LogQuery) -> Result<Explain> {
        logql::explain(&self.snapshot(tenant), query)
    }

    /// The names of stream labels as LogQL sees them, sorted: of the streams that a selector (an
    /// empty one: all) lets through.
    pub fn stream_label_names(
        &self,
        tenant: &Tenant,
        selector: &[LabelMatcher],
        range: TimeRange,
        options: &logql::Options,
    ) -> Result<Vec<String>> {
        logql::label_names(&self.snapshot(tenant), selector, range, options)
    }

    /// The values of a stream label as LogQL sees them, sorted.
    pub fn stream_label_values(
        &self,
        tenant: &Tenant,
        name: &str,
        selector: &[LabelMatcher],
        range: TimeRange,
        options: &logql::Options,
    ) -> Result<Vec<String>> {
        logql::label_values(&self.snapshot(tenant), name, selector, range, options)
    }

    /// The streams that any of the selectors lets through, sorted; all if there is none.
    pub fn series(
        &self,
        tenant: &Tenant,
        selectors: &[Vec<LabelMatcher>],
        range: TimeRange,
        options: &logql::Options,
    ) -> Result<Vec<Labels>> {
        logql::series(&self.snapshot(tenant), selectors, range, options)
    }

    /// The forms that the lines of a LogQL log query have, counted by steps of time.
    pub fn line_patterns(
        &self,
        tenant: &Tenant,
        expr: &LogExpr,
        range: TimeRange,
        step_ns: i64,
        options: &logql::Options,
    ) -> Result<logql::Patterns> {
        logql::patterns(&self.snapshot(tenant), expr, range, step_ns, options)
    }

    /// How many streams, blocks, records and bytes a selector finds.
    pub fn selector_stats(
        &self,
        tenant: &Tenant,
        selector: &[LabelMatcher],
        range: TimeRange,
        options: &logql::Options,
    ) -> Result<logql::Stats> {
        logql::stats(&self.snapshot(tenant), selector, range, options)
    }

    /// Bytes by the labels of streams and by steps of time.
    pub fn volume(
        &self,
        tenant: &Tenant,
        query: &logql::VolumeQuery,
        options: &logql::Options,
    ) -> Result<Vec<logql::Volume>> {
        logql::volume(&self.snapshot(tenant), query, options)
    }

    /// Follows new lines that a LogQL log query lets through, from now on.
    pub fn log_tail(&self, tenant: &Tenant, expr: &LogExpr, derived: bool) -> Result<LogTail> {
        Ok(self.tails.subscribe_logql(tenant, self.ask_hidden(tenant), TailFilter::new(expr, derived)?))
    }

    /// Deletes what a selector names of a tenant's records within a range (both ends included), of
    /// all that arrived before: a LogQL stream selector, which line filters and comparisons of
    /// structured metadata with texts may follow. When this returns no answer shows them any more;
    /// compaction removes them from the files.
    ///
    /// # Errors
    /// `Invalid` if the selector is refused or the range is empty, `Overloaded` if there are too many
    /// deletes that are not processed.
    pub fn delete(&self, tenant: &Tenant, selector: &str, range: TimeRange) -> Result<Tombstone> {
        self.storage.delete(tenant, &logql::delete_text(selector)?, range)
    }

    /// How many records a delete would remove now, and nothing else.
    ///
    /// # Errors
    /// Those of [`Database::delete`] and of a query.
    pub fn count_deleted(
        &self,
        tenant: &Tenant,
        selector: &str,
        range: TimeRange,
        limits: QueryLimits,
        cancel: &Cancel,
    ) -> Result<Groups> {
        let filter = logql::delete_filter(selector)?;
        check_range(range)?;
        let cancel = cancel.clone();
        self.aggregate(&Aggregation { range, filter, limits, cancel, ..Aggregation::new(tenant.clone()) })
    }

    /// The deletes of a tenant, oldest first; processed ones for seven days.
    pub fn deletes(&self, tenant: &Tenant) -> Vec<DeleteStatus> {
        self.storage.deletes(tenant)
    }

    /// Cancels a delete: its records are back.
    ///
    /// # Errors
    /// `NotFound` if there is no such delete, `Conflict` if records were removed because of it.
    pub fn cancel_delete(&self, tenant: &Tenant, id: &str) -> Result<()> {
        self.storage.cancel_delete(tenant, id)
    }

    /// Records of a tenant before this time, in ns, have expired; `None` if they are kept for ever.
    pub fn retention_cutoff(&self, tenant: &Tenant) -> Option<i64> {
        self.storage.retention_cutoff(tenant)
    }

    /// What retention does now.
    pub fn retention_status(&self) -> RetentionStatus {
        self.storage.retention_status()
    }

    /// Says that the wall clock is right: what retention has put off goes on.
    pub fn confirm_retention(&self) -> Result<()> {
        self.storage.confirm_retention()
    }

    /// Flushes, and pins everything that was acknowledged before, for a backup; held for `ttl`, across
    /// restarts. See [`timberlog_storage::backup`].
    pub fn pin_backup(&self, ttl: Duration, cold: ColdFiles) -> Result<Pinned> {
        self.storage.pin_backup(ttl, cold)
    }

    /// Holds a pin for `ttl` from now on; returns until when, in ns since 1970 UTC.
    ///
    /// # Errors
    /// `Unavailable` if it is not held any more.
    pub fn renew_pin(&self, id: &str, ttl: Duration) -> Result<i64> {
        self.storage.renew_pin(id, ttl)
    }

    /// Lets a pin go.
    pub fn release_pin(&self, id: &str) {
        self.storage.release_pin(id);
    }

    /// At most `len` bytes of a pinned file, fewer at its end; the path `wal` is the end of the WAL.
    ///
    /// # Errors
    /// `Unavailable` if the pin is not held any more, `Invalid` if the path is none of a database.
    pub fn read_pinned(&self, id: &str, path: &str, offset: u64, len: u64) -> Result<Vec<u8>> {
        self.storage.read_pinned(id, path, offset, len)
    }

    /// What the engine knows of itself.
    pub fn stats(&self) -> Stats {
        self.storage.stats()
    }

    /// Why the database must be opened again, if that is so: after a failed fsync nobody knows what is on disk. Then no batch
    /// can be stored, or batches are stored until memory is full and nothing is flushed.
    pub fn failure(&self) -> Option<String> {
        self.storage.failure()
    }

    /// When a batch counts as acknowledged.
    pub fn durability(&self) -> Durability {
        self.storage.durability()
    }

    /// Merges small segments of one partition now, if any are due; `None` if none are. What a query
    /// answers does not change. Works while compaction is paused or off.
    ///
    /// # Errors
    /// Nothing has changed then; segments that are damaged are left alone from then on.
    pub fn compact(&self) -> Result<Option<Compacted>> {
        self.storage.compact()
    }

    /// Keeps compaction from going on, until it is resumed or the database is opened again. A job
    /// under way waits.
    pub fn pause_compaction(&self) {
        self.storage.pause_compaction();
    }

    /// Lets compaction go on.
    pub fn resume_compaction(&self) {
        self.storage.resume_compaction();
    }

    /// Flushes everything and closes the files; the next start has nothing to replay. Appends
    /// after this fail with `Closed`, and so do tails when what waits for them is read. Queries go on.
    /// The directory can be opened again when the last clone is dropped. In a callback, which cannot wait for its own
    /// thread, this and the drop of the last clone return at once, and another thread does the rest.
    pub fn close(&self) -> Result<()> {
        let closed = self.storage.close();
        self.tails.close();
        closed
    }
}
