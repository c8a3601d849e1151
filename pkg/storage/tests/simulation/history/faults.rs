//! What befalls a process and its machine: an end that comes at any step, operations that fail, clocks that jump.

use super::History;
use crate::machine::Process;
use timberlog_disk::sim::{Fault, Op};
use timberlog_storage::Storage;

impl History {
    /// Whether and when the process is killed or the power is lost.
    pub(super) fn draw_fate(&mut self, process: &Process) {
        let range = 4 << self.rng.below(8);
        let when = 1 + self.rng.below(range);
        match self.rng.below(12) {
            0..3 => self.sim.disk.crash_at(self.sim.disk.steps() + when),
            3..6 => process.lose_power_at_wal_sync(when as i64 / 8),
            6 => process.lose_power_behind_commit(when as i64 / 32),
            7..9 => process.kill_after(2 * when as i64),
            _ => {}
        }
        if self.rng.percent(10) {
            // A start must fail then, and not go on with half of the WAL or an older root.
            self.is_faulty = true;
            let place = ["wal", "manifest"][self.rng.below(2) as usize];
            process.fail_read(place, self.rng.below(20));
        }
        if self.rng.percent(10) {
            // What an earlier process has left cannot be removed: the start goes on.
            self.is_faulty = true;
            let place = ["segments", "manifest", "producers"][self.rng.below(3) as usize];
            self.sim.disk.inject(Op::Remove, place, self.rng.below(2), Fault::Io);
        }
        self.sim.disk.set_short_io(if self.rng.percent(30) { 20 } else { 0 });
    }

    /// The wall clock goes on by hours, or jumps by days and nobody or somebody says that this is right.
    pub(super) fn turn_the_clock(&mut self, storage: &Storage) -> Result<(), String> {
        use timberlog_disk::Clock;
        let wall = self.sim.clock.now_ns();
        if self.rng.percent(50) && !self.jumped {
            let hours = if self.rng.percent(50) { self.rng.below(20) } else { 30 + self.rng.below(40) } as i64;
            let is_back = hours % 3 == 0;
            let ahead = if is_back { -hours } else { hours };
            // What counts for retention is how far it is away from a clock that was not set back.
            let hours = if is_back { ahead } else { ahead + self.hours_behind };
            self.hours_behind = if is_back { self.hours_behind - ahead } else { 0 };
            self.tell(|| format!("the clock goes on by {hours} hours"));
            // Retention has to know the time before.
            self.model.deletes.look_at_retention(storage, &self.tenants, false)?;
            self.jumped = ahead.abs() > 24;
            self.report.count("clocks that jumped", u64::from(self.jumped));
            self.report.count("clocks that jumped back", u64::from(hours < 0));
            self.sim.clock.set_wall(wall + hours * 3_600_000_000_000);
        } else if self.jumped {
            let confirmed = storage.confirm_retention();
            self.tell(|| format!("confirm the clock: {confirmed:?}"));
            // Also after an error: then it is forgotten with the process.
            self.report.count("clocks confirmed", u64::from(confirmed.is_ok()));
            self.jumped = false;
            self.model.deletes.clock_ns = i64::MIN;
            if confirmed.is_ok() {
                self.hours_behind = 0;
            }
        }
        Ok(())
    }

    /// Makes an operation fail, or the disk full or no longer full.
    pub(super) fn inject(&mut self, process: &Process) {
        const PLACES: [(Op, &str); 20] = [
            (Op::Sync, "wal"),
            (Op::Sync, "wal"),
            (Op::Sync, "segments"),
            (Op::Sync, "manifest"),
            (Op::Sync, "producers"),
            (Op::SyncDir, "wal"),
            (Op::SyncDir, ""),
            (Op::Write, "wal"),
            (Op::Write, "wal"),
            (Op::Write, "segments"),
            (Op::Write, "manifest"),
            (Op::Write, ""),
            (Op::Rename, "wal"),
            (Op::Rename, "manifest"),
            (Op::Remove, ""),
            (Op::Resize, ""),
            (Op::Open, "segments"),
            (Op::Open, ".tmp"),
            (Op::List, ""),
            (Op::CreateDir, ""),
        ];
        self.is_faulty = true;
        self.report.count("faults injected", 1);
        if self.rng.percent(20) {
            let (place, skip) = (["data", "segments"][self.rng.below(2) as usize], self.rng.below(30));
            self.tell(|| format!("a read in `{place}` fails after {skip}"));
            return process.fail_read(place, skip);
        }
        if self.rng.percent(20) {
            let used: u64 = self.sim.disk.files().into_iter().map(|(_, len)| len).sum();
            let room = self.rng.percent(60).then(|| used + self.rng.below(30_000));
            self.tell(|| format!("disk has room for {room:?} bytes, {used} are used"));
            return self.sim.disk.set_capacity(room);
        }
        let (op, place) = PLACES[self.rng.below(PLACES.len() as u64) as usize];
        let skip = self.rng.below(6);
        // There are few of them: of the later ones many processes do not come so far.
        let is_rare = matches!((op, place), (Op::SyncDir, "wal") | (Op::Open | Op::Rename, _));
        let skip = if is_rare { skip / 3 } else { skip };
        let fault = [Fault::Io, Fault::NoSpace, Fault::DoneButError][self.rng.below(3) as usize];
        self.tell(|| format!("inject {fault:?} at {op:?} `{place}` after {skip}"));
        if (op, place) == (Op::SyncDir, "") && fault != Fault::Io {
            // Of all folders the one whose fsync decides what was committed.
            return process.fail_behind_pointer(skip as i64 / 3);
        }
        if (op, place) == (Op::Sync, "wal") && fault != Fault::Io {
            process.end_unflushed();
        }
        self.sim.disk.inject(op, place, skip, fault);
    }
}
