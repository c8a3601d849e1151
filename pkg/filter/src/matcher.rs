//! Matchers: one test of a text, compiled.

use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::pattern;
use crate::tree::{Comparison, Op, Pattern};
use memchr::memmem;
use regex_automata::meta::Regex;
use timberlog_index::{Alternatives, Case, Edge, Tokens};
use timberlog_segment::TextMatcher;

/// One test of a text, compiled. What the message column calls for each candidate.
#[derive(Debug)]
pub struct Matcher {
    kind: Kind,
    literals: Vec<Vec<u8>>,
    ignores_case: bool,
    tokens: Tokens,
}

#[derive(Debug)]
enum Kind {
    Eq(Box<[u8]>),
    /// Sorted.
    In(Vec<Box<[u8]>>),
    Prefix(Box<[u8]>),
    Contains(memmem::Finder<'static>),
    ContainsNoCase(NoCase),
    Token(memmem::Finder<'static>),
    TokenNoCase(NoCase),
    Regex(Box<Regex>, Interrupt),
    Number(Comparison, f64),
    NotEmpty,
    Nothing,
}

impl Matcher {
    /// Is exactly `text`.
    pub fn eq(text: &str) -> Self {
        Self::new(Kind::Eq(text.as_bytes().into()), literal(text), false)
    }

    /// Is one of `texts`.
    pub fn any_of(texts: &[String]) -> Self {
        let mut sorted: Vec<Box<[u8]>> = texts.iter().map(|text| text.as_bytes().into()).collect();
        sorted.sort_unstable();
        sorted.dedup();
        // An empty text in the list matches the empty message, which has no literal.
        let literals = if sorted.iter().any(|text| text.is_empty()) {
            Vec::new()
        } else {
            sorted.iter().map(|text| text.to_vec()).collect()
        };
        Self::new(Kind::In(sorted), literals, false)
    }

    /// Begins with `text`.
    pub fn prefix(text: &str) -> Self {
        Self::new(Kind::Prefix(text.as_bytes().into()), literal(text), false)
    }

    /// Contains `text`.
    pub fn contains(text: &str) -> Self {
        Self::new(Kind::Contains(memmem::Finder::new(text.as_bytes()).into_owned()), literal(text), false)
    }

    /// Contains `text`, without regard to ASCII case.
    pub fn contains_no_case(text: &str) -> Self {
        Self::new(Kind::ContainsNoCase(NoCase::new(text)), literal(text), true)
    }

    /// Contains `text` between two ends of words.
    pub fn token(text: &str) -> Self {
        Self::new(Kind::Token(memmem::Finder::new(text.as_bytes()).into_owned()), literal(text), false)
    }

    /// Contains `text` between two ends of words, without regard to ASCII case.
    pub fn token_no_case(text: &str) -> Self {
        Self::new(Kind::TokenNoCase(NoCase::new(text)), literal(text), true)
    }

    /// Matches a regular expression.
    ///
    /// # Errors
    /// The expression is malformed or too large.
    pub fn regex(pattern: &Pattern) -> Result<Self> {
        Self::of(&Op::Regex(pattern.clone()), "expression")
    }

    /// The same; an expression matches nothing any more once it is interrupted.
    pub(crate) fn interrupted_by(mut self, interrupt: &Interrupt) -> Self {
        if let Kind::Regex(_, by) = &mut self.kind {
            *by = interrupt.clone();
        }
        self
    }

    /// The tokens without which no text matches.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// What an operator asks of a text. `path` is where it stands in the tree, for errors.
    pub(crate) fn of(op: &Op, path: &str) -> Result<Self> {
        let matcher = Self::without_tokens(op, path)?;
        let literal = |text: &str, before, after| Tokens::of_literal(text.as_bytes(), before, after);
        let tokens = match op {
            Op::Eq(text) | Op::Token(text) | Op::TokenNoCase(text) => literal(text, Edge::Delimited, Edge::Delimited),
            Op::In(texts) => {
                Tokens::any(texts.iter().map(|text| literal(text, Edge::Delimited, Edge::Delimited)).collect())
            }
            Op::Prefix(text) => literal(text, Edge::Delimited, Edge::Open),
            Op::Contains(text) | Op::ContainsNoCase(text) => literal(text, Edge::Open, Edge::Open),
            Op::Regex(_) | Op::Exists | Op::Number(..) | Op::Time(..) | Op::Holds(_) => return Ok(matcher),
        };
        Ok(Self { tokens, ..matcher })
    }

    fn without_tokens(op: &Op, path: &str) -> Result<Self> {
        Ok(match op {
            Op::Eq(text) => Self::eq(text),
            Op::In(texts) => Self::any_of(texts),
            Op::Prefix(text) => Self::prefix(text),
            Op::Contains(text) => Self::contains(text),
            Op::ContainsNoCase(text) => Self::contains_no_case(text),
            Op::Token(text) => Self::token(text),
            Op::TokenNoCase(text) => Self::token_no_case(text),
            Op::Regex(pattern) => {
                let (regex, hir) = pattern::compile(pattern, path)?;
                let Alternatives { literals, case } = Alternatives::of_regex(&hir);
                Self {
                    tokens: Tokens::of_regex(&hir),
                    ..Self::new(Kind::Regex(Box::new(regex), Interrupt::default()), literals, case == Case::Ignored)
                }
            }
            Op::Number(comparison, number) => Self::new(Kind::Number(*comparison, *number), Vec::new(), false),
            Op::Exists => Self::new(Kind::NotEmpty, Vec::new(), false),
            Op::Time(..) | Op::Holds(_) => Self::new(Kind::Nothing, Vec::new(), false),
        })
    }

    fn new(kind: Kind, literals: Vec<Vec<u8>>, ignores_case: bool) -> Self {
        Self { kind, literals, ignores_case, tokens: Tokens::NONE }
    }
}

fn literal(text: &str) -> Vec<Vec<u8>> {
    if text.is_empty() { Vec::new() } else { vec![text.as_bytes().to_vec()] }
}

impl TextMatcher for Matcher {
    fn is_match(&self, text: &[u8]) -> bool {
        match &self.kind {
            Kind::Eq(expected) => text == &**expected,
            Kind::In(expected) => expected.binary_search_by(|candidate| (**candidate).cmp(text)).is_ok(),
            Kind::Prefix(prefix) => text.starts_with(prefix),
            Kind::Contains(finder) => finder.find(text).is_some(),
            Kind::ContainsNoCase(finder) => finder.find_from(text, 0).is_some(),
            Kind::Token(finder) => {
                stands_alone(text, finder.needle().len(), |from| finder.find(text.get(from..)?).map(|at| from + at))
            }
            Kind::TokenNoCase(finder) => stands_alone(text, finder.needle.len(), |from| finder.find_from(text, from)),
            // What it costs depends on the expression; all else is quick.
            Kind::Regex(regex, interrupt) => !interrupt.is_interrupted() && regex.is_match(text),
            Kind::Number(comparison, right) => parse_number(text).is_some_and(|left| comparison.holds(left, *right)),
            Kind::NotEmpty => !text.is_empty(),
            Kind::Nothing => false,
        }
    }

    fn literals(&self) -> &[Vec<u8>] {
        &self.literals
    }

    fn ignores_case(&self) -> bool {
        self.ignores_case
    }

    fn is_plain_literal(&self) -> bool {
        matches!(self.kind, Kind::Contains(_) | Kind::ContainsNoCase(_)) && self.literals.len() == 1
    }
}

/// A text as a number, without spaces around it. `inf`, `nan` and the like, which Rust would take,
/// are none.
fn parse_number(text: &[u8]) -> Option<f64> {
    if !text.iter().any(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Whether some occurrence has no ASCII letter or digit right before or behind it.
fn stands_alone(text: &[u8], len: usize, find: impl Fn(usize) -> Option<usize>) -> bool {
    let is_word = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    let mut from = 0;
    while let Some(at) = find(from) {
        if !is_word(at.checked_sub(1)) && !is_word(Some(at + len)) {
            return true;
        }
        from = at + 1;
    }
    false
}

/// Finds a text without regard to ASCII case: `memchr` for its rarest byte, then a comparison.
#[derive(Debug)]
struct NoCase {
    needle: Box<[u8]>,
    /// The place of the byte that is looked for.
    place: usize,
}

impl NoCase {
    fn new(text: &str) -> Self {
        let needle = text.as_bytes().to_ascii_lowercase().into_boxed_slice();
        let commonness = |byte: u8| match byte {
            b' ' | b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 3,
            b'0'..=b'9' | b'l' | b'd' | b'c' | b'u' | b'm' | b'p' | b'h' | b'f' | b'g' => 2,
            b'a'..=b'z' | b'.' | b'-' | b'=' | b'/' | b':' => 1,
            _ => 0,
        };
        let place = (0..needle.len()).min_by_key(|&at| commonness(needle[at])).unwrap_or(0);
        Self { needle, place }
    }

    fn find_from(&self, text: &[u8], from: usize) -> Option<usize> {
        let Some(&byte) = self.needle.get(self.place) else { return (from <= text.len()).then_some(from) };
        let upper = byte.to_ascii_uppercase();
        let last = text.len().checked_sub(self.needle.len())?;
        let mut at = from;
        while at <= last {
            let window = text.get(at + self.place..=last + self.place)?;
            let hit = at + memchr::memchr2(byte, upper, window)?;
            if text.get(hit..hit + self.needle.len())?.eq_ignore_ascii_case(&self.needle) {
                return Some(hit);
            }
            at = hit + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stand_between_ends_of_words() {
        let token = Matcher::token("error");
        for (text, expected) in
            [("error", true), ("an error!", true), ("terror", false), ("errors", false), ("errors, error", true)]
        {
            assert_eq!(token.is_match(text.as_bytes()), expected, "{text}");
        }
        assert!(!Matcher::token("ä").is_match("aä".as_bytes()));
        assert!(Matcher::token_no_case("Error").is_match(b"x ERROR y"));
        assert!(!Matcher::token_no_case("Error").is_match(b"TERROR"));
    }

    #[test]
    fn case_is_ignored_wherever_the_text_stands() {
        for needle in ["a", "Ab", "xyz", "e e", "ÄX", ""] {
            let matcher = Matcher::contains_no_case(needle);
            for text in ["", "a", "AB", "..xYz", "xyxyz", "E E", "zzÄx", "zzäx", "xy", "e", "xxaB"] {
                let expected = text.to_ascii_lowercase().contains(&needle.to_ascii_lowercase());
                assert_eq!(matcher.is_match(text.as_bytes()), expected, "{needle} in {text}");
            }
        }
    }

    #[test]
    fn an_empty_text_gives_no_literal() {
        for matcher in
            [Matcher::eq(""), Matcher::prefix(""), Matcher::contains(""), Matcher::any_of(&[String::new(), "a".into()])]
        {
            assert!(matcher.literals().is_empty() && !matcher.is_plain_literal() && matcher.is_match(b""));
        }
        assert!(Matcher::contains("x").is_plain_literal());
    }
}
