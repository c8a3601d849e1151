//! Dimensions: what records are counted by, and what a block's directory or dictionary answers.

use crate::error::QueryError;
use crate::plan::Plan;
use crate::source::{OpenSegment, mixed_up};
use timberlog_filter::{ColumnSource, Target};
use timberlog_segment::{BlockMeta, Column, ColumnKey};
use timberlog_types::{Result, RowSet, StreamRef, ValueKind};

/// One name that records are counted by.
pub(crate) struct Dimension {
    pub(super) target: Target,
}

impl Dimension {
    pub fn named(name: &str) -> Result<Self, QueryError> {
        match Target::named(name) {
            Target::Timestamp => {
                Err(QueryError::Invalid("records cannot be counted by `timestamp`; give a step instead".to_owned()))
            }
            target => Ok(Self { target }),
        }
    }

    /// The one value of all rows of a block, if the directory knows that there is only one.
    #[allow(clippy::option_option, reason = "unknown, known to be missing, known: three different answers")]
    pub fn constant<'a>(&self, open: &'a OpenSegment, block: &BlockMeta) -> Option<Option<&'a [u8]>> {
        let directory = open.directory();
        match &self.target {
            Target::Level => {
                let mut levels = block.levels.iter().map(|&(id, _)| directory.levels.get(id as usize).map(|l| l.level));
                let first = levels.next()??;
                levels.all(|level| level == Some(first)).then(|| Some(first.as_str().as_bytes()))
            }
            Target::Service => match block.services.as_slice() {
                [(id, _)] => directory.services.get(*id as usize).map(|service| Some(service.as_bytes())),
                _ => None,
            },
            Target::Name(name) => {
                let has_field = directory.field(name).is_some_and(|id| block.column(ColumnKey::Field(id)).is_some());
                let mut ids = block.streams.iter().flat_map(|&(first, last)| first..=last);
                let label = |id: u32| directory.streams.get(id).map(|stream| stream.label(name));
                let first = label(ids.next()?)?;
                if first.is_none() && has_field {
                    return None;
                }
                ids.all(|id| label(id) == Some(first)).then(|| first.map(str::as_bytes))
            }
            Target::Message | Target::Timestamp => None,
        }
    }

    /// Whether the directory counts the records of a block by it.
    pub fn is_counted(&self) -> bool {
        matches!(self.target, Target::Level | Target::Service)
    }

    /// The counts of the directory.
    pub fn counts(&self, open: &OpenSegment, block: &BlockMeta, each: &mut dyn FnMut(&[u8], u64)) {
        let directory = open.directory();
        match self.target {
            Target::Level => {
                for &(id, rows) in &block.levels {
                    let level = directory.levels.get(id as usize).map_or_else(Default::default, |l| l.level);
                    each(level.as_str().as_bytes(), u64::from(rows));
                }
            }
            Target::Service => {
                for &(id, rows) in &block.services {
                    let service = directory.services.get(id as usize).map_or("", String::as_str);
                    each(service.as_bytes(), u64::from(rows));
                }
            }
            Target::Timestamp | Target::Message | Target::Name(_) => {}
        }
    }

    /// What a stream says: `None` if the field decides.
    pub fn of_stream<'a>(&self, stream: StreamRef<'a>) -> Option<&'a [u8]> {
        match &self.target {
            Target::Service => Some(stream.service().as_bytes()),
            Target::Name(name) => stream.label(name).map(str::as_bytes),
            Target::Level | Target::Message | Target::Timestamp => None,
        }
    }
}

/// Counts the rows of a block by one field of which the block has a dictionary, by its codes;
/// `None` if something else has a say.
pub(crate) fn count_by_dictionary(
    dimension: &Dimension,
    plan: &Plan,
    open: &OpenSegment,
    block: &BlockMeta,
    within: &RowSet,
    each: &mut dyn FnMut(Option<&[u8]>, u64),
) -> Result<Option<()>> {
    let Target::Name(name) = &dimension.target else { return Ok(None) };
    let directory = open.directory();
    let Some(key) = directory.field(name).map(ColumnKey::Field).filter(|&key| block.column(key).is_some()) else {
        return Ok(None);
    };
    let mut streams = block.streams.iter().flat_map(|&(first, last)| first..=last);
    if streams.any(|id| directory.streams.get(id).is_none_or(|stream| stream.label(name).is_some())) {
        return Ok(None);
    }
    let column = open.source(&plan.budget).column(block.number, key)?;
    let Column::Field(values) = &*column else { return Err(mixed_up(block.number, key)) };
    let within = (!within.is_full()).then_some(within);
    let (Some(entries), Some(counts)) = (values.dictionary(), values.count_by_code(within)) else { return Ok(None) };
    let mut missing = counts.last().copied().unwrap_or_default();
    for (value, &rows) in entries.iter().zip(&counts) {
        match value.kind {
            ValueKind::Null => missing += rows,
            _ if rows > 0 => each(Some(value.text), rows),
            _ => {}
        }
    }
    each(None, missing);
    Ok(Some(()))
}
