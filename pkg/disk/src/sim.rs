//! A simulated machine: files, clock and randomness from a seed, with crashes and faults.
//!
//! [`Sim::new`] gives an [`Env`] that behaves like the real one. A crash is asked for at a step
//! ([`SimDisk::crash_at`]) or at once ([`SimDisk::crash`]); from then on every operation fails.
//! [`Sim::recover`] gives the machine after the restart: one legal outcome of what was not synced,
//! chosen by a seed. The same crash can be recovered with many seeds; old handles stay dead.
//!
//! # Steps
//!
//! Every operation that changes something is a step: creating, writing, resizing, syncing,
//! renaming, removing, each folder made, a folder sync. Reading is not: a crash at a read leaves
//! what a crash at the next step leaves. The step of the crash itself is issued and not answered:
//! it may have happened, in part or not at all.
//!
//! # What survives a crash
//!
//! - **Data**: what [`crate::File::sync_data`] confirmed. Each later write, each by itself, is
//!   lost, kept, or torn: any subset of its sectors (512 B or 4 KiB) is there, so later writes may
//!   survive earlier ones. Where a write made the file longer, the new length may survive without
//!   the data: zeros. Each change of length is kept or lost.
//! - **Names**: what [`crate::Disk::sync_dir`] of the folder confirmed. Each later creation,
//!   rename and removal, each by itself, is kept or lost; a rename is atomic. A removed name whose
//!   removal is lost comes back with its data. A rename across folders needs both synced. Syncing
//!   a file does not sync its name. New folders are durable at once, removed ones are names.
//! - **After a failed sync** what it should have confirmed counts as unsynced for good: a later
//!   sync that succeeds does not confirm it, a crash may keep or lose it. Until then it reads back.
//! - Locks are released.
//!
//! # Faults
//!
//! [`SimDisk::inject`] makes the n-th matching operation fail; [`SimDisk::set_capacity`] fills the
//! disk; [`SimDisk::set_short_io`] makes reads and writes stop short; [`SimDisk::flip_bit`] rots
//! data at rest. With one thread, everything is a function of the seeds.

mod core;
mod disk;
mod faults;
mod inode;
mod names;
#[cfg(test)]
mod tests;
mod time;

pub use disk::SimDisk;
pub use faults::{Fault, Op};
pub use time::{Rng, SimClock, SimRandom};

use crate::Env;
use std::sync::Arc;

/// A simulated machine.
#[derive(Clone)]
pub struct Sim {
    /// Its disk.
    pub disk: SimDisk,
    /// Its clock.
    pub clock: Arc<SimClock>,
    random: Arc<SimRandom>,
}

impl Sim {
    /// A machine with an empty disk.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            disk: SimDisk::new(rng.next()),
            clock: Arc::new(SimClock::new()),
            random: Arc::new(SimRandom::new(rng.next())),
        }
    }

    /// What a program on this machine gets passed in.
    pub fn env(&self) -> Env {
        Env {
            disk: Arc::new(self.disk.clone()),
            clock: Arc::clone(&self.clock) as _,
            random: Arc::clone(&self.random) as _,
        }
    }

    /// The machine after a crash (now, if there was none yet) and a restart: one legal outcome of
    /// what was not synced. This machine stays crashed, so other seeds give other outcomes.
    pub fn recover(&self, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            disk: self.disk.recover(rng.next()),
            clock: Arc::clone(&self.clock),
            random: Arc::new(SimRandom::new(rng.next())),
        }
    }
}
