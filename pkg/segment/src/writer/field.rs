//! Encodes the values of one field of a block: picks constant, dictionary or direct.

use super::distinct::Distinct;
use crate::chunk::Encoding;
use crate::encoding::bits::width_of;
use crate::encoding::input::{put_text, put_varint};
use crate::encoding::{Compressor, codes, ints, rows, split, texts};
use timberlog_types::{Value, ValueKind};

/// A column with more distinct strings than its rows by this factor, and than
/// [`TOKENS_VALUES_MIN`], is worth a token filter.
const TOKENS_FACTOR: usize = 64;
const TOKENS_VALUES_MIN: usize = 64;

/// What every column encoder needs; kept between blocks.
pub(crate) struct Tools {
    pub(crate) compressor: Compressor,
    pub(crate) ints: ints::Scratch,
    pub(crate) codes: codes::Scratch,
    pub(crate) split: split::Scratch,
    texts: texts::Scratch,
    rows: rows::Scratch,
    distinct: Distinct,
    kinds: Vec<u32>,
}

impl Tools {
    pub(crate) fn new(zstd_level: i32) -> Self {
        Self {
            compressor: Compressor::new(zstd_level),
            ints: ints::Scratch::default(),
            codes: codes::Scratch::default(),
            split: split::Scratch::default(),
            texts: texts::Scratch::default(),
            rows: rows::Scratch::default(),
            distinct: Distinct::default(),
            kinds: Vec::new(),
        }
    }
}

/// The values of one field in a block of `count` rows.
pub(crate) struct FieldValues<'v, 'a> {
    /// The rows that have a value, ascending; `None`: all.
    pub(crate) rows: Option<&'v [u32]>,
    /// Their values.
    pub(crate) values: &'v [Value<'a>],
    /// The rows of the block.
    pub(crate) count: usize,
}

/// Appends the payload of a field's chunk. Returns its encoding, and the hashes of its values if
/// they are worth a token filter.
pub(crate) fn encode(
    field: &FieldValues<'_, '_>,
    tools: &mut Tools,
    out: &mut Vec<u8>,
) -> (Encoding, Option<Vec<u64>>) {
    let values = field.values;
    rows::encode(field.rows, field.count, &mut tools.compressor, &mut tools.ints, &mut tools.rows, out);
    let repeats = tools.distinct.find(values);
    if repeats && tools.distinct.firsts.len() == 1 {
        out.push(values[0].kind as u8);
        put_text(out, values[0].text);
        return (Encoding::FieldConstant, None);
    }
    let is_wide = |distinct: usize| distinct > TOKENS_VALUES_MIN.max(field.count / TOKENS_FACTOR);
    if repeats && !is_better_direct(values, &tools.distinct) {
        let firsts = std::mem::take(&mut tools.distinct.firsts);
        let entries = firsts.iter().map(|&first| values[first as usize]);
        put_varint(out, firsts.len() as u64);
        put_kinds(entries.clone(), tools, out);
        put_texts(entries.clone(), tools, out);
        let Tools { compressor, ints, codes: scratch, distinct, .. } = &mut *tools;
        codes::encode(&distinct.codes, firsts.len(), compressor, ints, scratch, out);
        let tokens = (is_wide(firsts.len()) && has_strings(entries)).then(|| distinct.hashes.clone());
        tools.distinct.firsts = firsts;
        return (Encoding::FieldDictionary, tokens);
    }
    put_kinds(values.iter().copied(), tools, out);
    put_texts(values.iter().copied(), tools, out);
    let tokens = (is_wide(values.len()) && has_strings(values.iter().copied()))
        .then(|| values.iter().map(|value| xxhash_rust::xxh3::xxh3_64(value.text)).collect());
    (Encoding::FieldDirect, tokens)
}

fn has_strings<'a>(mut values: impl Iterator<Item = Value<'a>>) -> bool {
    values.any(|value| value.kind == ValueKind::String)
}

/// Whether the values are integers that take fewer bits one by one than as dictionary and codes.
fn is_better_direct(values: &[Value<'_>], distinct: &Distinct) -> bool {
    let (mut smallest, mut largest) = (i64::MAX, i64::MIN);
    let kind = values[0].kind;
    for &first in &distinct.firsts {
        let value = values[first as usize];
        let Some(integer) = ints::parse(value.text).filter(|_| value.kind == kind) else { return false };
        smallest = smallest.min(integer);
        largest = largest.max(integer);
    }
    let integer_bits = width_of(largest.wrapping_sub(smallest).cast_unsigned()) as usize;
    let code_bits = width_of(distinct.firsts.len() as u64 - 1) as usize;
    let codes = (values.len() * code_bits).min(distinct.runs * (code_bits + 4));
    values.len() * integer_bits < distinct.firsts.len() * integer_bits + codes
}

/// One byte: the kind of all, or 255 and a code for each.
fn put_kinds<'a>(values: impl Iterator<Item = Value<'a>>, tools: &mut Tools, out: &mut Vec<u8>) {
    tools.kinds.clear();
    tools.kinds.extend(values.map(|value| value.kind as u32));
    let kind = tools.kinds[0];
    if tools.kinds.iter().all(|&other| other == kind) {
        // A kind is a u8.
        out.push(kind as u8);
        return;
    }
    out.push(crate::chunk::KINDS_MIXED);
    let Tools { compressor, ints, codes: scratch, kinds, .. } = tools;
    codes::encode(kinds, crate::chunk::KINDS, compressor, ints, scratch, out);
}

fn put_texts<'a>(values: impl ExactSizeIterator<Item = Value<'a>> + Clone, tools: &mut Tools, out: &mut Vec<u8>) {
    let Tools { compressor, ints, texts: scratch, .. } = tools;
    texts::encode(values.map(|value| value.text), compressor, ints, scratch, out);
}
