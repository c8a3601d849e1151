//! Flags of `serve` that say where old segments go.

use crate::store::S3Flags;
use anyhow::Result;
use bytesize::ByteSize;
use clap::Args;
use timberlog_db::{Env, TierOptions};
use timberlog_types::Error;

/// Where old segments go, and when.
#[derive(Args)]
#[command(next_help_heading = "Tiering")]
pub struct Tier {
    /// The bucket that old segments go to
    #[arg(long, value_name = "NAME", env = "TIMBERLOG_S3_BUCKET")]
    s3_bucket: Option<String>,
    /// What keys in the bucket begin with: each node that writes needs a prefix of its own
    #[arg(long, value_name = "PREFIX", env = "TIMBERLOG_S3_PREFIX", requires = "s3_bucket")]
    s3_prefix: Option<String>,
    /// Where old segments go, as one URL: s3://bucket/prefix or file:///folder
    #[arg(long, value_name = "URL", env = "TIMBERLOG_TIER_STORE", conflicts_with = "s3_bucket")]
    tier_store: Option<String>,
    /// Segments go to the store when their newest record is this old
    #[arg(long, value_name = "TIME", env = "TIMBERLOG_TIER_AFTER", default_value = "7days")]
    tier_after: humantime::Duration,
    /// Beyond so many bytes of segments on the disk the oldest go to the store whatever their age
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_TIER_LOCAL_BYTES_MAX")]
    tier_local_bytes_max: Option<ByteSize>,
    /// Bytes a second that are uploaded; 0: no limit
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_TIER_BYTES_PER_SECOND", default_value = "64MiB")]
    tier_bytes_per_second: ByteSize,
    /// Disk for data of the store that was read
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_TIER_CACHE_BYTES", default_value = "4GiB")]
    tier_cache_bytes: ByteSize,
    /// Disk for indexes of segments in the store: with all of them there planning asks the store nothing
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_TIER_INDEX_BYTES", default_value = "4GiB")]
    tier_index_bytes: ByteSize,
    /// How long an object stays after nothing names it any more; readers look for news in half of it
    #[arg(long, value_name = "TIME", env = "TIMBERLOG_GC_GRACE", default_value = "1h")]
    gc_grace: humantime::Duration,
    /// How often the store is looked at
    #[arg(long, value_name = "TIME", env = "TIMBERLOG_TIER_INTERVAL", default_value = "10s")]
    tier_interval: humantime::Duration,
    /// Claim a prefix that another data directory of this database used; that one must write no more
    #[arg(long, env = "TIMBERLOG_S3_TAKE_OVER")]
    s3_take_over: bool,
    /// Start from what is in a store: with no database on the disk, this node becomes the store's writer
    #[arg(long, value_name = "URL", env = "TIMBERLOG_FROM")]
    from: Option<String>,
    /// With `--from`, if the store's newest root is damaged: the version to go on from; an attempt without this names
    /// those that can be used. Records that came to the store after it are gone, those deleted after it are back
    #[arg(long, value_name = "N", requires = "from", conflicts_with = "read_only")]
    from_version: Option<u64>,
    /// With `--from`: follow the store's writer and write nothing
    #[arg(long, requires = "from")]
    read_only: bool,
}

/// A grace that leaves an upload and a reader time.
const GRACE_MIN: std::time::Duration = std::time::Duration::from_secs(1);

impl Tier {
    /// The URL of the store, if there is one.
    fn url(&self) -> Result<Option<String>> {
        let named = match (&self.s3_bucket, &self.tier_store) {
            (Some(bucket), _) => Some(match self.s3_prefix.as_deref().map(|prefix| prefix.trim_matches('/')) {
                None | Some("") => format!("s3://{bucket}"),
                Some(prefix) => format!("s3://{bucket}/{prefix}"),
            }),
            (None, url) => url.clone(),
        };
        match (named, &self.from) {
            (Some(named), Some(from)) if named.trim_end_matches('/') != from.trim_end_matches('/') => {
                Err(Error::invalid("--from and the store that segments go to must be the same").into())
            }
            (named, from) => Ok(named.or_else(|| from.clone())),
        }
    }

    /// The settings; the store is not asked yet, so that it may be away when the server starts.
    pub fn options(&self, s3: &S3Flags, env: &Env) -> Result<Option<TierOptions>> {
        let Some(url) = self.url()? else { return Ok(None) };
        if *self.gc_grace < GRACE_MIN || self.tier_interval.is_zero() {
            return Err(Error::invalid("--gc-grace must be at least 1s, --tier-interval above 0").into());
        }
        let store = timberlog_objects::connect(&url, &s3.options()?, env)?;
        let mut options = TierOptions {
            after: *self.tier_after,
            local_bytes_max: self.tier_local_bytes_max.map(|size| size.as_u64()),
            gc_grace: *self.gc_grace,
            bytes_per_second: self.tier_bytes_per_second.as_u64(),
            look_every: *self.tier_interval,
            take_over: self.s3_take_over,
            adopt: self.from.is_some() && !self.read_only,
            adopt_version: self.from_version,
            follow: self.read_only,
            ..TierOptions::new(store)
        };
        options.read.data_bytes = self.tier_cache_bytes.as_u64();
        options.read.index_bytes = self.tier_index_bytes.as_u64();
        Ok(Some(options))
    }
}
