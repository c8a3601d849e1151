//! The message column: templates and variables.

mod tokens;

pub use tokens::{SHORT_NUMBER, token_hashes};

use timberlog_types::RowSet;

/// What can be asked of a text: a substring, a token, a prefix, equality, a regular expression.
pub trait TextMatcher: Send + Sync {
    /// Whether the text matches.
    fn is_match(&self, text: &[u8]) -> bool;

    /// Literals of which at least one stands in every text that matches; empty: none are known.
    fn literals(&self) -> &[Vec<u8>];

    /// Whether [`TextMatcher::literals`] are to be compared without regard to ASCII case.
    fn ignores_case(&self) -> bool {
        false
    }

    /// Whether [`TextMatcher::is_match`] is exactly "the text contains the one literal" (with
    /// [`TextMatcher::ignores_case`] taken into account).
    fn is_plain_literal(&self) -> bool {
        false
    }
}

/// Why a message column cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message column: {0}")]
pub struct MessageError(pub &'static str);

/// Encodes the messages of blocks, one block after the other; keeps its scratch memory.
pub struct MessageEncoder {
    level: i32,
}

impl MessageEncoder {
    /// An encoder that compresses at a zstd level.
    pub fn new(zstd_level: i32) -> Self {
        Self { level: zstd_level }
    }

    /// Appends the payload of a block's messages to `out`, and the hashes of their tokens (see
    /// [`token_hashes`]; some more than once) to `tokens`.
    pub fn encode<'a, I>(&mut self, rows: I, out: &mut Vec<u8>, tokens: &mut Vec<u64>)
    where
        I: ExactSizeIterator<Item = &'a [u8]> + Clone,
    {
        let _ = self.level;
        for row in rows {
            token_hashes(row, &mut |hash| tokens.push(hash));
            out.extend_from_slice(&(row.len() as u32).to_le_bytes());
            out.extend_from_slice(row);
        }
    }
}

/// The message column of a block. Streams are decompressed when they are first needed, and kept.
pub struct MessageColumn {
    payload: Vec<u8>,
    ends: Vec<(usize, usize)>,
}

impl MessageColumn {
    /// Opens a payload of so many rows. The caller has checked its checksum.
    pub fn open(payload: Vec<u8>, rows: usize) -> Result<Self, MessageError> {
        let mut ends = Vec::new();
        let mut at = 0_usize;
        for _ in 0..rows {
            let len = payload.get(at..).and_then(|rest| rest.first_chunk()).ok_or(MessageError("cut short"))?;
            let end = at + 4 + u32::from_le_bytes(*len) as usize;
            payload.get(at + 4..end).ok_or(MessageError("cut short"))?;
            ends.push((at + 4, end));
            at = end;
        }
        Ok(Self { payload, ends })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    /// An upper bound of the memory held once every stream is decompressed.
    pub fn memory_bytes(&self) -> usize {
        self.payload.len() + self.ends.len() * 16
    }

    /// Calls `f` with each wanted row and its text, ascending. Only those rows are rebuilt.
    pub fn read(&self, rows: &RowSet, f: &mut dyn FnMut(usize, &[u8])) -> Result<(), MessageError> {
        for row in rows.iter() {
            let &(start, end) = self.ends.get(row).ok_or(MessageError("no such row"))?;
            f(row, self.payload.get(start..end).ok_or(MessageError("no such row"))?);
        }
        Ok(())
    }

    /// The rows of `within` whose text matches.
    pub fn search(&self, matcher: &dyn TextMatcher, within: &RowSet) -> Result<RowSet, MessageError> {
        let mut found = RowSet::none(self.rows());
        self.read(within, &mut |row, text| {
            if matcher.is_match(text) {
                found.insert(row);
            }
        })?;
        Ok(found)
    }

    /// How many rows of the block match.
    pub fn count(&self, matcher: &dyn TextMatcher) -> Result<usize, MessageError> {
        self.search(matcher, &RowSet::all(self.rows())).map(|rows| rows.count())
    }
}
