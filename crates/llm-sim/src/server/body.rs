//! The body of a response: what is sent and when, told step by step.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::link::Link;
use crate::journal::Record;

/// Time for what was sent to leave before the connection is reset; a reset throws away what is still here.
pub(crate) const BEFORE_RESET: Duration = Duration::from_millis(20);

/// A step of a body.
#[derive(Debug)]
pub(crate) enum Step {
    /// Bytes, with the tokens that are charged for them, so long after the headers.
    Send { bytes: Bytes, n_tokens: u32, at: Duration },
    /// Nothing more, and no end.
    Hang,
    /// A TCP reset.
    Reset { at: Duration },
}

/// The body of a response. Dropped before its end it records that the client went away.
pub(crate) struct ReplyBody {
    steps: VecDeque<Step>,
    /// The length that is announced, if one is.
    length: Option<u64>,
    began: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    record: Option<Record>,
    link: Option<Arc<Link>>,
}

impl ReplyBody {
    /// Bytes, all at once.
    pub(crate) fn whole(bytes: impl Into<Bytes>, record: Option<Record>) -> Self {
        let bytes = bytes.into();
        let length = Some(bytes.len() as u64);
        let steps = [Step::Send { bytes, n_tokens: 0, at: Duration::ZERO }];
        Self { steps: steps.into(), length, began: None, sleep: None, record, link: None }
    }

    pub(crate) fn steps(steps: Vec<Step>, length: Option<u64>, record: Record, link: Arc<Link>) -> Self {
        Self {
            steps: joined(steps),
            length,
            began: None,
            sleep: None,
            record: Some(record),
            link: Some(link),
        }
    }

    fn finish(&mut self) {
        if let Some(record) = self.record.take() {
            record.finish();
        }
    }

    fn poll_due(&mut self, cx: &mut Context<'_>, at: Duration) -> Poll<()> {
        if at.is_zero() {
            return Poll::Ready(());
        }
        let began = *self.began.get_or_insert_with(Instant::now);
        let due = began + at;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        ready!(sleep.as_mut().poll(cx));
        self.sleep = None;
        Poll::Ready(())
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.began.get_or_insert_with(Instant::now);
        match self.steps.front() {
            None => {
                self.finish();
                Poll::Ready(None)
            }
            Some(Step::Hang) => Poll::Pending,
            Some(&Step::Reset { at }) => {
                ready!(self.poll_due(cx, at));
                self.finish();
                if let Some(link) = &self.link {
                    link.reset();
                }
                self.steps = [Step::Hang].into();
                Poll::Pending
            }
            Some(&Step::Send { at, .. }) => {
                ready!(self.poll_due(cx, at));
                let Some(Step::Send { bytes, n_tokens, .. }) = self.steps.pop_front() else {
                    return Poll::Ready(None);
                };
                if let Some(record) = &mut self.record {
                    record.entry.completion_tokens += n_tokens;
                }
                if self.steps.is_empty() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        // A body that hangs or is reset may announce what it never sends.
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// What is sent at the same time is sent in one piece.
fn joined(steps: Vec<Step>) -> VecDeque<Step> {
    let mut all: VecDeque<Step> = VecDeque::new();
    let mut buffer: Vec<u8> = Vec::new();
    let mut steps = steps.into_iter().peekable();
    while let Some(step) = steps.next() {
        let Step::Send { bytes, mut n_tokens, at } = step else {
            all.push_back(step);
            continue;
        };
        let is_same = |step: &Step| matches!(step, Step::Send { at: next, .. } if *next == at);
        if !steps.peek().is_some_and(is_same) {
            all.push_back(Step::Send { bytes, n_tokens, at });
            continue;
        }
        buffer.clear();
        buffer.extend_from_slice(&bytes);
        while let Some(Step::Send { bytes, n_tokens: n, .. }) = steps.next_if(is_same) {
            buffer.extend_from_slice(&bytes);
            n_tokens += n;
        }
        all.push_back(Step::Send { bytes: Bytes::copy_from_slice(&buffer), n_tokens, at });
    }
    all
}
