//! Templates of nothing but texts and labels, perhaps in capitals: rendered without a walk, and
//! without an allocation but for what is appended.

use super::node::{Kind, Node};
use super::{Context, RENDER_BYTES_MAX, functions::texts};

/// A part of such a template.
#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Label(String, Case),
    Line(Case),
}

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Kept,
    Upper,
    Lower,
}

/// The parts of a tree, if it has no others.
pub(super) fn pieces(root: &Node) -> Option<Vec<Piece>> {
    let Kind::List(nodes) = &root.kind else { return None };
    nodes.iter().map(piece).collect()
}

fn piece(node: &Node) -> Option<Piece> {
    let pipe = match &node.kind {
        Kind::Text(text) => return Some(Piece::Text(text.clone())),
        Kind::Action(pipe) => pipe,
        _ => return None,
    };
    let Kind::Pipe(pipe) = &pipe.kind else { return None };
    if !pipe.variables.is_empty() {
        return None;
    }
    let word = |command: &'_ Node| -> Option<usize> {
        let Kind::Command(words) = &command.kind else { return None };
        (words.len() == 1).then_some(0)
    };
    let first = |command: &Node| -> Option<Piece> {
        word(command)?;
        let Kind::Command(words) = &command.kind else { return None };
        match &words.first()?.kind {
            Kind::Field(fields) => match fields.as_slice() {
                [name] => Some(Piece::Label(name.clone(), Case::Kept)),
                _ => None,
            },
            Kind::Identifier(function) if function.name == "__line__" => Some(Piece::Line(Case::Kept)),
            _ => None,
        }
    };
    let case = |command: &Node| -> Option<Case> {
        word(command)?;
        let Kind::Command(words) = &command.kind else { return None };
        match &words.first()?.kind {
            Kind::Identifier(function) => match function.name {
                "upper" | "ToUpper" => Some(Case::Upper),
                "lower" | "ToLower" => Some(Case::Lower),
                _ => None,
            },
            _ => None,
        }
    };
    match pipe.commands.as_slice() {
        [value] => first(value),
        [value, change] => match (first(value)?, case(change)?) {
            (Piece::Label(name, _), case) => Some(Piece::Label(name, case)),
            (Piece::Line(_), case) => Some(Piece::Line(case)),
            (Piece::Text(_), _) => None,
        },
        _ => None,
    }
}

fn value<'a>(piece: &'a Piece, context: &'a dyn Context) -> (&'a [u8], Case) {
    match piece {
        Piece::Text(text) => (text.as_bytes(), Case::Kept),
        Piece::Label(name, case) => (context.label(name).unwrap_or_default().as_bytes(), *case),
        Piece::Line(case) => (context.line(), *case),
    }
}

/// Whether the output stays below its limit, whatever changing the case does to lengths.
pub(super) fn fits(pieces: &[Piece], context: &dyn Context) -> bool {
    let length = pieces.iter().map(|piece| value(piece, context).0.len()).fold(0, usize::saturating_add);
    length <= RENDER_BYTES_MAX / 3
}

pub(super) fn render(pieces: &[Piece], context: &dyn Context, out: &mut Vec<u8>) {
    for piece in pieces {
        let (text, case) = value(piece, context);
        match case {
            Case::Kept => out.extend_from_slice(text),
            Case::Upper => texts::map_chars(text, out, texts::to_upper),
            Case::Lower => texts::map_chars(text, out, texts::to_lower),
        }
    }
}
