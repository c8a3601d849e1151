//! What goes wrong in a process, how often, and when: the library `faults.c`, told by a file that both map.

use crate::preload;
use crate::server::Data;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Kinds of calls, in the library's order.
const KINDS: [&str; 6] = ["opens", "writes", "syncs", "names", "reads", "slow"];
/// Where what stands in the control file, in numbers of 8 bytes.
const SPARED: u64 = KINDS.len() as u64;
const POWER: u64 = SPARED + 1;
const DONE: u64 = POWER + 1;
const NUMBERS: usize = 2 * KINDS.len() + 3;
/// Of a million calls that may fail, so many do: the classes that a seed draws from.
const RATES: [u64; 5] = [0, 0, 1_000, 10_000, 50_000];
/// Of fsyncs: where one fails the WAL takes no more records, and much else is over.
const SYNC_RATES: [u64; 4] = [0, 1_000, 5_000, 20_000];
/// Reads fail rarely.
const READ_RATES: [u64; 5] = [0, 0, 0, 1_000, 10_000];
const SLOW_RATES: [u64; 4] = [0, 2_000, 10_000, 30_000];
/// Places that no fault befalls, by the library's bits; mostly there are none.
const SPARED_PLACES: [u64; 8] = [0, 0, 0, 2, 4, 2 | 4, 16, 1 | 8];

/// Numbers from a seed.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }

    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// The weather that the processes of one life are in.
pub struct Weather {
    library: PathBuf,
    below: PathBuf,
    control_path: PathBuf,
    control: File,
    rates: [u64; KINDS.len()],
    spared: u64,
    seed: u64,
    processes: AtomicU64,
}

impl Weather {
    /// Weather that is still calm; nothing where there can be none.
    pub fn new(data: &Data, seed: u64) -> Option<Self> {
        let library = preload::library("faults")?;
        let below = data.path().parent().expect("a folder").to_path_buf();
        let control_path = below.join("control");
        let control = File::options().read(true).write(true).create(true).truncate(true).open(&control_path);
        let control = control.expect("a file");
        control.write_all_at(&[0; 8 * NUMBERS], 0).expect("written");
        let mut chance = Chance(seed);
        let change = |chance: &mut Chance| chance.one_of(&RATES);
        let (opens, writes, names) = (change(&mut chance), change(&mut chance), change(&mut chance));
        let (syncs, reads) = (chance.one_of(&SYNC_RATES), chance.one_of(&READ_RATES));
        let rates = [opens, writes, syncs, names, reads, chance.one_of(&SLOW_RATES)];
        let spared = chance.one_of(&SPARED_PLACES);
        Some(Self { library, below, control_path, control, rates, spared, seed, processes: AtomicU64::new(0) })
    }

    /// A path beside the data directory, where the weather is the same.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.below.join(name)
    }

    /// What a process must find in its environment; no two are in the same weather.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let process = self.processes.fetch_add(1, Ordering::Relaxed);
        [
            ("LD_PRELOAD", text(&self.library)),
            ("FAULTS_BELOW", text(&self.below)),
            ("FAULTS_CONTROL", text(&self.control_path)),
            ("FAULTS_SEED", self.seed.wrapping_add(process).to_string()),
        ]
    }

    fn set(&self, at: u64, number: u64) {
        self.control.write_all_at(&number.to_ne_bytes(), 8 * at).expect("written");
    }

    fn get(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, 8 * at).expect("read");
        u64::from_ne_bytes(bytes)
    }

    /// Calls begin to fail.
    pub fn rise(&self) {
        self.set(SPARED, self.spared);
        (0..).zip(self.rates).for_each(|(at, rate)| self.set(at, rate));
    }

    /// No more calls fail.
    pub fn calm(&self) {
        (0..SPARED).for_each(|at| self.set(at, 0));
    }

    /// The next call of each process finds the power gone.
    pub fn cut_power(&self) {
        self.set(POWER, 1);
    }

    /// How many calls went wrong, slow ones apart.
    pub fn faults(&self) -> u64 {
        (0..SPARED - 1).map(|at| self.get(DONE + at)).sum()
    }
}

impl std::fmt::Display for Weather {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, kind) in (0..).zip(KINDS) {
            write!(out, "{} {kind} of {} ppm, ", self.get(DONE + at), self.rates[at as usize])?;
        }
        write!(out, "{} writes lost; spared: {}", self.get(DONE + SPARED), self.spared)
    }
}
