//! What backups and tiering need of an object store, and no more: a synchronous, object-safe trait.
//!
//! Owns the words (keys, metadata, limits, figures). The stores themselves are in the crate
//! `timberlog-objects`, a floor above; nothing of S3, no async and no folder may appear here.

use std::ops::Range;
use std::time::Duration;

use timberlog_types::{Error, Result};

/// The longest object [`ObjectStore::get`] reads into memory; longer ones are read by range.
pub const GET_BYTES_MAX: u64 = 256 << 20;
/// What [`ObjectStore::read`] asks for at once, unless a store knows better.
const READ_BYTES: u64 = 8 << 20;
/// The longest key, in bytes. S3 allows 1,024 with the prefix of the store.
pub const KEY_BYTES_MAX: usize = 768;
/// What a part of a key must not begin with: stores use such names for what is no object.
pub const RESERVED: &str = ".timberlog-";

/// A place that keeps whole objects under keys. Keys are relative, `/`-separated, without empty,
/// `.` or `..` parts (see [`check_key`]); the prefix or folder of the store is not part of them. A
/// key must not go on after another one's end with a `/`: a folder cannot hold both.
///
/// Error kinds, for all methods: `NotFound` (no such object), `Unavailable` (the store does not
/// answer or has no room: try later), `Invalid` (a wrong key, or the store refuses these
/// credentials or settings: change them), `Corrupt` (what arrived is not what the store says it
/// holds). Implementations retry by themselves what is worth retrying; callers put again.
pub trait ObjectStore: Send + Sync {
    /// Where it is, for people, without secrets: `s3://bucket/prefix`, `file:///path`.
    fn describe(&self) -> String;

    /// Stores bytes durably; replaces what was there. Readers see the old bytes or the new ones.
    fn put(&self, key: &str, body: &[u8]) -> Result<()>;

    /// Stores the first `len` bytes of a file as [`Self::put`] does, in parallel parts when it is
    /// long, under checksums that the store verifies where it has any. `progress` is told the bytes sent since
    /// it was last called, from the calling thread; a retry is not told again. An upload that fails
    /// leaves nothing under the key.
    fn put_file(&self, key: &str, file: &dyn timberlog_disk::File, len: u64, progress: &dyn Fn(u64)) -> Result<()>;

    /// Stores a file as [`Self::put_file`] does, and with it as much as a power loss needs to leave the whole
    /// object or none; that it is there for good is sure only after [`Self::settle`].
    fn put_file_unsettled(
        &self,
        key: &str,
        file: &dyn timberlog_disk::File,
        len: u64,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        self.put_file(key, file, len, progress)
    }

    /// Makes durable what is there under these keys, whoever put it.
    fn settle(&self, keys: &[String]) -> Result<()> {
        let _ = keys;
        Ok(())
    }

    /// Stores bytes durably unless the key exists; `false`: it existed, somebody else was first.
    /// `body` must be unlike what anybody else would write (hold a unique id): after a lost answer
    /// the store is read, and equal bytes count as ours. Only as atomic as
    /// [`Self::has_atomic_put_if_absent`] says.
    fn put_if_absent(&self, key: &str, body: &[u8]) -> Result<bool>;

    /// The whole object; at most [`GET_BYTES_MAX`] bytes, `Invalid` beyond.
    fn get(&self, key: &str) -> Result<Vec<u8>>;

    /// Exactly these bytes of an object, at most [`GET_BYTES_MAX`]; `Corrupt` if it ends before.
    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>>;

    /// Gives the first `len` bytes of an object to `each`, in order, in pieces of the store's choice; ends at its first
    /// error and returns that. `Corrupt` if the object ends before.
    fn read(&self, key: &str, len: u64, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut at = 0;
        while at < len {
            let end = len.min(at.saturating_add(READ_BYTES));
            each(&self.get_range(key, at..end)?)?;
            at = end;
        }
        Ok(())
    }

    /// What is known about an object without reading it; `None` if there is none.
    fn head(&self, key: &str) -> Result<Option<ObjectMeta>>;

    /// Calls `each` for every object whose key begins with `prefix` (a string, not a folder; empty
    /// for all), keys ascending by their bytes; ends at its first error and returns that.
    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectMeta) -> Result<()>) -> Result<()>;

    /// Removes objects; one that is not there is no error. After an error any of them may be gone.
    fn delete(&self, keys: &[String]) -> Result<()>;

    /// Whether of two writers that race with [`Self::put_if_absent`] exactly one is told `true`.
    /// Found out by [`Self::probe`]; until then `false`.
    fn has_atomic_put_if_absent(&self) -> bool;

    /// Finds out, by asking the store where it must be asked, what [`Self::has_atomic_put_if_absent`] says.
    fn probe(&self) -> Result<bool> {
        Ok(self.has_atomic_put_if_absent())
    }

    /// Uploads of parts that were begun before a time (ns since 1970 UTC, by the store's clock) and neither finished nor
    /// given up: how many there are. With `abort` they are given up, and their parts cost nothing any more. 0 for a
    /// store that has no such thing or does not tell.
    fn unfinished_uploads(&self, before_ns: i64, abort: bool) -> Result<u64> {
        let _ = (before_ns, abort);
        Ok(0)
    }

    /// A URL that lets anybody read one object for a while without credentials; `None` if the store
    /// has no such thing. Treat it as a secret.
    fn presign_get(&self, key: &str, expires_in: Duration) -> Result<Option<String>> {
        let _ = (key, expires_in);
        Ok(None)
    }

    /// What was asked of the store so far.
    fn figures(&self) -> Figures {
        Figures::default()
    }
}

/// What is known about an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectMeta {
    /// Its key in the store.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// When it was stored, ns since 1970 UTC by the store's clock; 0 if the store does not say.
    pub modified_ns: i64,
}

/// What was asked of a store since it was opened. Requests are counted once however often they were
/// tried; a part of a multipart upload is a put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests that store bytes.
    pub puts: u64,
    /// Requests that read bytes.
    pub gets: u64,
    /// Requests for metadata.
    pub heads: u64,
    /// Pages listed.
    pub lists: u64,
    /// Requests that delete.
    pub deletes: u64,
    /// Requests that failed in the end, `NotFound` and lost races not among them.
    pub failures: u64,
    /// Tries beyond the first of a request.
    pub retries: u64,
    /// Requests that the open circuit breaker refused without a try.
    pub refused: u64,
    /// Bytes of objects that were stored.
    pub bytes_put: u64,
    /// Bytes of objects that were read.
    pub bytes_got: u64,
    /// Whether the circuit breaker is open: the store failed too often and is left alone for a while.
    pub breaker_open: bool,
    /// How often the circuit breaker opened.
    pub breaker_opened: u64,
}

/// Refuses a key that could point outside a store or that some store cannot hold.
pub fn check_key(key: &str) -> Result<()> {
    let wrong = |why: &str| Err(Error::invalid(format!("object key `{}`: {why}", key.escape_debug())));
    if key.len() > KEY_BYTES_MAX {
        return Err(Error::invalid(format!("object key of {} bytes: at most {KEY_BYTES_MAX}", key.len())));
    }
    for part in key.split('/') {
        match part {
            "" => return wrong("has an empty part"),
            "." | ".." => return wrong("has a `.` or `..` part"),
            part if part.starts_with(RESERVED) => return wrong("has a part that begins with `.timberlog-`"),
            part if part.len() > 200 => return wrong("has a part of more than 200 bytes"),
            _ => {}
        }
    }
    if key.bytes().any(|byte| byte < 0x20 || byte == 0x7f || byte == b'\\') {
        return wrong("has a control character or a backslash");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_leave_the_store_are_refused() {
        for key in ["a", "files/01J.log", "a/b/c.redb", "…/x", ".hidden"] {
            assert!(check_key(key).is_ok(), "{key}");
        }
        for key in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "a\0b", "a\nb", "a/.timberlog-x"] {
            assert!(check_key(key).is_err(), "{key:?}");
        }
        assert!(check_key(&"a/".repeat(400)).is_err());
        assert!(check_key(&"a".repeat(201)).is_err());
    }
}
