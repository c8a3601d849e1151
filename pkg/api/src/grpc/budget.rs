//! The memory that the messages of calls take, counted in the budget of request bodies that HTTP
//! uses too.
//!
//! tonic collects a message before a handler sees it; so bytes are counted as they come over the
//! wire, and a handler that reads many messages says when it is done with one ([`Charge::release`]).
//! As in HTTP nothing is counted on the word of a length, and a client that stops in the middle of
//! a message, or sends it byte by byte, is let go.

use crate::body::{Bodies, READ_BYTES_MIN};
use crate::error;
use crate::tenant;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;
use timberlog_types::{Result, Tenant};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

type Request<B = Body> = axum::http::Request<B>;

/// Puts the budget around every call.
#[derive(Clone)]
pub struct Budget {
    /// The budget.
    pub bodies: Arc<Bodies>,
    /// How long a client may take to send the next [`READ_BYTES_MIN`] bytes of a message.
    pub read_timeout: Duration,
}

/// What one call has in memory; given back when the last holder drops it.
pub struct Charge {
    tenant: Tenant,
    bodies: Arc<Bodies>,
    bytes: AtomicUsize,
}

impl Charge {
    /// The charge of a call.
    pub fn of<T>(request: &tonic::Request<T>) -> Option<Arc<Self>> {
        request.extensions().get::<Arc<Self>>().cloned()
    }

    fn add(&self, more: usize) -> Result<()> {
        self.bodies.take(&self.tenant, self.bytes.load(Relaxed), more)?;
        self.bytes.fetch_add(more, Relaxed);
        Ok(())
    }

    /// Counts a message that has `bytes` now that it is decompressed.
    ///
    /// # Errors
    /// `Overloaded` if there is no room.
    pub fn grow_to(&self, bytes: usize) -> Result<()> {
        self.add(bytes.saturating_sub(self.bytes.load(Relaxed)))
    }

    /// Gives back what the messages took that came so far.
    pub fn release(&self) {
        self.bodies.give(&self.tenant, self.bytes.swap(0, Relaxed));
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.release();
    }
}

impl<S> Layer<S> for Budget {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting { inner, budget: self.clone() }
    }
}

/// A service whose calls are counted.
#[derive(Clone)]
pub struct Counting<S> {
    inner: S,
    budget: Budget,
}

impl<S, B> Service<Request<B>> for Counting<S>
where
    S: Service<Request>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // What is no name of a tenant is refused by who handles the call.
        let tenant = tenant::of_headers(request.headers()).unwrap_or_default();
        let charge = Arc::new(Charge { tenant, bodies: Arc::clone(&self.budget.bodies), bytes: AtomicUsize::new(0) });
        let read_timeout = self.budget.read_timeout;
        let (mut parts, inner) = request.map(Body::new).into_parts();
        parts.extensions.insert(Arc::clone(&charge));
        let body = Body::new(Counted { inner, charge: Arc::clone(&charge), read_timeout, waiting: None, came: 0 });
        let call = self.inner.call(Request::from_parts(parts, body));
        Box::pin(async move {
            let answer = call.await;
            // The one message of a call that has one was held until here.
            drop(charge);
            answer
        })
    }
}

/// A body whose bytes are counted as they come.
struct Counted {
    inner: Body,
    charge: Arc<Charge>,
    read_timeout: Duration,
    /// Runs while a message is here in part.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Bytes since then.
    came: usize,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.charge.bytes.load(Relaxed) == 0 {
            // Between two messages a client may be quiet for as long as it likes.
            (this.waiting, this.came) = (None, 0);
        }
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let len = frame.data_ref().map_or(0, Bytes::len);
                this.came += len;
                if this.came >= READ_BYTES_MIN {
                    (this.waiting, this.came) = (None, 0);
                }
                let counted = this.charge.add(len);
                Poll::Ready(Some(counted.map(|()| frame).map_err(error::status)))
            }
            Poll::Pending if this.charge.bytes.load(Relaxed) > 0 => {
                let max = this.read_timeout;
                let waiting = this.waiting.get_or_insert_with(|| Box::pin(sleep(max)));
                std::task::ready!(waiting.as_mut().poll(context));
                let message = format!("less than {READ_BYTES_MIN} bytes of a message came in {} s", max.as_secs());
                Poll::Ready(Some(Err(Status::deadline_exceeded(message))))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};
    use std::convert::Infallible;
    use tokio_stream::StreamExt;

    /// Reads a whole request and answers with how it ended.
    async fn read(request: Request) -> Result<Option<Status>, Infallible> {
        Ok(request.into_body().collect().await.err())
    }

    #[tokio::test]
    async fn a_client_that_stops_within_a_message_is_let_go() {
        let bodies = Arc::new(Bodies::new(1000, Duration::from_secs(1)));
        let budget = Budget { bodies: Arc::clone(&bodies), read_timeout: Duration::from_millis(20) };
        let mut service = budget.layer(tower::service_fn(read));
        let part = tokio_stream::once(Ok::<_, Status>(Frame::data(Bytes::from_static(b"begun"))));
        let body = Body::new(StreamBody::new(part.chain(tokio_stream::pending())));
        let call = tokio::time::timeout(Duration::from_secs(20), service.call(Request::new(body)));
        let status = call.await.expect("an end").unwrap().unwrap();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        assert_eq!(bodies.used_bytes(), 0);
    }

    #[tokio::test]
    async fn a_client_that_sends_a_message_byte_by_byte_is_let_go() {
        let bodies = Arc::new(Bodies::new(1 << 30, Duration::from_secs(1)));
        let budget = Budget { bodies: Arc::clone(&bodies), read_timeout: Duration::from_millis(50) };
        let mut service = budget.layer(tower::service_fn(read));
        let bytes = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            Some((Ok::<_, Status>(Frame::data(Bytes::from_static(b"x"))), ()))
        });
        let call = service.call(Request::new(Body::new(StreamBody::new(bytes))));
        let status = tokio::time::timeout(Duration::from_secs(20), call).await.expect("an end").unwrap().unwrap();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        assert_eq!(bodies.used_bytes(), 0);
    }

    #[tokio::test]
    async fn a_long_message_may_take_its_time() {
        let bodies = Arc::new(Bodies::new(1 << 30, Duration::from_secs(1)));
        let budget = Budget { bodies: Arc::clone(&bodies), read_timeout: Duration::from_millis(200) };
        let mut service = budget.layer(tower::service_fn(read));
        let parts = futures_util::stream::unfold(0, |sent| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            (sent < 40).then(|| (Ok::<_, Status>(Frame::data(Bytes::from(vec![b'x'; READ_BYTES_MIN]))), sent + 1))
        });
        let call = service.call(Request::new(Body::new(StreamBody::new(parts))));
        assert!(call.await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_between_messages_is_not() {
        let bodies = Arc::new(Bodies::new(1000, Duration::from_secs(1)));
        let budget = Budget { bodies: Arc::clone(&bodies), read_timeout: Duration::from_millis(1) };
        let mut service = budget.layer(tower::service_fn(read));
        let pause = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            Ok::<_, Status>(Frame::data(Bytes::from_static(b"late")))
        };
        let body = Body::new(StreamBody::new(futures_util::stream::once(pause)));
        assert!(service.call(Request::new(body)).await.unwrap().is_none());
        assert_eq!(bodies.used_bytes(), 0);
    }
}
