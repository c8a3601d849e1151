//! Ranges of cold `.log`s that are at hand: the newest in memory, more on disk, both bounded.
//!
//! What is kept is what came; whether it is right is found out by whoever reads a unit of it under its checksum, and
//! tells [`Chunks::forget`] if it is not.

use super::extents::{Extents, Gone};
use super::folder::Folder;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ranges at hand.
pub(super) struct Chunks {
    memory: Mutex<Extents<Arc<[u8]>>>,
    disk: Option<(Folder, Mutex<Extents<()>>)>,
    /// How often something was forgotten.
    forgotten: AtomicU64,
    /// What must stay free on the disk.
    free_bytes_min: u64,
}

impl Chunks {
    /// With what an earlier process left on disk.
    pub(super) fn new(folder: Option<Folder>, memory_bytes: u64, disk_bytes: u64, free_bytes_min: u64) -> Self {
        let disk = folder.map(|folder| {
            let mut extents = Extents::new(disk_bytes);
            for (name, len) in folder.files().unwrap_or_default() {
                match parse(&name).filter(|(_, _, said)| *said == len) {
                    Some((object, start, len)) => {
                        remove(&folder, extents.insert(&Arc::from(object), start, len, ()));
                    }
                    None => folder.remove(&name),
                }
            }
            (folder, Mutex::new(extents))
        });
        Self { memory: Mutex::new(Extents::new(memory_bytes)), disk, forgotten: AtomicU64::new(0), free_bytes_min }
    }

    /// Bytes in memory and on disk.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (lock(&self.memory).bytes(), self.disk.as_ref().map_or(0, |(_, extents)| lock(extents).bytes()))
    }

    /// Whether a range is at hand.
    pub(super) fn covers(&self, object: &str, range: &Range<u64>) -> bool {
        lock(&self.memory).covers(object, range)
            || self.disk.as_ref().is_some_and(|(_, extents)| lock(extents).covers(object, range))
    }

    /// The bytes of a range, if they are at hand.
    pub(super) fn read(&self, object: &str, range: &Range<u64>) -> Option<Vec<u8>> {
        let found = lock(&self.memory).find(object, range);
        if let Some((start, _, bytes)) = found {
            return cut(&bytes, start, range);
        }
        let (folder, extents) = self.disk.as_ref()?;
        let (start, len, ()) = lock(extents).find(object, range)?;
        let read = || {
            let file = folder.read(&name(object, start, len)).ok().filter(|file| file.len().ok() == Some(len))?;
            let mut bytes = vec![0; usize::try_from(range.end - range.start).ok()?];
            file.read_exact_at(&mut bytes, range.start - start).ok()?;
            Some(bytes)
        };
        let bytes = read();
        if bytes.is_none() {
            remove(folder, lock(extents).remove(object, start));
        }
        bytes
    }

    /// Keeps a range in memory.
    pub(super) fn keep(&self, object: &Arc<str>, start: u64, bytes: &Arc<[u8]>) {
        lock(&self.memory).insert(object, start, bytes.len() as u64, Arc::clone(bytes));
    }

    /// How often something was forgotten so far: [`Chunks::store`] is told what it was when the bytes were asked for.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(SeqCst)
    }

    /// Keeps a range on disk, if there is room, and nothing was forgotten since it was asked for: those who read the
    /// bytes before they are stored may have found them wrong.
    pub(super) fn store(&self, object: &Arc<str>, start: u64, bytes: &[u8], forgotten: u64) {
        let Some((folder, extents)) = &self.disk else { return };
        let len = bytes.len() as u64;
        let is_right = || self.forgotten() == forgotten;
        if !lock(extents).has_room_for(len) || folder.free_bytes() < self.free_bytes_min.saturating_add(len) {
            return;
        }
        if is_right() && folder.write(&name(object, start, len), &[bytes]).is_ok() {
            let mut extents_now = lock(extents);
            let gone = if is_right() { extents_now.insert(object, start, len, ()) } else { Vec::new() };
            drop(extents_now);
            // The same range may have been there already, under the same name.
            remove(folder, gone.into_iter().filter(|gone| (&gone.0, gone.1, gone.2) != (object, start, len)));
            if !lock(extents).covers(object, &(start..start + len)) {
                folder.remove(&name(object, start, len));
            }
        }
    }

    /// Removes so many bytes from the disk, as far as there are any; those used longest ago. Says how many.
    pub(super) fn shed(&self, bytes: u64) -> u64 {
        let Some((folder, extents)) = &self.disk else { return 0 };
        let gone = lock(extents).shed(bytes);
        let shed = gone.iter().map(|gone| gone.2).sum();
        remove(folder, gone);
        shed
    }

    /// Forgets whatever shares a byte with a range: something in it is wrong.
    pub(super) fn forget(&self, object: &str, range: &Range<u64>) {
        // Before the lock of the disk's extents is taken: who stores looks at it behind that lock.
        self.forgotten.fetch_add(1, SeqCst);
        lock(&self.memory).forget(object, range);
        if let Some((folder, extents)) = &self.disk {
            let gone = lock(extents).forget(object, range);
            remove(folder, gone);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove(folder: &Folder, gone: impl IntoIterator<Item = Gone<()>>) {
    gone.into_iter().for_each(|(object, start, len, ())| folder.remove(&name(&object, start, len)));
}

fn cut(bytes: &[u8], start: u64, range: &Range<u64>) -> Option<Vec<u8>> {
    let from = usize::try_from(range.start.checked_sub(start)?).ok()?;
    let len = usize::try_from(range.end - range.start).ok()?;
    bytes.get(from..from.checked_add(len)?).map(<[u8]>::to_vec)
}

/// The name of a file: `<segment>-<start>-<length>.range`, both in hexadecimal digits.
fn name(object: &str, start: u64, len: u64) -> String {
    format!("{object}-{start:x}-{len:x}.range")
}

fn parse(name: &str) -> Option<(&str, u64, u64)> {
    let mut parts = name.strip_suffix(".range")?.rsplitn(3, '-');
    let (len, start) = (parts.next()?, parts.next()?);
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let (object, start, len) = (parts.next()?, number(start)?, number(len)?);
    start.checked_add(len)?;
    Some((object, start, len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use timberlog_disk::Env;

    #[test]
    fn what_was_found_wrong_before_it_is_stored_is_not_stored() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(&Env::real(), dir.path().join("data")).unwrap();
        let chunks = Chunks::new(Some(folder), 1 << 20, 1 << 20, 0);
        let (object, range) = (Arc::from("a"), 10..14);
        let asked = chunks.forgotten();
        chunks.keep(&object, 10, &Arc::from(*b"bad!"));
        chunks.forget(&object, &range);
        chunks.store(&object, 10, b"bad!", asked);
        assert!(!chunks.covers(&object, &range) && chunks.read(&object, &range).is_none());
        chunks.store(&object, 10, b"good", chunks.forgotten());
        assert_eq!(chunks.read(&object, &range).as_deref(), Some(&b"good"[..]));
    }
}
