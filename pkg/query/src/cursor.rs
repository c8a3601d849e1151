//! Cursors: where a page ended, in terms of the order of records and never of positions, so that
//! it stays true while records arrive, are flushed, compacted or tiered.
//!
//! As text: base64url without padding of 26 bytes, integers little-endian:
//!
//! | bytes | content |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | order: 0 newest first, 1 oldest first |
//! | 8 | timestamp of the last record of the page, in ns |
//! | 8 | hash of its stream |
//! | 8 | number `n` |

use crate::error::QueryError;
use crate::request::Order;

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The order of the query.
    pub order: Order,
    /// The timestamp of the last record that was given.
    pub timestamp: i64,
    /// The hash of its stream.
    pub stream: u64,
    /// Of the records with exactly this timestamp and stream that match: for oldest first how
    /// many were given already, from the oldest; for newest first how many of the oldest are
    /// still to be given. Later arrivals change neither.
    pub n: u64,
}

const VERSION: u8 = 1;
const BYTES: usize = 26;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Cursor {
    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let malformed = QueryError::Cursor("malformed; use the one that the page before came with");
        let Some(bytes) = decode(text.trim()) else { return Err(malformed) };
        let [version, order, rest @ ..] = bytes;
        if version != VERSION {
            return Err(QueryError::Cursor("of an unknown version; start again without it"));
        }
        let order = match order {
            0 => Order::NewestFirst,
            1 => Order::OldestFirst,
            _ => return Err(malformed),
        };
        let number = |at: usize| {
            let mut number = [0; 8];
            number.iter_mut().zip(rest.iter().skip(at)).for_each(|(to, from)| *to = *from);
            u64::from_le_bytes(number)
        };
        Ok(Self { order, timestamp: number(0).cast_signed(), stream: number(8), n: number(16) })
    }
}

impl std::str::FromStr for Cursor {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        Self::parse(text)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        bytes.push(match self.order {
            Order::NewestFirst => 0,
            Order::OldestFirst => 1,
        });
        bytes.extend_from_slice(&self.timestamp.to_le_bytes());
        bytes.extend_from_slice(&self.stream.to_le_bytes());
        bytes.extend_from_slice(&self.n.to_le_bytes());
        for chunk in bytes.chunks(3) {
            let bits = chunk.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
            for place in 0..=chunk.len() {
                let digit = bits >> (18 - 6 * place) & 63;
                f.write_str(std::str::from_utf8(&ALPHABET[digit as usize..=digit as usize]).unwrap_or_default())?;
            }
        }
        Ok(())
    }
}

fn decode(text: &str) -> Option<[u8; BYTES]> {
    if text.len() != (BYTES * 4).div_ceil(3) {
        return None;
    }
    let mut bytes = [0; BYTES];
    let (mut bits, mut count, mut at) = (0_u32, 0, 0);
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|&letter| letter == byte)?;
        bits = (bits << 6 | u32::try_from(digit).ok()?) & 0xfff;
        count += 6;
        if count >= 8 {
            count -= 8;
            *bytes.get_mut(at)? = u8::try_from(bits >> count & 0xff).ok()?;
            at += 1;
        }
    }
    // One text for one cursor: the bits left over are 0.
    (at == BYTES && bits & ((1 << count) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        for (order, timestamp, stream, n) in
            [(Order::NewestFirst, i64::MIN, u64::MAX, 0), (Order::OldestFirst, 1_700_000_000_000_000_000, 7, u64::MAX)]
        {
            let cursor = Cursor { order, timestamp, stream, n };
            let text = cursor.to_string();
            assert!(text.bytes().all(|byte| ALPHABET.contains(&byte)), "{text}");
            assert_eq!(Cursor::parse(&text).unwrap(), cursor);
        }
    }

    #[test]
    fn a_damaged_cursor_is_refused_or_another_one() {
        let cursor = Cursor { order: Order::OldestFirst, timestamp: 5, stream: 6, n: 7 };
        let text = cursor.to_string();
        for len in 0..text.len() {
            assert!(Cursor::parse(&text[..len]).is_err(), "{len}");
        }
        for at in 0..text.len() {
            for other in ["!", "é", "A", "_"] {
                let damaged = format!("{}{other}{}", &text[..at], &text[at + 1..]);
                if let Ok(read) = Cursor::parse(&damaged) {
                    assert_eq!(read == cursor, damaged == text, "{damaged}");
                }
            }
        }
    }
}
