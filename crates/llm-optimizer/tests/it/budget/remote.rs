//! The budget on a server: shared, idempotent, refused when nobody can say, brought back when the server forgets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hp_base::{BreakerConfig, Secret, SystemClock};
use llm_optimizer::{BudgetLimits, Ledger, LlmErrorKind, MicroDollars, RemoteLedger, RemoteLedgerConfig};

use super::server::Server;
use super::{PATIENCE, eventually};

pub(super) fn config(url: &str) -> RemoteLedgerConfig {
    // A busy machine shall not look like a slow server.
    let patient = Duration::from_secs(10);
    RemoteLedgerConfig {
        url: Secret::new(url),
        operation_timeout: patient,
        connect_timeout: patient,
        breaker: BreakerConfig { slow_call: patient, ..RemoteLedgerConfig::default().breaker },
        ..RemoteLedgerConfig::default()
    }
}

fn limits(daily: u64) -> BudgetLimits {
    BudgetLimits {
        daily: Some(MicroDollars(daily)),
        hourly: Some(MicroDollars(daily)),
        ..BudgetLimits::default()
    }
}

async fn connect(config: RemoteLedgerConfig) -> RemoteLedger {
    let ledger = RemoteLedger::new(&config, limits(1_000), Arc::new(SystemClock)).unwrap();
    ledger.in_service(PATIENCE).await.unwrap();
    ledger
}

async fn gone(ledger: &RemoteLedger) -> (u64, u64) {
    let day = ledger.state().await.unwrap().day;
    (day.settled.0, day.reserved.0)
}

#[tokio::test]
async fn replicas_spend_from_one_budget() {
    let server = Server::start();
    let (one, two) = (connect(config(&server.url())).await, connect(config(&server.url())).await);
    let first = one.reserve(MicroDollars(600)).await.unwrap();
    let error = two.reserve(MicroDollars(500)).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::OverBudget);
    let wait = error.retry_after().unwrap();
    assert!(wait <= Duration::from_secs(86_400) && !wait.is_zero(), "{wait:?}");
    let second = two.reserve(MicroDollars(400)).await.unwrap();
    assert_eq!(gone(&one).await, (0, 1_000));
    first.settle(MicroDollars(50));
    second.release();
    one.flush().await.unwrap();
    two.flush().await.unwrap();
    assert_eq!(gone(&two).await, (50, 0));
    drop(two.reserve(MicroDollars(7)).await.unwrap());
    two.flush().await.unwrap();
    assert_eq!(gone(&one).await, (57, 0));
    let error = one.reserve(MicroDollars(1_001)).await.unwrap_err();
    assert!(error.retry_after().is_none() && error.to_string().contains("ask for fewer tokens"), "{error}");
    // One key, which goes away by itself.
    assert_eq!(server.run(&["keys", "*"]), "hp:budget:llm");
    assert!(server.run(&["ttl", "hp:budget:llm"]).parse::<i64>().unwrap() > 86_400);
}

#[tokio::test]
async fn a_new_day_begins_with_nothing_spent_and_an_old_reservation_does_not_count_in_it() {
    let server = Server::start();
    let ledger = connect(config(&server.url())).await;
    let before = ledger.reserve(MicroDollars(300)).await.unwrap();
    // As if all that had been yesterday.
    let key = "hp:budget:llm";
    for (field, by) in [("d", "-1"), ("h", "-24")] {
        server.run(&["hincrby", key, field, by]);
    }
    let field = server.run(&["hkeys", key]).lines().find(|field| field.starts_with('r')).unwrap().to_owned();
    let made = server.run(&["hget", key, &field]);
    let numbers: Vec<u64> = made.split(':').map(|number| number.parse().unwrap()).collect();
    server.run(&["hset", key, &field, &format!("{}:{}:{}", numbers[0] - 1, numbers[1] - 24, numbers[2])]);
    // One that has seen what was made yesterday's takes it for today's.
    let (yesterdays, ledger) = (ledger, connect(config(&server.url())).await);
    let after = ledger.reserve(MicroDollars(20)).await.unwrap();
    assert_eq!(gone(&ledger).await, (0, 20));
    before.settle(MicroDollars(300));
    after.settle(MicroDollars(10));
    yesterdays.flush().await.unwrap();
    ledger.flush().await.unwrap();
    assert_eq!(gone(&ledger).await, (10, 0));
    // The hour alone rolls too, and an amount of the hour before still counts for the day.
    let before = ledger.reserve(MicroDollars(100)).await.unwrap();
    let hour = server.run(&["hget", key, "h"]).parse::<u64>().unwrap() - 1;
    server.run(&["hset", key, "h", &hour.to_string()]);
    let state = ledger.state().await.unwrap();
    assert_eq!((state.hour.settled.0, state.hour.reserved.0, state.day.reserved.0), (0, 0, 100));
    drop(before);
}

#[tokio::test]
async fn a_server_that_stalls_is_not_waited_for() {
    let server = Server::start();
    let config =
        RemoteLedgerConfig { operation_timeout: Duration::from_millis(200), ..config(&server.url()) };
    let ledger = connect(config).await;
    let reservation = ledger.reserve(MicroDollars(100)).await.unwrap();
    server.signal("STOP");
    let started = Instant::now();
    for _ in 0..20 {
        let error = ledger.reserve(MicroDollars(100)).await.unwrap_err();
        assert_eq!(error.kind(), LlmErrorKind::BudgetUnknown);
    }
    // Without the breaker it would be four seconds.
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    reservation.settle(MicroDollars(1));
    server.signal("CONT");
    eventually("all is settled and nothing is left put aside", async || {
        ledger.state().await.is_ok_and(|state| (state.day.settled.0, state.day.reserved.0) == (1, 0))
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_down_refuses_at_once_and_what_it_forgets_is_brought_back() {
    let mut server = Server::start();
    let (one, two) = (connect(config(&server.url())).await, connect(config(&server.url())).await);
    one.reserve(MicroDollars(100)).await.unwrap().settle(MicroDollars(100));
    one.flush().await.unwrap();
    let held = two.reserve(MicroDollars(30)).await.unwrap();
    assert_eq!(gone(&two).await, (100, 30));
    let also = one.reserve(MicroDollars(4)).await.unwrap();
    assert_eq!(gone(&one).await, (100, 34));
    server.kill();
    eventually("it is noticed", async || one.state().await.is_err()).await;
    let error = one.reserve(MicroDollars(1)).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::BudgetUnknown);
    server.restart();
    // The one that knows less comes first.
    two.in_service(PATIENCE).await.unwrap();
    assert_eq!(gone(&two).await, (130, 0));
    two.reserve(MicroDollars(5)).await.unwrap().settle(MicroDollars(5));
    two.flush().await.unwrap();
    one.in_service(PATIENCE).await.unwrap();
    assert_eq!(gone(&one).await, (100 + 34 + 5, 0));
    // What the server has forgotten can be given back by nobody.
    held.release();
    also.release();
    one.flush().await.unwrap();
    two.flush().await.unwrap();
    assert_eq!(gone(&two).await, (139, 0));
    two.in_service(PATIENCE).await.unwrap();
    assert_eq!(gone(&one).await, (139, 0));
}

#[tokio::test]
async fn settling_is_brought_after_the_ledger_and_through_an_outage() {
    let server = Server::start();
    let ledger = connect(config(&server.url())).await;
    let reservation = ledger.reserve(MicroDollars(100)).await.unwrap();
    server.run(&["client", "kill", "type", "normal"]);
    reservation.settle(MicroDollars(9));
    ledger.flush().await.unwrap();
    drop(ledger);
    let ledger = connect(config(&server.url())).await;
    assert_eq!(gone(&ledger).await, (9, 0));
    let reservation = ledger.reserve(MicroDollars(50)).await.unwrap();
    drop(ledger);
    reservation.settle(MicroDollars(1));
    let ledger = connect(config(&server.url())).await;
    eventually("it is settled", async || gone(&ledger).await == (10, 0)).await;
}

#[tokio::test]
async fn who_does_not_wait_for_the_answer_has_nothing_put_aside() {
    let server = Server::start();
    let ledger = connect(config(&server.url())).await;
    server.signal("STOP");
    let mut call = ledger.reserve(MicroDollars(900));
    let waited = tokio::time::timeout(Duration::from_millis(50), &mut call).await;
    assert!(waited.is_err(), "it was answered");
    drop(call);
    server.signal("CONT");
    ledger.flush().await.unwrap();
    assert_eq!(gone(&ledger).await, (0, 0));
    assert_eq!(
        server.run(&["hkeys", "hp:budget:llm"]).lines().filter(|field| field.starts_with('r')).count(),
        0
    );
}

#[tokio::test]
async fn what_is_told_twice_counts_once() {
    let server = Server::start();
    let ledger = connect(config(&server.url())).await;
    let (first, second) =
        (ledger.reserve(MicroDollars(100)).await.unwrap(), ledger.reserve(MicroDollars(20)).await.unwrap());
    let (key, script) = ("hp:budget:llm", include_str!("../../../src/budget/remote/settle.lua"));
    let made = server.run(&["hgetall", key]);
    let lines: Vec<&str> = made.lines().collect();
    let token = lines.chunks(2).find(|pair| pair[1].ends_with(":100")).unwrap()[0].strip_prefix('r').unwrap();
    // As a replica does that has not heard the first answer.
    assert_eq!(["1", "0"], [0, 1].map(|_| server.run(&["eval", script, "1", key, token, "7"])));
    assert_eq!(gone(&ledger).await, (7, 20));
    first.settle(MicroDollars(7));
    second.settle(MicroDollars(3));
    ledger.flush().await.unwrap();
    assert_eq!(gone(&ledger).await, (10, 0));
}
