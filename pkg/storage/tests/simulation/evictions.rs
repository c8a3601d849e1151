//! Retention by size: which segments must go, and so which records are gone for ever.
//!
//! The rule, by itself: the oldest days of all tenants first, within a day what arrived first, no more than brings the
//! files under the limit, and never the last segment.

use crate::deletes::IsHidden;
use crate::records::Row;
use std::ops::RangeInclusive;
use timberlog_storage::Storage;
use timberlog_types::{Day, Seq, Tenant};

/// The records of a tenant's day that a segment has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    day: Day,
    seqs: (Seq, Seq),
    tenant: Tenant,
}

impl Place {
    fn overlaps(&self, other: &Self) -> bool {
        (&self.tenant, self.day) == (&other.tenant, other.day)
            && self.seqs.0 <= other.seqs.1
            && other.seqs.0 <= self.seqs.1
    }

    fn range(&self) -> RangeInclusive<Seq> {
        self.seqs.0..=self.seqs.1
    }
}

/// What has gone, or may have.
#[derive(Default)]
pub struct Evictions {
    /// What the files of all segments may have, if that is limited.
    pub bytes_max: Option<u64>,
    sure: Vec<Place>,
    /// A commit failed, or its process died over it.
    open: Vec<Place>,
}

impl Evictions {
    /// The segments that go with the next compaction.
    pub fn due(&self, storage: &Storage, tenants: &[Tenant]) -> Vec<Place> {
        let Some(max) = self.bytes_max.filter(|_| storage.retention_status().paused.is_none()) else {
            return Vec::new();
        };
        let mut segments = segments(storage, tenants);
        segments.sort_by_key(|(place, _)| (place.day, place.seqs, place.tenant.clone()));
        let mut left: u64 = segments.iter().map(|(_, bytes)| bytes).sum();
        segments.pop();
        let must_go = |(_, bytes): &(Place, u64)| {
            let is_over = left > max;
            left = left.saturating_sub(*bytes);
            is_over
        };
        segments.into_iter().take_while(must_go).map(|(place, _)| place).collect()
    }

    /// Takes note of what became of segments that were due. `is_done`: the commit was answered.
    pub fn note(
        &mut self,
        due: Vec<Place>,
        is_done: bool,
        storage: &Storage,
        tenants: &[Tenant],
    ) -> Result<(), String> {
        if due.is_empty() {
            return Ok(());
        }
        let there = segments(storage, tenants);
        for place in due {
            match there.iter().any(|(other, _)| other.overlaps(&place)) {
                true if is_done => return Err(format!("{place:?} is over the limit on bytes, and stays")),
                false if is_done => self.sure.push(place),
                _ => self.open.push(place),
            }
        }
        Ok(())
    }

    /// Settles what was open: a start shows what has gone.
    pub fn check_restart(&mut self, storage: &Storage, tenants: &[Tenant]) {
        let there = segments(storage, tenants);
        let is_gone = |place: &Place| !there.iter().any(|(other, _)| other.overlaps(place));
        self.sure.extend(std::mem::take(&mut self.open).into_iter().filter(is_gone));
    }

    /// A commit that was answered behind a failed fsync may be taken back.
    pub fn doubt(&mut self) {
        self.open.append(&mut self.sure);
    }

    /// Whether a record of a batch, with its number if that is known, is gone.
    pub fn is_hidden(&self, tenant: &Tenant, seq: Option<Seq>, row: &Row) -> IsHidden {
        let is_in = |place: &&Place| {
            place.tenant == *tenant
                && place.day == Day::of(row.timestamp)
                && seq.is_none_or(|seq| place.range().contains(&seq))
        };
        match (self.sure.iter().any(|place| is_in(&place)), self.open.iter().any(|place| is_in(&place))) {
            (true, _) if seq.is_some() => IsHidden::Yes,
            (false, false) => IsHidden::No,
            _ => IsHidden::Maybe,
        }
    }
}

/// All segments, with the bytes of their files.
fn segments(storage: &Storage, tenants: &[Tenant]) -> Vec<(Place, u64)> {
    let mut found = Vec::new();
    for tenant in tenants {
        for segment in storage.snapshot(tenant).segments.iter() {
            let seqs = (segment.entry.seq_min, segment.entry.seq_max);
            let bytes = segment.entry.files().map(|file| file.len).sum();
            found.push((Place { day: segment.day, seqs, tenant: tenant.clone() }, bytes));
        }
    }
    found
}
