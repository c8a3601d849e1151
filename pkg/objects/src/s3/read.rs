//! Requests that read: objects and ranges of them, their sizes, pages of keys, signed URLs.

use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::config::{Builder, ResponseChecksumValidation};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::ChecksumMode;
use timberlog_storage::objects::{GET_BYTES_MAX, ObjectMeta, RESERVED, check_key};

use super::Bucket;
use super::failure::{Failure, Why};
use super::requests::Kind;

/// Keys of a page.
pub(super) const PAGE_KEYS: i32 = 1000;

/// A page of keys.
pub(super) struct Page {
    pub objects: Vec<ObjectMeta>,
    /// Where the next one begins, if there is one.
    pub next: Option<String>,
}

impl Bucket {
    /// An object, or a range of it that is not empty. The length of what arrives is checked; the
    /// checksum too where the store has one of the whole (it has none of a range).
    pub async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Vec<u8>, Failure> {
        let wanted = range.as_ref().map(|range| range.end - range.start);
        check_length(wanted.unwrap_or(0))?;
        let bytes = self.requests.run(Kind::Get, |_| self.try_get(key, range.clone())).await?;
        self.requests.count_got(bytes.len() as u64);
        Ok(bytes)
    }

    async fn try_get(&self, key: &str, range: Option<Range<u64>>) -> Result<Vec<u8>, Failure> {
        let mut request = self.client.get_object().bucket(&self.name).key(self.full(key));
        request = match &range {
            Some(range) => request.range(format!("bytes={}-{}", range.start, range.end - 1)),
            None => request.checksum_mode(ChecksumMode::Enabled),
        };
        let answer = self.requests.in_time(0, async { Ok(request.send().await?) }).await?;
        let announced = answer.content_length().and_then(|len| u64::try_from(len).ok());
        if let Some(range) = &range {
            // A store that ignores ranges sends all of it, one that is at its end sends less.
            let begins = answer.content_range().and_then(|range| range.strip_prefix("bytes "));
            match begins.and_then(|range| range.split_once('-')) {
                Some((first, _)) if first.parse() == Ok(range.start) => {}
                _ => return Err(Failure::new(Why::Unsupported, "the store does not send ranges")),
            }
            if announced.is_some_and(|len| len < range.end - range.start) {
                return Err(Failure::new(Why::Range, format!("it ends before byte {}", range.end)));
            }
        }
        let expected = range.map(|range| range.end - range.start).or(announced);
        check_length(expected.unwrap_or(0))?;
        self.requests.in_time(expected.unwrap_or(GET_BYTES_MAX), collect(answer.body, expected)).await
    }

    /// The size of an object, and when it was stored.
    pub async fn head(&self, key: &str) -> Result<(u64, i64), Failure> {
        let attempt = |_| {
            self.requests.in_time(0, async {
                let answer = self.client.head_object().bucket(&self.name).key(self.full(key)).send().await?;
                let size = answer.content_length().and_then(|size| u64::try_from(size).ok());
                let size = size.ok_or_else(|| Failure::new(Why::Failed, "the store does not say its size"))?;
                Ok((size, ns(answer.last_modified())))
            })
        };
        self.requests.run(Kind::Head, attempt).await
    }

    /// A page of keys that begin with a string. What is no key of ours is left out.
    pub async fn page(&self, prefix: &str, token: Option<String>, keys_max: i32) -> Result<Page, Failure> {
        let attempt = |_| {
            self.requests.in_time(0, async {
                let request = self.client.list_objects_v2().bucket(&self.name).prefix(self.full(prefix));
                Ok(request.max_keys(keys_max).set_continuation_token(token.clone()).send().await?)
            })
        };
        let answer = self.requests.run(Kind::List, attempt).await?;
        let objects = answer.contents().iter().filter_map(|object| {
            let key = object.key()?.strip_prefix(&self.prefix)?;
            let size = u64::try_from(object.size()?).ok()?;
            let modified_ns = ns(object.last_modified());
            let is_ours = !key.starts_with(RESERVED) && check_key(key).is_ok();
            is_ours.then(|| ObjectMeta { key: key.to_owned(), size, modified_ns })
        });
        let objects = objects.collect();
        let next = answer.next_continuation_token.filter(|_| answer.is_truncated.unwrap_or(false));
        if next.is_some() && next == token {
            return Err(Failure::new(Why::Damaged, "the store lists the same page again and again"));
        }
        Ok(Page { objects, next })
    }

    /// A URL that reads an object without credentials until it expires.
    pub async fn presign_get(&self, key: &str, expires_in: Duration) -> Result<String, Failure> {
        let refused = |error: &dyn std::fmt::Display| Failure::new(Why::Refused, error.to_string());
        let expiry = PresigningConfig::expires_in(expires_in).map_err(|error| refused(&error))?;
        // Who reads by the URL must not have to send a header with it.
        let plain = Builder::new().response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        let request = self.client.get_object().bucket(&self.name).key(self.full(key)).customize();
        let signed = request.config_override(plain).presigned(expiry).await?;
        Ok(signed.uri().to_owned())
    }
}

/// A time of the store in ns since 1970; 0 if there is none.
fn ns(time: Option<&DateTime>) -> i64 {
    time.and_then(|time| i64::try_from(time.as_nanos()).ok()).unwrap_or(0)
}

fn check_length(len: u64) -> Result<(), Failure> {
    if len > GET_BYTES_MAX {
        let message = format!("{len} bytes are too many to read at once, at most {GET_BYTES_MAX}");
        return Err(Failure::new(Why::Refused, message));
    }
    Ok(())
}

/// Reads a body of a known length, or of any up to the limit.
async fn collect(mut body: ByteStream, expected: Option<u64>) -> Result<Vec<u8>, Failure> {
    let limit = expected.unwrap_or(GET_BYTES_MAX);
    let mut bytes = Vec::with_capacity(usize::try_from(expected.unwrap_or(0)).unwrap_or(0));
    while let Some(chunk) = body.try_next().await? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(Failure::new(Why::Damaged, format!("the body has more than {limit} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    match expected {
        Some(expected) if bytes.len() as u64 != expected => {
            Err(Failure::new(Why::Failed, format!("the body ended after {} of {expected} bytes", bytes.len())))
        }
        _ => Ok(bytes),
    }
}
