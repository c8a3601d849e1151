//! The order in which stages run: line filters early, as Loki moves them.

use super::StageError;
use super::line_filter::LineTest;
use crate::ast::{LogExpr, Stage};

/// Indices of the stages in the order in which they run.
///
/// A line filter moves in front of the stages before it, up to a label filter or a stage after
/// which the line may be another (`line_format`, `unpack`). `decolorize` is not among those: a line
/// filter right behind it sees the colours.
pub(super) fn running_order(stages: &[Stage]) -> Vec<usize> {
    let mut order = Vec::with_capacity(stages.len());
    let (mut filters, mut others): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    for (index, stage) in stages.iter().enumerate() {
        match stage {
            Stage::Line(_) => filters.push(index),
            Stage::LabelFilter(_) => {
                order.append(&mut filters);
                order.append(&mut others);
                order.push(index);
            }
            Stage::LineFormat(_) | Stage::Unpack => {
                others.push(index);
                order.append(&mut filters);
                order.append(&mut others);
            }
            _ => others.push(index),
        }
    }
    order.append(&mut filters);
    order.append(&mut others);
    order
}

/// Indices of the line filters that see the line as it is stored, in order: a line that fails one
/// of them is dropped whatever the other stages do, so the engine may test them first (and may
/// then leave them out of the pipeline).
pub fn raw_line_filters(stages: &[Stage]) -> Vec<usize> {
    running_order(stages)
        .into_iter()
        .take_while(|&index| !stages.get(index).is_some_and(changes_line))
        .filter(|&index| matches!(stages.get(index), Some(Stage::Line(_))))
        .collect()
}

fn changes_line(stage: &Stage) -> bool {
    matches!(stage, Stage::LineFormat(_) | Stage::Unpack | Stage::Decolorize)
}

/// An error with the stage in front of it. As in Loki, line filters that run one after the other are
/// one stage, and the last that is malformed is the one that is told.
pub(super) fn in_stage(error: StageError, index: usize, stages: &[Stage]) -> StageError {
    let order = running_order(stages);
    let is_line = |index: &usize| matches!(stages.get(*index), Some(Stage::Line(_)));
    let alone = [index];
    let group = if is_line(&index) {
        order.split(|other| !is_line(other)).find(|group| group.contains(&index)).unwrap_or(&alone)
    } else {
        &alone
    };
    let malformed = |&index: &usize| match stages.get(index) {
        Some(Stage::Line(filter)) => LineTest::new(filter).err(),
        _ => None,
    };
    let error = group.iter().rev().find_map(malformed).unwrap_or(error);
    let stages = group.iter().filter_map(|&index| stages.get(index).cloned()).collect();
    let text = LogExpr { selector: Vec::new(), stages }.to_string();
    let text = text.strip_prefix("{}").unwrap_or(&text).trim_start();
    StageError(format!("stage '{text}' : {}", error.0))
}
