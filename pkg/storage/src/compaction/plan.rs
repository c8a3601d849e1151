//! The planner: which segments to merge next, from a state of the manifest alone. No I/O.
//!
//! Segments of a partition have size classes, each `fan_in` times the one below; the uppermost is
//! *full* and never merged again. Three rules, for each partition by itself:
//!
//! 1. **Tiers**: `fan_in` segments of a class, with nothing larger between them, become one of a
//!    larger class (what is smaller between them goes along). So a record is written once for each
//!    class that it climbs.
//! 2. **Cap**: with more than 4 × `fan_in` segments that are not full, the cheapest neighbours are
//!    merged whatever their classes: arrivals that alternate between sizes cannot defeat rule 1.
//! 3. **Sealed**: a day that is over and quiet is merged into few.

use super::CompactionOptions;
use crate::deletes::Tombstone;
use crate::manifest::{Partition, SegmentEntry, State};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use timberlog_types::{Day, Tenant};

/// Segments of one job, as a multiple of `fan_in`: each has a block in memory.
const ENTRIES_PER_FAN_IN: usize = 2;
/// Segments of a partition that are not full, as a multiple of `fan_in`, before rule 2 merges.
const CAP_PER_FAN_IN: usize = 4;
/// How much larger than its largest input the output of rule 3 must be: else a large segment would
/// be written anew for each small one that comes late.
const SEALED_GROWTH_MIN: u64 = 2;

/// Segments to merge: neighbours of one partition, in order of sequence; one alone is written anew.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) tenant: Tenant,
    pub(crate) day: Day,
    pub(crate) inputs: Vec<Arc<SegmentEntry>>,
    /// Whether the result is likely to stay as it is.
    pub(crate) tier: Tier,
}

/// How well the result is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// It will be merged again.
    Middle,
    /// It is full, or its day is over.
    Last,
}

/// What there is to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) next: Option<Job>,
    /// Segments in the next job of each partition.
    pub(crate) segments_waiting: u64,
}

/// Why segments are merged; the first one is the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    Cap,
    Tiers,
    Sealed,
}

/// A segment as the rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) raw_bytes: u64,
    /// Not left alone.
    pub(super) is_mergeable: bool,
}

/// Whether new segments are still to be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// The day is over, and no segment came for a while.
    Sealed,
}

/// Plans the next job. `may_merge` says whether a segment may be touched. `now_ns` is wall-clock
/// time; it decides only whether a day is over.
pub(crate) fn plan(
    state: &State,
    now_ns: i64,
    options: &CompactionOptions,
    may_merge: &dyn Fn(&Tenant, Day, &SegmentEntry) -> bool,
) -> Plan {
    let mut plan = Plan::default();
    let mut best: Option<((Rule, u64), Job)> = None;
    let mut deletes: HashMap<&Tenant, Vec<&Tombstone>> = HashMap::new();
    for delete in state.deletes.live() {
        deletes.entry(&delete.tombstone.tenant).or_default().push(&delete.tombstone);
    }
    for (tenant, day, partition) in state.all_partitions() {
        if partition.segments.len() < 2 {
            continue;
        }
        let member = |entry: &Arc<SegmentEntry>| Member {
            raw_bytes: entry.raw_bytes,
            is_mergeable: may_merge(tenant, day, entry),
        };
        let members: Vec<Member> = partition.segments.iter().map(member).collect();
        let phase = phase(day, partition, now_ns, options);
        for part in parts(deletes.get(tenant).map_or(&[][..], Vec::as_slice), partition) {
            let Some((rule, range)) = choose(&members[part.clone()], phase, options) else { continue };
            let inputs = partition.segments.get(part.start + range.start..part.start + range.end);
            let inputs = inputs.unwrap_or_default().to_vec();
            plan.segments_waiting += inputs.len() as u64;
            let raw_bytes: u64 = inputs.iter().map(|entry| entry.raw_bytes).sum();
            // The cheapest way to have one segment less.
            let cost = raw_bytes / (inputs.len() as u64 - 1).max(1);
            if best.as_ref().is_none_or(|(least, _)| (rule, cost) < *least) {
                let is_last = rule == Rule::Sealed || raw_bytes >= full_bytes(options);
                let tier = if is_last { Tier::Last } else { Tier::Middle };
                best = Some(((rule, cost), Job { tenant: tenant.clone(), day, inputs, tier }));
            }
        }
    }
    plan.next = best.map(|(_, job)| job);
    plan
}

/// The stretches of a partition's segments within which a merge may happen: none crosses a delete
/// that may still hide rows of what came before it.
fn parts(deletes: &[&Tombstone], partition: &Partition) -> Vec<Range<usize>> {
    let segments = &partition.segments;
    let mut ends: Vec<usize> = deletes
        .iter()
        .filter(|delete| segments.iter().any(|entry| delete.touches(entry)))
        .map(|delete| segments.partition_point(|entry| entry.seq_max <= delete.seq))
        .collect();
    ends.push(segments.len());
    let mut start = 0;
    ends.into_iter().map(|end| std::mem::replace(&mut start, end)..end).filter(|part| !part.is_empty()).collect()
}

fn phase(day: Day, partition: &Partition, now_ns: i64, options: &CompactionOptions) -> Phase {
    let quiet_ns = i64::try_from(options.sealed_quiet.as_nanos()).unwrap_or(i64::MAX);
    let before = now_ns.saturating_sub(quiet_ns);
    let is_quiet = || {
        let newest = partition.segments.iter().map(|entry| born_ms(&entry.id)).max().unwrap_or(0);
        i64::try_from(newest).unwrap_or(i64::MAX).saturating_mul(1_000_000) <= before
    };
    if day.range().end < before && is_quiet() { Phase::Sealed } else { Phase::Open }
}

/// When a segment was made: the first 48 bits of its ULID, ms since 1970.
fn born_ms(id: &str) -> u64 {
    let digit = |byte: u8| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".iter().position(|&letter| letter == byte).unwrap_or(0);
    id.bytes().take(10).fold(0, |ms, byte| ms << 5 | digit(byte) as u64)
}

/// Raw bytes of a full segment.
pub(crate) fn full_bytes(options: &CompactionOptions) -> u64 {
    (options.segment_raw_bytes_max / 2).max(1)
}

fn fan_in(options: &CompactionOptions) -> usize {
    options.fan_in.clamp(2, 64)
}

/// The size class: 0 for full segments, one more for each `fan_in` that it is smaller.
fn class(raw_bytes: u64, options: &CompactionOptions) -> u32 {
    let (mut class, mut lower) = (0, full_bytes(options));
    while raw_bytes < lower && lower > 1 {
        class += 1;
        lower /= fan_in(options) as u64;
    }
    class
}

/// Chooses neighbours of one partition to merge, if any are to be.
pub(super) fn choose(members: &[Member], phase: Phase, options: &CompactionOptions) -> Option<(Rule, Range<usize>)> {
    let is_small = |member: &Member| member.is_mergeable && member.raw_bytes < full_bytes(options);
    let stretches = stretches(members, &is_small, 0..members.len());
    let small: usize = stretches.iter().map(ExactSizeIterator::len).sum();
    let tiers = || {
        let mut classes: Vec<u32> =
            stretches.iter().cloned().flatten().map(|at| class(members[at].raw_bytes, options)).collect();
        classes.sort_unstable_by_key(|&class| std::cmp::Reverse(class));
        classes.dedup();
        classes.into_iter().find_map(|class| stretches.iter().find_map(|of| tier(members, of, class, options)))
    };
    if let Some(range) = tiers() {
        return Some((Rule::Tiers, range));
    }
    if small > fan_in(options) * CAP_PER_FAN_IN
        && let Some(range) = cheapest(members, &stretches, options)
    {
        return Some((Rule::Cap, range));
    }
    if phase == Phase::Sealed
        && small > options.sealed_segments_max
        && let Some(range) = stretches.iter().filter_map(|of| leftovers(members, of, options)).max_by_key(|of| of.len())
    {
        return Some((Rule::Sealed, range));
    }
    None
}

/// The longest runs of neighbours within a range that are all `wanted`.
fn stretches(members: &[Member], wanted: &dyn Fn(&Member) -> bool, within: Range<usize>) -> Vec<Range<usize>> {
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for at in within.filter(|&at| wanted(&members[at])) {
        match stretches.last_mut() {
            Some(last) if last.end == at => last.end = at + 1,
            _ => stretches.push(at..at + 1),
        }
    }
    stretches
}

/// Rule 1 for one class in one stretch of segments that are not full.
fn tier(members: &[Member], of: &Range<usize>, wanted: u32, options: &CompactionOptions) -> Option<Range<usize>> {
    let is_no_larger = |member: &Member| member.is_mergeable && class(member.raw_bytes, options) >= wanted;
    stretches(members, &is_no_larger, of.clone()).into_iter().find_map(|of| {
        let (mut raw_bytes, mut count) = (0, 0);
        for at in of.clone() {
            let len = at - of.start;
            if raw_bytes + members[at].raw_bytes > options.segment_raw_bytes_max {
                // What follows is less than half of it, so this is full.
                return (len > 1).then_some(of.start..at);
            }
            if len == fan_in(options) * ENTRIES_PER_FAN_IN {
                return None;
            }
            raw_bytes += members[at].raw_bytes;
            count += usize::from(class(members[at].raw_bytes, options) == wanted);
            if count == fan_in(options) {
                return Some(of.start..at + 1);
            }
        }
        None
    })
}

/// Rule 2: of all windows of up to `fan_in` segments the one with the fewest bytes.
fn cheapest(members: &[Member], stretches: &[Range<usize>], options: &CompactionOptions) -> Option<Range<usize>> {
    let fan_in = fan_in(options);
    let windows = stretches.iter().flat_map(|of| {
        let len = of.len().min(fan_in);
        (of.start..=of.end - len).map(move |start| start..start + len)
    });
    let fitting = windows.map(|window| within_max(members, window, options)).filter(|window| window.len() > 1);
    fitting.min_by_key(|window| raw_bytes(members, window) / (window.len() as u64 - 1))
}

/// The first segments of a window that fit into one.
fn within_max(members: &[Member], window: Range<usize>, options: &CompactionOptions) -> Range<usize> {
    let mut raw_bytes = 0;
    let fits = window.clone().take_while(|&at| {
        raw_bytes += members[at].raw_bytes;
        raw_bytes <= options.segment_raw_bytes_max
    });
    window.start..window.start + fits.count()
}

/// Rule 3: the longest window that fits into one segment and makes even its largest one grow.
fn leftovers(members: &[Member], of: &Range<usize>, options: &CompactionOptions) -> Option<Range<usize>> {
    let mut best: Option<Range<usize>> = None;
    for start in of.clone() {
        let (mut raw_bytes, mut largest) = (0_u64, 0_u64);
        for at in (start..of.end).take(fan_in(options) * ENTRIES_PER_FAN_IN) {
            raw_bytes += members[at].raw_bytes;
            largest = largest.max(members[at].raw_bytes);
            if raw_bytes > options.segment_raw_bytes_max {
                break;
            }
            let len = at + 1 - start;
            let grows = raw_bytes >= largest.saturating_mul(SEALED_GROWTH_MIN);
            if len > 1 && grows && best.as_ref().is_none_or(|best| best.len() < len) {
                best = Some(start..at + 1);
            }
        }
    }
    best
}

fn raw_bytes(members: &[Member], window: &Range<usize>) -> u64 {
    members.get(window.clone()).unwrap_or_default().iter().map(|member| member.raw_bytes).sum()
}

#[cfg(test)]
mod tests;
