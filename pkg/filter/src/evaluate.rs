//! Runs a compiled filter over columns: each test narrows the set of rows that are left.

use crate::columns::Columns;
use crate::compile::{Compiled, CompiledTest, Node};
use crate::tree::Target;
use crate::verdict::Verdict;
use timberlog_types::{Result, RowSet};

/// The rows of `within` that a filter lets through.
///
/// # Errors
/// What reading the columns ends with; evaluating itself cannot fail.
pub fn evaluate(filter: &Compiled, columns: &dyn Columns, within: RowSet) -> Result<RowSet> {
    debug_assert_eq!(within.rows(), columns.rows());
    node(filter.node(), columns, within)
}

fn node(tree: &Node, columns: &dyn Columns, within: RowSet) -> Result<RowSet> {
    match tree {
        Node::All => Ok(within),
        Node::None => Ok(RowSet::none(within.rows())),
        Node::And(parts) => {
            let mut left = within;
            for part in parts {
                if left.is_empty() {
                    break;
                }
                left = node(part, columns, left)?;
            }
            Ok(left)
        }
        Node::Or(parts) => {
            let mut found = RowSet::none(within.rows());
            let mut left = within;
            for part in parts {
                if left.is_empty() {
                    break;
                }
                let hits = node(part, columns, left.clone())?;
                left.subtract(&hits);
                found.union(&hits);
            }
            Ok(found)
        }
        Node::Test(test) if test.is_negated() => {
            let hits = positive(test, columns, &within)?;
            let mut left = within;
            left.subtract(&hits);
            Ok(left)
        }
        Node::Test(test) => positive(test, columns, &within),
    }
}

/// The rows that pass a test, negation apart.
fn positive(test: &CompiledTest, columns: &dyn Columns, within: &RowSet) -> Result<RowSet> {
    match columns.judge(test) {
        Verdict::Never => return Ok(RowSet::none(within.rows())),
        Verdict::Always => return Ok(within.clone()),
        Verdict::Maybe => {}
    }
    match test.target() {
        Target::Timestamp => columns.times(test, within),
        Target::Level | Target::Spelling => columns.levels(test, within),
        Target::Service | Target::Stream => Ok(columns.streams(test, within)?.matched),
        Target::Message => columns.message(test, within),
        Target::Name(name) => {
            let streams = columns.streams(test, within)?;
            if streams.undecided.is_empty() {
                return Ok(streams.matched);
            }
            let mut hits = columns.field(name, test, &streams.undecided)?;
            hits.union(&streams.matched);
            Ok(hits)
        }
    }
}
