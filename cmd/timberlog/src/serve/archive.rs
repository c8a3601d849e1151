//! The flags that say where the WAL is archived.

use crate::store::S3Flags;
use anyhow::Result;
use bytesize::ByteSize;
use clap::Args;
use std::time::Duration;
use timberlog_db::{ArchiveOptions, Env};
use timberlog_types::Error;

/// Where the WAL is archived; without `--archive-wal` nowhere.
#[derive(Args)]
pub struct Archive {
    /// Archive the WAL in this backup store, for restores to any second: file:///folder or s3://bucket/prefix. Make a
    /// backup in it, too: the archive goes on from there
    #[arg(long, value_name = "URL", env = "TIMBERLOG_ARCHIVE_WAL", conflicts_with = "read_only")]
    archive_wal: Option<String>,
    /// How long a record waits at most before it is sent: what the loss of the machine costs
    #[arg(long, value_name = "TIME", env = "TIMBERLOG_ARCHIVE_INTERVAL", default_value = "10s")]
    archive_interval: humantime::Duration,
    /// How much may wait for the archive; beyond it new records are refused until it has caught up
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_ARCHIVE_BACKLOG_MAX", default_value = "4GiB")]
    archive_backlog_max: ByteSize,
}

impl Archive {
    /// The settings of the database. The store is asked nothing: it may come later.
    pub fn options(&self, s3: &S3Flags, env: &Env) -> Result<Option<ArchiveOptions>> {
        let Some(url) = &self.archive_wal else { return Ok(None) };
        if *self.archive_interval < Duration::from_millis(100) || self.archive_backlog_max.as_u64() == 0 {
            let message = "--archive-interval must be 100ms at least, --archive-backlog-max above 0";
            return Err(Error::invalid(message).into());
        }
        let store = timberlog_objects::connect(url, &s3.options()?, env)?;
        let (interval, backlog_bytes_max) = (*self.archive_interval, self.archive_backlog_max.as_u64());
        Ok(Some(ArchiveOptions { store, interval, backlog_bytes_max }))
    }
}
