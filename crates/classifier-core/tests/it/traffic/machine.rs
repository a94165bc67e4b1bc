//! What a system sees of the machine, and what it does about it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use classifier_core::{ClassificationSystem, DegradedReason, Request};
use hp_base::ManualClock;
use resource_manager::{
    Admission, AdmissionStats, Applicant, NoAdmission, Outcome, Permit, Rejected, ResourceProbe, Resources,
};

use super::{Held, system};
use crate::support::{Stepping, config, until};

/// A machine of which so large a share is busy.
#[derive(Debug)]
struct Busy {
    cpu: f64,
    memory: Mutex<f64>,
}

impl ResourceProbe for Busy {
    fn sample(&self) -> Resources {
        let memory = *self.memory.lock().unwrap();
        Resources {
            cpu_quota: 2.0,
            cpu_share_used: Some(self.cpu),
            memory_share_used: Some(memory),
            ..Resources::unknown()
        }
    }
}

#[tokio::test]
async fn monitoring_interval_seconds_is_how_often_it_looks() {
    let often = system(&[("monitoring_interval_seconds", "0.05")]);
    assert_eq!(often.stats().resources.n_samples, 0, "nothing is looked at before the start");
    often.start().await;
    until("it has looked three times", async || often.stats().resources.n_samples >= 3).await;
    let seldom = system(&[("monitoring_interval_seconds", "3600")]);
    seldom.start().await;
    until("often has gone on", async || often.stats().resources.n_samples >= 5).await;
    assert_eq!(seldom.stats().resources.n_samples, 1);
    let resources = often.stats().resources;
    assert!(resources.process_memory_bytes.is_some_and(|bytes| bytes > 1 << 20), "{resources:?}");
    often.close().await;
    seldom.close().await;
}

/// What is advised after ten minutes in which so much of the processors was busy.
async fn advised(cpu: f64, flags: &[(&str, &str)]) -> Option<(&'static str, f64)> {
    let clock = Arc::new(ManualClock::new());
    let flags = [&[("monitoring_interval_seconds", "0.05")], flags].concat();
    let system = ClassificationSystem::builder(&config(&flags))
        .with_clock(clock.clone())
        .with_probe(Arc::new(Busy { cpu, memory: Mutex::new(0.1) }))
        .build()
        .unwrap();
    system.start().await;
    for n in 1..40 {
        for question in 0..10 {
            system.classify(&Request::new(&format!("question {question} of {n}"))).await.unwrap();
        }
        let seen = system.stats().resources.n_samples;
        until("it has looked", async || system.stats().resources.n_samples > seen).await;
        clock.advance(Duration::from_secs(15));
    }
    let scaling = system.stats().resources.scaling;
    let said = system.recommendations().iter().any(|recommendation| recommendation.category == "scaling");
    assert_eq!(said, scaling.as_ref().is_some_and(|scaling| scaling.action != "steady"));
    system.close().await;
    scaling.map(|scaling| (scaling.action, scaling.factor))
}

#[tokio::test]
async fn enable_auto_scaling_and_its_thresholds_decide_what_is_advised() {
    assert_eq!(advised(0.9, &[("enable_auto_scaling", "false")]).await, None);
    let (action, factor) = advised(0.9, &[]).await.unwrap();
    assert!(action == "scale_up" && factor > 1.1, "{action} {factor}");
    assert_eq!(advised(0.9, &[("scale_up_threshold", "0.95")]).await, Some(("steady", 1.0)));
    let (action, factor) = advised(0.2, &[]).await.unwrap();
    assert!(action == "scale_down" && factor < 0.5, "{action} {factor}");
    assert_eq!(advised(0.2, &[("scale_down_threshold", "0.1")]).await, Some(("steady", 1.0)));
}

#[tokio::test]
async fn target_throughput_rps_is_what_the_way_to_the_classifier_should_carry() {
    for (target, is_said) in [("100000", true), ("10", false)] {
        let clock = Arc::new(ManualClock::new());
        let stepping = Stepping::new(clock.clone(), Duration::from_secs(1));
        let system = ClassificationSystem::builder(&config(&[("target_throughput_rps", target)]))
            .with_classifier(Arc::new(stepping))
            .with_clock(clock)
            .build()
            .unwrap();
        for n in 0..250 {
            system.classify(&Request::new(&format!("question {n}"))).await.unwrap();
        }
        let said = system.recommendations();
        let said = said.iter().any(|recommendation| recommendation.issue.contains("target_throughput_rps"));
        assert_eq!(said, is_said);
    }
}

#[tokio::test]
async fn while_memory_is_short_the_caches_shrink_and_then_grow_again() {
    let probe = Arc::new(Busy { cpu: 0.95, memory: Mutex::new(0.95) });
    let held = Held::new();
    let flags =
        [("monitoring_interval_seconds", "0.05"), ("l1_cache_size", "10000"), ("max_batch_size", "10")];
    let system = ClassificationSystem::builder(&config(&flags))
        .with_batch_classifier(held)
        .with_probe(probe.clone())
        .build()
        .unwrap();
    let before = system.stats();
    system.start().await;
    until("memory is short", async || system.stats().resources.memory_pressure).await;
    let short = system.stats();
    assert_eq!(short.cache.l1_cache.max_size, before.cache.l1_cache.max_size / 2);
    assert_eq!(short.resources.buffer_bytes_most, 0);
    assert_eq!(
        (before.gate.max_batch_size, short.gate.max_batch_size),
        (10, 20),
        "processors are short as well"
    );
    assert!(short.gate.limit < before.gate.limit, "{:?}", short.gate);
    assert!(system.recommendations().iter().any(|said| said.issue.contains("of the memory")));
    *probe.memory.lock().unwrap() = 0.2;
    until("there is enough again", async || !system.stats().resources.memory_pressure).await;
    let after = system.stats();
    assert_eq!(after.cache.l1_cache.max_size, before.cache.l1_cache.max_size);
    assert_eq!(after.resources.buffer_bytes_most, before.resources.buffer_bytes_most);
    // The processors are short still; nothing stays reduced when nobody looks any more.
    system.close().await;
    assert_eq!(system.stats().gate.max_batch_size, 10);
}

/// Admits everybody, and hears how it went.
#[derive(Debug, Default)]
struct Hearing(Arc<Mutex<Vec<Outcome>>>);

#[async_trait]
impl Admission for Hearing {
    async fn admit(&self, applicant: Applicant) -> Result<Permit, Rejected> {
        self.try_admit(applicant)
    }

    fn try_admit(&self, _applicant: Applicant) -> Result<Permit, Rejected> {
        let heard = self.0.clone();
        Ok(Permit::new(move |outcome| heard.lock().unwrap().push(outcome)))
    }

    fn stats(&self) -> AdmissionStats {
        NoAdmission.stats()
    }

    fn squeeze(&self, _share: f64) {}
}

#[tokio::test]
async fn the_limit_of_calls_hears_of_what_was_too_much_and_of_nothing_else() {
    for (degraded, expected) in [
        (None, Outcome::Done),
        (Some(DegradedReason::TimedOut), Outcome::Done),
        (Some(DegradedReason::RateLimited), Outcome::Overloaded),
        (Some(DegradedReason::InvalidReply), Outcome::Unknown),
    ] {
        let hearing = Arc::new(Hearing::default());
        let mut classifier = Stepping::new(Arc::new(ManualClock::new()), Duration::ZERO);
        classifier.degraded = degraded;
        let system = ClassificationSystem::builder(&config(&[]))
            .with_classifier(Arc::new(classifier))
            .with_admission(hearing.clone())
            .build()
            .unwrap();
        system.classify(&Request::new("a question")).await.unwrap();
        assert_eq!(*hearing.0.lock().unwrap(), [expected], "{degraded:?}");
    }
}
