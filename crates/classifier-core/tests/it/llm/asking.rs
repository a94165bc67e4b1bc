//! A classifier that takes its time, fails or breaks: what the system answers meanwhile, and what comes of the answer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use classifier_core::{
    ClassificationSystem, Classifier, DegradedReason, EarlyAnswer, Error, ErrorKind, Optimization, Outcome,
    Request, Result, Source, Taxonomy, Verdict,
};
use futures_util::future::{join, join_all};
use hp_base::{Deadline, ManualClock, Priority, SystemClock};
use llm_optimizer::LlmErrorKind;
use tokio::sync::{Semaphore, watch};

use super::scripted::{Scripted, cascade};
use crate::support::{block_on, built_in, config, is_hit, until};

const QUERY: &str = "What is a metabolome?";
const LABELS: [&str; 3] = ["KNOWLEDGE_GRAPH", "REAL_TIME", "GENERAL"];

/// What a classifier does when it is asked.
enum Act {
    /// It says a category.
    Says(usize),
    Fails,
    Panics,
    Hangs,
    /// It waits for a permit, and then acts.
    Waits(Arc<Semaphore>, Box<Act>),
    /// It tells a category early, and then acts.
    Tells(usize, Box<Act>),
}

/// A classifier whose every act is written down.
struct Acting {
    script: Box<dyn Fn(usize) -> Act + Send + Sync>,
    /// How it was asked, and until when.
    asked: watch::Sender<Vec<(String, Deadline)>>,
}

impl Acting {
    fn new(script: impl Fn(usize) -> Act + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { script: Box::new(script), asked: watch::Sender::new(Vec::new()) })
    }

    fn n_asked(&self) -> usize {
        self.asked.borrow().len()
    }

    async fn until_asked(&self, n: usize) {
        self.asked.subscribe().wait_for(|asked| asked.len() >= n).await.unwrap();
    }
}

fn verdict(query: &str, category: usize) -> Verdict {
    let mut classification = built_in().classify(query);
    classification.category = built_in().taxonomy().categories()[category].id.clone();
    Verdict::new(classification, Source::Llm)
}

#[async_trait]
impl Classifier for Acting {
    async fn classify(&self, request: &Request<'_>) -> Result<Verdict> {
        self.classify_early(request, &|_| {}).await
    }

    async fn classify_early(&self, request: &Request<'_>, early: &EarlyAnswer<'_>) -> Result<Verdict> {
        let mut number = 0;
        self.asked.send_modify(|asked| {
            number = asked.len();
            asked.push((format!("{request:?}"), request.deadline));
        });
        let mut act = (self.script)(number);
        loop {
            match act {
                Act::Says(category) => return Ok(verdict(request.query, category)),
                Act::Fails => return Err(Error::new(ErrorKind::InvalidData, "it has failed on purpose")),
                Act::Panics => panic!("it panics on purpose"),
                Act::Hangs => std::future::pending().await,
                Act::Waits(gate, then) => {
                    gate.acquire().await.unwrap().forget();
                    act = *then;
                }
                Act::Tells(category, then) => {
                    early(verdict(request.query, category));
                    act = *then;
                }
            }
        }
    }

    fn taxonomy(&self) -> &Taxonomy {
        built_in().taxonomy()
    }

    fn revision(&self) -> [u8; 16] {
        [9; 16]
    }
}

impl fmt::Debug for Acting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acting").finish_non_exhaustive()
    }
}

/// A system around a classifier, with or without something to fall back on.
fn around(acting: &Arc<Acting>, falls_back: bool, max_ms: &str) -> ClassificationSystem {
    let config = config(&[("max_response_time_ms", max_ms)]);
    let builder = ClassificationSystem::builder(&config).with_classifier(acting.clone());
    let builder = if falls_back { builder.with_fallback(built_in().clone()) } else { builder };
    builder.build().unwrap()
}

async fn ask(system: &ClassificationSystem, query: &str) -> Outcome {
    system.classify(&Request::new(query)).await.unwrap()
}

#[track_caller]
fn check_fallback(answer: &Outcome, reason: DegradedReason) {
    let Outcome { classification, metadata } = answer;
    let mut expected = built_in().classify(QUERY);
    expected.degraded = Some(reason);
    assert_eq!(**classification, expected);
    assert_eq!((metadata.degraded, metadata.degraded_reason), (true, Some(reason)));
    assert_eq!((metadata.source, metadata.cache_hit), (Source::Embedded, false));
    assert_eq!(metadata.optimizations_applied.iter().count(), 0, "a stand-in makes nothing better");
}

#[tokio::test]
async fn who_waits_for_one_that_hangs_is_answered_in_time() {
    let acting = Acting::new(|_| Act::Hangs);
    let system = around(&acting, true, "400");
    let started = Instant::now();
    let answer = ask(&system, QUERY).await;
    assert!(started.elapsed() >= Duration::from_millis(300), "it was not waited for");
    assert!(started.elapsed() < Duration::from_secs(20));
    check_fallback(&answer, DegradedReason::TimedOut);
    assert!(!is_hit(&system, QUERY).await, "what stands in is not kept");
    assert_eq!(acting.n_asked(), 1, "the second who asks waits for the same answer");
}

#[tokio::test]
async fn the_sooner_deadline_counts_and_leaves_time_for_what_comes_after() {
    let acting = Acting::new(|_| Act::Hangs);
    let system = around(&acting, true, "600000");
    let deadline = Deadline::after(&SystemClock, Duration::from_millis(300));
    let request = Request { deadline, ..Request::new(QUERY) };
    let answer = system.classify(&request).await.unwrap();
    check_fallback(&answer, DegradedReason::TimedOut);
    let past = Deadline::at(Instant::now());
    let request = Request { deadline: past, ..Request::new(QUERY) };
    check_fallback(&system.classify(&request).await.unwrap(), DegradedReason::TimedOut);
}

#[tokio::test]
async fn a_late_answer_is_there_for_the_next_who_asks() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let acting = Acting::new(move |_| Act::Waits(held.clone(), Box::new(Act::Says(0))));
    let system = around(&acting, true, "100");
    check_fallback(&ask(&system, QUERY).await, DegradedReason::TimedOut);
    gate.add_permits(1);
    until("the late answer is kept", async || is_hit(&system, QUERY).await).await;
    let answer = ask(&system, QUERY).await;
    assert_eq!((answer.classification.category.as_str(), answer.metadata.degraded), (LABELS[0], false));
    assert_eq!(acting.n_asked(), 1);
}

#[tokio::test]
async fn one_that_fails_or_panics_is_stood_in_for_and_asked_anew() {
    for breaks in [|| Act::Fails, || Act::Panics] {
        let acting = Acting::new(move |number| if number < 2 { breaks() } else { Act::Says(1) });
        let system = around(&acting, true, "60000");
        for _ in 0..2 {
            check_fallback(&ask(&system, QUERY).await, DegradedReason::Failed);
        }
        let answer = ask(&system, QUERY).await;
        assert_eq!((answer.classification.category.as_str(), answer.metadata.degraded), (LABELS[1], false));
        assert_eq!((acting.n_asked(), is_hit(&system, QUERY).await), (3, true));
    }
}

#[tokio::test]
async fn an_early_answer_is_given_and_the_fuller_one_kept() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let acting = Acting::new(move |_| {
        let rest = Act::Waits(held.clone(), Box::new(Act::Says(2)));
        Act::Tells(1, Box::new(Act::Tells(0, Box::new(rest))))
    });
    let system = around(&acting, true, "60000");
    for (query, force_llm) in [(QUERY, false), ("What is a lipid?", true)] {
        let request = Request { force_llm, ..Request::new(query) };
        let answer = system.classify(&request).await.unwrap();
        assert_eq!(answer.classification.category.as_str(), LABELS[1], "the first that is told counts");
        assert_eq!((answer.metadata.source, answer.metadata.degraded), (Source::Llm, false));
        gate.add_permits(1);
        until("the fuller answer is kept", async || is_hit(&system, query).await).await;
        assert_eq!(ask(&system, query).await.classification.category.as_str(), LABELS[2]);
    }
}

#[tokio::test]
async fn an_answer_that_was_told_counts_though_the_rest_fails() {
    for breaks in [|| Act::Fails, || Act::Panics] {
        let acting = Acting::new(move |_| Act::Tells(1, Box::new(breaks())));
        let system = around(&acting, true, "60000");
        for number in 0..50 {
            let answer = ask(&system, &format!("question {number}")).await;
            assert_eq!(
                (answer.classification.category.as_str(), answer.metadata.degraded),
                (LABELS[1], false)
            );
        }
    }
}

#[tokio::test]
async fn a_thousand_who_ask_the_same_at_once_are_answered_by_one_call() {
    const N: usize = 1000;
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let acting = Acting::new(move |_| Act::Waits(held.clone(), Box::new(Act::Says(1))));
    let system = around(&acting, true, "60000");
    let n_started = AtomicUsize::new(0);
    let asks = (0..N).map(|_| async {
        n_started.fetch_add(1, Ordering::Relaxed);
        ask(&system, QUERY).await
    });
    let open = async {
        // On this runtime of one thread, whoever has started has looked into the cache as well.
        while n_started.load(Ordering::Relaxed) < N {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
    };
    let (answers, ()) = join(join_all(asks), open).await;
    assert_eq!(acting.n_asked(), 1);
    let (told, coalesced): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.metadata.source == Source::Llm);
    assert_eq!((told.len(), coalesced.len()), (1, N - 1));
    assert!(!told[0].metadata.deduplicated);
    for Outcome { classification, metadata } in coalesced {
        assert_eq!(classification.category.as_str(), LABELS[1]);
        assert_eq!(metadata.source, Source::Coalesced);
        assert!(metadata.deduplicated && !metadata.cache_hit && !metadata.degraded);
        assert!(metadata.optimizations_applied.iter().eq([Optimization::RequestDeduplication]));
    }
}

#[tokio::test]
async fn what_stands_in_says_so_in_the_cache_too_and_is_kept_for_seconds() {
    let model = Scripted::failing(LlmErrorKind::Unavailable);
    let clock = Arc::new(ManualClock::new());
    let config = config(&[("l1_cache_ttl_jitter", "0")]);
    let builder = ClassificationSystem::builder(&config).with_clock(clock.clone());
    let builder = builder.with_classifier(cascade(&model, None)).with_fallback(built_in().clone());
    let system = builder.build().unwrap();
    check_fallback(&ask(&system, QUERY).await, DegradedReason::Unavailable);
    clock.advance(Duration::from_millis(4_999));
    let Outcome { metadata, .. } = ask(&system, QUERY).await;
    assert_eq!((metadata.source, metadata.cache_hit, metadata.degraded), (Source::L1, true, true));
    assert_eq!((metadata.degraded_reason, model.n_asked()), (Some(DegradedReason::Unavailable), 1));
    clock.advance(Duration::from_millis(1));
    check_fallback(&ask(&system, QUERY).await, DegradedReason::Unavailable);
    assert_eq!(model.n_asked(), 2);
}

#[tokio::test]
async fn force_llm_passes_the_cache_and_renews_it() {
    let acting = Acting::new(Act::Says);
    let system = around(&acting, true, "60000");
    assert_eq!(ask(&system, QUERY).await.classification.category.as_str(), LABELS[0]);
    assert_eq!(ask(&system, QUERY).await.metadata.source, Source::L1);
    let forced = Request { force_llm: true, ..Request::new(QUERY) };
    let answer = system.classify(&forced).await.unwrap();
    assert_eq!((answer.classification.category.as_str(), answer.metadata.source), (LABELS[1], Source::Llm));
    let answer = ask(&system, QUERY).await;
    assert_eq!((answer.classification.category.as_str(), answer.metadata.source), (LABELS[1], Source::L1));
    assert_eq!(acting.n_asked(), 2);
}

#[tokio::test]
async fn what_stands_in_takes_no_better_answers_place() {
    let reply = super::scripted::saying("REAL_TIME", 0.9);
    let model = Scripted::new(move |number, _| match number {
        0 => super::scripted::Step::Reply(reply.clone()),
        _ => super::scripted::Step::Fails(LlmErrorKind::Unavailable),
    });
    let system = super::scripted::system(&model, &[]);
    ask(&system, QUERY).await;
    let forced = Request { force_llm: true, ..Request::new(QUERY) };
    check_fallback(&system.classify(&forced).await.unwrap(), DegradedReason::Unavailable);
    let answer = ask(&system, QUERY).await;
    assert_eq!((answer.classification.category.as_str(), answer.metadata.degraded), (LABELS[1], false));
}

#[tokio::test]
async fn with_nothing_to_fall_back_on_the_error_says_what_happened() {
    let kind = async |act: fn() -> Act, max_ms: &str| {
        let system = around(&Acting::new(move |_| act()), false, max_ms);
        let error = system.classify(&Request::new(QUERY)).await.unwrap_err();
        (error.kind(), error.to_string())
    };
    let (failed, message) = kind(|| Act::Fails, "60000").await;
    assert_eq!((failed, message.as_str()), (ErrorKind::InvalidData, "it has failed on purpose"));
    let (late, message) = kind(|| Act::Hangs, "100").await;
    assert_eq!(late, ErrorKind::OutOfTime);
    assert!(message.contains("max_response_time_ms"), "{message}");
    let (broken, message) = kind(|| Act::Panics, "60000").await;
    assert_eq!((broken, message.as_str()), (ErrorKind::Io, "the classifier has panicked"));
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_worked_out_all_the_same() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let acting = Acting::new(move |_| Act::Waits(held.clone(), Box::new(Act::Says(0))));
    let system = Arc::new(around(&acting, true, "60000"));
    let asking = tokio::spawn({
        let system = system.clone();
        async move { ask(&system, QUERY).await }
    });
    acting.until_asked(1).await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    let key = system.key(&Request::new(QUERY)).unwrap();
    until("the answer is kept", async || system.cache().peek(&key).await.is_some()).await;
    assert_eq!(acting.n_asked(), 1);
}

#[test]
fn a_runtime_without_timers_will_do() {
    let acting = Acting::new(|number| if number == 0 { Act::Hangs } else { Act::Says(0) });
    let system = around(&acting, true, "100");
    check_fallback(&block_on(ask(&system, QUERY)), DegradedReason::TimedOut);
    let answer = block_on(ask(&system, "What is a lipid?"));
    assert_eq!(answer.classification.category.as_str(), LABELS[0]);
}

#[test]
fn an_answer_comes_though_the_runtime_of_who_asked_has_ended() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let acting = Acting::new(move |_| Act::Waits(held.clone(), Box::new(Act::Says(0))));
    let system = around(&acting, true, "100");
    check_fallback(&block_on(ask(&system, QUERY)), DegradedReason::TimedOut);
    gate.add_permits(1);
    let another = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    another.block_on(until("the late answer is kept", async || is_hit(&system, QUERY).await));
    assert_eq!(acting.n_asked(), 1);
}

#[tokio::test]
async fn the_whole_request_reaches_the_classifier_with_the_time_it_has() {
    let acting = Acting::new(|_| Act::Says(0));
    let clock = Arc::new(ManualClock::new());
    // A quarter of the time is kept back, and sixty milliseconds at the most.
    for (max_ms, left_ms) in [("60000", 59_900), ("100", 75)] {
        let config = config(&[("max_response_time_ms", max_ms)]);
        let builder = ClassificationSystem::builder(&config).with_clock(clock.clone());
        let system = builder.with_classifier(acting.clone()).build().unwrap();
        let mut request =
            Request { priority: Priority::High, force_llm: true, ..Request::new("and in children?") };
        request.context.set("topic", "gout").unwrap();
        system.classify(&request).await.unwrap();
        let (seen, deadline) = acting.asked.borrow().last().unwrap().clone();
        assert_eq!(deadline.left(&*clock), Duration::from_millis(left_ms));
        let but_for_the_deadline = |request: &str| request.split("deadline: ").next().unwrap().to_owned();
        assert_eq!(but_for_the_deadline(&seen), but_for_the_deadline(&format!("{request:?}")));
    }
}
