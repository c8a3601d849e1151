//! What a text is compared with, by line filters and by matchers of labels.

use memchr::memmem;
use regex_automata::meta::Regex;

use super::simplify::simplify;
use super::{StageError, regexp};
use crate::ast::MatchOp;

/// A condition on a text.
#[derive(Clone, Debug)]
pub(super) enum TextMatcher {
    Always,
    NotEmpty,
    Equal(Vec<u8>),
    /// Equal but for case; the text is in lower case.
    EqualFolded(String),
    Contains(Box<memmem::Finder<'static>>),
    /// Contains but for case; the text is in lower case.
    ContainsFolded(String),
    Regex(Box<Regex>),
    Or(Box<TextMatcher>, Box<TextMatcher>),
    Not(Box<TextMatcher>),
}

impl TextMatcher {
    /// The matcher of a label's value.
    ///
    /// # Errors
    /// The regular expression is invalid.
    pub(super) fn of_label(op: MatchOp, value: &str) -> Result<Self, StageError> {
        Ok(match op {
            MatchOp::Eq => Self::equal(value, false),
            MatchOp::Ne => Self::equal(value, false).not(),
            MatchOp::Regex => Self::regex(value, true)?,
            MatchOp::NotRegex => Self::regex(value, true)?.not(),
        })
    }

    /// The matcher of `drop` and `keep`: as in a selector, a regular expression must match all of it,
    /// and `.` matches line ends.
    ///
    /// # Errors
    /// The regular expression is invalid.
    pub(super) fn of_selector(op: MatchOp, value: &str) -> Result<Self, StageError> {
        if matches!(op, MatchOp::Eq | MatchOp::Ne) {
            return Self::of_label(op, value);
        }
        regexp::whole(value)?;
        let regex = Self::Regex(Box::new(regexp::whole(&format!("(?s:{value})"))?));
        Ok(if op == MatchOp::Regex { regex } else { regex.not() })
    }

    /// A regular expression, on a label or on a line.
    ///
    /// # Errors
    /// It is invalid.
    pub(super) fn regex(expression: &str, of_label: bool) -> Result<Self, StageError> {
        let regex = if of_label { regexp::whole(expression)? } else { regexp::search(expression)? };
        let simple = regexp::parse(expression).ok().and_then(|tree| simplify(&tree, of_label));
        Ok(simple.unwrap_or_else(|| Self::Regex(Box::new(regex))))
    }

    pub(super) fn equal(text: &str, fold: bool) -> Self {
        if fold { Self::EqualFolded(text.to_lowercase()) } else { Self::Equal(text.as_bytes().to_vec()) }
    }

    pub(super) fn contains(text: &str, fold: bool) -> Self {
        match (text.is_empty(), fold) {
            (true, _) => Self::Always,
            (false, true) => Self::ContainsFolded(text.to_lowercase()),
            (false, false) => Self::Contains(Box::new(memmem::Finder::new(text.as_bytes()).into_owned())),
        }
    }

    /// Either of two. As in Loki, a side that always holds is no side.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Always, other) => other,
            (this, Self::Always) => this,
            (this, other) => Self::Or(Box::new(this), Box::new(other)),
        }
    }

    pub(super) fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        match self {
            Self::Always => true,
            Self::NotEmpty => !text.is_empty(),
            Self::Equal(value) => value == text,
            Self::EqualFolded(value) => value.len() == text.len() && contains_folded(text, value),
            Self::Contains(finder) => finder.find(text).is_some(),
            Self::ContainsFolded(value) => contains_folded(text, value),
            Self::Regex(regex) => regex.is_match(text),
            Self::Or(left, right) => left.is_match(text) || right.is_match(text),
            Self::Not(inner) => !inner.is_match(text),
        }
    }
}

/// Whether a text contains another, given in lower case, whatever the case of its letters.
fn contains_folded(text: &[u8], lower: &str) -> bool {
    let Some(&first) = lower.as_bytes().first() else { return true };
    if first.is_ascii() {
        let mut rest = text;
        while let Some(at) = memchr::memchr2(first, first.to_ascii_uppercase(), rest) {
            let here = rest.get(at..).unwrap_or_default();
            if starts_folded(here, lower) {
                return true;
            }
            rest = here.get(1..).unwrap_or_default();
        }
        return false;
    }
    (0..text.len()).any(|at| starts_folded(text.get(at..).unwrap_or_default(), lower))
}

fn starts_folded(text: &[u8], lower: &str) -> bool {
    if let Some(head) = text.get(..lower.len())
        && lower.is_ascii()
        && head.is_ascii()
    {
        return head.eq_ignore_ascii_case(lower.as_bytes());
    }
    let mut rest = text;
    for wanted in lower.chars() {
        let Some(c) = first_char(rest) else { return false };
        let mut folded = c.to_lowercase();
        if folded.next() != Some(wanted) {
            return false;
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    true
}

fn first_char(text: &[u8]) -> Option<char> {
    let head = text.get(..text.len().min(4)).unwrap_or_default();
    head.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next())
}
