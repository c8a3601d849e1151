//! Accepting the loss of damaged parts of the manifest, with a report.

use super::commit::Next;
use super::files::ReadError;
use super::invariants;
use super::load::read_month;
use super::model::{MonthNode, State, Unreachable};
use std::path::Path;
use std::sync::Arc;
use timberlog_disk::Env;
use timberlog_types::Result;

/// What [`super::Manifest::repair`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Months that can be read again and are back.
    pub recovered: Vec<String>,
    /// Months that are given up, with the reason. Their segments go at the next start.
    pub months_lost: Vec<String>,
    /// Roots that are given up, with the reason. Segments that only they name go at the next
    /// start.
    pub roots_lost: Vec<String>,
    /// Older roots could not be read and are no longer kept.
    pub history_cut: bool,
}

impl RepairReport {
    /// Whether there was nothing to repair.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "month {} of tenant `{}`: `{}` {}", self.month, self.tenant, self.file.path, self.reason)
    }
}

/// The state without damage; `None` if there is none.
pub(super) fn repair(
    env: &Env,
    data_dir: &Path,
    old: &State,
    history_damaged: bool,
) -> Result<(Option<Next>, RepairReport)> {
    let mut report = RepairReport { history_cut: history_damaged, ..RepairReport::default() };
    let mut next = Next::after(old, 1)?;
    for lost in &old.unreachable {
        match read_month(env, data_dir, &lost.tenant, lost.month, &lost.file, Some(old.flushed_seq)) {
            Ok(node) if merge(&mut next, lost, &node) => report.recovered.push(lost.to_string()),
            Ok(_) => {
                report.months_lost.push(format!("{lost}; readable again, but not consistent with what came after"))
            }
            Err(ReadError::Damaged(_)) => report.months_lost.push(lost.to_string()),
            Err(ReadError::Stop(error)) => return Err(error),
        }
    }
    report.roots_lost.extend(old.lost_roots.iter().map(|lost| format!("`{}` {}", lost.path, lost.reason)));
    if report.is_empty() {
        return Ok((None, report));
    }
    next.state.unreachable.clear();
    next.state.lost_roots.clear();
    // What the older roots say is given up as well: nothing behind this root is needed.
    next.state.chain_start = next.state.version;
    Ok((Some(next), report))
}

/// Puts the segments of a recovered month back beside those that came after it was lost.
fn merge(next: &mut Next, lost: &Unreachable, recovered: &MonthNode) -> bool {
    let mut merged = recovered.clone();
    for (day, partition) in &mut merged.partitions {
        if let Some(present) = next.state.partition(&lost.tenant, *day) {
            let both = Arc::make_mut(partition);
            both.segments.extend(present.segments.iter().cloned());
            both.segments.sort_by_key(|entry| entry.seq_min);
        }
    }
    if invariants::check_node(&lost.tenant, &merged, next.state.flushed_seq).is_err() {
        return false;
    }
    for (day, partition) in merged.partitions {
        next.set_partition(&lost.tenant, day, partition.segments.clone());
    }
    true
}
