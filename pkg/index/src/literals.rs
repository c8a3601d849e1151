//! What every match of a pattern must hold: literals to search for first, and tokens that a block
//! without them cannot match.
//!
//! A regular expression becomes an and/or tree of literals ([`tree`]), the tree a small set of
//! alternative literals ([`Alternatives`]) or an and/or tree of token hashes ([`Tokens`]). The
//! tree asks for less than the pattern, never for more.
//!
//! A token filter knows whole words ([`timberlog_segment::message::token_hashes`] says which), so
//! a literal asks for a word of it only if the word is delimited on both sides: inside the literal,
//! or where the pattern itself says so (`\b`, an anchor, a class without letters and digits).
//! `|= "error7"` must find `terrors7x`. What the filters do not hold, words without digits and
//! short numbers, is never asked for.

mod sequence;
#[cfg(test)]
mod tests;
pub mod tree;

use regex_syntax::hir::Hir;
use timberlog_segment::message::token_hashes;
use tree::{Literal, Tree};

/// How letters are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// As they are.
    Exact,
    /// Without regard to ASCII case.
    Ignored,
}

/// What is known of the text beside an end of a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// A letter or digit may follow: a word at this end may be cut.
    Open,
    /// The text ends, or a byte that is no letter or digit follows.
    Delimited,
}

/// Literals of which at least one stands in every text that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternatives {
    /// The literals, in lower case where `case` is [`Case::Ignored`]. Empty: none are known.
    pub literals: Vec<Vec<u8>>,
    /// How they are compared with the text.
    pub case: Case,
}

/// More literals than this are no better than none.
const ALTERNATIVES_MAX: usize = 128;
/// A literal of one byte is in most texts.
const LITERAL_LEN_MIN: usize = 2;

impl Alternatives {
    /// The set of a regular expression that promises the fewest false hits.
    pub fn of_regex(hir: &Hir) -> Self {
        let [exact, folded] =
            [Case::Exact, Case::Ignored].map(|case| best(&tree::of_regex(hir, case)).unwrap_or_default());
        // Comparing without case costs about twice as much, and the folded letters hit more often.
        if !exact.is_empty() && (folded.is_empty() || cost(&exact) <= 4.0 * cost(&folded)) {
            Self { literals: exact, case: Case::Exact }
        } else if !folded.is_empty() {
            Self { literals: folded, case: Case::Ignored }
        } else {
            Self { literals: Vec::new(), case: Case::Exact }
        }
    }
}

/// An and/or tree of tokens that every text that matches must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// All of these; of nothing: no token is known.
    All(Vec<Tokens>),
    /// At least one of these; of nothing: no text matches.
    Any(Vec<Tokens>),
    /// The token with this hash.
    Token(u64),
}

impl Tokens {
    /// Nothing is known: every block may match.
    pub const NONE: Self = Self::All(Vec::new());

    /// The tokens of texts that match a regular expression.
    pub fn of_regex(hir: &Hir) -> Self {
        // Token hashes are of lowered words, so folding case loses nothing.
        Self::of_tree(&tree::of_regex(hir, Case::Ignored))
    }

    /// The tokens of texts that contain a literal with such edges. The case of letters does not
    /// matter. A substring has two open edges, a whole text two delimited ones.
    pub fn of_literal(text: &[u8], before: Edge, after: Edge) -> Self {
        let literal = Literal { text: text.to_vec(), before, after };
        Self::of_tree(&Tree::Literal(literal))
    }

    /// At least one of `alternatives`.
    pub fn any(alternatives: Vec<Self>) -> Self {
        if alternatives.iter().any(Self::is_none) {
            return Self::NONE;
        }
        Self::Any(alternatives)
    }

    /// All of `parts`.
    pub fn all(parts: Vec<Self>) -> Self {
        let mut flat: Vec<Self> = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Self::All(parts) => flat.extend(parts),
                part => flat.push(part),
            }
        }
        let mut unique: Vec<Self> = Vec::with_capacity(flat.len());
        for part in flat {
            if !unique.contains(&part) {
                unique.push(part);
            }
        }
        match <[Self; 1]>::try_from(unique) {
            Ok([one]) => one,
            Err(parts) => Self::All(parts),
        }
    }

    /// Whether nothing is known, so that no filter need be read.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::All(parts) if parts.is_empty())
    }

    /// Whether a text with the tokens that `contains` tells of may match. `false` is certain if
    /// `contains` is.
    pub fn may_match(&self, contains: &mut dyn FnMut(u64) -> bool) -> bool {
        self.may_match_of(&mut |hash| if contains(hash) { u32::MAX } else { 0 }) != 0
    }

    /// The same for up to 32 texts, a bit each.
    pub fn may_match_of(&self, contains: &mut dyn FnMut(u64) -> u32) -> u32 {
        match self {
            Self::All(parts) => {
                let mut left = u32::MAX;
                for part in parts {
                    if left == 0 {
                        break;
                    }
                    left &= part.may_match_of(contains);
                }
                left
            }
            Self::Any(parts) => {
                let mut found = 0;
                for part in parts {
                    if found == u32::MAX {
                        break;
                    }
                    found |= part.may_match_of(contains);
                }
                found
            }
            Self::Token(hash) => contains(*hash),
        }
    }

    fn of_tree(tree: &Tree) -> Self {
        match tree {
            Tree::All(parts) => Self::all(parts.iter().map(Self::of_tree).collect()),
            Tree::Any(parts) => Self::any(parts.iter().map(Self::of_tree).collect()),
            Tree::Literal(literal) => {
                let mut tokens = Vec::new();
                for word in whole_words(literal) {
                    token_hashes(word, &mut |hash| tokens.push(Self::Token(hash)));
                }
                Self::all(tokens)
            }
        }
    }
}

/// The words of a literal that are whole words of every text around it.
fn whole_words(literal: &Literal) -> impl Iterator<Item = &[u8]> {
    let text = literal.text.as_slice();
    let mut at = 0;
    text.split(|byte| !byte.is_ascii_alphanumeric()).filter(move |word| {
        let (start, end) = (at, at + word.len());
        at = end + 1;
        let whole_before = start > 0 || literal.before == Edge::Delimited;
        let whole_after = end < text.len() || literal.after == Edge::Delimited;
        !word.is_empty() && whole_before && whole_after
    })
}

/// The cheapest set of literals that covers the tree.
fn best(tree: &Tree) -> Option<Vec<Vec<u8>>> {
    match tree {
        Tree::Literal(literal) => (literal.text.len() >= LITERAL_LEN_MIN).then(|| vec![literal.text.clone()]),
        Tree::All(parts) => parts.iter().filter_map(best).min_by(|a, b| cost(a).total_cmp(&cost(b))),
        Tree::Any(parts) => {
            let mut union = Vec::new();
            for part in parts {
                union.extend(best(part)?);
            }
            without_longer(&mut union);
            (union.len() <= ALTERNATIVES_MAX).then_some(union)
        }
    }
}

/// How often, in about, some literal of the set stands at a place by chance.
fn cost(literals: &[Vec<u8>]) -> f64 {
    literals.iter().map(|literal| 0.05_f64.powi(i32::try_from(literal.len().min(8)).unwrap_or(8))).sum()
}

/// Drops literals that contain another one of the set: where they stand, the other stands too.
fn without_longer(literals: &mut Vec<Vec<u8>>) {
    literals.sort_unstable_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    literals.dedup();
    if literals.len() > 4 * ALTERNATIVES_MAX {
        return;
    }
    let mut kept: Vec<Vec<u8>> = Vec::with_capacity(literals.len());
    for literal in literals.drain(..) {
        let holds_one = kept.iter().any(|short| literal.windows(short.len()).any(|part| part == short.as_slice()));
        if !holds_one {
            kept.push(literal);
        }
    }
    *literals = kept;
}
