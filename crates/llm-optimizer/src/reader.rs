//! Reading a reply while it arrives.

use std::fmt::Debug;

/// Reads one reply while it arrives.
pub trait ReplyReader: Send {
    /// Reads the next piece of text; the pieces put together are the reply.
    fn read(&mut self, piece: &str) -> Flow;
}

/// Whether a reader wants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Continue,
    /// It has what it wants. The call is cut, and the reply is what was read, with
    /// [`Finish::Enough`](crate::Finish::Enough).
    Enough,
}

/// Gives each attempt at a reply a reader of its own, since an attempt may fail half-way, or two run at once.
pub trait ReplyReaders: Debug + Send + Sync + 'static {
    /// A reader for an attempt that now begins.
    fn reader(&self) -> Box<dyn ReplyReader>;
}

const _: Option<&dyn ReplyReaders> = None;
