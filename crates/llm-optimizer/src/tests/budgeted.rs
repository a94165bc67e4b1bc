//! The decorator: what is put aside, what each end of a call settles.

use std::sync::Mutex;

use hp_base::SystemClock;

use super::*;
use crate::{BudgetLimits, CallReport, Finish, MemoryLedger, Message, Role, Usage};

/// Ends as it is told, once.
#[derive(Debug)]
struct Once(Mutex<Option<Result<ChatReply, LlmError>>>);

impl fmt::Display for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("once")
    }
}

#[async_trait]
impl ChatModel for Once {
    async fn chat(&self, _request: &ChatRequest) -> Result<ChatReply, LlmError> {
        let end = self.0.lock().unwrap().take();
        match end {
            Some(end) => end,
            None => std::future::pending().await,
        }
    }

    async fn warm(&self) -> Result<(), LlmError> {
        Err(LlmError::new(LlmErrorKind::NotFound, "forwarded"))
    }
}

fn reply(usage: Option<Usage>, cost: Option<u64>, n_attempts: u32) -> ChatReply {
    let report = CallReport { cost: cost.map(MicroDollars), n_attempts, ..CallReport::default() };
    ChatReply { text: "yes".into(), finish: Finish::Stop, usage, report }
}

fn usage() -> Usage {
    Usage { input_tokens: 100, output_tokens: 10, ..Usage::default() }
}

/// A dollar a million tokens of the prompt, two of the reply: micro-dollars are tokens.
fn price() -> Price {
    Price::per_million(1.0, 2.0).unwrap()
}

fn request(n_prompt_tokens: Option<u32>) -> ChatRequest {
    let mut request = ChatRequest::new(vec![Message::new(Role::User, "hello")]);
    request.max_output_tokens = 50;
    request.n_prompt_tokens = n_prompt_tokens;
    request
}

/// 100 tokens and a tenth, 32 more, and 50 of the reply.
const MOST: u64 = 110 + 32 + 2 * 50;

/// What is spent, and what is still put aside, after a call that ends so; none is one that is cancelled.
async fn after(end: Option<Result<ChatReply, LlmError>>, most_attempts: u32) -> (u64, u64) {
    let ledger = Arc::new(MemoryLedger::new(BudgetLimits::default(), Arc::new(SystemClock)).unwrap());
    let is_cancelled = end.is_none();
    let inner = Arc::new(Once(Mutex::new(end)));
    let model = Budgeted::new(inner, ledger.clone(), price()).with_most_attempts(most_attempts);
    let request = request(Some(100));
    let mut call = model.chat(&request);
    if is_cancelled {
        tokio::select! { biased;
            _ = &mut call => unreachable!("it hangs"),
            () = std::future::ready(()) => {}
        }
        let put_aside = ledger.state().await.unwrap().day.reserved.0;
        assert_eq!(put_aside, MOST * u64::from(most_attempts));
        drop(call);
    } else {
        let _ = call.await;
    }
    let day = ledger.state().await.unwrap().day;
    (day.settled.0, day.reserved.0)
}

#[tokio::test]
async fn each_end_of_a_call_settles_what_it_cost() {
    assert_eq!(after(Some(Ok(reply(Some(usage()), None, 1))), 1).await, (120, 0));
    assert_eq!(after(Some(Ok(reply(Some(usage()), Some(7), 1))), 1).await, (7, 0));
    assert_eq!(after(Some(Ok(reply(None, None, 1))), 1).await, (MOST, 0));
    assert_eq!(after(None, 1).await, (MOST, 0));
    assert_eq!(after(None, 2).await, (2 * MOST, 0));
    assert_eq!(after(Some(Ok(reply(Some(usage()), None, 2))), 3).await, (120 + MOST, 0));
}

#[tokio::test]
async fn errors_are_paid_for_unless_they_surely_cost_nothing() {
    let after_error = |kind, n| after(Some(Err(LlmError::new(kind, "no"))), n);
    for kind in
        [LlmErrorKind::Unavailable, LlmErrorKind::RateLimited, LlmErrorKind::CircuitOpen, LlmErrorKind::Busy]
    {
        assert_eq!(after_error(kind, 1).await, (0, 0), "{kind:?}");
        assert_eq!(after_error(kind, 2).await, (2 * MOST, 0), "{kind:?}");
    }
    for kind in [LlmErrorKind::Disconnected, LlmErrorKind::OutOfTime, LlmErrorKind::InvalidReply] {
        assert_eq!(after_error(kind, 1).await, (MOST, 0), "{kind:?}");
    }
}

#[tokio::test]
async fn a_call_that_does_not_fit_is_not_made() {
    let limits = BudgetLimits { daily: Some(MicroDollars(MOST - 1)), ..BudgetLimits::default() };
    let ledger = Arc::new(MemoryLedger::new(limits, Arc::new(SystemClock)).unwrap());
    let inner = Arc::new(Once(Mutex::new(Some(Ok(reply(Some(usage()), None, 1))))));
    let model = Budgeted::new(inner.clone(), ledger, price());
    let error = model.chat(&request(Some(100))).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::OverBudget);
    assert!(inner.0.lock().unwrap().is_some(), "it was called");
    // Without a count the prompt's bytes are put aside for: fewer here.
    assert!(model.chat(&request(None)).await.is_ok());
    assert_eq!(model.warm().await.unwrap_err().kind(), LlmErrorKind::NotFound);
    assert_eq!(model.to_string(), "budget(once)");
}
