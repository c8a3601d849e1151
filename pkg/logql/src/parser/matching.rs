//! What stands behind an operator (`bool on (a) group_left (b)`), and lists of names.

use super::{Cursor, ParseError};
use crate::ast::{Cardinality, Grouping, VectorMatching};
use crate::lexer::Kind;

/// `bool`, and how vectors are matched.
pub(super) fn modifier(cursor: &mut Cursor<'_>) -> Result<(bool, Option<VectorMatching>), ParseError> {
    let return_bool = cursor.accept(Kind::Bool);
    let on = match cursor.kind() {
        Kind::On => true,
        Kind::Ignoring => false,
        _ => return Ok((return_bool, None)),
    };
    cursor.take();
    let names = names(cursor)?;
    let cardinality = match cursor.kind() {
        Kind::GroupLeft => Cardinality::ManyToOne,
        Kind::GroupRight => Cardinality::OneToMany,
        _ => Cardinality::OneToOne,
    };
    let mut include = Vec::new();
    if cardinality != Cardinality::OneToOne {
        cursor.take();
        if cursor.kind() == Kind::Open {
            include = self::names(cursor)?;
        }
    }
    let matching = VectorMatching { on, names, cardinality, include };
    // To ignore no name is what no matching means.
    let means_nothing = !on && matching.names.is_empty() && cardinality == Cardinality::OneToOne;
    Ok((return_bool, if means_nothing { None } else { Some(matching) }))
}

/// `by (…)` or `without (…)` if one is next.
pub(super) fn grouping(cursor: &mut Cursor<'_>) -> Result<Option<Grouping>, ParseError> {
    let without = match cursor.kind() {
        Kind::By => false,
        Kind::Without => true,
        _ => return Ok(None),
    };
    cursor.take();
    Ok(Some(Grouping { without, names: names(cursor)? }))
}

/// `(a, b)`, or `()`.
fn names(cursor: &mut Cursor<'_>) -> Result<Vec<String>, ParseError> {
    cursor.expect(Kind::Open)?;
    if cursor.accept(Kind::Close) {
        return Ok(Vec::new());
    }
    let mut names = vec![cursor.expect_among(Kind::Identifier, &[Kind::Identifier, Kind::Close])?.text.to_owned()];
    while cursor.accept(Kind::Comma) {
        names.push(cursor.expect(Kind::Identifier)?.text.to_owned());
    }
    cursor.expect_among(Kind::Close, &[Kind::Comma, Kind::Close])?;
    Ok(names)
}
