//! What happened in histories, counted.

use std::collections::BTreeMap;

/// Everything that should happen in a run of many seeds: a simulation in which one of these never
/// happens shows nothing about it.
const EVENTS: [&str; 39] = [
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
];

/// Counts by event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(BTreeMap<&'static str, u64>);

impl Report {
    pub fn count(&mut self, event: &'static str, more: u64) {
        assert!(EVENTS.contains(&event), "{event}");
        *self.0.entry(event).or_default() += more;
    }

    pub fn add(&mut self, other: &Self) {
        for (&event, &more) in &other.0 {
            self.count(event, more);
        }
    }

    pub fn assert_everything_happened(&self) {
        let missing = EVENTS.iter().find(|&&event| self.0.get(event).is_none_or(|&count| count == 0));
        assert_eq!(missing, None, "never happened in {self:?}");
    }
}
