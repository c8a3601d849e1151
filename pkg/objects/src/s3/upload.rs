//! A file to an object: in one request when it is short, else as a multipart upload.
//!
//! The calling thread reads and checksums parts while the store's threads send those before; as many
//! are in memory as may be on the way. An upload that fails is aborted, so it costs nothing there.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use timberlog_disk::File;
use timberlog_types::{Error, Result};

use super::failure::{Failure, Why};
use super::requests::{Before, Kind};
use super::write::checksum_text;
use super::{Bucket, S3Store};
use crate::options::PARTS_MAX;

/// Unfinished uploads that are looked at together.
const UPLOADS_MAX: usize = 10_000;

/// A part that is stored.
struct Part {
    number: i32,
    etag: String,
    crc: u32,
    len: u64,
}

/// The checksums of a whole upload.
struct Checksums {
    /// Of all bytes.
    whole: u32,
    /// Of the parts' checksums: what S3 keeps.
    parts: u32,
}

impl S3Store {
    pub(super) fn upload(&self, key: &str, file: &dyn File, len: u64, progress: &dyn Fn(u64)) -> Result<()> {
        let part_bytes = self.bucket.options.part_bytes.max(len.div_ceil(PARTS_MAX));
        if len <= part_bytes {
            let body = self.part(key, file, 0, len)?;
            let owned = key.to_owned();
            self.ask(|bucket| async move { bucket.put(&owned, body).await }).map_err(self.failed("storing", key))?;
            progress(len);
            return Ok(());
        }
        let owned = key.to_owned();
        let id = self.ask(|bucket| async move { bucket.begin(&owned).await }).map_err(self.failed("storing", key))?;
        let stored = self.send_parts(key, &id, file, len, part_bytes, progress).and_then(|parts| {
            let (owned, id) = (key.to_owned(), id.clone());
            let sums = checksums(&parts);
            self.ask(|bucket| async move { bucket.complete(&owned, &id, parts, sums, len).await })
                .map_err(self.failed("storing", key))
        });
        if stored.is_err() {
            let owned = key.to_owned();
            if let Err(failure) = self.ask(|bucket| async move { bucket.abort(&owned, &id).await }) {
                let why = failure.message;
                tracing::warn!(store = self.bucket_name(), key, "parts of an upload stay behind: {why}");
            }
        }
        stored
    }

    fn bucket_name(&self) -> &str {
        &self.bucket.name
    }

    fn part(&self, key: &str, file: &dyn File, offset: u64, len: u64) -> Result<Bytes> {
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| Error::invalid("a part is too long"))?];
        let reading = || format!("reading the file for `{key}`");
        file.read_exact_at(&mut bytes, offset).map_err(|error| Error::io(reading(), &error))?;
        Ok(Bytes::from(bytes))
    }

    fn send_parts(
        &self,
        key: &str,
        id: &str,
        file: &dyn File,
        len: u64,
        part_bytes: u64,
        progress: &dyn Fn(u64),
    ) -> Result<BTreeMap<i32, Part>> {
        let Some(runtime) = &self.runtime else { return Err(super::ended()) };
        let (sender, receiver) = mpsc::channel();
        let mut on_the_way = Vec::new();
        let mut parts = BTreeMap::new();
        let mut send_all = || {
            let (mut offset, mut number, mut waiting) = (0, 0, 0);
            while offset < len || waiting > 0 {
                if offset < len && waiting < self.bucket.options.parts_parallel {
                    let body = self.part(key, file, offset, part_bytes.min(len - offset))?;
                    offset += body.len() as u64;
                    number += 1;
                    let (bucket, sender) = (Arc::clone(&self.bucket), sender.clone());
                    let (key, id) = (key.to_owned(), id.to_owned());
                    let task = runtime.spawn(async move {
                        // Nobody waits any more when this fails.
                        let _ = sender.send(bucket.put_part(&key, &id, number, body).await);
                    });
                    on_the_way.push(task.abort_handle());
                    waiting += 1;
                    continue;
                }
                let part = receiver.recv().map_err(|_| super::ended())?.map_err(self.failed("storing", key))?;
                waiting -= 1;
                progress(part.len);
                parts.insert(part.number, part);
            }
            Ok(())
        };
        let sent = send_all();
        if sent.is_err() {
            on_the_way.iter().for_each(tokio::task::AbortHandle::abort);
        }
        sent.map(|()| parts)
    }
}

impl Bucket {
    async fn begin(&self, key: &str) -> Result<String, Failure> {
        let attempt = |_| {
            self.requests.in_time(0, async {
                let (class, encryption, kms_key) = self.kept();
                let request = self.client.create_multipart_upload().bucket(&self.name).key(self.full(key));
                let answer = request
                    .checksum_algorithm(ChecksumAlgorithm::Crc32C)
                    .set_storage_class(class)
                    .set_server_side_encryption(encryption)
                    .set_ssekms_key_id(kms_key)
                    .send()
                    .await?;
                answer.upload_id.ok_or_else(|| Failure::new(Why::Failed, "the store names no upload"))
            })
        };
        self.requests.run(Kind::Put, attempt).await
    }

    async fn put_part(&self, key: &str, id: &str, number: i32, body: Bytes) -> Result<Part, Failure> {
        let (crc, len) = (crc32c::crc32c(&body), body.len() as u64);
        let attempt = |_| {
            self.requests.in_time(len, async {
                let request = self.client.upload_part().bucket(&self.name).key(self.full(key)).upload_id(id);
                let answer = request
                    .part_number(number)
                    .checksum_algorithm(ChecksumAlgorithm::Crc32C)
                    .checksum_crc32_c(checksum_text(crc))
                    .body(ByteStream::from(body.clone()))
                    .send()
                    .await?;
                answer.e_tag.ok_or_else(|| Failure::new(Why::Failed, "the store gives a part no tag"))
            })
        };
        let etag = self.requests.run(Kind::Put, attempt).await?;
        self.requests.count_put(len);
        Ok(Part { number, etag, crc, len })
    }

    /// Makes an object of the parts, and checks that it is what was sent: its checksum where the store
    /// says one, and its length.
    async fn complete(
        &self,
        key: &str,
        id: &str,
        parts: BTreeMap<i32, Part>,
        sums: Checksums,
        len: u64,
    ) -> Result<(), Failure> {
        let done = parts.values().map(|part| {
            let done = CompletedPart::builder().part_number(part.number).e_tag(&part.etag);
            done.checksum_crc32_c(checksum_text(part.crc)).build()
        });
        let upload = CompletedMultipartUpload::builder().set_parts(Some(done.collect())).build();
        let attempt = |before| {
            let request = self.client.complete_multipart_upload().bucket(&self.name).key(self.full(key));
            let request = request.upload_id(id).multipart_upload(upload.clone());
            self.requests.in_time(len / 16, async move {
                match request.send().await.map_err(Failure::from) {
                    Ok(answer) => Ok(answer.checksum_crc32_c),
                    // An earlier try ended it; the length says whether well.
                    Err(failure) if failure.why == Why::NotFound && before == Before::Doubt => Ok(None),
                    Err(failure) => Err(failure),
                }
            })
        };
        if let Some(kept) = self.requests.run(Kind::Put, attempt).await? {
            let sum = kept.split_once('-').map_or(kept.as_str(), |(sum, _)| sum);
            if ![checksum_text(sums.whole), checksum_text(sums.parts)].iter().any(|expected| expected == sum) {
                return Err(Failure::new(Why::Damaged, "the store has another checksum of it"));
            }
        }
        match self.head(key).await? {
            (size, _) if size == len => Ok(()),
            (size, _) => Err(Failure::new(Why::Damaged, format!("the store has {size} bytes of {len}"))),
        }
    }

    /// Key and id of each upload that was begun before a time and neither finished nor given up.
    pub(super) async fn uploads(&self, before_ns: i64) -> Result<Vec<(String, String)>, Failure> {
        let mut uploads = Vec::new();
        let (mut key_marker, mut id_marker) = (None, None);
        while uploads.len() < UPLOADS_MAX {
            let attempt = |_| {
                let request = self.client.list_multipart_uploads().bucket(&self.name).prefix(&self.prefix);
                let request = request.set_key_marker(key_marker.clone()).set_upload_id_marker(id_marker.clone());
                self.requests.in_time(0, async { Ok(request.send().await?) })
            };
            let page = self.requests.run(Kind::List, attempt).await?;
            uploads.extend(page.uploads().iter().filter_map(|upload| {
                let begun_ns = upload.initiated().and_then(|time| i64::try_from(time.as_nanos()).ok())?;
                let key = upload.key()?.strip_prefix(&self.prefix)?;
                (begun_ns < before_ns).then(|| Some((key.to_owned(), upload.upload_id()?.to_owned())))?
            }));
            let next = (page.next_key_marker, page.next_upload_id_marker);
            if !page.is_truncated.unwrap_or(false)
                || next.0.is_none()
                || next == (key_marker.clone(), id_marker.clone())
            {
                break;
            }
            (key_marker, id_marker) = next;
        }
        Ok(uploads)
    }

    pub(super) async fn abort(&self, key: &str, id: &str) -> Result<(), Failure> {
        let attempt = |_| {
            self.requests.in_time(0, async {
                let request = self.client.abort_multipart_upload().bucket(&self.name).key(self.full(key));
                match request.upload_id(id).send().await.map_err(Failure::from) {
                    Err(failure) if failure.why != Why::NotFound => Err(failure),
                    _ => Ok(()),
                }
            })
        };
        self.requests.run(Kind::Delete, attempt).await
    }
}

fn checksums(parts: &BTreeMap<i32, Part>) -> Checksums {
    let mut sums = Checksums { whole: 0, parts: 0 };
    for part in parts.values() {
        sums.parts = crc32c::crc32c_append(sums.parts, &part.crc.to_be_bytes());
        sums.whole = crc32c::crc32c_combine(sums.whole, part.crc, usize::try_from(part.len).unwrap_or(usize::MAX));
    }
    sums
}
