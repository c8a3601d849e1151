//! The rules held against arrivals: how many segments there are, and how often a byte is written.

use super::*;
use proptest::prelude::*;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A partition without files: sizes of segments, and what merging has cost.
struct Partition {
    options: CompactionOptions,
    sizes: Vec<u64>,
    arrived: u64,
    merged: u64,
    /// The most segments that were not full, after merging.
    small_max: usize,
}

impl Partition {
    fn new(options: CompactionOptions) -> Self {
        Self { options, sizes: Vec::new(), arrived: 0, merged: 0, small_max: 0 }
    }

    fn arrive(&mut self, raw_bytes: u64) {
        self.sizes.push(raw_bytes);
        self.arrived += raw_bytes;
        self.settle(Phase::Open);
        self.small_max = self.small_max.max(self.small());
    }

    fn small(&self) -> usize {
        self.sizes.iter().filter(|&&size| size < full_bytes(&self.options)).count()
    }

    /// Merges until nothing is due.
    fn settle(&mut self, phase: Phase) {
        loop {
            let member = |&raw_bytes: &u64| Member { raw_bytes, is_mergeable: true };
            let members: Vec<Member> = self.sizes.iter().map(member).collect();
            let Some((_, range)) = choose(&members, phase, &self.options) else { return };
            assert!((2..=2 * self.options.fan_in).contains(&range.len()), "{range:?}");
            let inputs = &self.sizes[range.clone()];
            let raw_bytes: u64 = inputs.iter().sum();
            assert!(raw_bytes <= self.options.segment_raw_bytes_max);
            assert!(inputs.iter().all(|&size| size < full_bytes(&self.options)), "a full segment is merged");
            self.merged += raw_bytes;
            self.sizes.splice(range, [raw_bytes]);
        }
    }

    /// Bytes written for each byte that arrived.
    fn amplification(&self) -> f64 {
        (self.arrived + self.merged) as f64 / self.arrived as f64
    }

    /// Small ones are bounded by the cap; between two full ones there may be one that no rule moves.
    fn check(&self) {
        let full = self.sizes.len() - self.small();
        let cap = CAP_PER_FAN_IN * self.options.fan_in + 1 + full;
        assert!(self.small_max <= cap, "{} small segments, {full} full", self.small_max);
        assert!(full as u64 <= self.arrived / full_bytes(&self.options));
    }
}

fn run(sizes: impl IntoIterator<Item = u64>) -> Partition {
    let mut partition = Partition::new(CompactionOptions::default());
    sizes.into_iter().for_each(|size| partition.arrive(size));
    partition.check();
    partition
}

#[test]
fn steady_arrivals_are_written_at_most_three_times() {
    // A busy tenant, whose flushes are full; many tenants that share flushes; a quiet one.
    for (size, count, small_max, amplification_max) in
        [(24 * MIB, 2_000, 21, 2.0), (600 * KIB, 20_000, 62, 3.0), (10 * KIB, 288, 39, 2.0)]
    {
        let mut partition = run(std::iter::repeat_n(size, count));
        assert!(partition.small_max <= small_max, "{} of {size}", partition.small_max);
        assert!(partition.amplification() <= amplification_max, "{} of {size}", partition.amplification());
        partition.settle(Phase::Sealed);
        assert!(partition.small() <= 3, "{:?}", partition.sizes);
        assert!(partition.amplification() <= 3.0, "{} of {size}", partition.amplification());
    }
}

/// The sequences that tiers alone do not bound: a large one between small ones, on every scale.
#[test]
fn no_pattern_makes_more_segments_than_the_cap() {
    let ruler = (1..20_000_u64).map(|n| KIB << n.trailing_zeros().min(16));
    let alternating = (0..20_000).map(|n| if n % 2 == 0 { 33 * MIB } else { KIB });
    let falling = (0..200).flat_map(|_| (0..18).rev().map(|n| KIB << n));
    let full = (0..300).map(|n| if n % 2 == 0 { 300 * MIB } else { MIB });
    assert!(run(ruler).small_max <= 129);
    assert!(run(alternating).small_max <= 129);
    assert!(run(falling).small_max <= 129);
    let mut partition = run(full);
    partition.settle(Phase::Sealed);
    assert_eq!(partition.sizes.len(), 300, "nothing small has a small neighbour");
}

#[test]
fn a_sealed_day_is_merged_into_few_and_then_left() {
    let mut partition = run((0..40).map(|n| (1 + n % 7) * MIB));
    partition.settle(Phase::Sealed);
    assert_eq!(partition.sizes.len(), 2);
    let before = partition.merged;
    // What comes late does not make the large one be written anew.
    for _ in 0..100 {
        partition.arrive(10 * KIB);
        partition.settle(Phase::Sealed);
    }
    assert!(partition.sizes.len() <= 8, "{:?}", partition.sizes);
    assert!(partition.merged - before <= 10 * MIB, "{}", partition.merged - before);
}

#[test]
fn what_is_left_alone_is_not_merged_over() {
    let mut members = vec![Member { raw_bytes: MIB, is_mergeable: true }; 65];
    members[20].is_mergeable = false;
    let options = CompactionOptions::default();
    assert_eq!(choose(&members, Phase::Open, &options), Some((Rule::Tiers, 21..53)));
    members[30].is_mergeable = false;
    assert_eq!(choose(&members, Phase::Open, &options), Some((Rule::Tiers, 31..63)));
    members[40].is_mergeable = false;
    assert_eq!(choose(&members, Phase::Open, &options), None);
    assert_eq!(choose(&members, Phase::Sealed, &options), Some((Rule::Sealed, 41..65)));
}

#[test]
fn an_ulid_tells_when_a_segment_was_made() {
    assert_eq!(born_ms("01ARZ3NDEKTSV4RRFFQ69G5FAV"), 1_469_922_850_259);
    assert_eq!(born_ms(""), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Sizes from 64 KiB to 64 MiB, each magnitude as likely as another, late ones in between.
    #[test]
    fn random_arrivals_are_written_at_most_three_times(
        sizes in prop::collection::vec((16_u32..26, 0_u64..1000), 200..3_000),
        sealed_every in prop::option::of(100_usize..1_000),
    ) {
        let mut partition = Partition::new(CompactionOptions::default());
        for (number, (magnitude, part)) in sizes.into_iter().enumerate() {
            partition.arrive((1 << magnitude) + ((1 << magnitude) / 1000) * part);
            if sealed_every.is_some_and(|every| number % every == every - 1) {
                partition.settle(Phase::Sealed);
            }
        }
        partition.settle(Phase::Sealed);
        partition.check();
        prop_assert!(partition.amplification() <= 3.0, "{}", partition.amplification());
    }

    /// Any sizes at any settings: bounded, and settling ends.
    #[test]
    fn any_arrivals_are_bounded(
        sizes in prop::collection::vec((0_u32..24, 0_u64..1000), 0..600),
        fan_in in 2_usize..20,
        magnitude in 10_u32..30,
    ) {
        let options = CompactionOptions { fan_in, segment_raw_bytes_max: 1 << magnitude, ..CompactionOptions::default() };
        let mut partition = Partition::new(options);
        for (magnitude, part) in sizes {
            partition.arrive((1 << magnitude) / 2 + part);
        }
        partition.settle(Phase::Sealed);
        partition.check();
    }
}
