//! A bucket as an object store, through the AWS SDK.
//!
//! Owns the requests and their runtime: the trait is synchronous, so each call hands its requests to
//! a few threads of its own and waits. It may be called from anywhere, an async runtime's threads
//! too (which it blocks).

mod breaker;
mod connect;
mod failure;
mod read;
mod requests;
mod upload;
mod write;

use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use aws_sdk_s3::Client;
use bytes::Bytes;
use timberlog_disk::{Env, File};
use timberlog_storage::objects::{Figures, ObjectMeta, ObjectStore, RESERVED, check_key};
use timberlog_types::{Error, Result};
use tokio::runtime::Runtime;

use crate::options::S3Options;
use failure::{Failure, Why};
use requests::Requests;

/// Threads that move bytes and compute TLS.
const THREADS: usize = 2;
/// Threads that look up names and read credentials' files.
const BLOCKING_THREADS_MAX: usize = 4;

/// Keys of one listing; all of them are in memory.
const LIST_KEYS_MAX: usize = 5_000_000;

/// A bucket, or what begins with a prefix in it, as an object store.
pub struct S3Store {
    bucket: Arc<Bucket>,
    env: Env,
    atomic_put_if_absent: OnceLock<bool>,
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
}

/// What a request needs.
struct Bucket {
    client: Client,
    name: String,
    /// Empty, or with a slash at its end.
    prefix: String,
    options: S3Options,
    requests: Requests,
}

impl Bucket {
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

impl S3Store {
    /// The store in a bucket under a prefix (no slash at either end). Asks nothing of the bucket; until
    /// [`Self::probe`] has, it counts as one without atomic conditional puts.
    pub fn new(bucket: &str, prefix: &str, options: &S3Options, env: &Env) -> Result<Self> {
        options.check()?;
        crate::url::check_bucket(bucket)?;
        if !prefix.is_empty() {
            check_key(prefix).map_err(|error| error.context("the prefix in a bucket"))?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("timberlog-objects")
            .enable_all()
            .build()
            .map_err(|error| Error::io("starting the threads of an object store", &error))?;
        let place = place(bucket, prefix);
        let made = {
            let options = options.clone();
            wait(&runtime, async move { connect::client(&options).await })
        };
        let client = made.unwrap_or_else(|| Err(ended())).map_err(|error| error.context(format_args!("`{place}`")))?;
        let bucket = Bucket {
            client,
            name: bucket.to_owned(),
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            options: options.clone(),
            requests: Requests::new(options.retries.clone(), env.clone(), place),
        };
        Ok(Self {
            bucket: Arc::new(bucket),
            env: env.clone(),
            atomic_put_if_absent: OnceLock::new(),
            runtime: Some(runtime),
        })
    }

    /// Finds out whether the store has atomic conditional puts: of two puts of one key it must refuse
    /// the second. One that may not be written to has none, and can still be read. Fails when the
    /// store does not answer or refuses the credentials.
    pub fn probe(&self) -> Result<bool> {
        if let Some(known) = self.atomic_put_if_absent.get() {
            return Ok(*known);
        }
        let key = format!("{RESERVED}probe-{:016x}", self.env.random.next_u64());
        let put = |body: &'static [u8]| {
            let key = key.clone();
            self.ask(|bucket| async move { bucket.put_if_absent(&key, Bytes::from_static(body)).await })
        };
        let failed = self.failed("probing for conditional puts", "");
        let is_atomic = match put(b"first") {
            Ok(first) => first && !put(b"second").map_err(&failed)?,
            Err(failure) if failure.why == Why::Unsupported => false,
            Err(failure) if failure.why == Why::Refused => {
                // Reading may be allowed all the same; a wrong bucket or key shows here too.
                self.ask(|bucket| async move { bucket.page("", None, 1).await }).map_err(&failed)?;
                tracing::info!(store = self.describe(), "the store can be read, not written: {}", failure.message);
                return Ok(*self.atomic_put_if_absent.get_or_init(|| false));
            }
            Err(failure) => return Err(failed(failure)),
        };
        if let Err(failure) = self.ask(|bucket| async move { bucket.delete(&[key]).await }) {
            tracing::warn!(store = self.describe(), "a probe's object stays behind: {}", failure.message);
        }
        Ok(*self.atomic_put_if_absent.get_or_init(|| is_atomic))
    }

    /// Runs requests on the store's threads and waits for them.
    fn ask<T: Send + 'static, F>(&self, work: impl FnOnce(Arc<Bucket>) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let work = work(Arc::clone(&self.bucket));
        let answer = self.runtime.as_ref().and_then(|runtime| wait(runtime, work));
        answer.unwrap_or_else(|| Err(Failure::new(Why::Failed, "a request ended without an answer")))
    }

    fn failed(&self, doing: &str, key: &str) -> impl Fn(Failure) -> Error {
        let doing = match key {
            "" => format!("{doing} in `{}`", self.describe()),
            key => format!("{doing} `{}` in `{}`", key.escape_debug(), self.describe()),
        };
        move |failure| failure.error(&doing)
    }
}

/// Runs a future on a runtime's threads; `None` if it panicked. Unlike `block_on`, this may be
/// called on a thread of another runtime.
fn wait<T: Send + 'static>(runtime: &Runtime, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Nobody waits any more when this fails.
        let _ = sender.send(work.await);
    });
    receiver.recv().ok()
}

fn ended() -> Error {
    Error::internal("a request ended without an answer")
}

fn place(bucket: &str, prefix: &str) -> String {
    if prefix.is_empty() { format!("s3://{bucket}") } else { format!("s3://{bucket}/{prefix}") }
}

impl Drop for S3Store {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A plain drop would block, and panic on a thread of another runtime.
            runtime.shutdown_background();
        }
    }
}

impl ObjectStore for S3Store {
    fn describe(&self) -> String {
        place(&self.bucket.name, self.bucket.prefix.trim_end_matches('/'))
    }

    fn put(&self, key: &str, body: &[u8]) -> Result<()> {
        check_key(key)?;
        let (owned, body) = (key.to_owned(), Bytes::copy_from_slice(body));
        self.ask(|bucket| async move { bucket.put(&owned, body).await }).map_err(self.failed("storing", key))
    }

    fn put_file(&self, key: &str, file: &dyn File, len: u64, progress: &dyn Fn(u64)) -> Result<()> {
        check_key(key)?;
        self.upload(key, file, len, progress)
    }

    fn put_if_absent(&self, key: &str, body: &[u8]) -> Result<bool> {
        check_key(key)?;
        let failed = self.failed("storing", key);
        if !self.has_atomic_put_if_absent() && self.head(key)?.is_some() {
            return Ok(false);
        }
        let (owned, sent) = (key.to_owned(), Bytes::copy_from_slice(body));
        self.ask(|bucket| async move { bucket.put_if_absent(&owned, sent).await }).map_err(failed)
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        check_key(key)?;
        let owned = key.to_owned();
        self.ask(|bucket| async move { bucket.get(&owned, None).await }).map_err(self.failed("reading", key))
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        check_key(key)?;
        if range.is_empty() {
            // There is no such range in HTTP; but the object must be there.
            let missing = || Failure::new(Why::NotFound, "no such object");
            return self.head(key)?.map(|_| Vec::new()).ok_or_else(|| self.failed("reading", key)(missing()));
        }
        let owned = key.to_owned();
        self.ask(|bucket| async move { bucket.get(&owned, Some(range)).await }).map_err(self.failed("reading", key))
    }

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        check_key(key)?;
        let owned = key.to_owned();
        match self.ask(|bucket| async move { bucket.head(&owned).await }) {
            Ok((size, modified_ns)) => Ok(Some(ObjectMeta { key: key.to_owned(), size, modified_ns })),
            Err(failure) if failure.why == Why::NotFound => Ok(None),
            Err(failure) => Err(self.failed("looking at", key)(failure)),
        }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectMeta) -> Result<()>) -> Result<()> {
        let failed = self.failed("listing", prefix);
        let mut objects: Vec<ObjectMeta> = Vec::new();
        let mut token = None;
        loop {
            let owned = prefix.to_owned();
            let page = self.ask(|bucket| async move { bucket.page(&owned, token, read::PAGE_KEYS).await });
            let page = page.map_err(&failed)?;
            objects.extend(page.objects);
            if objects.len() > LIST_KEYS_MAX {
                return Err(failed(Failure::new(Why::Refused, format!("more than {LIST_KEYS_MAX} keys"))));
            }
            match page.next {
                Some(next) => token = Some(next),
                None => break,
            }
        }
        // Stores that are made of folders list `a/b` before `a-b`; AWS does not. A key that was replaced
        // while its pages were listed may be there twice.
        objects.sort();
        objects.dedup_by(|next, object| next.key == object.key);
        objects.into_iter().try_for_each(each)
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        for key in keys {
            check_key(key)?;
        }
        for keys in keys.chunks(write::DELETE_KEYS_MAX) {
            let owned = keys.to_vec();
            self.ask(|bucket| async move { bucket.delete(&owned).await }).map_err(self.failed("deleting", ""))?;
        }
        Ok(())
    }

    fn has_atomic_put_if_absent(&self) -> bool {
        self.atomic_put_if_absent.get().copied().unwrap_or(false)
    }

    fn probe(&self) -> Result<bool> {
        S3Store::probe(self)
    }

    fn unfinished_uploads(&self, before_ns: i64, abort: bool) -> Result<u64> {
        let failed = self.failed("listing unfinished uploads", "");
        let found = match self.ask(|bucket| async move { bucket.uploads(before_ns).await }) {
            // Not all stores list them, and not everybody may.
            Err(failure) if matches!(failure.why, Why::Unsupported | Why::Refused | Why::NotFound) => return Ok(0),
            found => found.map_err(failed)?,
        };
        for (key, id) in found.iter().filter(|_| abort) {
            let (owned, id) = (key.clone(), id.clone());
            self.ask(|bucket| async move { bucket.abort(&owned, &id).await })
                .map_err(self.failed("giving up an upload", key))?;
        }
        Ok(found.len() as u64)
    }

    fn presign_get(&self, key: &str, expires_in: Duration) -> Result<Option<String>> {
        check_key(key)?;
        let owned = key.to_owned();
        let signed = self.ask(|bucket| async move { bucket.presign_get(&owned, expires_in).await });
        signed.map(Some).map_err(self.failed("signing a URL of", key))
    }

    fn figures(&self) -> Figures {
        self.bucket.requests.figures()
    }
}
