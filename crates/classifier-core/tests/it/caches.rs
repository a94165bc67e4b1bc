//! The caches below memory, as far as any tier will do: what is kept where, for how long, and who is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cache_tiers::{
    CacheError, CacheTier, MemoryConfig, MemoryTier, Notes, TieredCache, TieredConfig, WarmReport,
};
use classifier_core::config::WarmingConfig;
use classifier_core::{
    CachedAnswer, ClassificationSystem, DegradedReason, Optimization, Outcome, Request, Source, Taxonomy,
};
use hp_base::{Clock, ManualClock};
use serde_json::json;

use crate::support::{HELP_DESK, Stepping, built_in, config, is_hit, until};

type Tier = Arc<MemoryTier<CachedAnswer>>;

/// A tier that lasts as long as the test does, in place of a disk or a server.
fn lasting(clock: &Arc<ManualClock>) -> Tier {
    let long = MemoryConfig { ttl: Duration::from_secs(1 << 30), ttl_jitter: 0.0, ..MemoryConfig::default() };
    Arc::new(MemoryTier::new(long, clock.clone()))
}

/// Notes in memory.
#[derive(Debug, Default)]
struct Notebook(Mutex<HashMap<String, Vec<u8>>>);

#[async_trait]
impl Notes for Notebook {
    async fn read_note(&self, name: &str) -> Result<Option<Vec<u8>>, CacheError> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    async fn write_note(&self, name: &str, bytes: Vec<u8>) -> Result<(), CacheError> {
        self.0.lock().unwrap().insert(name.to_owned(), bytes);
        Ok(())
    }
}

/// Everything that outlives a system.
struct World {
    clock: Arc<ManualClock>,
    disk: Tier,
    server: Tier,
    notebook: Arc<Notebook>,
    classifier: Arc<Stepping>,
}

impl World {
    fn new() -> Self {
        Self::of(|_| {})
    }

    fn of(alter: impl FnOnce(&mut Stepping)) -> Self {
        let clock = Arc::new(ManualClock::new());
        let mut classifier = Stepping::new(clock.clone(), Duration::ZERO);
        alter(&mut classifier);
        Self {
            disk: lasting(&clock),
            server: lasting(&clock),
            notebook: Arc::default(),
            classifier: Arc::new(classifier),
            clock,
        }
    }

    /// A system that has just started.
    fn start(&self, flags: &[(&str, &str)]) -> ClassificationSystem {
        let config = config(flags);
        let clock: Arc<dyn Clock> = self.clock.clone();
        let l1 = MemoryConfig { ttl_jitter: 0.0, ..MemoryConfig::default() };
        let cache = TieredCache::builder(clock.clone())
            .config(TieredConfig {
                stale_while_revalidate: config.stale_while_revalidate,
                ..TieredConfig::default()
            })
            .memory(Arc::new(MemoryTier::new(l1, clock.clone())))
            .disk(self.disk.clone())
            .notes(self.notebook.clone())
            .remote(self.server.clone())
            .build();
        ClassificationSystem::builder(&config)
            .with_classifier(self.classifier.clone())
            .with_cache(Arc::new(cache))
            .with_clock(clock)
            .build()
            .unwrap()
    }
}

async fn ask(system: &ClassificationSystem, query: &str) -> Outcome {
    system.classify(&Request::new(query)).await.unwrap()
}

#[tokio::test]
async fn a_second_start_answers_from_what_the_first_has_left() {
    let world = World::new();
    let first = world.start(&[]);
    assert_eq!(ask(&first, "where is my invoice").await.metadata.source, Source::Embedded);
    first.close().await;

    let second = world.start(&[]);
    let metadata = ask(&second, "Where is my invoice?").await.metadata;
    assert_eq!(json!([metadata.source, metadata.cache_level]), json!(["l2", "l2_persistent"]));
    assert!(metadata.cache_hit && metadata.optimizations_applied.iter().eq([Optimization::MultiLevelCache]));
    assert_eq!(ask(&second, "where is my invoice").await.metadata.source, Source::L1, "it was promoted");

    world.disk.clear();
    let third = world.start(&[]);
    let metadata = ask(&third, "where is my invoice").await.metadata;
    assert_eq!(json!([metadata.source, metadata.cache_level]), json!(["l3", "l3_distributed"]));
    assert!(metadata.optimizations_applied.iter().eq([Optimization::MultiLevelCache]));
    assert_eq!(world.classifier.n_asked(), 1);
    let stats = third.cache_stats();
    assert_eq!((stats.overall.total_requests, stats.overall.total_hits), (1, 1));
}

#[tokio::test]
async fn each_tier_keeps_an_answer_for_its_own_time_or_that_of_the_category() {
    let world = World::of(|classifier| {
        let toml = HELP_DESK.replace("route = \"finance\"", "route = \"finance\"\ncache_ttl_seconds = 500");
        classifier.taxonomy = Taxonomy::parse(&toml).unwrap();
    });
    for (l2, l3, expected) in
        [("100", "200", [100, 200]), ("1000", "200", [500, 200]), ("900", "800", [500, 500])]
    {
        let system = world.start(&[("l2_cache_ttl", l2), ("l3_cache_ttl", l3)]);
        let request = Request::new("where is my invoice");
        system.flush().await.unwrap();
        system.classify(&request).await.unwrap();
        system.close().await;
        let key = system.key(&request).unwrap();
        let left = [&world.disk, &world.server].map(|tier| tier.get(&key).unwrap().ttl.as_secs());
        assert_eq!(left, expected);
    }
}

#[test]
fn news_is_kept_for_a_shorter_time_by_the_built_in_taxonomy() {
    let taxonomy = Taxonomy::clinical_metabolomics();
    let ttl = |id: &str| taxonomy.categories()[taxonomy.index_of(id).unwrap()].cache_ttl;
    assert_eq!(ttl("REAL_TIME"), Some(Duration::from_secs(900)));
    assert_eq!((ttl("GENERAL"), ttl("KNOWLEDGE_GRAPH")), (None, None));
}

#[tokio::test]
async fn a_degraded_answer_lives_for_seconds_in_memory_alone() {
    let world = World::of(|classifier| classifier.degraded = Some(DegradedReason::TimedOut));
    let system = world.start(&[]);
    let metadata = ask(&system, "hello").await.metadata;
    assert_eq!(json!([metadata.degraded, metadata.degraded_reason]), json!([true, "timed_out"]));
    let metadata = ask(&system, "hello").await.metadata;
    assert!(metadata.cache_hit && metadata.optimizations_applied.iter().eq([Optimization::MultiLevelCache]));
    assert_eq!(metadata.degraded_reason, Some(DegradedReason::TimedOut), "a cached one is no better");
    world.clock.advance(Duration::from_secs(6));
    assert!(!is_hit(&system, "hello").await);
    system.close().await;
    let key = system.key(&Request::new("hello")).unwrap();
    assert_eq!((world.disk.get(&key), world.server.get(&key)), (None, None));
}

#[tokio::test]
async fn a_stale_answer_is_given_at_once_and_renewed_once() {
    let world = World::new();
    let flags = [("l1_cache_ttl", "10"), ("l2_cache_ttl", "10"), ("l3_cache_ttl", "10")];
    let system = world.start(&[&flags[..], &[("stale_while_revalidate_seconds", "60")]].concat());
    ask(&system, "hello").await;
    world.clock.advance(Duration::from_secs(11));
    for _ in 0..5 {
        assert_eq!(ask(&system, "hello").await.metadata.source, Source::L1, "stale or renewed, it is there");
    }
    until("the answer is renewed", async || world.classifier.n_asked() == 2).await;
    world.clock.advance(Duration::from_secs(9));
    assert!(is_hit(&system, "hello").await);
    assert_eq!(world.classifier.n_asked(), 2, "what was renewed is fresh");
    world.clock.advance(Duration::from_secs(100));
    assert!(!is_hit(&system, "hello").await, "what is older is not given");

    let strict = World::new();
    let system = strict.start(&flags);
    ask(&system, "hello").await;
    strict.clock.advance(Duration::from_secs(11));
    assert!(!is_hit(&system, "hello").await, "without the option nothing stale is given");
}

fn unhurried(depth: usize) -> WarmingConfig {
    WarmingConfig { depth, per_second: f64::INFINITY, ..WarmingConfig::default() }
}

async fn warm(system: &ClassificationSystem, queries: &[&str], depth: usize) -> WarmReport {
    let queries = queries.iter().map(|&query| query.to_owned());
    system.warm(queries, &unhurried(depth), |_| {}, std::future::pending()).await
}

#[tokio::test]
async fn warming_counts_what_it_has_done_and_skips_what_is_there() {
    let world = World::new();
    let system = world.start(&[]);
    let queries = ["one", "ONE?", "two", " ", &"x".repeat(9000)];
    let report = warm(&system, &queries, 0).await;
    assert_eq!((report.total, report.warmed, report.skipped, report.failed), (4, 2, 0, 2));
    let again = warm(&system, &["one", "three"], 0).await;
    assert_eq!((again.total, again.warmed, again.skipped), (2, 1, 1));
    assert!(is_hit(&system, "Two").await);
    system.close().await;
    assert_eq!(
        warm(&world.start(&[]), &["one", "two", "three"], 0).await.skipped,
        3,
        "it outlives the process"
    );
}

#[tokio::test]
async fn variations_are_those_of_the_taxonomy_and_none_is_warmed_twice() {
    let config = config(&[]);
    let builder = ClassificationSystem::builder(&config).with_classifier(built_in().clone());
    let system = builder.build().unwrap();
    let report = warm(&system, &["What is LC-MS?"], 2).await;
    assert_eq!(report.warmed, 2, "of the two variations one is the question itself");
    for asked in ["what is lc-ms", "Explain LC-MS"] {
        assert!(is_hit(&system, asked).await, "{asked}");
    }
    assert!(!is_hit(&system, "How does LC-MS work?").await, "that would be the third");
    assert_eq!(warm(&system, &["lc-ms"], 20).await.total, 9, "there are eight templates");
}

#[tokio::test]
async fn more_is_warmed_than_the_queue_holds_and_nothing_is_lost() {
    let world = World::new();
    let system = world.start(&[("cache_write_queue", "8")]);
    let queries: Vec<String> = (0..500).map(|number| format!("question {number}")).collect();
    let report = system.warm(queries.clone(), &unhurried(0), |_| {}, std::future::pending()).await;
    assert_eq!(report.warmed, 500);
    system.close().await;
    assert_eq!(system.cache_stats().l2_cache.dropped_writes, 0);
    for query in &queries {
        assert!(world.disk.get(&system.key(&Request::new(query)).unwrap()).is_some(), "{query}");
    }
}

#[tokio::test]
async fn a_start_warms_the_list_unless_told_not_to() {
    let flags =
        [("cache_warm_queries", "one; two"), ("predictive_cache_depth", "0"), ("warm_per_second", "1000")];
    let world = World::new();
    let system = world.start(&flags);
    system.start().await;
    until("both are warm", async || world.classifier.n_asked() == 2).await;
    until("they are there", async || is_hit(&system, "one").await && is_hit(&system, "two").await).await;

    let world = World::new();
    let system = world.start(&[&flags[..], &[("enable_cache_warming", "false")]].concat());
    system.start().await;
    system.close().await;
    assert_eq!(world.classifier.n_asked(), 0);
}

#[tokio::test]
async fn what_was_asked_most_is_known_to_the_next_run_and_warmed() {
    let world = World::new();
    let system = world.start(&[]);
    for (query, n) in [("often", 4), ("seldom", 1), ("at times", 2)] {
        for _ in 0..n {
            ask(&system, query).await;
        }
    }
    let mut request = Request::new("with a background");
    request.context.set("topic", "gout").unwrap();
    system.classify(&request).await.unwrap();
    system.close().await;

    let next = world.start(&[("tenant", "other")]);
    assert_eq!(next.most_asked().await, [], "tenants do not see each other's questions");

    world.disk.clear();
    world.server.clear();
    let next = world.start(&[("predictive_cache_depth", "0"), ("warm_per_second", "1000")]);
    let counted = |(query, n): (&str, u64)| (query.to_owned(), n);
    assert_eq!(next.most_asked().await, [("often", 2), ("at times", 1), ("seldom", 1)].map(counted));
    next.start().await;
    let n_before = world.classifier.n_asked();
    until("all three are warm", async || world.classifier.n_asked() == n_before + 3).await;
    next.close().await;
    let last = world.start(&[]);
    assert_eq!(last.most_asked().await[0].1, 2, "a run without questions leaves the counts as they are");
}

#[tokio::test]
async fn cancelled_warming_says_how_far_it_came() {
    let world = World::new();
    let system = world.start(&[]);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stop = Mutex::new(Some(stop));
    let options = WarmingConfig { concurrency: 1, ..unhurried(0) };
    let progress = |report: &WarmReport| {
        if report.warmed == 2
            && let Some(stop) = stop.lock().unwrap().take()
        {
            stop.send(()).unwrap();
        }
    };
    let queries = (0..1000).map(|number| format!("question {number}"));
    let report = system.warm(queries, &options, progress, async move { drop(stopped.await) }).await;
    assert!(report.cancelled && report.warmed >= 2 && report.warmed < 1000, "{report:?}");
}

#[tokio::test]
async fn flushing_forgets_everything_in_every_tier() {
    let world = World::new();
    let system = world.start(&[]);
    ask(&system, "one").await;
    system.cache().drain().await;
    system.flush().await.unwrap();
    assert!(!is_hit(&system, "one").await);
    let key = system.key(&Request::new("one")).unwrap();
    system.forget(&Request::new("one")).await.unwrap();
    system.close().await;
    assert!(world.disk.probe(&key) == cache_tiers::Probe::Miss);
}

#[tokio::test]
async fn warm_per_second_and_warm_concurrency_bound_the_warming() {
    let world = World::of(|classifier| classifier.waits = true);
    let options = WarmingConfig { concurrency: 3, ..unhurried(0) };
    let system = world.start(&[]);
    let queries = || (0..20).map(|number| format!("question {number}"));
    system.warm(queries(), &options, |_| {}, std::future::pending()).await;
    assert_eq!(world.classifier.most_at_once(), 3);

    let world = World::new();
    let system = world.start(&[]);
    let options = WarmingConfig { per_second: 100.0, ..unhurried(0) };
    let started = std::time::Instant::now();
    system.warm(queries(), &options, |_| {}, std::future::pending()).await;
    assert!(
        started.elapsed() >= Duration::from_millis(150),
        "20 at 100 a second took {:?}",
        started.elapsed()
    );
}
