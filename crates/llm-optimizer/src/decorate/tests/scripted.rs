//! A model that does as a script says, and tells what was done to it.

use std::collections::VecDeque;
use std::fmt::{self, Display};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::{CallReport, ChatModel, ChatReply, ChatRequest, Finish, LlmError, LlmErrorKind};

/// What the model does with a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Reply,
    ReplyAfter(Duration),
    /// Fails without having sent anything.
    Refuse(LlmErrorKind),
    /// When the test [releases](Scripted::release) it.
    ReplyOnceReleased,
    Fail(LlmErrorKind),
    FailWithRetryAfter(LlmErrorKind, Duration),
    FailOnceReleased(LlmErrorKind),
    Hang,
}

#[derive(Debug)]
pub(super) struct Scripted {
    name: &'static str,
    script: Mutex<VecDeque<Step>>,
    otherwise: Step,
    gate: Semaphore,
    seen: Mutex<Vec<ChatRequest>>,
    n_running: AtomicUsize,
    most_running: AtomicUsize,
    n_cancelled: AtomicUsize,
    n_warmed: AtomicUsize,
}

/// A call that is under way.
struct Running<'a> {
    model: &'a Scripted,
    has_ended: bool,
}

impl Scripted {
    /// Does the same with every call.
    pub(super) fn always(step: Step) -> Arc<Self> {
        Self::then([], step)
    }

    /// Does one thing after another, and with all calls after them the same.
    pub(super) fn then(script: impl IntoIterator<Item = Step>, otherwise: Step) -> Arc<Self> {
        Self::named("scripted", script, otherwise)
    }

    pub(super) fn named(
        name: &'static str,
        script: impl IntoIterator<Item = Step>,
        otherwise: Step,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            script: Mutex::new(script.into_iter().collect()),
            otherwise,
            gate: Semaphore::new(0),
            seen: Mutex::new(Vec::new()),
            n_running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            n_cancelled: AtomicUsize::new(0),
            n_warmed: AtomicUsize::new(0),
        })
    }

    /// Lets so many calls end that wait for it.
    pub(super) fn release(&self, n_calls: usize) {
        self.gate.add_permits(n_calls);
    }

    pub(super) fn n_calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The requests it was asked, in their order.
    pub(super) fn seen(&self) -> Vec<ChatRequest> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn n_running(&self) -> usize {
        self.n_running.load(Ordering::SeqCst)
    }

    pub(super) fn most_running(&self) -> usize {
        self.most_running.load(Ordering::SeqCst)
    }

    /// Calls that were dropped before their end.
    pub(super) fn n_cancelled(&self) -> usize {
        self.n_cancelled.load(Ordering::SeqCst)
    }

    pub(super) fn n_warmed(&self) -> usize {
        self.n_warmed.load(Ordering::SeqCst)
    }

    fn begin(&self, request: &ChatRequest) -> (Running<'_>, Step) {
        self.seen.lock().unwrap().push(request.clone());
        let n_running = self.n_running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(n_running, Ordering::SeqCst);
        let step = self.script.lock().unwrap().pop_front().unwrap_or(self.otherwise);
        (Running { model: self, has_ended: false }, step)
    }

    async fn released(&self) {
        self.gate.acquire().await.unwrap().forget();
    }

    fn reply(&self) -> ChatReply {
        let report = CallReport { model: self.name.into(), n_attempts: 1, ..CallReport::default() };
        ChatReply { text: "a molecule".to_owned(), finish: Finish::Stop, usage: None, report }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.model.n_running.fetch_sub(1, Ordering::SeqCst);
        self.model.n_cancelled.fetch_add(usize::from(!self.has_ended), Ordering::SeqCst);
    }
}

impl Display for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[async_trait]
impl ChatModel for Scripted {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatReply, LlmError> {
        let (mut running, step) = self.begin(request);
        let fail = |kind| Err(LlmError::new(kind, "as the script says"));
        let result = match step {
            Step::Reply => Ok(self.reply()),
            Step::ReplyAfter(time) => {
                tokio::time::sleep(time).await;
                Ok(self.reply())
            }
            Step::ReplyOnceReleased => {
                self.released().await;
                Ok(self.reply())
            }
            Step::Fail(kind) => fail(kind),
            Step::FailWithRetryAfter(kind, wait) => fail(kind).map_err(|error| error.with_retry_after(wait)),
            Step::Refuse(kind) => fail(kind).map_err(LlmError::unsent),
            Step::FailOnceReleased(kind) => {
                self.released().await;
                fail(kind)
            }
            Step::Hang => std::future::pending().await,
        };
        running.has_ended = true;
        result
    }

    async fn warm(&self) -> Result<(), LlmError> {
        self.n_warmed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Waits for what other tasks will bring about, and fails if they do not.
#[track_caller]
pub(super) fn until(condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let reached = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), reached).await;
        assert!(in_time.is_ok(), "never reached what is awaited at {caller}");
    }
}
