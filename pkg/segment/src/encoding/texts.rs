//! Lists of texts.
//!
//! | bytes | content |
//! |---|---|
//! | u8 | 0 plain, 1 hexadecimal, 2 integers |
//! | *plain*: integers, blob | lengths; the texts, one behind the other |
//! | *hexadecimal*: varint, blob | length of each text, even; two digits a byte, the first in the high half |
//! | *integers*: integers | the texts are these numbers, as i64 are written |

use super::ints::{self, Shape};
use super::{Compressor, Input, TEXT_BYTES_MAX, blob};
use crate::column::Texts;
use crate::encoding::input::put_varint;
use crate::error::SegmentError;

const PLAIN: u8 = 0;
const HEX: u8 = 1;
const INTEGERS: u8 = 2;

/// Shorter texts than this are left to zstd.
const HEX_LEN_MIN: usize = 8;

/// Buffers of the encoder, kept between lists.
#[derive(Default)]
pub(crate) struct Scratch {
    ints: Vec<i64>,
    bytes: Vec<u8>,
}

/// Appends texts, all together at most [`TEXT_BYTES_MAX`].
pub(crate) fn encode<'a>(
    texts: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    compressor: &mut Compressor,
    ints: &mut ints::Scratch,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) {
    if as_integers(texts.clone(), &mut scratch.ints) {
        out.push(INTEGERS);
        ints::encode(&scratch.ints, Shape::Any, ints, out);
        return;
    }
    if let Some(len) = as_hex(texts.clone(), &mut scratch.bytes) {
        out.push(HEX);
        put_varint(out, len as u64);
        blob::encode(&scratch.bytes, compressor, out);
        return;
    }
    out.push(PLAIN);
    scratch.ints.clear();
    scratch.bytes.clear();
    for text in texts {
        // A text is shorter than a batch.
        scratch.ints.push(text.len() as i64);
        scratch.bytes.extend_from_slice(text);
    }
    ints::encode(&scratch.ints, Shape::Any, ints, out);
    blob::encode(&scratch.bytes, compressor, out);
}

fn as_integers<'a>(texts: impl Iterator<Item = &'a [u8]>, integers: &mut Vec<i64>) -> bool {
    integers.clear();
    for text in texts {
        match ints::parse(text) {
            Some(integer) => integers.push(integer),
            None => return false,
        }
    }
    true
}

/// The common length of the texts, if they are all lowercase hexadecimal of one even length.
fn as_hex<'a>(texts: impl Iterator<Item = &'a [u8]>, bytes: &mut Vec<u8>) -> Option<usize> {
    bytes.clear();
    let mut common = None;
    for text in texts {
        let len = *common.get_or_insert(text.len());
        if text.len() != len || len < HEX_LEN_MIN || len % 2 != 0 {
            return None;
        }
        for pair in text.chunks_exact(2) {
            let (high, low) = (DIGITS[usize::from(pair[0])], DIGITS[usize::from(pair[1])]);
            if high | low > 15 {
                return None;
            }
            bytes.push(high << 4 | low);
        }
    }
    common
}

/// The value of each lowercase hexadecimal digit; 255 for any other byte.
const DIGITS: [u8; 256] = {
    let mut digits = [255; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

/// Decodes `count` texts; the caller has compared `count` with a limit.
pub(crate) fn decode(input: &mut Input<'_>, count: usize) -> Result<Texts, SegmentError> {
    match input.u8()? {
        PLAIN => {
            let lens = ints::decode(input, count)?;
            let bytes = blob::decode(input, TEXT_BYTES_MAX)?;
            let mut end = 0_u32;
            let mut ends = Vec::with_capacity(count);
            for len in lens {
                end = u32::try_from(len).ok().and_then(|len| end.checked_add(len)).ok_or_else(bad)?;
                ends.push(end);
            }
            if end as usize == bytes.len() { Ok(Texts { bytes, ends }) } else { Err(bad()) }
        }
        HEX => {
            let len = input.count(TEXT_BYTES_MAX)?;
            let total = len.checked_mul(count).filter(|&total| total <= TEXT_BYTES_MAX).ok_or_else(bad)?;
            let packed = blob::decode(input, total / 2)?;
            if packed.len() * 2 != total || len % 2 != 0 {
                return Err(bad());
            }
            let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
            let mut bytes = Vec::with_capacity(total);
            bytes.extend(packed.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]));
            // At most TEXT_BYTES_MAX.
            Ok(Texts { bytes, ends: (1..=count).map(|n| (n * len) as u32).collect() })
        }
        INTEGERS => {
            let integers = ints::decode(input, count)?;
            let mut texts = Texts { bytes: Vec::with_capacity(count * 8), ends: Vec::with_capacity(count) };
            for integer in integers {
                ints::format(integer, &mut texts.bytes);
                // At most 20 bytes for each of a block's rows.
                texts.ends.push(texts.bytes.len() as u32);
            }
            Ok(texts)
        }
        _ => Err(SegmentError::corrupt("texts have an unknown form")),
    }
}

fn bad() -> SegmentError {
    SegmentError::corrupt("texts are damaged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(list: &[&str]) -> usize {
        let mut bytes = Vec::new();
        let (mut ints, mut scratch) = (ints::Scratch::default(), Scratch::default());
        let texts = list.iter().map(|text| text.as_bytes());
        encode(texts, &mut Compressor::new(1), &mut ints, &mut scratch, &mut bytes);
        let mut input = Input::new(&bytes);
        let back = decode(&mut input, list.len()).unwrap();
        input.finish().unwrap();
        assert!((0..list.len()).all(|index| back.get(index) == list[index].as_bytes()));
        for len in 0..bytes.len() {
            assert!(list.is_empty() || decode(&mut Input::new(&bytes[..len]), list.len()).is_err(), "{len}");
        }
        bytes.len()
    }

    #[test]
    fn every_form_comes_back() {
        check(&[]);
        check(&[""]);
        check(&["", "a", "ä", ""]);
        check(&["0123456789", "0223456789"]);
        assert!(check(&["9dd941e0818bac0e", "593d67d3a2c5c1f0", "e9b67d10d2739939"]) < 30, "packed");
        check(&["9dd941e0818bac0E", "593d67d3a2c5c1f0"]);
        check(&["9dd941e0818bac0", "593d67d3a2c5c1f"]);
        assert!(check(&["404", "200", "-5", "500"]) < 15, "packed");
        check(&["404", "0200", "-0", "500"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn random_bytes_are_refused_or_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(texts) = decode(&mut Input::new(&bytes), 40) {
                (0..40).for_each(|index| { texts.get(index); });
            }
        }
    }
}
