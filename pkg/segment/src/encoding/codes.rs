//! Lists of codes: small numbers below a count of entries that the caller knows.
//!
//! | bytes | content |
//! |---|---|
//! | u8 | 0 packed, 1 runs, 2 bytes |
//! | *packed*: bits | the codes, as wide as the greatest possible code |
//! | *runs*: varint, u8 | number of runs, 1 if run n has code n |
//! | bits | unless so: the code of each run |
//! | integers | the length of each run |
//! | *bytes*: blob | a byte for each code |
//!
//! With one entry there is nothing but the codes' count to know, and no byte is stored.

use super::bits::{pack, packed_len, unpack, width_of};
use super::input::put_varint;
use super::{BLOCK_ROWS_MAX, Compressor, Input, blob, ints};
use crate::column::Codes;
use crate::error::SegmentError;

const PACKED: u8 = 0;
const RUNS: u8 = 1;
const BYTES: u8 = 2;

/// Below this many codes, entropy coding is not tried.
const BYTES_CODES_MIN: usize = 256;

/// Buffers of the encoder, kept between lists.
#[derive(Default)]
pub(crate) struct Scratch {
    lens: Vec<i64>,
    bytes: Vec<u8>,
    packed: Vec<u8>,
}

pub(crate) fn encode(
    codes: &[u32],
    entries: usize,
    compressor: &mut Compressor,
    ints: &mut ints::Scratch,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) {
    if entries <= 1 || codes.is_empty() {
        return;
    }
    let width = code_width(entries);
    let runs = 1 + codes.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let is_identity = runs == entries && codes.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1);
    let packed = packed_len(codes.len(), width);
    let start = out.len();
    // The shortest form that a run can take is about six bits for its length.
    let runs_guess = if is_identity { runs / 2 } else { packed_len(runs, width + 4) };
    if runs_guess < packed {
        encode_runs(codes, runs, is_identity.then_some(()), width, ints, scratch, out);
    }
    let with_runs = out.len() - start;
    let mut best = if runs_guess < packed && with_runs <= packed { with_runs } else { packed + 1 };
    if best > packed {
        out.truncate(start);
    }
    // Where runs pay well, entropy coding of the single codes pays less.
    if entries <= 256 && codes.len() >= BYTES_CODES_MIN && best > packed / 2 {
        scratch.bytes.clear();
        // Codes are below 256.
        scratch.bytes.extend(codes.iter().map(|&code| code as u8));
        scratch.packed.clear();
        blob::encode(&scratch.bytes, compressor, &mut scratch.packed);
        if scratch.packed.len() + 1 < best {
            best = scratch.packed.len() + 1;
            out.truncate(start);
            out.push(BYTES);
            out.extend_from_slice(&scratch.packed);
        }
    }
    if out.len() == start {
        out.push(PACKED);
        pack(codes.iter().map(|&code| u64::from(code)), width, out);
    }
    debug_assert_eq!(out.len() - start, best);
}

fn code_width(entries: usize) -> u32 {
    width_of(entries.saturating_sub(1) as u64)
}

fn encode_runs(
    codes: &[u32],
    runs: usize,
    identity: Option<()>,
    width: u32,
    ints: &mut ints::Scratch,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) {
    out.push(RUNS);
    put_varint(out, runs as u64);
    out.push(u8::from(identity.is_some()));
    let chunks = || codes.chunk_by(|a, b| a == b);
    if identity.is_none() {
        pack(chunks().map(|run| u64::from(run[0])), width, out);
    }
    scratch.lens.clear();
    // A run is no longer than a block has rows.
    scratch.lens.extend(chunks().map(|run| run.len() as i64));
    ints::encode(&scratch.lens, ints::Shape::Any, ints, out);
}

/// Decodes `count` codes, each below `entries`; the caller has compared both with limits.
pub(crate) fn decode(input: &mut Input<'_>, count: usize, entries: usize) -> Result<Codes, SegmentError> {
    if entries <= 1 || count == 0 {
        return if count > 0 && entries == 0 { Err(bad()) } else { Ok(Codes::U8(vec![0; count])) };
    }
    let form = input.u8()?;
    let width = code_width(entries);
    match form {
        PACKED => {
            let packed = input.take(packed_len(count, width))?;
            narrow(entries, count, |f| {
                unpack(packed, width, count, f);
            })
        }
        RUNS => {
            let runs = input.count(count.min(BLOCK_ROWS_MAX))?;
            let is_identity = input.u8()? == 1;
            let mut run_codes = Vec::new();
            if !is_identity {
                let packed = input.take(packed_len(runs, width))?;
                run_codes.reserve_exact(runs);
                unpack(packed, width, runs, |code| run_codes.push(code));
            }
            let lens = ints::decode(input, runs)?;
            let mut left = count;
            for &len in &lens {
                let len = usize::try_from(len).map_err(|_| bad())?;
                left = left.checked_sub(len).ok_or_else(bad)?;
            }
            if left != 0 {
                return Err(bad());
            }
            narrow(entries, count, |f| {
                for (run, &len) in lens.iter().enumerate() {
                    let code = if is_identity { run as u64 } else { run_codes.get(run).copied().unwrap_or(u64::MAX) };
                    (0..len).for_each(|_| f(code));
                }
            })
        }
        BYTES if entries <= 256 => {
            let bytes = blob::decode(input, count)?;
            if bytes.len() != count || bytes.iter().any(|&code| usize::from(code) >= entries) {
                return Err(bad());
            }
            Ok(Codes::U8(bytes))
        }
        _ => Err(SegmentError::corrupt("codes have an unknown form")),
    }
}

/// Collects codes as narrow as the entries allow, and checks that each has an entry.
fn narrow(entries: usize, count: usize, each: impl FnOnce(&mut dyn FnMut(u64))) -> Result<Codes, SegmentError> {
    let entries = entries as u64;
    let mut is_good = true;
    // The casts cut nothing off: a code that is too large is found, and the codes are refused.
    let codes = if entries <= 1 << 8 {
        let mut codes = Vec::with_capacity(count);
        each(&mut |code| {
            is_good &= code < entries;
            codes.push(code as u8);
        });
        Codes::U8(codes)
    } else if entries <= 1 << 16 {
        let mut codes = Vec::with_capacity(count);
        each(&mut |code| {
            is_good &= code < entries;
            codes.push(code as u16);
        });
        Codes::U16(codes)
    } else {
        let mut codes = Vec::with_capacity(count);
        each(&mut |code| {
            is_good &= code < entries;
            codes.push(code as u32);
        });
        Codes::U32(codes)
    };
    if is_good { Ok(codes) } else { Err(bad()) }
}

fn bad() -> SegmentError {
    SegmentError::corrupt("codes are damaged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(codes: &[u32], entries: usize) -> usize {
        let mut bytes = Vec::new();
        let (mut ints, mut scratch) = (ints::Scratch::default(), Scratch::default());
        encode(codes, entries, &mut Compressor::new(1), &mut ints, &mut scratch, &mut bytes);
        let mut input = Input::new(&bytes);
        let back = decode(&mut input, codes.len(), entries).unwrap();
        input.finish().unwrap();
        assert!((0..codes.len()).all(|index| back.get(index) == codes[index] as usize) && back.len() == codes.len());
        bytes.len()
    }

    #[test]
    fn every_form_comes_back() {
        assert_eq!(check(&[0; 5000], 1), 0);
        assert_eq!(check(&[], 0), 0);
        assert!(check(&(0..5000).collect::<Vec<_>>(), 5000) < 8, "each its own");
        assert!(check(&(0..5000).map(|n| n / 10).collect::<Vec<_>>(), 500) < 8, "long runs in order");
        assert!(check(&(0..5000).map(|n| n / 100 % 3).collect::<Vec<_>>(), 3) < 40, "long runs");
        check(&(0..5000_u32).map(|n| n.wrapping_mul(2_654_435_761) >> 8 & 1023).collect::<Vec<_>>(), 1024);
        check(&(0..500_u32).map(|n| n * 131).collect::<Vec<_>>(), 70_000);
        let skewed: Vec<u32> =
            (0..6000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 28).saturating_sub(12)).collect();
        assert!(check(&skewed, 4) < 6000 / 5, "entropy coded");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn random_bytes_are_refused_or_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..200), entries in 0_usize..700) {
            if let Ok(codes) = decode(&mut Input::new(&bytes), 300, entries) {
                prop_assert!((0..300).all(|index| codes.get(index) < entries));
            }
        }

        #[test]
        fn random_codes_come_back(codes in proptest::collection::vec(0_u32..300, 1..700)) {
            check(&codes, 300);
        }
    }
}
