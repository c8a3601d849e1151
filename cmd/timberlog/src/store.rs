//! The flags that say where an object store is and how it is reached.

use anyhow::Result;
use clap::Args;
use std::sync::Arc;
use timberlog_db::Env;
use timberlog_objects::{Addressing, Encryption, S3Options};
use timberlog_storage::objects::ObjectStore;
use timberlog_types::Error;

/// Where a store is.
#[derive(Args)]
pub struct StoreFlags {
    /// Where backups are: file:///folder or s3://bucket/prefix
    #[arg(long, value_name = "URL", env = "TIMBERLOG_BACKUP_STORE")]
    store: String,
    #[command(flatten)]
    s3: S3Flags,
}

impl StoreFlags {
    /// Opens the store; credentials come from the standard chain of AWS.
    pub fn open(&self, env: &Env) -> Result<Arc<dyn ObjectStore>> {
        self.open_url(&self.store, env)
    }

    /// Opens another store, reached in the same way.
    pub fn open_url(&self, url: &str, env: &Env) -> Result<Arc<dyn ObjectStore>> {
        Ok(timberlog_objects::open(url, &self.s3.options()?, env)?)
    }
}

/// How S3 is reached.
#[derive(Args)]
pub struct S3Flags {
    /// The S3 server, if it is not AWS: https://host:port
    #[arg(long, value_name = "URL", env = "TIMBERLOG_S3_ENDPOINT", help_heading = "S3")]
    s3_endpoint: Option<String>,
    /// The region; without it the environment, the profile or the machine says
    #[arg(long, value_name = "NAME", env = "TIMBERLOG_S3_REGION", help_heading = "S3")]
    s3_region: Option<String>,
    /// Name the bucket in the path, as most servers that are not AWS want it
    #[arg(long, env = "TIMBERLOG_S3_PATH_STYLE", help_heading = "S3")]
    s3_path_style: bool,
    /// The storage class of what is stored
    #[arg(long, value_name = "CLASS", env = "TIMBERLOG_S3_STORAGE_CLASS", help_heading = "S3")]
    s3_storage_class: Option<String>,
    /// Server-side encryption: `AES256`, `aws:kms`, or `aws:kms:<key>`; the bucket's own without it
    #[arg(long, value_name = "HOW", env = "TIMBERLOG_S3_SSE", help_heading = "S3")]
    s3_sse: Option<String>,
}

impl S3Flags {
    /// What they say; credentials come from the standard chain of AWS.
    pub fn options(&self) -> Result<S3Options> {
        let encryption = match self.s3_sse.as_deref() {
            None => Encryption::Bucket,
            Some("AES256") => Encryption::S3,
            Some("aws:kms") => Encryption::Kms { key_id: None },
            Some(text) => match text.strip_prefix("aws:kms:") {
                Some(key) if !key.is_empty() => Encryption::Kms { key_id: Some(key.to_owned()) },
                _ => return Err(Error::invalid("--s3-sse: expected `AES256`, `aws:kms` or `aws:kms:<key>`").into()),
            },
        };
        Ok(S3Options {
            region: self.s3_region.clone(),
            endpoint: self.s3_endpoint.clone(),
            addressing: if self.s3_path_style { Addressing::Path } else { Addressing::Host },
            storage_class: self.s3_storage_class.clone(),
            encryption,
            ..S3Options::default()
        })
    }
}
