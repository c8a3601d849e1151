//! Objects by signed URLs: what somebody who has the credentials lets others read, for a while.
//!
//! Reads ranges, and nothing else. URLs are secrets: no error or message repeats one.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{CONTENT_RANGE, RANGE};
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use timberlog_storage::objects::{GET_BYTES_MAX, ObjectMeta, ObjectStore};
use timberlog_types::{Error, ErrorKind, Result};
use tokio::runtime::Runtime;

/// How often a range is asked for.
const TRIES: u32 = 3;
/// The wait before the second try; doubled before the third.
const BACKOFF: Duration = Duration::from_millis(200);
/// How long a try may take beside its bytes.
const TRY_TIMEOUT: Duration = Duration::from_secs(15);
/// How slowly bytes may come.
const BYTES_PER_SECOND_MIN: u64 = 256 << 10;

/// What requests go through. Clones are one.
#[derive(Clone)]
enum Http {
    Plain(Client<HttpConnector, Empty<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>),
}

/// Objects by signed URLs.
pub struct SignedStore {
    /// By key.
    urls: HashMap<String, String>,
    client: Http,
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
}

/// Why a try failed, and whether another one may help.
struct Failed {
    kind: ErrorKind,
    message: String,
    is_worth_a_retry: bool,
}

impl SignedStore {
    /// A store of the objects whose keys have a URL.
    pub fn new(urls: HashMap<String, String>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("timberlog-signed")
            .enable_all()
            .build()
            .map_err(|error| Error::io("starting the threads that read objects", &error))?;
        Ok(Self { client: Http::new(&urls)?, urls, runtime: Some(runtime) })
    }

    fn read_only() -> Error {
        Error::invalid("objects by signed URLs can only be read, by range")
    }
}

impl Http {
    /// URLs without TLS need no certificates of this machine, which a container may not have.
    fn new(urls: &HashMap<String, String>) -> Result<Self> {
        let builder = Client::builder(TokioExecutor::new());
        if !urls.values().any(|url| url.starts_with("https://")) {
            return Ok(Self::Plain(builder.build_http()));
        }
        let tls = HttpsConnectorBuilder::new().with_native_roots();
        let tls = tls.map_err(|error| Error::io("reading the certificates of this machine", &error))?;
        Ok(Self::Tls(builder.build(tls.https_or_http().enable_http1().build())))
    }

    async fn request(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        match self {
            Self::Plain(client) => client.request(request).await,
            Self::Tls(client) => client.request(request).await,
        }
    }
}

impl ObjectStore for SignedStore {
    fn describe(&self) -> String {
        "signed URLs".to_owned()
    }

    fn put(&self, _: &str, _: &[u8]) -> Result<()> {
        Err(Self::read_only())
    }

    fn put_file(&self, _: &str, _: &dyn timberlog_disk::File, _: u64, _: &dyn Fn(u64)) -> Result<()> {
        Err(Self::read_only())
    }

    fn put_if_absent(&self, _: &str, _: &[u8]) -> Result<bool> {
        Err(Self::read_only())
    }

    fn get(&self, _: &str) -> Result<Vec<u8>> {
        Err(Self::read_only())
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        if range.is_empty() || range.end - range.start > GET_BYTES_MAX {
            return Err(Error::invalid(format!("a range of `{key}` that cannot be read at once")));
        }
        let (url, runtime) = match (self.urls.get(key), &self.runtime) {
            (Some(url), Some(runtime)) => (url.clone(), runtime),
            _ => return Err(Error::new(ErrorKind::NotFound, format!("there is no signed URL of `{key}`"))),
        };
        let (sender, receiver) = mpsc::sync_channel(1);
        let client = self.client.clone();
        runtime.spawn(async move {
            // Nobody waits any more when this fails.
            let _ = sender.send(get(&client, &url, range).await);
        });
        let answer = receiver.recv().map_err(|_| Error::internal("a request ended without an answer"))?;
        answer.map_err(|failed| Error::new(failed.kind, format!("reading `{key}`: {}", failed.message)))
    }

    fn head(&self, _: &str) -> Result<Option<ObjectMeta>> {
        Err(Self::read_only())
    }

    fn list(&self, _: &str, _: &mut dyn FnMut(ObjectMeta) -> Result<()>) -> Result<()> {
        Err(Self::read_only())
    }

    fn delete(&self, _: &[String]) -> Result<()> {
        Err(Self::read_only())
    }

    fn has_atomic_put_if_absent(&self) -> bool {
        false
    }
}

async fn get(client: &Http, url: &str, range: Range<u64>) -> Result<Vec<u8>, Failed> {
    let mut wait = BACKOFF;
    for _ in 1..TRIES {
        match try_get(client, url, &range).await {
            Err(failed) if failed.is_worth_a_retry => {}
            answer => return answer,
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    try_get(client, url, &range).await
}

async fn try_get(client: &Http, url: &str, range: &Range<u64>) -> Result<Vec<u8>, Failed> {
    let len = range.end - range.start;
    let time = TRY_TIMEOUT + Duration::from_secs(len / BYTES_PER_SECOND_MIN);
    let late = |_| Failed::store(format!("no answer within {time:?}"));
    tokio::time::timeout(time, read(client, url, range)).await.map_err(late)?
}

async fn read(client: &Http, url: &str, range: &Range<u64>) -> Result<Vec<u8>, Failed> {
    let (len, header) = (range.end - range.start, format!("bytes={}-{}", range.start, range.end - 1));
    let request = Request::get(url).header(RANGE, header).body(Empty::new());
    let request = request.map_err(|_| Failed::of(ErrorKind::Invalid, "the URL is none"))?;
    let answer = client.request(request).await.map_err(|_| Failed::store("the store cannot be reached".to_owned()))?;
    match answer.status() {
        StatusCode::PARTIAL_CONTENT => {}
        StatusCode::OK => return Err(Failed::of(ErrorKind::Invalid, "the store does not send ranges")),
        StatusCode::NOT_FOUND => return Err(Failed::of(ErrorKind::NotFound, "it is not there any more")),
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
            return Err(Failed::of(ErrorKind::Unavailable, "the store refuses the URL; has it expired?"));
        }
        StatusCode::RANGE_NOT_SATISFIABLE => return Err(Failed::of(ErrorKind::Corrupt, "it is shorter")),
        status => return Err(Failed::store(format!("status {}", status.as_u16()))),
    }
    let begins = answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let first = begins.and_then(|text| text.strip_prefix("bytes ")?.split_once('-')?.0.parse::<u64>().ok());
    if first != Some(range.start) {
        return Err(Failed::of(ErrorKind::Invalid, "the store does not send ranges"));
    }
    let mut body = answer.into_body();
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failed::store(format!("the body ended after {} of {len} bytes", bytes.len())))?;
        if let Some(data) = frame.data_ref() {
            if (bytes.len() + data.len()) as u64 > len {
                return Err(Failed::store(format!("the body has more than {len} bytes")));
            }
            bytes.extend_from_slice(data);
        }
    }
    if bytes.len() as u64 != len {
        return Err(Failed::store(format!("the body ended after {} of {len} bytes", bytes.len())));
    }
    Ok(bytes)
}

impl Failed {
    /// It will fail again.
    fn of(kind: ErrorKind, message: &str) -> Self {
        Self { kind, message: message.to_owned(), is_worth_a_retry: false }
    }

    /// The store, or the way to it.
    fn store(message: String) -> Self {
        Self { kind: ErrorKind::Unavailable, message, is_worth_a_retry: true }
    }
}

impl Drop for SignedStore {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A plain drop would block, and panic on a thread of another runtime.
            runtime.shutdown_background();
        }
    }
}
