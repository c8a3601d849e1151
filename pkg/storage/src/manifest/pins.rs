//! Pins: states that are held across restarts, for backups that copy them.
//!
//! A pin is a file `pins/<id>.json`, `{"crc32c":C,"pin":P}` as the pointer is, with a root and a
//! time at which it ends by itself. While it lasts nothing that its root names is removed. In a
//! process a pin is a number among the pinned versions; a start reads the root again.

use super::files::ReadError;
use super::load::{self, Chain};
use super::model::{FileRef, State};
use super::{Manifest, Writer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use timberlog_disk::{Disk, Env, Open, atomic, checksum};
use timberlog_types::{Error, ErrorKind, Result};

/// The folder of pins.
pub const PINS_DIR: &str = "pins";
/// Pins at one time.
pub const PINS_MAX: usize = 16;
const PIN_BYTES_MAX: u64 = 64 << 10;
const FORMAT: u32 = 1;

/// A state that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The version of this format.
    pub format: u32,
    /// Its name.
    pub id: String,
    /// The version of the root.
    pub version: u64,
    /// Until when, in ns since 1970 UTC.
    pub expires: i64,
    /// The root.
    pub root: FileRef,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    crc32c: u32,
    #[serde(borrow)]
    pin: &'a RawValue,
}

impl Pin {
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let text = serde_json::to_string(self).map_err(|error| Error::internal(error.to_string()))?;
        Ok(format!("{{\"crc32c\":{},\"pin\":{text}}}\n", crc32c::crc32c(text.as_bytes())).into_bytes())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let envelope: Envelope<'_> = serde_json::from_slice(bytes).ok()?;
        let is_whole = checksum::is_right(envelope.crc32c, crc32c::crc32c(envelope.pin.get().as_bytes()));
        let pin: Self = serde_json::from_str(envelope.pin.get()).ok().filter(|_| is_whole)?;
        (pin.format == FORMAT).then_some(pin)
    }
}

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join(PINS_DIR)
}

fn path_of(data_dir: &Path, id: &str) -> PathBuf {
    folder(data_dir).join(format!("{id}.json"))
}

/// Reads the pins that have not ended, the newest version first; what is no pin, or has ended, is
/// removed. Errors are logged: a pin that cannot be read costs a backup that runs, nothing else.
pub(super) fn read(env: &Env, data_dir: &Path) -> Vec<Pin> {
    let entries = match env.disk.list(&folder(data_dir)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::warn!(%error, "the pins of backups cannot be listed");
            return Vec::new();
        }
    };
    let now = env.clock.now_ns();
    let mut pins = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        let path = folder(data_dir).join(&entry.name);
        let bytes = env.disk.open(&path, Open::Read).and_then(|file| file.read_all(PIN_BYTES_MAX));
        let pin = bytes.ok().and_then(|bytes| Pin::decode(&bytes));
        match pin.filter(|pin| pin.expires > now && format!("{}.json", pin.id) == entry.name) {
            Some(pin) => pins.push(pin),
            None => drop(env.disk.remove_file(&path)),
        }
    }
    pins.sort_by_key(|pin| std::cmp::Reverse(pin.version));
    pins.truncate(PINS_MAX);
    pins
}

/// Adds what pins of a start name to the files of old roots. Pins whose root or its nodes cannot be read go: the end
/// of a pin is not synced, so after a power loss it can be there again, and what it held be gone.
pub(super) fn extend(env: &Env, data_dir: &Path, state: &State, chain: &mut Chain, pins: &mut Vec<Pin>) -> Result<()> {
    let nodes = state.tenants.values().flat_map(|months| months.values());
    let mut seen: BTreeSet<String> = nodes.map(|node| node.file.path.clone()).collect();
    let mut found = Vec::new();
    for pin in std::mem::take(pins) {
        let is_whole = match load::read_root(env, data_dir, &pin.root) {
            Ok(root) if root.version == pin.version => {
                let known = chain.damage.len();
                chain.old_files.entry(pin.root.path.clone()).or_insert(pin.version);
                load::read_old_root(env, data_dir, &root, &mut seen, chain)?;
                let is_whole = chain.damage.len() == known;
                chain.damage.truncate(known);
                is_whole
            }
            Ok(_) | Err(ReadError::Damaged(_)) => false,
            Err(ReadError::Stop(error)) => return Err(error),
        };
        if is_whole {
            found.push(pin);
        } else {
            tracing::warn!(pin = pin.id, "what a pin holds cannot be read; its backup must begin again");
            drop(env.disk.remove_file(&path_of(data_dir, &pin.id)));
        }
    }
    *pins = found;
    Ok(())
}

impl Manifest {
    fn pinning(&self) -> MutexGuard<'_, Writer> {
        // Also when no commit is possible any more: a backup is what is needed then.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the current state until `expires` (ns since 1970 UTC). Returns it, and whether it is
    /// held beyond the end of this process: it is not if the pin cannot be written.
    ///
    /// # Errors
    /// `Overloaded` if there are [`PINS_MAX`] already.
    pub fn pin(&self, id: &str, expires: i64) -> Result<(Arc<State>, bool)> {
        let mut writer = self.pinning();
        self.drop_expired(&mut writer);
        if writer.pins.len() >= PINS_MAX {
            let retry_after = std::time::Duration::from_secs(60);
            let message = format!("{PINS_MAX} backups run already, or were left: their pins end by themselves");
            return Err(Error::new(ErrorKind::Overloaded { retry_after }, message));
        }
        let state = self.state();
        let pin = Pin { format: FORMAT, id: id.to_owned(), version: state.version, expires, root: state.root.clone() };
        let written = self.write_pin(&pin);
        if let Err(error) = &written {
            tracing::warn!(%error, "the pin of a backup cannot be written; it ends with this process");
        }
        writer.pins.push(pin);
        Ok((state, written.is_ok()))
    }

    /// Holds a pin until another time.
    ///
    /// # Errors
    /// `Unavailable` if it is not held.
    pub fn renew_pin(&self, id: &str, expires: i64) -> Result<()> {
        let mut writer = self.pinning();
        self.drop_expired(&mut writer);
        let pin = writer.pins.iter_mut().find(|pin| pin.id == id).ok_or_else(|| not_held(id))?;
        pin.expires = expires;
        if let Err(error) = self.write_pin(pin) {
            tracing::warn!(%error, "the pin of a backup cannot be renewed on disk");
        }
        Ok(())
    }

    /// Whether a pin is held.
    ///
    /// # Errors
    /// `Unavailable` if it is not.
    pub fn check_pin(&self, id: &str) -> Result<()> {
        let mut writer = self.pinning();
        self.drop_expired(&mut writer);
        if writer.pins.iter().any(|pin| pin.id == id) { Ok(()) } else { Err(not_held(id)) }
    }

    /// Ends a pin; one that is not held is fine.
    pub fn unpin(&self, id: &str) {
        let mut writer = self.pinning();
        if let Some(place) = writer.pins.iter().position(|pin| pin.id == id) {
            writer.pins.remove(place);
            self.remove_pin(id);
        }
        if writer.poisoned.is_none() {
            self.collect_locked(&mut writer);
        }
    }

    /// Ends the pins that keep files which would go without them: the disk has no room for those.
    /// Returns how many ended.
    pub fn shed_pins(&self) -> usize {
        let mut writer = self.pinning();
        if writer.pins.is_empty() {
            return 0;
        }
        let state = self.state();
        let held: Vec<u64> = writer.held().collect();
        let others: Vec<u64> =
            writer.pinned.iter().filter(|(_, state)| state.strong_count() > 0).map(|(v, _)| *v).collect();
        let gain = writer.reclaim.removable(state.chain_start, &others).len()
            > writer.reclaim.removable(state.chain_start, &held).len();
        if !gain || writer.poisoned.is_some() {
            return 0;
        }
        let pins = std::mem::take(&mut writer.pins);
        for pin in &pins {
            tracing::warn!(backup = pin.id, "the disk is nearly full: the backup is cancelled, its files are given up");
            self.remove_pin(&pin.id);
        }
        self.collect_locked(&mut writer);
        pins.len()
    }

    pub(super) fn drop_expired(&self, writer: &mut Writer) {
        let now = self.env.clock.now_ns();
        writer.pins.retain(|pin| {
            let is_live = pin.expires > now;
            if !is_live {
                tracing::warn!(backup = pin.id, "the pin of a backup has ended: it was not renewed");
                self.remove_pin(&pin.id);
            }
            is_live
        });
    }

    fn write_pin(&self, pin: &Pin) -> Result<()> {
        let disk: &dyn Disk = &*self.env.disk;
        let bytes = pin.encode()?;
        disk.create_dir_all(&folder(&self.data_dir))
            .and_then(|()| atomic::write(disk, &path_of(&self.data_dir, &pin.id), &bytes))
            .map_err(|error| Error::io(format!("write pin `{}`", pin.id), &error))
    }

    fn remove_pin(&self, id: &str) {
        match self.env.disk.remove_file(&path_of(&self.data_dir, id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, pin = id, "a pin cannot be removed; it ends by itself");
            }
            _ => {}
        }
    }
}

impl Writer {
    /// The versions that someone holds.
    pub(super) fn held(&self) -> impl Iterator<Item = u64> + '_ {
        let live = self.pinned.iter().filter(|(_, state)| state.strong_count() > 0).map(|(version, _)| *version);
        live.chain(self.pins.iter().map(|pin| pin.version))
    }
}

fn not_held(id: &str) -> Error {
    let message =
        format!("backup `{id}` is not pinned any more: it was not renewed in time, or the disk was nearly full");
    Error::new(ErrorKind::Unavailable, message)
}
