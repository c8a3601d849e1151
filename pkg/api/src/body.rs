//! Request bodies: collected into one buffer, decompressed within a limit, counted in memory.
//!
//! A body is never larger than its limit, neither on the wire nor decompressed, and all bodies
//! together never larger than the budget; no length is believed before its bytes are there.

mod room;

use crate::error::{ApiError, ApiResult};
use crate::tenant;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use room::Room;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use timberlog_types::{Error, Tenant};
use tokio::time::Instant;

/// Buffers of this size or less are kept for the next request.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// The most that is reserved on the word of a `Content-Length`.
const RESERVE_BYTES_MAX: usize = 1 << 20;
/// So much of a refused body is read and thrown away, so that its sender gets to read the answer: a
/// connection that is closed with bytes unread is reset.
const DRAIN_BYTES_MAX: usize = 16 << 20;
/// For so long at most.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// So much of a body, or of a gRPC message, must come in each read timeout, unless it ends: a client that sends a byte
/// now and then would hold what came so far in memory, where others have no room for it.
pub const READ_BYTES_MIN: usize = 16 << 10;
/// The largest window of a zstd frame (`zstd -19` uses 8 MiB), as a power of two.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Logs become about so many times smaller, however they are compressed.
pub const USUAL_RATIO: usize = 8;
/// The most bytes that a byte of snappy stands for: a copy of 64 bytes takes 3.
const SNAPPY_RATIO_MAX: usize = 22;

/// How bodies are read.
pub struct Bodies {
    room: Room,
    read_timeout: Duration,
    free: Mutex<Vec<Vec<u8>>>,
    free_max: usize,
}

/// A body in memory; gives its buffer and its share of the budget back when dropped.
pub struct Collected {
    bytes: Vec<u8>,
    counted: usize,
    tenant: Tenant,
    bodies: Arc<Bodies>,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// gzip, one or more members.
    Gzip,
    /// zstd, one or more frames.
    Zstd,
    /// Bare DEFLATE, as Loki's clients mean by `deflate`.
    Deflate,
}

impl Encoding {
    /// What `Content-Encoding` says.
    pub fn of_request(headers: &HeaderMap) -> ApiResult<Self> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Self::Identity) };
        let text = value.to_str().unwrap_or_default().trim();
        match text.to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(ApiError::media_type(format!(
                "content encoding `{}` is not supported; send gzip, zstd or none",
                text.escape_default()
            ))),
        }
    }
}

impl Bodies {
    /// A budget of `bytes_max` for all bodies together.
    pub fn new(bytes_max: usize, read_timeout: Duration) -> Self {
        Self { room: Room::new(bytes_max), read_timeout, free: Mutex::default(), free_max: 32 }
    }

    /// Bytes of bodies in memory.
    pub fn used_bytes(&self) -> usize {
        self.room.used_bytes()
    }

    /// Counts more bytes of a request that has `had` so far, before they are there.
    ///
    /// # Errors
    /// `Overloaded` if there is no room; nothing is counted then.
    pub fn take(&self, tenant: &Tenant, had: usize, more: usize) -> Result<(), Error> {
        self.room.take(tenant, had, more)
    }

    /// Gives bytes back to the budget.
    pub fn give(&self, tenant: &Tenant, bytes: usize) {
        self.room.give(tenant, bytes);
    }

    /// Collects a body as it comes over the wire.
    pub async fn collect(self: &Arc<Self>, headers: &HeaderMap, mut body: Body, max: usize) -> ApiResult<Collected> {
        if length_of(headers).is_some_and(|length| length > max as u64) {
            // Who waits for `100 Continue` has sent nothing yet. The first read would ask for it.
            if !headers.contains_key(header::EXPECT) {
                drain(body).await;
            }
            return Err(too_large(max));
        }
        let collected = self.collect_within(headers, &mut body, max).await;
        if collected.as_ref().is_err_and(|error| error.status() != StatusCode::REQUEST_TIMEOUT) {
            drain(body).await;
        }
        collected
    }

    async fn collect_within(
        self: &Arc<Self>,
        headers: &HeaderMap,
        body: &mut Body,
        max: usize,
    ) -> ApiResult<Collected> {
        let mut collected = self.empty(tenant::of_headers(headers)?);
        // At most `max`, so it fits. It is not counted before its bytes are there: a few clients that
        // announce much and send nothing would shut out all others.
        collected.bytes.reserve((length_of(headers).unwrap_or(0) as usize).min(RESERVE_BYTES_MAX));
        let (mut end, mut came) = (Instant::now() + self.read_timeout, 0);
        loop {
            let frame = tokio::time::timeout_at(end, body.frame()).await.map_err(|_| {
                let seconds = self.read_timeout.as_secs();
                let message = format!("less than {READ_BYTES_MIN} bytes of the body came in {seconds} s");
                ApiError::new(StatusCode::REQUEST_TIMEOUT, message)
            })?;
            match frame {
                None => return Ok(collected),
                Some(Err(error)) => return Err(ApiError::invalid(format!("the body ended early: {error}"))),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    came += data.len();
                    if came >= READ_BYTES_MIN {
                        (end, came) = (Instant::now() + self.read_timeout, 0);
                    }
                    collected.push(&data, max)?;
                }
            }
        }
    }

    /// A tenant's body that is in memory already.
    pub fn hold(self: &Arc<Self>, tenant: Tenant, bytes: &[u8]) -> ApiResult<Collected> {
        let mut held = self.empty(tenant);
        held.push(bytes, usize::MAX)?;
        Ok(held)
    }

    /// Decompresses a body; at most `max` bytes come out.
    pub fn decompress(self: &Arc<Self>, encoding: Encoding, body: Collected, max: usize) -> ApiResult<Collected> {
        let out = self.empty(body.tenant.clone());
        let out = match encoding {
            Encoding::Identity => return Ok(body),
            Encoding::Gzip => out.read(flate2::read::MultiGzDecoder::new(body.as_ref()), "gzip", max)?,
            Encoding::Deflate => out.read(flate2::read::DeflateDecoder::new(body.as_ref()), "deflate", max)?,
            Encoding::Zstd => {
                let failed = |error: std::io::Error| ApiError::invalid(format!("the body is not zstd: {error}"));
                let mut decoder = zstd::stream::read::Decoder::with_buffer(body.as_ref()).map_err(failed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(failed)?;
                out.read(decoder, "zstd", max)?
            }
        };
        Ok(out)
    }

    /// Undoes snappy without a frame, as Loki's clients send it; at most `max` bytes come out.
    pub fn unsnap(self: &Arc<Self>, body: &Collected, max: usize) -> ApiResult<Collected> {
        let mut out = self.empty(body.tenant.clone());
        let body = body.as_ref();
        let corrupt = || ApiError::invalid("snappy: corrupt input");
        let len = snap::raw::decompress_len(body).map_err(|_| corrupt())?;
        if len > max {
            return Err(ApiError::too_large(format!(
                "the body has more than {max} bytes after snappy decompression (limit `body_bytes_max`)"
            )));
        }
        // The length is the sender's word. No piece of a body stands for more than so many bytes.
        if len > body.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(corrupt());
        }
        self.take(&out.tenant, 0, len)?;
        out.counted = len;
        out.bytes.resize(len, 0);
        let written = snap::raw::Decoder::new().decompress(body, &mut out.bytes).map_err(|_| corrupt())?;
        out.bytes.truncate(written);
        Ok(out)
    }

    fn empty(self: &Arc<Self>, tenant: Tenant) -> Collected {
        let bytes = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        Collected { bytes, counted: 0, tenant, bodies: Arc::clone(self) }
    }
}

/// What `Content-Length` says.
fn length_of(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn drain(mut body: Body) {
    let reading = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len);
            let Some(less) = left.checked_sub(len) else { return };
            left = less;
        }
    };
    // Whoever sends more or more slowly may miss the answer.
    let _ = tokio::time::timeout(DRAIN_MAX, reading).await;
}

impl Collected {
    fn push(&mut self, data: &[u8], max: usize) -> ApiResult<()> {
        let total = self.bytes.len().saturating_add(data.len());
        if total > max {
            return Err(too_large(max));
        }
        let more = total.saturating_sub(self.counted);
        self.bodies.take(&self.tenant, self.counted, more)?;
        self.counted += more;
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Reads what a decoder gives.
    fn read(mut self, mut reader: impl Read, name: &str, max: usize) -> ApiResult<Self> {
        let mut chunk = vec![0; 64 << 10];
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => return Ok(self),
                Ok(read) => self.push(chunk.get(..read).unwrap_or_default(), max).map_err(|error| {
                    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
                        return ApiError::too_large(format!(
                            "the body has more than {max} bytes after {name} decompression (limit `body_bytes_max`)"
                        ));
                    }
                    error
                })?,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ApiError::invalid(format!("the body is not {name}: {error}"))),
            }
        }
    }
}

impl Collected {
    /// How long it is about when it is decompressed.
    pub fn bytes_decoded(&self, encoding: Encoding) -> usize {
        let ratio = if encoding == Encoding::Identity { 1 } else { USUAL_RATIO };
        self.bytes.len().saturating_mul(ratio)
    }
}

impl AsRef<[u8]> for Collected {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Collected {
    fn drop(&mut self) {
        self.bodies.give(&self.tenant, self.counted);
        let mut bytes = std::mem::take(&mut self.bytes);
        if (1..=KEPT_BYTES_MAX).contains(&bytes.capacity()) {
            bytes.clear();
            let mut free = self.bodies.free.lock().unwrap_or_else(PoisonError::into_inner);
            if free.len() < self.bodies.free_max {
                free.push(bytes);
            }
        }
    }
}

fn too_large(max: usize) -> ApiError {
    ApiError::too_large(format!("the body has more than {max} bytes (limit `body_bytes_max`)"))
}

/// What a request says its body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// JSON in any of its forms, or unsaid.
    Json,
    /// What `curl -d` says of every body: it may well be JSON.
    Form,
}

/// What to send instead, for people.
pub const JSON_HINT: &str =
    "send JSON with -H 'Content-Type: application/json', and files with --data-binary @file (-d strips newlines)";

impl MediaType {
    /// What `Content-Type` says.
    pub fn of_request(headers: &HeaderMap) -> ApiResult<Self> {
        let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Self::Json) };
        let text = value.to_str().unwrap_or("?");
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            ""
            | "application/json"
            | "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/jsonlines"
            | "application/stream+json"
            | "text/json" => Ok(Self::Json),
            "application/x-www-form-urlencoded" => Ok(Self::Form),
            essence if essence.starts_with("application/") && essence.ends_with("+json") => Ok(Self::Json),
            _ => Err(ApiError::media_type(format!(
                "content type `{}` is not supported: {JSON_HINT}",
                text.escape_default()
            ))),
        }
    }

    /// Adds the hint for `curl -d` to an error about the body.
    pub fn explain(self, error: ApiError) -> ApiError {
        match self {
            Self::Json => error,
            Self::Form => error.map_message(|message| {
                format!("{message}; the body came as application/x-www-form-urlencoded: {JSON_HINT}")
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn bodies(max: usize) -> Arc<Bodies> {
        Arc::new(Bodies::new(max, Duration::from_secs(1)))
    }

    fn collected(bodies: &Arc<Bodies>, bytes: &[u8]) -> Collected {
        bodies.hold(Tenant::default(), bytes).unwrap()
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit_and_leaves_nothing_counted() {
        let bodies = bodies(10 << 20);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&vec![b' '; 4 << 20]).unwrap();
        let zstd = zstd::encode_all(&vec![b' '; 4 << 20][..], 1).unwrap();
        for (encoding, bytes) in [(Encoding::Gzip, gzip.finish().unwrap()), (Encoding::Zstd, zstd)] {
            let body = collected(&bodies, &bytes);
            let error = bodies.decompress(encoding, body, 1 << 20).err().unwrap();
            assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
            assert_eq!(bodies.used_bytes(), 0);
            let body = collected(&bodies, &bytes);
            assert_eq!(bodies.decompress(encoding, body, 4 << 20).unwrap().as_ref().len(), 4 << 20);
        }
    }

    #[test]
    fn garbage_is_refused_as_invalid() {
        let bodies = bodies(1 << 20);
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let body = collected(&bodies, b"{\"message\":\"plain\"}");
            assert_eq!(bodies.decompress(encoding, body, 1 << 20).err().unwrap().status(), StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn the_budget_of_all_bodies_holds() {
        let bodies = bodies(100);
        let held = collected(&bodies, &[0; 60]);
        let mut other = bodies.empty(Tenant::default());
        assert_eq!(other.push(&[0; 60], 1000).err().unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
        drop((held, other));
        assert_eq!(bodies.used_bytes(), 0);
    }

    #[tokio::test]
    async fn a_body_is_collected_up_to_its_limit() {
        let bodies = bodies(1000);
        let collect = |body: &'static str, max| {
            let bodies = Arc::clone(&bodies);
            async move { bodies.collect(&HeaderMap::new(), Body::from(body), max).await }
        };
        assert_eq!(collect("12345", 5).await.unwrap().as_ref(), b"12345");
        assert_eq!(collect("123456", 5).await.err().unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
