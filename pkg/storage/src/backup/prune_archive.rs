//! Which archived frames no kept backup needs: those that all kept backups of their line hold already.

use super::catalog;
use super::record::BackupRecord;
use crate::archive::{LineRecord, Lines};
use crate::objects::ObjectStore;
use std::collections::{BTreeMap, HashSet};
use timberlog_types::{Error, Result, Seq};

/// The objects that can go, with their sizes, oldest first in each line: so what an interrupted
/// deletion leaves has no gap. Objects whose last frame is newer than `before` stay, and so does
/// everything of a database that is being backed up: that backup may come to need it.
///
/// # Errors
/// Of the store, and if the record of a line cannot be read.
pub(super) fn unneeded(store: &dyn ObjectStore, kept: &[BackupRecord], before: i64) -> Result<Vec<(String, u64)>> {
    let lines = Lines::read(store, None)?;
    if let Some((_, damage)) = lines.damage.first() {
        return Err(catalog::given_up(Error::corrupt(damage.clone())));
    }
    let plans = catalog::plans(store)?;
    let running: HashSet<&str> = plans.iter().map(|(_, plan)| plan.database_id.as_str()).collect();
    let mut by_database: BTreeMap<&str, Vec<&BackupRecord>> = BTreeMap::new();
    for record in kept {
        by_database.entry(&record.database_id).or_default().push(record);
    }
    let mut going = Vec::new();
    for (database, kept) in by_database.iter().filter(|(database, _)| !running.contains(**database)) {
        for line in lines.of(database) {
            let held = held_by_all(&lines, line, kept);
            let parts = lines.parts(database, &line.id);
            let parts = parts.take_while(|(_, part, _)| part.last_seq <= held && part.time < before);
            going.extend(parts.map(|(key, _, size)| (key, size)));
        }
    }
    Ok(going)
}

/// Up to where frames of a line are in every kept backup that the line could carry on.
fn held_by_all(lines: &Lines, line: &LineRecord, kept: &[&BackupRecord]) -> Seq {
    let chain = lines.chain(line);
    let is_of = |record: &&&BackupRecord| record.line.as_deref().is_some_and(|of| chain.has(of, record.seq));
    // A backup of a line that this one came from needs all of this one.
    let held = |record: &&BackupRecord| if record.line.as_deref() == Some(&line.id) { record.seq } else { 0 };
    kept.iter().filter(is_of).map(held).min().unwrap_or(Seq::MAX)
}
