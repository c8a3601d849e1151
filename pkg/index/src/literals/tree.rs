//! The and/or tree of literals that every match of a regular expression holds.
//!
//! Every part of the expression is described by a small set of sequences ([`super::sequence`]):
//! each match follows one of them. Where a set would grow too large, what it says so far becomes a
//! condition of the tree, and the description goes on with "unknown".

use super::sequence::{Sequences, Symbol};
use super::{Case, Edge};
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// What every match holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// All of these; of nothing: nothing is known.
    All(Vec<Tree>),
    /// At least one of these; of nothing: nothing matches.
    Any(Vec<Tree>),
    /// This literal.
    Literal(Literal),
}

/// A literal, and what the pattern says of the text beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// The bytes.
    pub text: Vec<u8>,
    /// What is before it.
    pub before: Edge,
    /// What is after it.
    pub after: Edge,
}

/// A class with more members is not spelled out.
const CLASS_LEN_MAX: usize = 8;
/// A repetition is not spelled out more often.
const COPIES_MAX: u32 = 4;
/// Expressions nested deeper are unknown.
const DEPTH_MAX: usize = 256;

/// The tree of a regular expression that is searched for anywhere in a text. With
/// [`Case::Ignored`] the literals are in lower case, to be compared without regard to ASCII case.
pub fn of_regex(hir: &Hir, case: Case) -> Tree {
    Node::of(hir, case, 0).into_tree()
}

/// What is known of a part of the expression.
struct Node {
    /// Every match of the part follows one of these.
    sequences: Sequences,
    /// And the text holds these.
    needs: Vec<Tree>,
}

impl Node {
    fn of(hir: &Hir, case: Case, depth: usize) -> Self {
        if depth >= DEPTH_MAX {
            return Sequences::unknown().into();
        }
        match hir.kind() {
            HirKind::Empty => Sequences::empty().into(),
            HirKind::Literal(literal) => {
                Sequences::one(literal.0.iter().map(|&byte| Symbol::Byte(fold(byte, case))).collect()).into()
            }
            HirKind::Class(class) => of_class(class, case).into(),
            HirKind::Look(look) => of_look(*look).into(),
            HirKind::Repetition(repetition) => Self::of_repetition(repetition, case, depth),
            HirKind::Capture(capture) => Self::of(&capture.sub, case, depth + 1),
            HirKind::Concat(parts) => parts
                .iter()
                .fold(Sequences::empty().into(), |node: Self, part| node.then(Self::of(part, case, depth + 1))),
            HirKind::Alternation(parts) => {
                Self::any(parts.iter().map(|part| Self::of(part, case, depth + 1)).collect())
            }
        }
    }

    fn of_repetition(repetition: &Repetition, case: Case, depth: usize) -> Self {
        let Repetition { min, max, .. } = *repetition;
        let part = Self::of(&repetition.sub, case, depth + 1);
        if max == Some(0) {
            return Sequences::empty().into();
        }
        if min == 0 {
            let once = if max == Some(1) || part.sequences.is_separator() {
                part
            } else {
                return Sequences::unknown().into();
            };
            let bare = Self { sequences: once.sequences, needs: Vec::new() };
            return Self::any(vec![Sequences::empty().into(), bare]);
        }
        let Self { sequences: once, needs } = part;
        if once.is_separator() {
            return Self { sequences: once, needs };
        }
        let mut all = Some(once.clone());
        for _ in 1..min.min(COPIES_MAX) {
            all = all.and_then(|all| all.then(&once));
        }
        if max == Some(min)
            && min <= COPIES_MAX
            && let Some(sequences) = all
        {
            return Self { sequences, needs };
        }
        let copies = all.unwrap_or(once);
        Self { sequences: copies, needs }.then(Sequences::unknown().into())
    }

    /// This part, and then `next`.
    fn then(mut self, next: Self) -> Self {
        self.needs.extend(next.needs);
        match self.sequences.then(&next.sequences) {
            Some(sequences) => self.sequences = sequences,
            None => {
                self.needs.push(self.sequences.to_tree());
                self.sequences = next.sequences.after_unknown();
            }
        }
        self
    }

    fn any(parts: Vec<Self>) -> Self {
        if parts.iter().all(|part| part.needs.is_empty())
            && let Some(sequences) = Sequences::union(parts.iter().map(|part| &part.sequences))
        {
            return sequences.into();
        }
        let need = any(parts.into_iter().map(Self::into_tree).collect());
        Self { sequences: Sequences::unknown(), needs: vec![need] }
    }

    fn into_tree(self) -> Tree {
        let mut needs = self.needs;
        needs.push(self.sequences.to_tree());
        all(needs)
    }
}

impl From<Sequences> for Node {
    fn from(sequences: Sequences) -> Self {
        Self { sequences, needs: Vec::new() }
    }
}

/// All of these, flat, each once.
pub(super) fn all(parts: Vec<Tree>) -> Tree {
    let mut flat: Vec<Tree> = Vec::with_capacity(parts.len());
    for part in parts {
        let parts = if let Tree::All(parts) = part { parts } else { vec![part] };
        for part in parts {
            if !flat.contains(&part) {
                flat.push(part);
            }
        }
    }
    match <[Tree; 1]>::try_from(flat) {
        Ok([one]) => one,
        Err(parts) => Tree::All(parts),
    }
}

/// At least one of these; nothing is known if nothing is known of one.
pub(super) fn any(mut parts: Vec<Tree>) -> Tree {
    if parts.iter().any(|part| matches!(part, Tree::All(parts) if parts.is_empty())) {
        return Tree::All(Vec::new());
    }
    parts.dedup();
    match <[Tree; 1]>::try_from(parts) {
        Ok([one]) => one,
        Err(parts) => Tree::Any(parts),
    }
}

fn fold(byte: u8, case: Case) -> u8 {
    match case {
        Case::Exact => byte,
        Case::Ignored => byte.to_ascii_lowercase(),
    }
}

/// Where letters and digits cannot go on across the place. Words of the expression's `\b` are
/// wider than ours (`_`, and Unicode's letters), so that an end of theirs is an end of ours.
fn of_look(look: Look) -> Sequences {
    match look {
        Look::WordAsciiNegate | Look::WordUnicodeNegate => Sequences::empty(),
        _ => Sequences::one(vec![Symbol::Boundary]),
    }
}

fn of_class(class: &Class, case: Case) -> Sequences {
    let mut members: Vec<Vec<u8>> = Vec::new();
    let mut has_word_byte = false;
    let mut is_short = true;
    match class {
        Class::Unicode(class) => {
            for range in class.ranges() {
                has_word_byte |= any_word_byte(u32::from(range.start()), u32::from(range.end()));
                is_short &= u32::from(range.end()) - u32::from(range.start()) < 32;
                for member in (range.start()..=range.end()).take(if is_short { 32 } else { 0 }) {
                    let mut utf8 = [0; 4];
                    let bytes = member.encode_utf8(&mut utf8).bytes();
                    members.push(bytes.map(|byte| fold(byte, case)).collect());
                }
                is_short &= members.len() <= 4 * CLASS_LEN_MAX;
            }
        }
        Class::Bytes(class) => {
            for range in class.ranges() {
                has_word_byte |= any_word_byte(u32::from(range.start()), u32::from(range.end()));
                members.extend((range.start()..=range.end()).map(|byte| vec![fold(byte, case)]));
            }
        }
    }
    members.sort_unstable();
    members.dedup();
    if is_short && members.len() <= CLASS_LEN_MAX {
        let sequences = members.into_iter().map(|bytes| bytes.into_iter().map(Symbol::Byte).collect());
        Sequences::of(sequences.collect())
    } else if has_word_byte {
        Sequences::unknown()
    } else {
        Sequences::one(vec![Symbol::Separator])
    }
}

/// Whether an ASCII letter or digit is between these, both included.
fn any_word_byte(start: u32, end: u32) -> bool {
    [(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')]
        .iter()
        .any(|&(first, last)| start <= u32::from(last) && u32::from(first) <= end)
}
