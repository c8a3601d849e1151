//! Answers on their way to clients that may read slowly: their bytes are counted, and given back
//! when a client does not read.
//!
//! An answer is made whole, in its query's turn, and leaves behind it. How much of all answers may
//! be in memory is limited; an answer of which nothing is read for a time is broken off and forgotten,
//! whether or not its connection goes.

use crate::error::ApiError;
use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// Shorter answers are not counted: what a connection buffers is of that size anyway.
const COUNTED_BYTES_MIN: u64 = 64 << 10;
/// Bytes that are given to a connection at once.
const PART_BYTES: usize = 64 << 10;

/// The answers under way.
#[derive(Debug)]
pub struct Answers {
    bytes_max: usize,
    patience: Duration,
    bytes: AtomicUsize,
}

/// Bytes that are counted as long as this lives.
#[derive(Debug)]
struct Counted {
    answers: Arc<Answers>,
    bytes: usize,
}

/// What is left of an answer, and how often some of it was taken.
#[derive(Debug)]
struct Left {
    bytes: Option<(Bytes, Counted)>,
    taken: u64,
}

/// The body of an answer.
struct Slow(Arc<Mutex<Left>>);

impl Answers {
    /// So many bytes at one time; an answer of which nothing is read for `patience` is broken off.
    pub fn new(bytes_max: usize, patience: Duration) -> Self {
        Self { bytes_max, patience, bytes: AtomicUsize::new(0) }
    }

    /// Bytes of answers that wait for their clients.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Counts an answer until it has left.
    ///
    /// # Errors
    /// 429 if there is no room for it. An answer that is longer than all the room may leave alone.
    pub async fn hold(self: &Arc<Self>, response: Response) -> Result<Response, ApiError> {
        if response.body().size_hint().exact().is_none_or(|bytes| bytes < COUNTED_BYTES_MIN) {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        // It is in memory: there is nothing to wait for.
        let bytes = body.collect().await.map_err(|error| ApiError::overloaded(error.to_string()))?.to_bytes();
        let counted = self.count(bytes.len())?;
        let left = Arc::new(Mutex::new(Left { bytes: Some((bytes, counted)), taken: 0 }));
        tokio::spawn(watch(Arc::clone(&left), self.patience));
        Ok(Response::from_parts(parts, Body::new(Slow(left))))
    }

    fn count(self: &Arc<Self>, bytes: usize) -> Result<Counted, ApiError> {
        let add = |used: usize| {
            (used == 0 || used.saturating_add(bytes) <= self.bytes_max).then(|| used.saturating_add(bytes))
        };
        self.bytes.fetch_update(Relaxed, Relaxed, add).map_err(|used| {
            ApiError::overloaded(format!(
                "{used} bytes of answers wait for their clients to read them; this one of {bytes} bytes finds no room \
                 (limit `--answers-bytes-max`)"
            ))
        })?;
        Ok(Counted { answers: Arc::clone(self), bytes })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.answers.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

/// Forgets an answer of which nothing is taken for a time.
async fn watch(left: Arc<Mutex<Left>>, patience: Duration) {
    let mut seen = 0;
    loop {
        tokio::time::sleep(patience).await;
        let mut left = lock(&left);
        if left.bytes.is_none() {
            return;
        }
        if left.taken == seen {
            tracing::debug!("an answer is broken off: its client does not read");
            left.bytes = None;
            return;
        }
        seen = left.taken;
    }
}

fn lock(left: &Mutex<Left>) -> MutexGuard<'_, Left> {
    left.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpBody for Slow {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut left = lock(&self.0);
        left.taken += 1;
        let Some((bytes, _)) = &mut left.bytes else {
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the client did not read"))));
        };
        if bytes.is_empty() {
            return Poll::Ready(None);
        }
        let part = bytes.split_to(PART_BYTES.min(bytes.len()));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).bytes.as_ref().is_some_and(|(bytes, _)| bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(lock(&self.0).bytes.as_ref().map_or(0, |(bytes, _)| bytes.len() as u64))
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        lock(&self.0).bytes = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn response(bytes: usize) -> Response {
        Response::new(Body::from(vec![b'x'; bytes]))
    }

    #[tokio::test]
    async fn an_answer_counts_until_it_has_left() {
        let answers = Arc::new(Answers::new(1 << 20, Duration::from_secs(60)));
        let one = answers.hold(response(700 << 10)).await.unwrap();
        assert_eq!(answers.bytes(), 700 << 10);
        let refused = answers.hold(response(400 << 10)).await.unwrap_err();
        assert_eq!(refused.status(), 429);
        assert!(refused.into_parts().1.contains("--answers-bytes-max"));
        let small = answers.hold(response(100)).await.unwrap();
        assert_eq!(one.into_body().collect().await.unwrap().to_bytes().len(), 700 << 10);
        assert_eq!(answers.bytes(), 0);
        drop(small);
        // One that is too long for all the room leaves alone.
        let long = answers.hold(response(2 << 20)).await.unwrap();
        assert!(answers.hold(response(100 << 10)).await.is_err());
        drop(long);
        assert_eq!(answers.bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_is_forgotten() {
        let answers = Arc::new(Answers::new(1 << 20, Duration::from_secs(60)));
        let mut body = answers.hold(response(300 << 10)).await.unwrap().into_body();
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(50)).await;
            assert!(body.frame().now_or_never().unwrap().unwrap().is_ok());
        }
        assert_eq!(answers.bytes(), 300 << 10);
        tokio::time::sleep(Duration::from_secs(121)).await;
        assert_eq!(answers.bytes(), 0);
        assert!(body.frame().await.unwrap().is_err());
    }
}
