//! What the engine counts, as metrics.

use super::Exposition;
use timberlog_db::{ArchiveStats, CompactionStats, RetentionStatus, Stats, TierStats};

impl Exposition {
    /// The figures of an engine, but for [`Self::retention`].
    pub fn engine(&mut self, stats: &Stats) {
        self.group(
            "timberlog_",
            "counter",
            &[
                ("records_appended_total", "Records acknowledged.", stats.records_appended),
                ("batches_appended_total", "Batches acknowledged.", stats.batches_appended),
                ("wal_bytes_appended_total", "Bytes of batches written to the WAL.", stats.bytes_appended),
                ("records_overloaded_total", "Records of batches refused for want of room.", stats.records_refused),
                ("batches_duplicate_total", "Batches that a producer sent again.", stats.duplicates),
                ("flushes_total", "Flushes of the buffer to segments.", stats.flushes),
                ("flushes_failed_total", "Flushes that failed and are tried again.", stats.flushes_failed),
                ("cache_hits_total", "Parts found in the chunk cache.", stats.cache_hits),
                ("cache_misses_total", "Parts not found in the chunk cache.", stats.cache_misses),
                ("fsyncs_total", "Calls of fsync and fdatasync, of files and folders.", timberlog_db::fsyncs()),
            ],
        );
        let flush_s = stats.flush_ns as f64 / 1e9;
        self.single("timberlog_flush_seconds_total", "counter", "Seconds that flushes took.", flush_s);
        self.group(
            "timberlog_",
            "gauge",
            &[
                ("buffer_records", "Records in the memory buffer.", stats.buffer_records),
                ("buffer_bytes", "Bytes of the memory buffer, flushes under way included.", stats.buffer_bytes),
                ("appends_waiting", "Appends that wait for room in the buffer.", stats.appends_waiting),
                ("segments", "Segments.", stats.segments),
                ("partitions", "Partitions.", stats.partitions),
                ("tenants", "Tenants that have records.", stats.tenants),
                ("segment_records", "Records in segments.", stats.segment_records),
                ("segment_bytes", "Bytes of segments on disk, indexes included.", stats.segment_bytes),
                ("segment_raw_bytes", "Bytes of text in segments before compression.", stats.segment_raw_bytes),
                ("cache_bytes", "Bytes of the chunk cache.", stats.cache_bytes),
                ("manifest_version", "The newest root of the manifest.", stats.manifest_version),
                ("flushed_seq", "Every batch up to this number is in segments.", stats.flushed_seq),
                ("visible_seq", "Every batch up to this number is visible to queries.", stats.visible_seq),
                ("synced_seq", "Every batch up to this number is on disk.", stats.synced_seq),
                ("damages", "Damaged parts that the start found.", stats.damage.len() as u64),
            ],
        );
        self.compaction(&stats.compaction);
        if stats.tier.enabled {
            self.tier(&stats.tier);
        }
        if let Some(stats) = &stats.archive {
            self.archive(stats);
        }
    }

    fn compaction(&mut self, stats: &CompactionStats) {
        self.group(
            "timberlog_compaction_",
            "counter",
            &[
                ("jobs_total", "Merges of segments.", stats.jobs),
                ("jobs_failed_total", "Merges that were abandoned; nothing is lost by that.", stats.jobs_failed),
                ("segments_merged_total", "Segments that merges have replaced.", stats.segments_merged),
                ("records_total", "Records that merges have written.", stats.records),
                ("read_bytes_total", "Bytes of the files that merges have read.", stats.bytes_read),
                ("written_bytes_total", "Bytes of the files that merges have written.", stats.bytes_written),
                ("flushed_bytes_total", "Bytes of segments that flushes have written.", stats.bytes_flushed),
            ],
        );
        let seconds = stats.jobs_ns as f64 / 1e9;
        self.single("timberlog_compaction_seconds_total", "counter", "Seconds that merges took.", seconds);
        self.group(
            "timberlog_compaction_",
            "gauge",
            &[
                ("segments_waiting", "Segments that are to be merged.", stats.segments_waiting),
                ("segments_left_alone", "Damaged segments that are not merged.", stats.segments_left_alone),
                ("paused", "1 while compaction is paused.", u64::from(stats.paused)),
            ],
        );
        let help = "Bytes that flushes and merges have written for each byte of flushes.";
        self.single("timberlog_compaction_write_amplification", "gauge", help, stats.write_amplification);
    }

    fn tier(&mut self, stats: &TierStats) {
        self.group(
            "timberlog_tier_",
            "counter",
            &[
                (
                    "segments_uploaded_total",
                    "Segments that were brought into the object store.",
                    stats.segments_uploaded,
                ),
                ("uploaded_bytes_total", "Bytes that were sent for that.", stats.bytes_uploaded),
                ("commits_total", "Roots of the bucket that were committed.", stats.commits),
                ("failures_total", "Passes that failed, and are tried again.", stats.failures),
                (
                    "objects_collected_total",
                    "Objects that nothing named and that were removed.",
                    stats.objects_collected,
                ),
                ("collected_bytes_total", "Bytes of them.", stats.bytes_collected),
            ],
        );
        self.group(
            "timberlog_tier_",
            "gauge",
            &[
                ("segments", "Segments in the object store.", stats.segments_stored),
                ("bytes", "Bytes of segments in the object store.", stats.bytes_stored),
                ("segments_waiting", "Segments that are to be uploaded.", stats.segments_waiting),
                ("waiting_bytes", "Bytes of them.", stats.bytes_waiting),
                ("epoch", "The epoch of this writer, or of the one that is followed.", stats.epoch),
                ("version", "The newest root of the bucket.", stats.version),
                (
                    "cache_index_bytes",
                    "Bytes of cold segments' indexes that are kept on disk.",
                    stats.cache_index_bytes,
                ),
                ("cache_data_bytes", "Bytes of their data that are kept on disk.", stats.cache_data_bytes),
                ("cache_memory_bytes", "Bytes of their data that are kept in memory.", stats.cache_memory_bytes),
                ("up", "1 if the last pass went well.", u64::from(stats.is_up())),
            ],
        );
    }

    fn archive(&mut self, stats: &ArchiveStats) {
        self.group(
            "timberlog_archive_",
            "counter",
            &[
                ("objects_total", "Objects sent to the archive of the WAL.", stats.objects),
                ("sent_bytes_total", "Bytes of these objects.", stats.bytes_sent),
                ("failures_total", "Tries to archive that failed and are tried again.", stats.failures),
            ],
        );
        let backlog_max = stats.backlog_bytes_max;
        self.group(
            "timberlog_archive_",
            "gauge",
            &[
                ("backlog_bytes", "Bytes of the WAL that wait for the archive.", stats.backlog_bytes),
                ("backlog_bytes_max", "The most bytes that may wait before records are refused.", backlog_max),
                ("seq", "Every batch up to this number is archived.", stats.archived_seq),
            ],
        );
        let help = "How long a batch has waited that is not archived yet; 0 if none waits.";
        self.single("timberlog_archive_lag_seconds", "gauge", help, stats.lag_seconds);
        let time = stats.timestamp_archived.unwrap_or(0) as f64 / 1e9;
        let help = "When the last archived batch was committed, in seconds since 1970; 0 before the first one.";
        self.single("timberlog_archive_time_seconds", "gauge", help, time);
    }

    /// What expires, and whether it may.
    pub fn retention(&mut self, status: &RetentionStatus) {
        let paused = u8::from(status.paused.is_some());
        let help = "1 when nothing expires until somebody confirms the clock.";
        self.single("timberlog_retention_paused", "gauge", help, paused);
        if let Some(max) = status.bytes_max {
            let help = "Bytes of segments beyond which the oldest days go.";
            self.single("timberlog_retention_bytes_max", "gauge", help, max);
        }
    }

    /// Metrics of one kind without labels: names behind a prefix, help, values.
    fn group(&mut self, prefix: &str, kind: &str, metrics: &[(&str, &str, u64)]) {
        for (name, help, value) in metrics {
            self.single(&format!("{prefix}{name}"), kind, help, value);
        }
    }
}
