//! Lists of i64, bit-packed in mini-blocks.
//!
//! | bytes | content |
//! |---|---|
//! | u8 | 0–9: the power of ten that all differences are multiples of; plus 16 if deltas; plus 32 if constant |
//! | zigzag | origin: the first value if deltas, else the smallest |
//! | per mini-block of 128 | not if constant |
//! | u8 | width, 0–64 |
//! | u8 | exceptions, at most 128 |
//! | zigzag | base |
//! | bits | each item minus the base, its lowest `width` bits |
//! | u8 × exceptions | the exceptions' places in the mini-block, ascending |
//! | varint × exceptions | their bits above `width` |
//!
//! An item is (value − origin) / 10^power, or with deltas (value − the one before) / 10^power, from
//! the second value on. All arithmetic wraps at 64 bits. A list without values has no bytes.

use super::Input;
use super::bits::{pack, packed_len, unpack, width_of};
use super::input::{put_varint, put_zigzag};
use crate::error::SegmentError;

const MINI: usize = 128;
const DELTAS: u8 = 16;
const CONSTANT: u8 = 32;
/// The greatest power of ten that values are divided by.
pub(crate) const POWER_MAX: u8 = 9;

/// Whether neighbours are alike.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Values ascend, or nearly so: store deltas.
    Sorted,
    /// Unknown: store whichever is smaller.
    Any,
}

/// Buffers of the encoder, kept between lists.
#[derive(Default)]
pub(crate) struct Scratch {
    items: Vec<i64>,
    other: Vec<u8>,
}

pub(crate) fn encode(values: &[i64], shape: Shape, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let Some(&first) = values.first() else { return };
    if values.iter().all(|&value| value == first) {
        out.push(CONSTANT);
        put_zigzag(out, first);
        return;
    }
    let start = out.len();
    encode_deltas(values, &mut scratch.items, out);
    if shape == Shape::Any {
        let mut plain = std::mem::take(&mut scratch.other);
        plain.clear();
        encode_plain(values, &mut scratch.items, &mut plain);
        if plain.len() <= out.len() - start {
            out.truncate(start);
            out.extend_from_slice(&plain);
        }
        scratch.other = plain;
    }
}

fn encode_deltas(values: &[i64], items: &mut Vec<i64>, out: &mut Vec<u8>) {
    items.clear();
    items.extend(values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])));
    let overflows = values.windows(2).any(|pair| pair[1].checked_sub(pair[0]).is_none());
    let power = if overflows { 0 } else { divide(items) };
    out.push(DELTAS | power);
    put_zigzag(out, values[0]);
    items.chunks(MINI).for_each(|mini| encode_mini(mini, out));
}

fn encode_plain(values: &[i64], items: &mut Vec<i64>, out: &mut Vec<u8>) {
    let origin = values.iter().copied().min().unwrap_or_default();
    items.clear();
    items.extend(values.iter().map(|value| value.wrapping_sub(origin)));
    let overflows = items.iter().any(|&item| item < 0);
    let power = if overflows { 0 } else { divide(items) };
    out.push(power);
    put_zigzag(out, origin);
    items.chunks(MINI).for_each(|mini| encode_mini(mini, out));
}

/// Divides the items by the greatest power of ten that divides them all, and returns it.
pub(crate) fn divide(items: &mut [i64]) -> u8 {
    let mut power = POWER_MAX;
    for &item in items.iter() {
        while power > 0 && item % 10_i64.pow(u32::from(power)) != 0 {
            power -= 1;
        }
        if power == 0 {
            return 0;
        }
    }
    let divisor = 10_i64.pow(u32::from(power));
    items.iter_mut().for_each(|item| *item /= divisor);
    power
}

/// How a mini-block is packed, and what it costs in bits, about.
struct Plan {
    base: i64,
    width: u32,
    bits: usize,
}

fn encode_mini(items: &[i64], out: &mut Vec<u8>) {
    let smallest = items.iter().copied().min().unwrap_or_default();
    let mut plan = plan(items, smallest);
    if smallest < 0
        && let Some(positive) = items.iter().copied().filter(|&item| item >= 0).min()
    {
        // A few steps back in time are better off as exceptions.
        let other = self::plan(items, positive);
        if other.bits < plan.bits {
            plan = other;
        }
    }
    let Plan { base, width, .. } = plan;
    let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
    let raw = |&item: &i64| item.wrapping_sub(base).cast_unsigned();
    let exceptions = items.iter().filter(|item| raw(item) > mask).count();
    // A mini-block has at most 128 items.
    out.extend_from_slice(&[width as u8, exceptions as u8]);
    put_zigzag(out, base);
    pack(items.iter().map(|item| raw(item) & mask), width, out);
    if exceptions > 0 {
        let exceptional = || items.iter().enumerate().filter(|(_, item)| raw(item) > mask);
        exceptional().for_each(|(place, _)| out.push(place as u8));
        exceptional().for_each(|(_, item)| put_varint(out, raw(item) >> width));
    }
}

/// The cheapest width for a base.
fn plan(items: &[i64], base: i64) -> Plan {
    let mut counts = [0_u8; 65];
    for item in items {
        counts[width_of(item.wrapping_sub(base).cast_unsigned()) as usize] += 1;
    }
    let widest = (0..=64_u32).rev().find(|&width| counts[width as usize] > 0).unwrap_or(0);
    let (mut width, mut exceptions) = (widest, 0);
    let mut best = Plan { base, width, bits: items.len() * width as usize };
    // Going down from the widest: what is wider than `width` becomes an exception.
    while width > 0 {
        exceptions += usize::from(counts[width as usize]);
        if exceptions > items.len() / 4 {
            break;
        }
        width -= 1;
        let mut bits = items.len() * width as usize;
        for wide in width + 1..=widest {
            bits += usize::from(counts[wide as usize]) * (8 + (wide - width).div_ceil(7) as usize * 8);
        }
        if bits < best.bits {
            best = Plan { base, width, bits };
        }
    }
    best
}

/// Decodes a list of `count` values; the caller has compared `count` with a limit.
pub(crate) fn decode(input: &mut Input<'_>, count: usize) -> Result<Vec<i64>, SegmentError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mode = input.u8()?;
    let origin = input.zigzag()?;
    if mode == CONSTANT {
        return Ok(vec![origin; count]);
    }
    let power = mode & !DELTAS;
    if power > POWER_MAX {
        return Err(SegmentError::corrupt("integers have an unknown mode"));
    }
    let factor = 10_i64.pow(u32::from(power));
    let mut values = Vec::with_capacity(count);
    if mode & DELTAS != 0 {
        let mut last = origin;
        values.push(last);
        decode_minis(input, count - 1, &mut values)?;
        for value in &mut values[1..] {
            last = last.wrapping_add(value.wrapping_mul(factor));
            *value = last;
        }
    } else {
        decode_minis(input, count, &mut values)?;
        values.iter_mut().for_each(|value| *value = origin.wrapping_add(value.wrapping_mul(factor)));
    }
    Ok(values)
}

fn decode_minis(input: &mut Input<'_>, mut count: usize, values: &mut Vec<i64>) -> Result<(), SegmentError> {
    while count > 0 {
        let len = count.min(MINI);
        count -= len;
        let width = u32::from(input.u8()?);
        let exceptions = usize::from(input.u8()?);
        if width > 64 || exceptions > len || (width == 64 && exceptions > 0) {
            return Err(SegmentError::corrupt("integers have a bad mini-block"));
        }
        let base = input.zigzag()?;
        let start = values.len();
        let packed = input.take(packed_len(len, width))?;
        unpack(packed, width, len, |raw| values.push(base.wrapping_add(raw.cast_signed())));
        for &place in input.take(exceptions)? {
            let high = (input.varint()? << width).cast_signed();
            let value = values
                .get_mut(start + usize::from(place))
                .ok_or(SegmentError::corrupt("integers have a bad exception"))?;
            *value = value.wrapping_add(high);
        }
    }
    Ok(())
}

/// The value of a canonical i64: no sign but `-`, no leading zeros, no `-0`.
pub(crate) fn parse(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => return None,
        [b'0', ..] => return (text == b"0").then_some(0),
        _ if digits.len() > 19 => return None,
        _ => {}
    }
    let mut value = 0_u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // At most 19 digits: below 10^19, which fits.
        value = value * 10 + u64::from(digit);
    }
    match negative {
        true if value <= i64::MIN.unsigned_abs() => Some(value.wrapping_neg().cast_signed()),
        true => None,
        false => i64::try_from(value).ok(),
    }
}

/// Appends the canonical text of a value.
pub(crate) fn format(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(values: &[i64]) -> usize {
        let mut len = 0;
        for shape in [Shape::Any, Shape::Sorted] {
            let mut bytes = Vec::new();
            encode(values, shape, &mut Scratch::default(), &mut bytes);
            let mut input = Input::new(&bytes);
            assert_eq!(decode(&mut input, values.len()).unwrap(), values);
            input.finish().unwrap();
            for cut in 0..bytes.len().min(200) {
                assert!(decode(&mut Input::new(&bytes[..cut]), values.len()).is_err(), "cut at {cut}");
            }
            len = bytes.len();
        }
        len
    }

    #[test]
    fn edges_come_back() {
        check(&[]);
        check(&[i64::MIN]);
        check(&[i64::MIN, i64::MAX, 0, -1, i64::MAX, i64::MIN]);
        check(&vec![7; 1000]);
        let mut values: Vec<i64> = (0..1000).map(|n| n * 1_000_000).collect();
        assert!(check(&values) < 60, "multiples of a power of ten");
        values[500] += 1;
        check(&values);
        let mut back = values;
        back[700] = i64::MIN;
        check(&back);
    }

    #[test]
    fn a_step_back_costs_one_exception() {
        let mut values: Vec<i64> = (0..129).map(|n| n * 7919 + n * n % 512).collect();
        let smooth = check(&values);
        values[60..].iter_mut().for_each(|value| *value -= 1 << 50);
        assert!(check(&values) < smooth + 12);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn random_lists_come_back(
            values in proptest::collection::vec((any::<i64>(), 0_u32..64), 0..400),
            base in any::<i64>(),
        ) {
            let values: Vec<i64> = values.iter().map(|(value, shift)| base.wrapping_add(value >> shift)).collect();
            check(&values);
        }

        #[test]
        fn random_bytes_are_refused_or_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&mut Input::new(&bytes), 300);
        }

        #[test]
        fn parsing_takes_canonical_texts_alone(text in "-?[0-9]{0,21}", value in any::<i64>()) {
            prop_assert_eq!(parse(text.as_bytes()), text.parse().ok().filter(|value: &i64| value.to_string() == text));
            let mut out = Vec::new();
            format(value, &mut out);
            prop_assert_eq!(parse(&out), Some(value));
            prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }
}
