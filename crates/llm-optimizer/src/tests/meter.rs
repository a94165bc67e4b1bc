//! The meter: each end of a call in its counter, money from usage alone, times by the clock.

use std::time::Duration;

use hp_base::ManualClock;

use super::*;
use crate::{CallReport, Message, Role, Usage};

/// Takes two seconds of the clock, and replies or fails as the question says; to `hang` it never does.
#[derive(Debug)]
struct Scripted(Arc<ManualClock>);

impl fmt::Display for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scripted")
    }
}

#[async_trait]
impl ChatModel for Scripted {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatReply, LlmError> {
        let text = &*request.messages[0].text;
        if text == "hang" {
            std::future::pending::<()>().await;
        }
        self.0.advance(Duration::from_secs(2));
        let (finish, model) = match text {
            "fail" => return Err(LlmError::new(LlmErrorKind::RateLimited, "too many")),
            "cut" => (Finish::Enough, "gpt-4o-mini-2024-07-18"),
            "long" => (Finish::Length, "gpt-4o-mini-2024-07-18"),
            "odd" => (Finish::Filtered, "never-heard-of"),
            name if name.starts_with("name-") => (Finish::Stop, name),
            _ => (Finish::Stop, "gpt-4o-mini-2024-07-18"),
        };
        let usage =
            Usage { input_tokens: 1_000, cached_input_tokens: 400, output_tokens: 20, ..Usage::default() };
        Ok(ChatReply {
            text: "yes".into(),
            finish,
            usage: (finish != Finish::Enough).then_some(usage),
            report: CallReport {
                model: model.into(),
                time_to_first_token: Duration::from_millis(500),
                ..CallReport::default()
            },
        })
    }

    async fn warm(&self) -> Result<(), LlmError> {
        Err(LlmError::new(LlmErrorKind::NotFound, "forwarded"))
    }
}

fn meter(model: &str) -> Meter {
    let clock = Arc::new(ManualClock::new());
    Meter::new(Arc::new(Scripted(clock.clone())), model, Arc::new(PriceTable::built_in()), clock)
}

async fn ask(meter: &Meter, text: &str) -> Result<ChatReply, LlmError> {
    meter.chat(&ChatRequest::new(vec![Message::new(Role::User, text)])).await
}

#[tokio::test]
async fn every_end_of_a_call_has_its_counter() {
    let meter = meter("gpt-4o-mini-2024-07-18");
    let reply = ask(&meter, "hello").await.unwrap();
    assert_eq!(reply.report.cost, Some(MicroDollars(132)));
    assert_eq!(ask(&meter, "cut").await.unwrap().report.cost, None);
    assert!(ask(&meter, "long").await.is_ok() && ask(&meter, "fail").await.is_err());
    let mut hanging = Box::pin(ask(&meter, "hang"));
    tokio::select! { biased;
        _ = &mut hanging => unreachable!(),
        () = std::future::ready(()) => {}
    }
    assert_eq!(meter.snapshot().total.n_running, 1);
    drop(hanging);

    let total = meter.snapshot().total;
    let counts = [
        total.n_calls,
        total.n_replies,
        total.n_cut_early,
        total.n_cut_at_length,
        total.n_cancelled,
        total.n_running,
    ];
    assert_eq!(counts, [5, 1, 1, 1, 1, 0]);
    assert_eq!(total.errors, BTreeMap::from([("rate_limited", 1)]));
    assert_eq!((total.input_tokens, total.cached_input_tokens, total.output_tokens), (2_000, 800, 40));
    assert_eq!((total.cost_micros, total.n_unpriced, total.saved_by_cache_micros), (264, 1, 60));
    let near = |us: u64, expected: u64| assert!(us.abs_diff(expected) <= expected / 100, "{us} {expected}");
    assert_eq!((total.total_time.n, total.time_to_first_token.n), (3, 3));
    near(total.total_time.p50_us, 2_000_000);
    near(total.time_to_first_token.p99_us, 500_000);
    assert_eq!(meter.snapshot().models.len(), 1);
    assert_eq!(serde_json::to_value(meter.snapshot()).unwrap()["total"]["n_calls"], 5);
}

#[tokio::test]
async fn a_model_without_a_price_has_that_of_the_one_asked_or_none() {
    let priced = meter("gpt-4o-mini");
    assert_eq!(ask(&priced, "odd").await.unwrap().report.cost, Some(MicroDollars(132)));
    let unpriced = meter("mine");
    assert_eq!(ask(&unpriced, "odd").await.unwrap().report.cost, None);
    let snapshot = unpriced.snapshot();
    assert_eq!((snapshot.models["never-heard-of"].n_filtered, snapshot.total.n_unpriced), (1, 1));
}

#[tokio::test]
async fn names_that_are_made_up_take_no_memory() {
    let meter = meter("mine");
    for number in 0..200 {
        ask(&meter, &format!("name-{number}")).await.unwrap();
    }
    let snapshot = meter.snapshot();
    assert_eq!((snapshot.models.len(), snapshot.total.n_replies), (N_NAMES + 1, 200));
    assert_eq!(meter.to_string(), "meter(scripted)");
    assert_eq!(meter.warm().await.unwrap_err().kind(), LlmErrorKind::NotFound);
}
