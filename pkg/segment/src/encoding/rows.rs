//! Which rows of a block have a value.
//!
//! | bytes | content |
//! |---|---|
//! | u8 | 0 all, 1 list, 2 bitmap |
//! | *list*: varint, integers | how many, 1 to the number of rows; the rows, ascending |
//! | *bitmap*: blob | a bit for each row, the first in the lowest bit of the first byte |

use super::ints::{self, Shape};
use super::{Compressor, Input, blob};
use crate::column::Presence;
use crate::encoding::input::put_varint;
use crate::error::SegmentError;
use timberlog_types::RowSet;

const ALL: u8 = 0;
const LIST: u8 = 1;
const BITMAP: u8 = 2;

/// A column with fewer values than rows by this factor keeps the list of its rows when decoded.
const LIST_FACTOR: usize = 16;

/// Buffers of the encoder, kept between lists.
#[derive(Default)]
pub(crate) struct Scratch {
    rows: Vec<i64>,
    bitmap: Vec<u8>,
}

/// Appends which of `count` rows are present; `None`: all.
pub(crate) fn encode(
    rows: Option<&[u32]>,
    count: usize,
    compressor: &mut Compressor,
    ints: &mut ints::Scratch,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) {
    let Some(rows) = rows else {
        out.push(ALL);
        return;
    };
    let start = out.len();
    scratch.rows.clear();
    scratch.rows.extend(rows.iter().map(|&row| i64::from(row)));
    out.push(LIST);
    put_varint(out, rows.len() as u64);
    ints::encode(&scratch.rows, Shape::Sorted, ints, out);
    if out.len() - start > count / 16 {
        scratch.bitmap.clear();
        scratch.bitmap.resize(count.div_ceil(8), 0);
        rows.iter().for_each(|&row| scratch.bitmap[row as usize / 8] |= 1 << (row % 8));
        let list = out.len();
        out.push(BITMAP);
        blob::encode(&scratch.bitmap, compressor, out);
        if out.len() - list < list - start {
            out.drain(start..list);
        } else {
            out.truncate(list);
        }
    }
}

/// Decodes which of `count` rows are present, and how many are.
pub(crate) fn decode(input: &mut Input<'_>, count: usize) -> Result<(Presence, usize), SegmentError> {
    match input.u8()? {
        ALL => Ok((Presence::All, count)),
        LIST => {
            let values = input.count(count)?;
            let list = ints::decode(input, values)?;
            let mut rows = Vec::with_capacity(values);
            for row in list {
                let row = u32::try_from(row).ok().filter(|&row| (row as usize) < count).ok_or_else(bad)?;
                if rows.last().is_some_and(|&last| last >= row) {
                    return Err(bad());
                }
                rows.push(row);
            }
            if rows.is_empty() {
                return Err(bad());
            }
            if values > count / LIST_FACTOR {
                let mut set = RowSet::none(count);
                rows.iter().for_each(|&row| set.insert(row as usize));
                return Ok((bitmap(set), values));
            }
            Ok((Presence::Rows(rows), values))
        }
        BITMAP => {
            let bytes = blob::decode(input, count.div_ceil(8))?;
            let bit = |row: usize| bytes.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1);
            if bytes.len() != count.div_ceil(8) || (count..bytes.len() * 8).any(bit) {
                return Err(bad());
            }
            let set = RowSet::from_fn(count, bit);
            let values = set.count();
            if values == 0 { Err(bad()) } else { Ok((bitmap(set), values)) }
        }
        _ => Err(SegmentError::corrupt("rows have an unknown form")),
    }
}

fn bitmap(set: RowSet) -> Presence {
    let mut before = Vec::with_capacity(set.words().len());
    let mut count = 0;
    for word in set.words() {
        before.push(count);
        count += word.count_ones();
    }
    Presence::Bitmap(set, before)
}

fn bad() -> SegmentError {
    SegmentError::corrupt("rows with a value are damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_and_sparse_rows_come_back() {
        for step in [1, 2, 3, 15, 16, 17, 500, 6000] {
            for wobble in [0, 1] {
                let rows: Vec<u32> = (0..6000).filter(|row| (row + wobble * (row / 7 % 3)) % step == 0).collect();
                let mut bytes = Vec::new();
                let (mut ints, mut scratch) = (ints::Scratch::default(), Scratch::default());
                encode(Some(&rows), 6000, &mut Compressor::new(1), &mut ints, &mut scratch, &mut bytes);
                assert!(step < 6000 || bytes.len() <= 6, "{}", bytes.len());
                let mut input = Input::new(&bytes);
                let (presence, values) = decode(&mut input, 6000).unwrap();
                input.finish().unwrap();
                assert_eq!(values, rows.len());
                match presence {
                    Presence::All => assert_eq!(values, 6000),
                    Presence::Rows(back) => assert_eq!(back, rows),
                    Presence::Bitmap(set, _) => {
                        assert_eq!(set.iter().map(|row| row as u32).collect::<Vec<_>>(), rows);
                    }
                }
                for len in 0..bytes.len().min(100) {
                    assert!(decode(&mut Input::new(&bytes[..len]), 6000).is_err());
                }
            }
        }
    }
}
