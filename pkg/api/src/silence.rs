//! Connections that never say what they want: closed after a time, so that they hold no place.
//!
//! A server first waits for the bytes that tell HTTP/1 from HTTP/2, and does so without a limit.
//! Behind them the limits of the protocol hold; this one is then out of the way.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// What a client of HTTP/2 says first.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose first bytes must come within a time.
pub struct Silence {
    stream: TcpStream,
    /// Until it is known which protocol the client speaks.
    waiting: Option<Waiting>,
}

struct Waiting {
    end: Pin<Box<Sleep>>,
    /// How much of the preface of HTTP/2 has come.
    matched: usize,
}

impl Silence {
    /// Lets the client take `max` until it has said which protocol it speaks.
    pub fn new(stream: TcpStream, max: Duration) -> Self {
        Self { stream, waiting: Some(Waiting { end: Box::pin(sleep(max)), matched: 0 }) }
    }
}

impl Waiting {
    /// Takes the next bytes; `true` once they decide.
    fn decides(&mut self, bytes: &[u8]) -> bool {
        let expected = HTTP2_PREFACE.get(self.matched..).unwrap_or_default();
        self.matched += bytes.len();
        bytes.len() >= expected.len() || !expected.starts_with(bytes)
    }
}

impl AsyncRead for Silence {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let this = &mut *self;
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let Some(waiting) = &mut this.waiting else { return read };
        match read {
            Poll::Pending => {
                ready!(waiting.end.as_mut().poll(context));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client said nothing")))
            }
            Poll::Ready(read) => {
                if waiting.decides(buffer.filled().get(before..).unwrap_or_default()) {
                    this.waiting = None;
                }
                Poll::Ready(read)
            }
        }
    }
}

impl AsyncWrite for Silence {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
