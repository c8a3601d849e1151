//! The message column: a log message is a template with variables in it, and the two are stored
//! apart. Templates stand once in a block, variables by template and slot; most searches are
//! answered by the templates alone.
//!
//! This module owns the payload's layout, version 1 (`manifest-spec.md`, "Message column"), and
//! which words are tokens. It never checks a checksum (the container has), and it never trusts
//! what it reads: any payload gives texts or an error.
//!
//! A word is a run of `[0-9A-Za-z]`. A word with a digit is a variable; if it has a letter beyond
//! `f` as well and its digits stand together (`node01`), only the digits are. The rest of a
//! message, with 0x00 for each variable, is its template. A message that has a 0x00, more than
//! 250 variables, one of more than 255 bytes, or more than 32 KiB, or whose template has fewer than
//! 8 rows in the block, is *rare* and stored as it is; a block without templates is plain text.
//!
//! | section | content |
//! |---|---|
//! | version | u8 = 1 |
//! | directory | for each of the 16 streams below: varint raw length, varint stored length; equal: stored as it is, else one zstd frame |
//! | streams | their stored bytes, one behind the other |
//!
//! | stream | content |
//! |---|---|
//! | 0 templates | varint count (≤ 4,096); per template: varint rows, varint length of its text, a descriptor for each 0x00 in its text |
//! | 1 ids | a byte for each row: the lower byte of 0 (rare) or 1 + the place of its template; nothing if there are no templates |
//! | 2 high ids | the upper byte; nothing if there are at most 255 templates |
//! | 3–10 planes of 1–8 bits | bytes of numbers, below |
//! | 11 strings | the strings of each string slot |
//! | 12 lengths | u8 for each variable of the slots that say so |
//! | 13 rare | rare rows, one behind the other |
//! | 14 rare lengths | varint for each rare row |
//! | 15 statics | each template's text and 0x00 |
//!
//! | descriptor | variables | behind the u8 kind | their bytes |
//! |---|---|---|---|
//! | 0 digits | decimal, all `width` (1–19) long | u8 width, varint min, varint range | planes of value − min |
//! | 1 integer | decimal without zeros in front | varint min, varint range | planes |
//! | 2 mixed digits | decimal of any length ≤ 19 | varint min, varint range | lengths; planes |
//! | 3 fixed string | all `len` long | varint len | strings |
//! | 4 string | any | varint length of all together | lengths; strings |
//!
//! A range of `b` bits takes ⌈b / 8⌉ planes, the lowest first, one byte a row: all but the last
//! stand in stream 10, the last in that of its 1–8 bits; a range of 0 takes none. Each stream holds
//! the bytes of its slots in the order template, slot, plane, row. Varints are LEB128.

mod arena;
mod candidates;
mod column;
mod condition;
mod cut;
mod encode;
mod lengths;
mod literal;
mod rebuild;
mod search;
mod shape;
mod slots;
mod streams;
#[cfg(test)]
mod tests;
mod tokens;

pub use column::MessageColumn;
pub use encode::MessageEncoder;
pub use shape::shape;
pub use tokens::{SHORT_NUMBER, token_hashes};

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
