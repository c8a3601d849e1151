//! The message column: templates and variables.

mod column;
mod condition;
mod cut;
mod encode;
mod literal;
mod rebuild;
mod search;
mod slots;
mod streams;
#[cfg(test)]
mod tests;
mod tokens;

pub use column::MessageColumn;
pub use encode::MessageEncoder;
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
