//! A list of i64 as differences whose high bits are entropy-coded and whose low bits are stored as they are.
//!
//! For timestamps. Where something happens every so often, with some jitter, few differences are common but for
//! their low bits; where arrivals are random, the high bits are still not equally likely.
//!
//! | bytes | content |
//! |---|---|
//! | u8 | the power of ten that all differences are multiples of, 0–9 |
//! | zigzag | the first value |
//! | zigzag | base |
//! | u8 | low bits of an item, 0–63 |
//! | varint | entries, at most 255 |
//! | integers | the entries: high bits of items |
//! | codes, of entries + 1 | of each item: the entry of its high bits, or the number of entries |
//! | varint × | the high bits of each item that has no entry |
//! | bits | of each item: its low bits |
//!
//! An item is (value − the one before) / 10^power − base, from the second value on. All arithmetic wraps at 64 bits.

use super::bits::{pack, packed_len, unpack};
use super::input::{put_varint, put_zigzag};
use super::ints::{self, POWER_MAX, Shape};
use super::{Compressor, Input, codes};
use crate::column::Codes;
use crate::error::SegmentError;

/// With fewer values nothing is gained.
const VALUES_MIN: usize = 256;
const ENTRIES_MAX: usize = 255;
/// Low bits are chosen so that no more different high bits than this are looked at.
const RUNS_MAX: usize = 1024;
/// What an entry, and an item without one, cost beside their bits.
const ENTRY_BITS: f64 = 12.0;
const OTHER_BITS: f64 = 8.0;
/// No better number of low bits is looked for beyond one that costs so much more than the best.
const COST_GIVES_UP: f64 = 1.1;

/// Buffers of the encoder, kept between lists.
#[derive(Default)]
pub(crate) struct Scratch {
    items: Vec<u64>,
    sorted: Vec<u64>,
    runs: Vec<Run>,
    by_count: Vec<Run>,
    entries: Vec<i64>,
    codes: Vec<u32>,
    others: Vec<u64>,
}

/// Items that have their high bits in common.
#[derive(Clone, Copy)]
struct Run {
    high: u64,
    count: u32,
}

/// What the encoder writes with.
pub(crate) struct Tools<'a> {
    pub(crate) compressor: &'a mut Compressor,
    pub(crate) ints: &'a mut ints::Scratch,
    pub(crate) codes: &'a mut codes::Scratch,
}

/// Appends the values if that takes fewer than `len` bytes, else nothing; tells which.
pub(crate) fn encode(values: &[i64], len: usize, tools: Tools<'_>, scratch: &mut Scratch, out: &mut Vec<u8>) -> bool {
    let [first, ..] = values else { return false };
    if values.len() < VALUES_MIN {
        return false;
    }
    let Scratch { items, sorted, runs, by_count, entries, codes, others } = scratch;
    entries.clear();
    entries.extend(values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])));
    let overflows = values.windows(2).any(|pair| pair[1].checked_sub(pair[0]).is_none());
    let power = if overflows { 0 } else { ints::divide(entries) };
    // Steps back are few, and become exceptions.
    let base = entries.iter().copied().filter(|&item| item >= 0).min().unwrap_or_default();
    items.clear();
    items.extend(entries.iter().map(|item| item.wrapping_sub(base).cast_unsigned()));
    sorted.clone_from(items);
    sorted.sort_unstable();
    let Some((low_bits, bits)) = choose(sorted, runs, by_count) else { return false };
    if bits / 8.0 >= len as f64 {
        return false;
    }
    runs_of(sorted, low_bits, runs);
    keep_most_common(runs);
    runs.sort_unstable_by_key(|run| run.high);
    entries.clear();
    entries.extend(runs.iter().map(|run| run.high.cast_signed()));
    codes.clear();
    others.clear();
    for item in items.iter() {
        let high = item >> low_bits;
        let place = runs.binary_search_by_key(&high, |run| run.high);
        if place.is_err() {
            others.push(high);
        }
        // At most ENTRIES_MAX.
        codes.push(place.unwrap_or(runs.len()) as u32);
    }
    let start = out.len();
    out.push(power);
    put_zigzag(out, *first);
    put_zigzag(out, base);
    out.push(low_bits as u8);
    put_varint(out, entries.len() as u64);
    ints::encode(entries, Shape::Any, tools.ints, out);
    codes::encode(codes, entries.len() + 1, tools.compressor, tools.ints, tools.codes, out);
    others.iter().for_each(|&high| put_varint(out, high));
    let mask = (1 << low_bits) - 1;
    pack(items.iter().map(|item| item & mask), low_bits, out);
    let is_shorter = out.len() - start < len;
    if !is_shorter {
        out.truncate(start);
    }
    is_shorter
}

/// The number of low bits that costs least, and what it costs in bits, about.
fn choose(sorted: &[u64], runs: &mut Vec<Run>, by_count: &mut Vec<Run>) -> Option<(u32, f64)> {
    let distinct =
        |low_bits: u32| 1 + sorted.windows(2).filter(|pair| pair[0] >> low_bits != pair[1] >> low_bits).count();
    let (mut low, mut high) = (0_u32, 63_u32);
    while low < high {
        let middle = low.midpoint(high);
        if distinct(middle) <= RUNS_MAX { high = middle } else { low = middle + 1 }
    }
    runs_of(sorted, low, runs);
    let mut best: Option<(u32, f64)> = None;
    for low_bits in low..=63 {
        let bits = cost(sorted.len(), low_bits, runs, by_count);
        match best {
            Some((_, least)) if bits > least * COST_GIVES_UP => break,
            Some((_, least)) if bits >= least => {}
            _ => best = Some((low_bits, bits)),
        }
        if let [_] = runs.as_slice() {
            break;
        }
        halve(runs);
    }
    best
}

/// What items with these high bits cost.
fn cost(items: usize, low_bits: u32, runs: &[Run], by_count: &mut Vec<Run>) -> f64 {
    by_count.clear();
    by_count.extend_from_slice(runs);
    keep_most_common(by_count);
    let of = |count: f64| if count > 0.0 { count * (items as f64 / count).log2() } else { 0.0 };
    let known: f64 = by_count.iter().map(|run| f64::from(run.count)).sum();
    let coded: f64 = by_count.iter().map(|run| of(f64::from(run.count))).sum();
    let other = items as f64 - known;
    let widest = runs.last().map_or(0, |run| 64 - run.high.leading_zeros());
    items as f64 * f64::from(low_bits)
        + coded
        + of(other)
        + other * (OTHER_BITS + f64::from(widest.div_ceil(7) * 8))
        + by_count.len() as f64 * ENTRY_BITS
}

fn keep_most_common(runs: &mut Vec<Run>) {
    if runs.len() > ENTRIES_MAX {
        runs.select_nth_unstable_by_key(ENTRIES_MAX, |run| std::cmp::Reverse(run.count));
        runs.truncate(ENTRIES_MAX);
    }
}

/// The runs of sorted items, ascending.
fn runs_of(sorted: &[u64], low_bits: u32, runs: &mut Vec<Run>) {
    runs.clear();
    let alike = |a: &u64, b: &u64| a >> low_bits == b >> low_bits;
    // A block has fewer than 2^32 rows.
    runs.extend(sorted.chunk_by(alike).map(|run| Run { high: run[0] >> low_bits, count: run.len() as u32 }));
}

/// Makes one more bit a low one.
fn halve(runs: &mut Vec<Run>) {
    runs.iter_mut().for_each(|run| run.high >>= 1);
    runs.dedup_by(|next, run| {
        let is_alike = next.high == run.high;
        if is_alike {
            run.count += next.count;
        }
        is_alike
    });
}

/// Decodes a list of `count` values; the caller has compared `count` with a limit.
pub(crate) fn decode(input: &mut Input<'_>, count: usize) -> Result<Vec<i64>, SegmentError> {
    let Some(items) = count.checked_sub(1) else { return Ok(Vec::new()) };
    let power = input.u8()?;
    let first = input.zigzag()?;
    let base = input.zigzag()?;
    let low_bits = u32::from(input.u8()?);
    if power > POWER_MAX || low_bits > 63 {
        return Err(SegmentError::corrupt("differences have an unknown form"));
    }
    let entries = input.count(ENTRIES_MAX)?;
    // What is added to the low bits of each item; of one without an entry all of its high bits are still to come.
    let mut highs = [base.cast_unsigned(); ENTRIES_MAX + 1];
    let known = ints::decode(input, entries)?;
    highs.iter_mut().zip(&known).for_each(|(high, known)| *high = high.wrapping_add(known.cast_unsigned() << low_bits));
    let Codes::U8(codes) = codes::decode(input, items, entries + 1)? else {
        return Err(SegmentError::corrupt("differences have wide codes"));
    };
    // There are at most ENTRIES_MAX entries.
    let no_entry = entries as u8;
    let without_entry = codes.iter().filter(|&&code| code == no_entry).count();
    let mut others = Vec::with_capacity(without_entry);
    for _ in 0..without_entry {
        others.push(input.varint()? << low_bits);
    }
    let low = input.take(packed_len(items, low_bits))?;
    let mut values = Vec::with_capacity(count);
    values.push(first);
    unpack(low, low_bits, items, |low| values.push(low.cast_signed()));
    let differences = values.get_mut(1..).unwrap_or_default();
    for (value, &code) in differences.iter_mut().zip(&codes) {
        *value = value.wrapping_add(highs[usize::from(code)].cast_signed());
    }
    if !others.is_empty() {
        let without_entry = differences.iter_mut().zip(&codes).filter(|&(_, &code)| code == no_entry);
        for ((value, _), high) in without_entry.zip(others) {
            *value = value.wrapping_add(high.cast_signed());
        }
    }
    let factor = 10_i64.pow(u32::from(power));
    let mut last = first;
    for value in differences {
        last = last.wrapping_add(value.wrapping_mul(factor));
        *value = last;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that the values take, and those as plain integers.
    fn check(values: &[i64]) -> (Option<usize>, usize) {
        let (mut compressor, mut ints, mut codes) =
            (Compressor::new(1), ints::Scratch::default(), codes::Scratch::default());
        let mut plain = Vec::new();
        ints::encode(values, Shape::Sorted, &mut ints, &mut plain);
        let mut bytes = Vec::new();
        let tools = Tools { compressor: &mut compressor, ints: &mut ints, codes: &mut codes };
        if !encode(values, usize::MAX, tools, &mut Scratch::default(), &mut bytes) {
            assert!(bytes.is_empty());
            return (None, plain.len());
        }
        let mut input = Input::new(&bytes);
        assert_eq!(decode(&mut input, values.len()).unwrap(), values);
        input.finish().unwrap();
        for cut in (0..bytes.len()).step_by(1 + bytes.len() / 100) {
            assert!(decode(&mut Input::new(&bytes[..cut]), values.len()).is_err(), "cut at {cut}");
        }
        (Some(bytes.len()), plain.len())
    }

    /// Numbers below 2^32 that look random.
    fn random() -> impl FnMut(u64) -> u64 {
        let mut seed = 7_u64;
        move |below| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 32) % below
        }
    }

    #[test]
    fn what_happens_every_so_often_is_short() {
        let mut random = random();
        let mut at = 1_790_000_000_000_000_000_i64;
        let every: Vec<i64> = (0..5_000)
            .map(|_| {
                at += 86_400_000 * (1 + random(20) as i64);
                at + random(1_000) as i64
            })
            .collect();
        let (split, plain) = check(&every);
        assert!(split.unwrap() * 10 < plain * 7, "{split:?} {plain}");
    }

    #[test]
    fn random_arrivals_are_no_longer_than_plain() {
        let mut random = random();
        let mut at = 0_i64;
        let arrivals: Vec<i64> = (0..5_000)
            .map(|_| {
                let even = (1 + random(1 << 31)) as f64 / (1_u64 << 31) as f64;
                at += (-even.ln() * 5e7) as i64;
                at
            })
            .collect();
        let (split, plain) = check(&arrivals);
        assert!(split.unwrap() < plain, "{split:?} {plain}");
    }

    #[test]
    fn edges_come_back() {
        assert_eq!(check(&[]).0, None);
        assert_eq!(check(&[5; 255]).0, None);
        check(&[5; 300]);
        let mut values: Vec<i64> = (0..400).map(|n| n * 1_000).collect();
        values[200] = i64::MIN;
        values[201] = i64::MAX;
        check(&values);
        values.reverse();
        check(&values);
    }

    #[test]
    fn a_length_that_is_reached_already_is_not_tried() {
        let values: Vec<i64> = (0..400).map(|n| n * n).collect();
        let mut out = vec![1];
        let (mut compressor, mut ints, mut codes) =
            (Compressor::new(1), ints::Scratch::default(), codes::Scratch::default());
        let tools = Tools { compressor: &mut compressor, ints: &mut ints, codes: &mut codes };
        assert!(!encode(&values, 10, tools, &mut Scratch::default(), &mut out));
        assert_eq!(out, [1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn random_lists_come_back(
            values in proptest::collection::vec((any::<i64>(), 0_u32..64), 256..600),
            base in any::<i64>(),
        ) {
            let values: Vec<i64> = values.iter().map(|(value, shift)| base.wrapping_add(value >> shift)).collect();
            check(&values);
        }

        #[test]
        fn random_bytes_are_refused_or_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&mut Input::new(&bytes), 300);
        }
    }
}
