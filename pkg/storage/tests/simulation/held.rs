//! Snapshots that somebody holds while the storage goes on: what they show stays, and so do its files.

use crate::check::{self, Shown};
use crate::model::Contents;
use timberlog_storage::{Snapshot, Storage};
use timberlog_types::Tenant;

/// Operations for which a snapshot is held.
const HELD_FOR: u64 = 6;

/// The snapshots of all tenants, taken at one time.
#[derive(Default)]
pub struct Held {
    snapshots: Vec<(Tenant, Snapshot)>,
    contents: Contents,
    operations: u64,
}

impl Held {
    /// An operation is over. Now and then what is held is read again and let go, and other snapshots are taken. How many
    /// records were read again.
    pub fn step(&mut self, storage: &Storage, tenants: &[Tenant]) -> Result<u64, String> {
        self.operations += 1;
        if !self.operations.is_multiple_of(HELD_FOR) {
            return Ok(0);
        }
        let found = self.read()?;
        if found != self.contents {
            return Err("a snapshot that was held shows something else than when it was taken".to_owned());
        }
        self.snapshots = tenants.iter().map(|tenant| (tenant.clone(), storage.snapshot(tenant))).collect();
        self.contents = self.read()?;
        Ok(found.values().map(|records| records.len() as u64).sum())
    }

    fn read(&self) -> Result<Contents, String> {
        let mut shown = Shown::default();
        for (tenant, snapshot) in &self.snapshots {
            check::read_snapshot(tenant, snapshot, &mut shown)
                .map_err(|error| format!("a snapshot that is held cannot be read: {error}"))?;
        }
        Ok(shown.contents)
    }
}
