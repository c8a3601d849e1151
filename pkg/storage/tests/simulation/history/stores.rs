//! What a history does with object stores, and its end: tiering, backups, rot.

use super::History;
use crate::backups::{Done, Found};
use crate::machine::Process;
use crate::{rot, rot_stores, tiering};
use std::sync::Arc;
use std::time::Duration;
use timberlog_storage::Storage;

impl History {
    /// Brings segments into the object store, whose requests may fail.
    pub(super) fn tier(&mut self, storage: &Storage, process: &Process) -> Result<(), String> {
        let Some(shelf) = self.shelf.clone() else { return Ok(()) };
        let passed = tiering::pass(storage, process, &shelf, &mut self.rng);
        self.tell(|| format!("tier: {passed:?}, {} objects", shelf.len()));
        self.check_named(storage, process)?;
        match passed {
            Ok(true) => {
                self.report.count("tier passes", 1);
                // Retention is a matter of who reads.
                if !self.is_faulty && !process.is_dead() && self.options.retention.is_empty() && self.rng.percent(50) {
                    let found = tiering::check_follower(storage, &self.options, &self.tenants);
                    if process.is_dead() {
                        return Ok(());
                    }
                    self.report.count("records in buckets", found?);
                    let collected = tiering::collect(&self.sim.env(), &shelf, &self.options, &self.tenants);
                    self.report.count("objects collected", if process.is_dead() { 0 } else { collected? });
                }
                Ok(())
            }
            Ok(false) => {
                self.report.count("tier passes that failed", 1);
                Ok(())
            }
            Err(_) if self.is_faulty => Ok(()),
            Err(error) => Err(format!("tiering failed: {error}")),
        }
    }

    /// What is not on the disk any more is named by the bucket, behind a start and behind a pass, whatever befell them.
    pub(super) fn check_named(&self, storage: &Storage, process: &Process) -> Result<(), String> {
        if self.shelf.is_none() || process.is_dead() {
            return Ok(());
        }
        let checked = tiering::check_named(storage, &self.options, &self.tenants);
        // Whoever is killed while it is looked at cannot ask the store.
        if process.is_dead() { Ok(()) } else { checked }
    }

    /// Makes, prunes or checks backups, whose store's requests may fail.
    pub(super) fn back_up(&mut self, storage: &Storage, process: &Arc<Process>) -> Result<(), String> {
        let Some(mut backups) = self.backups.take() else { return Ok(()) };
        let shown = if self.is_faulty { None } else { self.read(storage, process)?.map(|shown| shown.contents) };
        // What was appended is earlier.
        self.sim.clock.advance(Duration::from_millis(1));
        let again = self.model.last_of_a_producer();
        let done = backups.act(storage, process, shown.map(|contents| Found { contents, again }), &mut self.rng);
        // And what comes now is later.
        self.sim.clock.advance(Duration::from_millis(1));
        let event = match done? {
            Done::Created => "backups",
            Done::Pruned => "prunes",
            Done::Archived => "archive passes",
            Done::Failed => "backups that failed",
        };
        self.tell(|| event.to_owned());
        self.report.count(event, 1);
        if !process.is_dead() && self.rng.percent(40) {
            use timberlog_disk::Clock;
            let now_ns = self.sim.clock.now_ns();
            let (restored, again) = backups.check(&self.options, &self.tenants, now_ns, &mut self.rng)?;
            self.report.count("records restored", restored);
            self.report.count("batches sent again to what was restored", again);
        }
        self.backups = Some(backups);
        Ok(())
    }

    /// Another machine takes over what is in the store.
    pub(super) fn take_over(&mut self) -> Result<(), String> {
        let Some(shelf) = self.shelf.as_ref().filter(|_| self.options.retention.is_empty()) else { return Ok(()) };
        let found = tiering::take_over(&self.sim, &self.options, &self.tenants, shelf, &mut self.rng)?;
        self.report.count("records taken over", found);
        Ok(())
    }

    /// Bits flip at rest.
    pub(super) fn rot(&mut self) -> Result<(), String> {
        let rotten = rot::rot(&self.sim, &self.options, &self.tenants, &mut self.rng)?;
        self.report.count("rotten files that were named", rotten.named);
        self.report.count("lost to rot", rotten.lost);
        if let Some(shelf) = &self.shelf {
            let rotten = rot_stores::rot_bucket(shelf, &self.options, &self.tenants, &mut self.rng)?;
            self.report.count("rotten objects of a bucket that were named", rotten.named);
            self.report.count("blocks of a bucket lost to rot", rotten.lost);
        }
        if let Some(backups) = &self.backups {
            use timberlog_disk::Clock;
            let now_ns = self.sim.clock.now_ns();
            let rotten = rot_stores::rot_backups(backups, &self.options, &self.tenants, now_ns, &mut self.rng)?;
            self.report.count("rotten objects of backups that were named", rotten.named);
            self.report.count("restores refused for rot", rotten.lost);
        }
        Ok(())
    }
}
