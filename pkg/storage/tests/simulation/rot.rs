//! The end of a history: bits flip in a file at rest. Whatever file it is, nothing wrong is ever shown, what is lost is
//! named, by `verify` too, and all the rest is answered.

use crate::machine::{Process, Sabotage};
use crate::records;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use timberlog_disk::sim::{Rng, Sim};
use timberlog_disk::{Env, Open};
use timberlog_storage::verify::verify;
use timberlog_storage::{BufferedBatch, Options, Progress, Storage, Subscriber};
use timberlog_types::{Batch, Seq, Tenant};

/// Batches of before have smaller numbers.
const NUMBERS: u64 = 1 << 40;

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

/// What is in files and in the buffer, hidden or not.
#[derive(Default)]
pub struct Raw {
    /// Blocks by tenant, segment and number; without an index by [`u32::MAX`]. `None`: unreadable.
    pub blocks: BTreeMap<(Tenant, String, u32), Option<Vec<String>>>,
    /// Batches of the buffer.
    buffer: BTreeMap<Seq, Vec<String>>,
    /// Segments whose files are here. What is only in the store may still have some: older roots name them.
    local: BTreeSet<String>,
    pub damage: Vec<String>,
    /// What reads that failed have said.
    pub errors: Vec<String>,
    /// Batches up to here are known to be on disk to the last frame.
    proven_seq: Seq,
    /// How many bits flipped.
    flips: u64,
    /// The file is the newest root of the manifest, or it names it.
    is_of_newest_root: bool,
}

impl Raw {
    pub fn read(storage: &Storage, tenants: &[Tenant]) -> Self {
        let mut raw = Self::default();
        let lines = |batch: &Batch| records::lines(batch).collect::<Vec<_>>();
        for tenant in tenants {
            let snapshot = storage.snapshot(tenant);
            for segment in snapshot.segments.iter() {
                if segment.entry.location.is_local() {
                    raw.local.insert(segment.entry.id.clone());
                }
                let key = |block| (tenant.clone(), segment.entry.id.clone(), block);
                let files = match segment.open() {
                    Ok(files) => files,
                    Err(error) => {
                        raw.errors.push(error.to_string());
                        raw.blocks.insert(key(0), None);
                        continue;
                    }
                };
                for block in &files.reader.directory().blocks {
                    let batch = files.reader.read_block_as_batch(block.number);
                    raw.errors.extend(batch.as_ref().err().map(ToString::to_string));
                    raw.blocks.insert(key(block.number), batch.ok().as_ref().map(lines));
                }
            }
            for batch in &snapshot.batches {
                raw.buffer.insert(batch.seq_min, lines(&batch.batch));
            }
        }
        raw.damage = storage.stats().damage;
        raw
    }

    /// Every record, in whatever it is.
    fn lines(&self) -> BTreeSet<&str> {
        let blocks = self.blocks.values().flatten().flatten();
        blocks.chain(self.buffer.values().flatten()).map(String::as_str).collect()
    }
}

/// What came of it, in a file or an object.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotten {
    /// Files of which a start or `verify` says that they are damaged.
    pub named: u64,
    /// Blocks and batches that are lost.
    pub lost: u64,
}

fn open(env: Env, options: &Options) -> Result<Storage, String> {
    let storage = Storage::open(options.clone(), env, Arc::new(Nobody), &Progress::default());
    storage.map_err(|error| error.to_string())
}

/// Flips bits in a file of a storage that was closed.
pub fn rot(sim: &Sim, options: &Options, tenants: &[Tenant], rng: &mut Rng) -> Result<Rotten, String> {
    let process = Process::start(sim, Sabotage::None);
    let storage = open(process.env(), options)?;
    // Frames that are only in the WAL. Each says what was synced before it.
    let mut proven_seq = 0;
    for number in 0..rng.below(5) {
        let tenant = &tenants[rng.below(tenants.len() as u64) as usize];
        proven_seq = storage.stats().synced_seq;
        let appended = storage.append(tenant, records::batch(NUMBERS + number, rng), None);
        appended.map_err(|error| format!("append before the rot: {error}"))?;
    }
    let before = Raw { proven_seq, ..Raw::read(&storage, tenants) };
    process.kill();
    drop(storage);
    let file = choose(sim, &options.data_dir, rng);
    let Some((path, len)) = file else { return Ok(Rotten::default()) };
    let is_of_newest_root = is_of_newest_root(sim, &options.data_dir, &path);
    // Each once: twice is not at all.
    let bits: BTreeSet<u64> = (0..1 + rng.below(3)).map(|_| rng.below(len * 8)).collect();
    for bit in &bits {
        sim.disk.flip_bit(&path, *bit);
    }
    let before = Raw { flips: bits.len() as u64, is_of_newest_root, ..before };
    check(sim, options, tenants, &path, &before)
        .map_err(|wrong| format!("bits flipped in `{}`: {wrong}", path.display()))
}

/// A file that is not empty; of each kind about as often.
fn choose(sim: &Sim, data_dir: &Path, rng: &mut Rng) -> Option<(PathBuf, u64)> {
    let part = ["segments", "segments", "wal", "manifest", ""][rng.below(5) as usize];
    let files = sim.disk.files().into_iter().filter(|(path, len)| {
        let relative = path.strip_prefix(data_dir);
        *len > 0 && relative.is_ok_and(|path| path.to_string_lossy().starts_with(part))
    });
    let files: Vec<_> = files.collect();
    files.get(rng.below(files.len() as u64) as usize).cloned()
}

/// Whether a file of the manifest is the root that the pointer names, or one that this root names.
fn is_of_newest_root(sim: &Sim, data_dir: &Path, path: &Path) -> bool {
    let Some(name) = path.strip_prefix(data_dir).ok().and_then(Path::to_str) else { return false };
    let text = |path: &str| {
        let file = sim.env().disk.open(&data_dir.join(path), Open::Read).ok();
        file.and_then(|file| file.read_all(1 << 20).ok())
            .map_or_else(String::new, |bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let pointer = text("manifest.json");
    let Some(root) = pointer.split('"').find(|part| part.starts_with("manifest/root-")) else { return false };
    // Months stand there by version and checksum, the deletes by path.
    let month = name.strip_prefix("manifest/month-").and_then(|name| name.strip_suffix(".json")?.split_once('-'));
    let month =
        month.and_then(|(version, crc)| Some((version.parse::<u64>().ok()?, u32::from_str_radix(crc, 16).ok()?)));
    match month {
        Some((version, crc)) => text(root).contains(&format!(",{version},{crc},")),
        None => name == root || (name.starts_with("manifest/deletes-") && text(root).contains(&format!("\"{name}\""))),
    }
}

fn check(sim: &Sim, options: &Options, tenants: &[Tenant], path: &Path, before: &Raw) -> Result<Rotten, String> {
    let is_in = |folder: &str| path.starts_with(options.data_dir.join(folder));
    let said: Vec<String> = match verify(&sim.env(), &options.data_dir, &|_, _| {}) {
        Ok(report) => report.damage,
        Err(error) => vec![error.to_string()],
    };
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if is_in("segments") && before.local.contains(&stem) && !said.iter().any(|line| line.contains(&stem)) {
        return Err(format!("`verify` does not name it: {said:?}"));
    }
    if before.is_of_newest_root && said.is_empty() {
        return Err("the manifest is damaged, and `verify` is content".to_owned());
    }
    let mut rotten = Rotten { named: u64::from(!said.is_empty()), lost: 0 };
    let storage = match open(sim.env(), options) {
        Ok(storage) => storage,
        Err(error) if is_in("segments") || is_in("wal") => return Err(format!("it does not start: {error}")),
        Err(error) if said.is_empty() => return Err(format!("it does not start, and `verify` is content: {error}")),
        Err(_) => return Ok(rotten),
    };
    let after = Raw::read(&storage, tenants);
    let is_said = !said.is_empty() && (!after.damage.is_empty() || !storage.stats().damage.is_empty());
    if is_in("manifest") || path.ends_with("manifest.json") {
        let is_same = before.lines() == after.lines();
        // An older root and the WAL have what a newer one names, but for a month or deletes that all of them name.
        let is_root = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("root-"));
        return if is_same || (is_said && !is_root) {
            Ok(rotten)
        } else {
            Err(format!("records are missing, {said:?}"))
        };
    }
    for (key, lines) in &before.blocks {
        match after.blocks.get(key) {
            Some(Some(found)) if Some(found) == lines.as_ref() => {}
            Some(Some(_)) => return Err(format!("block {key:?} shows other records than before")),
            _ if stem == key.1 => rotten.lost += 1,
            _ => return Err(format!("block {key:?} of another file is gone")),
        }
    }
    let found = after.lines();
    let is_there = |lines: &[String]| lines.iter().all(|line| found.contains(line.as_str()));
    // Several bits may have hit what is proven and the frame that proves it.
    let has_proof = before.flips == 1 || before.buffer.last_key_value().is_some_and(|(_, lines)| is_there(lines));
    // What has expired need not come back from the WAL.
    for (seq, lines) in before.buffer.iter().filter(|_| options.retention.is_empty()) {
        let there = lines.iter().filter(|line| found.contains(line.as_str())).count();
        if there != lines.len() {
            if there > 0 || !is_in("wal") {
                return Err(format!("of batch {seq} {there} of {} records are left", lines.len()));
            }
            // Of a batch that nothing behind it knows to be on disk, nothing says that it was ever whole.
            let is_proven = has_proof && *seq <= before.proven_seq;
            if is_proven && !is_said {
                return Err(format!("batch {seq} is gone, {said:?}, {:?}", after.damage));
            }
            rotten.lost += u64::from(is_proven);
        }
    }
    let known = before.lines();
    if let Some(line) = found.iter().find(|line| !known.contains(*line)) {
        return Err(format!("a record that never was: {line}"));
    }
    // Whoever read such a block got an error.
    if rotten.lost > 0 && said.is_empty() {
        return Err(format!("{} blocks or batches are gone, and `verify` is content", rotten.lost));
    }
    Ok(rotten)
}
