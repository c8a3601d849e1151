//! A database from a bucket: a data directory that becomes its writer, or a node that follows it and writes nothing.
//!
//! Adopting claims the bucket first, so that its former writer commits no more, and then writes the directory's first
//! manifest, whose pointer comes last: a crash between leaves a directory without a database, which adopts again.

use super::bucket::{BucketState, Claim, Writer, damaged, load};
use super::writer_file;
use crate::engine::lock_directory;
use crate::manifest::adopted::Adopted;
use crate::manifest::{self, State};
use crate::objects::ObjectStore;
use std::path::Path;
use std::sync::Arc;
use timberlog_disk::Env;
use timberlog_types::{Error, ErrorKind, Result};

/// What adopting a bucket did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// The directory holds a database already; nothing was asked or changed.
    Present,
    /// The directory is the bucket's writer now.
    Done {
        /// The epoch it has.
        epoch: u64,
        /// Segments that the bucket holds.
        segments: u64,
        /// Records in them.
        records: u64,
    },
}

fn adopted(bucket: &BucketState) -> Adopted {
    Adopted {
        version: bucket.version,
        database_id: bucket.database_id.clone(),
        flushed_seq: bucket.flushed_seq,
        tenants: bucket.tenants.clone(),
        tombstones: bucket.tombstones.to_vec(),
        clock_ns: bucket.commit_time,
        root: bucket.root.clone(),
    }
}

/// How a bucket is adopted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Adopting {
    /// On a store without atomic conditional puts, where nobody can tell whether the former writer is gone: it is.
    pub take_over: bool,
    /// The version to go on from, if the newest root is damaged. What later versions brought is gone, and what they
    /// deleted is back.
    pub version: Option<u64>,
}

/// Makes a data directory without a database the writer of a bucket.
///
/// # Errors
/// `NotFound` if the bucket holds no database, `Conflict` if the directory is in use or somebody else claims the bucket,
/// or if a version is named and the newest root is whole, `Corrupt` if the newest root cannot be read (the message names
/// versions that can be), `Unavailable` if the store does not answer.
pub fn adopt(env: &Env, data_dir: &Path, store: &Arc<dyn ObjectStore>, how: Adopting) -> Result<Adoption> {
    let failed = |error: std::io::Error| Error::io(format!("create `{}`", data_dir.display()), &error);
    env.disk.create_dir_all(data_dir).map_err(failed)?;
    let _lock = lock_directory(env, data_dir)?;
    if manifest::load(env, data_dir)?.is_some() {
        return Ok(Adoption::Present);
    }
    let is_atomic = store.probe()?;
    let claim = Claim {
        writer: writer_file::read_or_create(env, data_dir)?,
        database_id: None,
        take_over: how.take_over || is_atomic,
        manifest_version: 1,
    };
    let writer = match how.version {
        Some(version) => Writer::claim_version(env, store, &claim, version)?,
        None => Writer::claim(env, store, &claim).map_err(|error| match error.kind {
            ErrorKind::Corrupt => name_versions(&**store, error),
            _ => error,
        })?,
    };
    let bucket = writer.state();
    adopted(bucket).write(env, data_dir)?;
    Ok(Adoption::Done {
        epoch: bucket.epoch,
        segments: bucket.segments().count() as u64,
        records: bucket.segments().map(|(_, _, entry)| entry.rows).sum(),
    })
}

/// Says from which versions a bucket with a damaged root can be adopted.
fn name_versions(store: &dyn ObjectStore, mut error: Error) -> Error {
    let Ok(damaged) = damaged(store) else { return error };
    let version = |state: &BucketState| {
        let (records, time) = (state.segments().map(|(_, _, entry)| entry.rows).sum::<u64>(), state.commit_time);
        format!("{} ({}, {records} records)", state.version, timberlog_types::time::format_rfc3339(time))
    };
    let whole: Vec<String> = damaged.whole.iter().map(version).collect();
    let more = match whole.first() {
        None => "no older version is whole".to_owned(),
        Some(_) => format!(
            "whole versions are {}; `--from-version` goes on from one: without records that were moved to the store \
             after it, and with those that were deleted after it",
            whole.join(", ")
        ),
    };
    error.message = format!("{}: {}; {more}", store.describe(), error.message);
    error
}

/// The bucket that a node follows.
pub(crate) struct Followed {
    bucket: BucketState,
}

impl Followed {
    /// Reads the bucket.
    ///
    /// # Errors
    /// As [`adopt`].
    pub(crate) fn open(store: &dyn ObjectStore) -> Result<(Self, State)> {
        let bucket = load(store, None)?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("`{}` holds no database to follow", store.describe()))
        })?;
        let state = adopted(&bucket).state();
        Ok((Self { bucket }, state))
    }

    /// Epoch and version of what was read last.
    pub(crate) fn place(&self) -> (u64, u64) {
        (self.bucket.epoch, self.bucket.version)
    }

    /// The next state, if there is one.
    pub(crate) fn refresh(&mut self, store: &dyn ObjectStore) -> Result<Option<State>> {
        let Some(bucket) = load(store, Some(&self.bucket))? else {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("`{}` holds no database any more", store.describe()),
            ));
        };
        if bucket.database_id != self.bucket.database_id {
            let message = format!("`{}` holds another database now: start anew", store.describe());
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        if bucket.version <= self.bucket.version {
            return Ok(None);
        }
        self.bucket = bucket;
        Ok(Some(adopted(&self.bucket).state()))
    }
}
