//! A connection, and how it is reset.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// What can be done to a connection while it is served.
#[derive(Debug, Default)]
pub(crate) struct Link {
    is_reset: AtomicBool,
    reset: Notify,
    is_exempt: AtomicBool,
}

impl Link {
    /// Ends the connection with a TCP reset.
    pub(crate) fn reset(&self) {
        self.mark_reset();
        self.reset.notify_one();
    }

    /// What is dropped from now on ends with a TCP reset.
    pub(crate) fn mark_reset(&self) {
        self.is_reset.store(true, Ordering::Release);
    }

    /// Waits for somebody to reset it.
    pub(crate) async fn to_be_reset(&self) {
        self.reset.notified().await;
    }

    /// Who steers the simulator over this connection is not cut off when the port is closed.
    pub(crate) fn exempt(&self) {
        self.is_exempt.store(true, Ordering::Release);
    }

    pub(crate) fn is_exempt(&self) -> bool {
        self.is_exempt.load(Ordering::Acquire)
    }
}

/// A socket that is reset rather than closed if its link says so.
pub(crate) struct Socket {
    io: TokioIo<TcpStream>,
    link: Arc<Link>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, link: Arc<Link>) -> Self {
        Self { io: TokioIo::new(stream), link }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.link.is_reset.load(Ordering::Acquire) {
            // Without time to linger what is left is thrown away, and the peer told so. OK to ignore: it is closed
            // in any case.
            let _ = self.io.inner().set_zero_linger();
        }
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
