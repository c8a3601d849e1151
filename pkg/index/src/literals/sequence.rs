//! Small sets of sequences: texts with unknown parts, one of which every match follows.

use super::Edge;
use super::tree::{Literal, Tree, all, any};

/// A piece of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Symbol {
    /// This byte.
    Byte(u8),
    /// No byte: a place that is not between two letters or digits.
    Boundary,
    /// One byte or more, none of which is a letter or digit.
    Separator,
    /// Any bytes, or none.
    Unknown,
}

/// A set of sequences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sequences(Vec<Vec<Symbol>>);

/// More sequences than this become "unknown".
const SEQUENCES_MAX: usize = 32;
/// Together they are at most so long.
const SYMBOLS_MAX: usize = 4096;

impl Sequences {
    pub(super) fn of(sequences: Vec<Vec<Symbol>>) -> Self {
        Self(sequences)
    }

    pub(super) fn one(sequence: Vec<Symbol>) -> Self {
        Self(vec![sequence])
    }

    /// The empty text alone.
    pub(super) fn empty() -> Self {
        Self::one(Vec::new())
    }

    pub(super) fn unknown() -> Self {
        Self::one(vec![Symbol::Unknown])
    }

    /// Whether this is one separator and nothing else, which any repetition of it is too.
    pub(super) fn is_separator(&self) -> bool {
        matches!(self.0.as_slice(), [sequence] if sequence.as_slice() == [Symbol::Separator])
    }

    /// One of these and then one of `next`; `None` if there are too many.
    pub(super) fn then(&self, next: &Self) -> Option<Self> {
        let symbols = self.symbols().saturating_mul(next.0.len()) + next.symbols().saturating_mul(self.0.len());
        if self.0.len().saturating_mul(next.0.len()) > SEQUENCES_MAX || symbols > SYMBOLS_MAX {
            return None;
        }
        let mut sequences = Vec::with_capacity(self.0.len() * next.0.len());
        for first in &self.0 {
            for second in &next.0 {
                let mut sequence = Vec::with_capacity(first.len() + second.len());
                sequence.extend_from_slice(first);
                for &symbol in second {
                    let repeats = matches!(symbol, Symbol::Unknown | Symbol::Separator);
                    if !(repeats && sequence.last() == Some(&symbol)) {
                        sequence.push(symbol);
                    }
                }
                sequences.push(sequence);
            }
        }
        sequences.sort_unstable();
        sequences.dedup();
        Some(Self(sequences))
    }

    /// These with something unknown before them.
    pub(super) fn after_unknown(mut self) -> Self {
        for sequence in &mut self.0 {
            sequence.insert(0, Symbol::Unknown);
        }
        self
    }

    /// One of any of these; `None` if there are too many.
    pub(super) fn union<'a>(sets: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let mut sequences: Vec<Vec<Symbol>> = Vec::new();
        for set in sets {
            sequences.extend_from_slice(&set.0);
            if sequences.len() > 2 * SEQUENCES_MAX {
                return None;
            }
        }
        sequences.sort_unstable();
        sequences.dedup();
        let union = Self(sequences);
        (union.0.len() <= SEQUENCES_MAX && union.symbols() <= SYMBOLS_MAX).then_some(union)
    }

    /// What a text that contains one of these holds.
    pub(super) fn to_tree(&self) -> Tree {
        any(self.0.iter().map(|sequence| all(literals(sequence))).collect())
    }

    fn symbols(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }
}

/// The literals of a sequence, with what is beside them. Beyond its ends everything is unknown.
fn literals(sequence: &[Symbol]) -> Vec<Tree> {
    let mut found = Vec::new();
    let mut text = Vec::new();
    let mut before = Edge::Open;
    // A boundary right here.
    let mut here = Edge::Open;
    for &symbol in sequence.iter().chain(&[Symbol::Unknown]) {
        match symbol {
            Symbol::Byte(byte) => {
                if text.is_empty() {
                    before = here;
                }
                text.push(byte);
                here = Edge::Open;
            }
            Symbol::Boundary => here = Edge::Delimited,
            Symbol::Separator | Symbol::Unknown => {
                let edge = if symbol == Symbol::Separator { Edge::Delimited } else { Edge::Open };
                if !text.is_empty() {
                    let after = if edge == Edge::Delimited { edge } else { here };
                    found.push(Tree::Literal(Literal { text: std::mem::take(&mut text), before, after }));
                }
                here = edge;
            }
        }
    }
    found
}
