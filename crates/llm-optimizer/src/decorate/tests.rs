//! Each decorator around models that do as a script says.

mod scripted;

mod breaker;
mod concurrency;
mod deadline;
mod fallback;
mod hedge;
mod retry;
mod stack;

use std::sync::Arc;
use std::time::Duration;

use hp_base::{Clock, Deadline, SystemClock};

use self::scripted::{Scripted, Step, until};
use crate::{ChatModel, ChatRequest, LlmErrorKind, Message, Role};

/// All kinds, those that another crate may add excepted.
const KINDS: [LlmErrorKind; 13] = [
    LlmErrorKind::InvalidConfig,
    LlmErrorKind::InvalidRequest,
    LlmErrorKind::Unauthorized,
    LlmErrorKind::NotFound,
    LlmErrorKind::RateLimited,
    LlmErrorKind::Unavailable,
    LlmErrorKind::Disconnected,
    LlmErrorKind::OutOfTime,
    LlmErrorKind::InvalidReply,
    LlmErrorKind::CircuitOpen,
    LlmErrorKind::Busy,
    LlmErrorKind::OverBudget,
    LlmErrorKind::BudgetUnknown,
];

const HOUR: Duration = Duration::from_secs(3600);

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn request() -> ChatRequest {
    ChatRequest::new(vec![Message::new(Role::User, "what is a metabolite?")])
}

fn request_within(time: Duration) -> ChatRequest {
    ChatRequest { deadline: Deadline::after(&SystemClock, time), ..request() }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
