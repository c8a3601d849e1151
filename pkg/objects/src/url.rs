//! Where a store is: `file:///path` or `s3://bucket/prefix`.

use std::path::PathBuf;

use timberlog_storage::objects::check_key;
use timberlog_types::{Error, Result};

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder of this machine.
    Folder {
        /// Its absolute path.
        dir: PathBuf,
    },
    /// A bucket, and what keys in it begin with.
    S3 {
        /// The bucket.
        bucket: String,
        /// Without a slash at either end; empty for the whole bucket.
        prefix: String,
    },
}

impl Location {
    /// Reads a URL. A path is taken as it is written, without percent escapes.
    pub fn parse(url: &str) -> Result<Self> {
        // What is wrong may hold a password: only the scheme is repeated.
        if let Some(path) = url.strip_prefix("file://") {
            if !path.starts_with('/') {
                return Err(Error::invalid("a `file://` URL needs an absolute path, as in `file:///backups/logs`"));
            }
            return Ok(Self::Folder { dir: PathBuf::from(path) });
        }
        let Some(rest) = url.strip_prefix("s3://") else {
            return Err(Error::invalid("an object store's URL begins with `file://` or `s3://`"));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        check_bucket(bucket)?;
        let prefix = prefix.trim_end_matches('/');
        if !prefix.is_empty() {
            check_key(prefix).map_err(|error| error.context("the prefix in an `s3://` URL"))?;
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

/// What every store takes as a bucket's name; ARNs and access points are not supported.
pub(crate) fn check_bucket(bucket: &str) -> Result<()> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(known) {
        return Err(Error::invalid("a bucket's name has 3 to 63 letters, digits, `.`, `-` or `_`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_folders_and_buckets() {
        let s3 = |bucket: &str, prefix: &str| Location::S3 { bucket: bucket.into(), prefix: prefix.into() };
        assert_eq!(Location::parse("s3://logs").unwrap(), s3("logs", ""));
        assert_eq!(Location::parse("s3://logs/").unwrap(), s3("logs", ""));
        assert_eq!(Location::parse("s3://logs/a/b/").unwrap(), s3("logs", "a/b"));
        assert_eq!(Location::parse("file:///a b/c").unwrap(), Location::Folder { dir: "/a b/c".into() });
        for wrong in ["", "logs", "/logs", "file://logs", "s3://", "s3://ab", "s3://logs//a", "s3://logs/../a"] {
            assert!(Location::parse(wrong).is_err(), "{wrong}");
        }
        let error = Location::parse("s3://key:secret@logs/a").unwrap_err();
        assert!(!error.message.contains("secret"), "{error}");
    }
}
