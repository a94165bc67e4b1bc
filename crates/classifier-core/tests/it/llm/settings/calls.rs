//! How many calls there are, how long they take at the most, and what follows when they fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use classifier_core::DegradedReason;
use futures_util::future::join_all;

use super::{Built, QUERY, UNAVAILABLE, built};
use crate::llm::scripted::saying;
use crate::llm::server::{Does, Gate, Server};
use crate::support::until;

fn says() -> Does {
    Does::Says(saying("REAL_TIME", 0.9))
}

async fn reason(built: &Built, query: &str) -> Option<DegradedReason> {
    built.ask(query).await.metadata.degraded_reason
}

/// The most requests at once, when six questions are asked at once and answered as soon as `expected` have come.
async fn most_at_once(flags: &[(&str, &str)], expected: usize) -> usize {
    let gate = Arc::new(Gate::default());
    let held = gate.clone();
    let server = Server::new(move |_, _| {
        held.pass();
        says()
    });
    let built = built(&server, flags);
    let queries: Vec<String> = (0..6).map(|number| format!("question {number}")).collect();
    let asks = join_all(queries.iter().map(|query| built.ask(query)));
    let open = async {
        until("so many have come", async || server.n_at_once() == expected).await;
        gate.open(6);
    };
    let (answers, ()) = futures_util::future::join(asks, open).await;
    assert!(answers.iter().all(|answer| !answer.metadata.degraded), "{answers:?}");
    assert_eq!(server.n_asked(), 6);
    server.most_at_once()
}

#[tokio::test]
async fn parallel_llm_calls_bounds_the_calls_at_once() {
    for n in [1, 3, 5] {
        assert_eq!(most_at_once(&[("parallel_llm_calls", &n.to_string())], n).await, n);
    }
}

#[tokio::test]
async fn max_connections_bounds_the_connections_to_a_provider() {
    for n in [1, 2] {
        let flags = [("parallel_llm_calls", "6"), ("max_connections", &*n.to_string())];
        assert_eq!(most_at_once(&flags, n).await, n);
    }
}

#[tokio::test]
async fn max_response_time_ms_is_how_long_an_answer_is_waited_for() {
    let server = Server::new(|_, _| Does::Hangs);
    let started = Instant::now();
    let built = built(&server, &[("max_response_time_ms", "400")]);
    assert_eq!(reason(&built, QUERY).await, Some(DegradedReason::TimedOut));
    assert!((Duration::from_millis(300)..Duration::from_secs(30)).contains(&started.elapsed()));
}

#[tokio::test]
async fn llm_call_timeout_is_the_end_of_a_call() {
    let server = Server::new(|_, _| Does::Hangs);
    let built = built(&server, &[("llm_call_timeout", "0.2")]);
    let started = Instant::now();
    assert_eq!(reason(&built, QUERY).await, Some(DegradedReason::TimedOut));
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "it has waited for the minute of max_response_time_ms"
    );
}

#[tokio::test]
async fn a_call_goes_on_beyond_the_time_of_its_question_within_llm_call_timeout() {
    let gate = Arc::new(Gate::default());
    let held = gate.clone();
    let server = Server::new(move |_, _| {
        held.pass();
        says()
    });
    let built = built(&server, &[("max_response_time_ms", "200")]);
    assert_eq!(reason(&built, QUERY).await, Some(DegradedReason::TimedOut));
    gate.open(1);
    until("the late answer is kept", async || reason(&built, QUERY).await.is_none()).await;
    assert_eq!(server.n_asked(), 1);
}

#[tokio::test]
async fn connection_timeout_is_how_long_connecting_may_take() {
    // Whoever listens and says nothing keeps TLS from being agreed on.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = Server::saying("GENERAL");
    let started = Instant::now();
    let built = built(&server, &[("llm_base_url", &*url), ("connection_timeout", "0.1")]);
    assert_eq!(reason(&built, QUERY).await, UNAVAILABLE);
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn llm_retries_is_how_often_a_failed_call_is_tried_again() {
    for (retries, n_asked) in [("0", 1), ("1", 2), ("2", 3)] {
        let server = Server::new(|number, _| if number < 2 { Does::Fails(503) } else { says() });
        let built = built(&server, &[("llm_retries", retries)]);
        let answer = built.ask(QUERY).await;
        assert_eq!((answer.metadata.degraded, server.n_asked()), (n_asked < 3, n_asked));
        if let Some(llm) = answer.metadata.llm {
            assert_eq!(llm.n_calls, Some(3));
        }
    }
}

#[tokio::test]
async fn hedge_share_is_for_how_many_late_calls_a_second_request_is_sent() {
    for share in ["0", "1"] {
        let has_hung = AtomicBool::new(false);
        let server = Server::new(move |_, asked| {
            let is_ours = asked.body["messages"][1]["content"].as_str().unwrap().contains(QUERY);
            if is_ours && !has_hung.swap(true, Ordering::Relaxed) { Does::Hangs } else { says() }
        });
        let built = built(&server, &[("hedge_share", share)]);
        let is_hedged = share == "1";
        for number in 0..40 {
            assert_eq!(reason(&built, &format!("question {number}")).await, None);
        }
        if is_hedged {
            let answer = built.ask(QUERY).await;
            assert_eq!(answer.metadata.degraded_reason, None);
            assert!(answer.metadata.llm.unwrap().hedged);
        }
        let hedge = built.system.llm().unwrap().models()[0].hedge;
        assert_eq!(hedge.is_some_and(|hedge| hedge.n_sent >= 1 && hedge.n_won >= 1), is_hedged, "{hedge:?}");
    }
}

#[tokio::test]
async fn circuit_breaker_failure_rate_is_the_share_at_which_a_model_is_left_alone() {
    // Three of four calls fail.
    for (rate, opens) in [("0.5", true), ("1", false)] {
        let server = Server::new(|number, _| if number % 4 == 0 { says() } else { Does::Fails(500) });
        let flags = [("circuit_breaker_failure_rate", rate), ("circuit_breaker_open_seconds", "600")];
        let built = built(&server, &flags);
        let mut reasons = Vec::new();
        for number in 0..12 {
            reasons.push(reason(&built, &format!("question {number}")).await);
        }
        assert_eq!(reasons.contains(&Some(DegradedReason::CircuitOpen)), opens, "{reasons:?}");
        assert_eq!(server.n_asked() < 12, opens);
        assert_eq!(built.system.llm().unwrap().models()[0].breaker.n_openings > 0, opens);
    }
}

#[tokio::test]
async fn circuit_breaker_open_seconds_is_how_long_it_is_left_alone() {
    for (seconds, comes_back) in [("600", false), ("0.01", true)] {
        let server = Server::new(|number, _| if number < 5 { Does::Fails(500) } else { says() });
        let built = built(&server, &[("circuit_breaker_open_seconds", seconds)]);
        for number in 0..6 {
            reason(&built, &format!("question {number}")).await;
        }
        if comes_back {
            let n = AtomicUsize::new(6);
            until("it is asked again", async || {
                let number = n.fetch_add(1, Ordering::Relaxed);
                reason(&built, &format!("question {number}")).await.is_none()
            })
            .await;
        } else {
            assert_eq!(reason(&built, QUERY).await, Some(DegradedReason::CircuitOpen));
            assert_eq!(server.n_asked(), 5);
        }
    }
}

#[tokio::test]
async fn replies_that_are_no_answers_open_the_circuit_too() {
    let server = Server::new(|_, _| Does::Says("no".to_owned()));
    let built = built(&server, &[("circuit_breaker_open_seconds", "600")]);
    let mut reasons = Vec::new();
    for number in 0..10 {
        reasons.push(reason(&built, &format!("question {number}")).await.unwrap());
    }
    assert_eq!((reasons[0], reasons[9]), (DegradedReason::InvalidReply, DegradedReason::CircuitOpen));
}
