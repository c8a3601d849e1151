//! Building a binary fuse filter: choose a size, map the hashes, peel places that one hash alone
//! has, and give each hash its fingerprint in the reverse order. A seed that leaves hashes over is
//! given up for the next one; seeds come from a fixed sequence, so the bytes never differ.

use super::{FUSE, LIST, Places, SEGMENT_LOG_MAX, VERSION, fingerprint};

/// Sets this small are kept as a list: a fuse filter of so few is larger than their hashes.
const LIST_MAX: usize = 8;
/// A seed fails once in some hundred at worst; so many failures mean hashes made to fail.
const SEEDS_MAX: u64 = 64;

pub(super) fn build(hashes: &mut Vec<u64>) -> Vec<u8> {
    hashes.sort_unstable();
    hashes.dedup();
    if hashes.len() > LIST_MAX
        && let Some(bytes) = fuse(hashes)
    {
        return bytes;
    }
    list(hashes)
}

fn list(hashes: &[u64]) -> Vec<u8> {
    // A block has far fewer tokens than this; a caller that had more would lose no answer, only
    // the filter: an empty one cannot be told from "nothing in it", so it must not come to that.
    assert!(u32::try_from(hashes.len()).is_ok(), "more than 2^32 hashes in a token filter");
    let mut bytes = vec![VERSION, LIST, 0, 0];
    bytes.extend_from_slice(&(hashes.len() as u32).to_le_bytes());
    for hash in hashes {
        bytes.extend_from_slice(&hash.to_le_bytes());
    }
    bytes
}

fn fuse(hashes: &[u64]) -> Option<Vec<u8>> {
    let count = u32::try_from(hashes.len()).ok()?;
    let (log, segments) = size(count);
    let segment_len = 1_u64 << log;
    let places = usize::try_from((u64::from(segments) + 2) * segment_len).ok()?;
    let mut peeler = Peeler::new(places, hashes.len());
    for attempt in 1..=SEEDS_MAX {
        let seed = attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let map = Places { seed, segment_len, first_end: u64::from(segments) * segment_len };
        if !peeler.peel(map, hashes) {
            continue;
        }
        let mut bytes = vec![VERSION, FUSE, log, 0];
        bytes.extend_from_slice(&segments.to_le_bytes());
        bytes.extend_from_slice(&seed.to_le_bytes());
        bytes.extend_from_slice(&peeler.assign(map));
        return Some(bytes);
    }
    None
}

/// The segment length's logarithm and the number of first segments, as the paper fits them.
fn size(count: u32) -> (u8, u32) {
    let count = f64::from(count);
    let log = (count.ln() / 3.33_f64.ln() + 2.25).floor();
    let log = if log < f64::from(SEGMENT_LOG_MAX) { log as u8 } else { SEGMENT_LOG_MAX };
    let factor = (0.875 + 0.25 * 1e6_f64.ln() / count.ln()).max(1.125);
    let segment_len = f64::from(1_u32 << log);
    let segments = ((count * factor).round() / segment_len).ceil() as u32;
    (log, segments.saturating_sub(2).max(1))
}

/// The hypergraph: for each place how many hashes have it and their XOR.
struct Peeler {
    /// Four times the number of hashes, and in the low two bits the XOR of which of its three
    /// places this is for them.
    counts: Vec<u32>,
    hashes: Vec<u64>,
    /// Places that one hash has.
    alone: Vec<u32>,
    /// Hashes in the order in which they were peeled, with which of its places each was peeled at.
    order: Vec<(u64, u8)>,
    mapped: Vec<u64>,
}

impl Peeler {
    fn new(places: usize, count: usize) -> Self {
        Self {
            counts: vec![0; places],
            hashes: vec![0; places],
            alone: Vec::with_capacity(places),
            order: Vec::with_capacity(count),
            mapped: Vec::with_capacity(count),
        }
    }

    fn peel(&mut self, map: Places, hashes: &[u64]) -> bool {
        self.counts.fill(0);
        self.hashes.fill(0);
        self.alone.clear();
        self.order.clear();
        self.mapped.clear();
        self.mapped.extend(hashes.iter().map(|&hash| map.mix(hash)));
        for &mixed in &self.mapped {
            for (which, place) in (0..).zip(map.of(mixed)) {
                let place = place as usize;
                self.counts[place] = self.counts[place].wrapping_add(4) ^ which;
                self.hashes[place] ^= mixed;
            }
        }
        for (place, &count) in (0..).zip(&self.counts) {
            if count >> 2 == 1 {
                self.alone.push(place);
            }
        }
        while let Some(place) = self.alone.pop() {
            let count = self.counts[place as usize];
            if count >> 2 != 1 {
                continue;
            }
            let mixed = self.hashes[place as usize];
            self.order.push((mixed, (count & 3) as u8));
            for (which, place) in (0..).zip(map.of(mixed)) {
                let at = place as usize;
                self.counts[at] = self.counts[at].wrapping_sub(4) ^ which;
                self.hashes[at] ^= mixed;
                if self.counts[at] >> 2 == 1 {
                    self.alone.push(place as u32);
                }
            }
        }
        self.order.len() == hashes.len()
    }

    fn assign(&self, map: Places) -> Vec<u8> {
        let mut fingerprints = vec![0; self.counts.len()];
        for &(mixed, which) in self.order.iter().rev() {
            let places = map.of(mixed).map(|place| place as usize);
            let others = (0..3).filter(|&other| other != usize::from(which));
            let value = others.fold(fingerprint(mixed), |value, other| value ^ fingerprints[places[other]]);
            fingerprints[places[usize::from(which)]] = value;
        }
        fingerprints
    }
}
