//! Index lookups: what the B+trees of a segment say of the tests that every answer must pass, one
//! after the other, intersected.
//!
//! An index may name a block too many, never one too few; the block directory has the last word.

use crate::source::OpenSegment;
use roaring::RoaringBitmap;
use timberlog_filter::{Compiled, CompiledTest, Node, Target, Verdict};
use timberlog_index::{IndexError, SegmentIndex};
use timberlog_types::{Level, TimeRange};

/// One lookup and what was left after it.
pub(crate) struct Lookup {
    /// What was asked: `ts`, `level`, `service` or `index` with its name.
    pub index: String,
    /// Why blocks are left out.
    pub reason: String,
    /// The blocks that are left.
    pub left: u64,
}

/// The blocks that are left after all lookups; `None` if the segment has no whole index.
pub(crate) fn candidates(open: &OpenSegment, filter: &Compiled, range: TimeRange) -> Option<RoaringBitmap> {
    run(open, filter, range, &mut |_| {}).ok()?
}

/// Runs the lookups and tells of each.
pub(crate) fn run(
    open: &OpenSegment,
    filter: &Compiled,
    range: TimeRange,
    tell: &mut dyn FnMut(Lookup),
) -> Result<Option<RoaringBitmap>, IndexError> {
    let Some(index) = open.index() else { return Ok(None) };
    let mut left: Option<RoaringBitmap> = None;
    let mut keep = |blocks: RoaringBitmap, index: String, reason: String| {
        let rest = match left.take() {
            Some(before) => before & blocks,
            None => blocks,
        };
        tell(Lookup { index, reason, left: rest.len() });
        left = Some(rest);
    };
    if !range.covers(open.segment.entry.range) {
        let reason = "no record in the range of time".to_owned();
        keep(index.blocks_in(range)?, "index ts".to_owned(), reason);
    }
    for test in required(filter.node()) {
        if let Some(blocks) = look_up(index, test)? {
            let reason = format!("no record with such a {}", test.target().name());
            keep(blocks, format!("index {}", test.target().name()), reason);
        } else if let Some(blocks) = open.known.indexed(test)
            && open.directory().blocks.iter().all(|block| open.known.facts.is_field_alone(test, block))
        {
            let reason = format!("no record with such a value of `{}`", test.target().name());
            keep(blocks.clone(), format!("index {}", test.target().name()), reason);
        }
    }
    Ok(left)
}

/// The tests that every record of the answer passes.
fn required(node: &Node) -> impl Iterator<Item = &CompiledTest> {
    let parts = match node {
        Node::And(parts) => parts.as_slice(),
        node => std::slice::from_ref(node),
    };
    parts.iter().filter_map(|part| match part {
        Node::Test(test) if !test.is_negated() => Some(&**test),
        _ => None,
    })
}

fn look_up(index: &SegmentIndex, test: &CompiledTest) -> Result<Option<RoaringBitmap>, IndexError> {
    match test.target() {
        Target::Level => {
            let mut blocks = RoaringBitmap::new();
            for level in Level::ALL {
                if test.judge_level(level) != Verdict::Never {
                    blocks |= index.blocks_with_level(level)?;
                }
            }
            Ok(Some(blocks))
        }
        Target::Service => index.blocks_matching_service("", &|name| test.matches_text(name.as_bytes())).map(Some),
        Target::Timestamp | Target::Message | Target::Spelling | Target::Stream | Target::Name(_) => Ok(None),
    }
}
