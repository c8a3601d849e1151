//! What happened in histories, counted.

use std::collections::BTreeMap;

/// Everything that should happen in a run of many seeds: a simulation in which one of these never
/// happens shows nothing about it.
const EVENTS: [&str; 72] = [
    "seeds",
    "processes",
    "power losses",
    "kills",
    "clean closes",
    "starts that failed",
    "faults injected",
    "batches acknowledged",
    "duplicates answered",
    "batches refused",
    "flushes",
    "flushes that failed",
    "compactions",
    "compactions that failed",
    "deletes",
    "deletes that failed",
    "deletes cancelled",
    "deletes processed",
    "records removed",
    "segments expired",
    "segments evicted",
    "clocks that jumped",
    "clocks confirmed",
    "batches found that were not acknowledged",
    "batches that `async` lost",
    "disk steps",
    "tier passes",
    "tier passes that failed",
    "records in buckets",
    "objects collected",
    "backups",
    "prunes",
    "archive passes",
    "backups that failed",
    "records restored",
    "indexes declared anew",
    "records taken over",
    "rotten files that were named",
    "lost to rot",
    "rotten objects of a bucket that were named",
    "blocks of a bucket lost to rot",
    "rotten objects of backups that were named",
    "restores refused for rot",
    "looks",
    "records read again in held snapshots",
    "batches sent again to what was restored",
    "verifications",
    "clocks that jumped back",
    "reads that failed",
    "EIO",
    "ENOSPC",
    "EIO of what was done",
    "writes that failed",
    "fsyncs that failed",
    "removals that failed",
    "opens that failed",
    "short reads",
    "short writes",
    "changes lost",
    "changes kept without an fsync",
    "writes torn at 512 B",
    "writes torn at 4 KiB",
    "new names lost",
    "renames lost",
    "removals lost",
    "outages of a store",
    "answers of a store lost",
    "answers to conditional puts lost",
    "requests to a store repeated",
    "requests to a store delayed",
    "requests to a store refused",
    "reads of a store that failed",
];
/// What should happen too, and is so rare that only a long run must see it.
const RARE_EVENTS: [&str; 6] = [
    "fsyncs of folders that failed",
    "renames that failed",
    "writes to a full disk",
    "changes of length that failed",
    "new folders that failed",
    "lists that failed",
];
/// Seeds of a run that is long.
const SEEDS_OF_LONG_RUN: u64 = 1_000;

/// Counts by event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(BTreeMap<&'static str, u64>);

impl Report {
    pub fn count(&mut self, event: &'static str, more: u64) {
        assert!(EVENTS.contains(&event) || RARE_EVENTS.contains(&event), "{event}");
        *self.0.entry(event).or_default() += more;
    }

    pub fn count_all(&mut self, happened: BTreeMap<&'static str, u64>) {
        happened.into_iter().for_each(|(event, count)| self.count(event, count));
    }

    pub fn add(&mut self, other: &Self) {
        for (&event, &more) in &other.0 {
            self.count(event, more);
        }
    }

    pub fn assert_everything_happened(&self) {
        let count = |event: &str| self.0.get(event).copied().unwrap_or(0);
        let rare = RARE_EVENTS.iter().filter(|_| count("seeds") >= SEEDS_OF_LONG_RUN);
        let missing = EVENTS.iter().chain(rare).find(|event| count(event) == 0);
        assert_eq!(missing, None, "never happened in {self:?}");
    }
}
