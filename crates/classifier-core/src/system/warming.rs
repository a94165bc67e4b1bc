//! Filling the caches before anybody asks, and remembering what is asked most.

use std::collections::HashSet;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use cache_tiers::{WarmOptions, WarmReport, Warmed, warm};

use super::ClassificationSystem;
use super::engine::Engine;
use crate::classifier::Request;
use crate::config::WarmingConfig;

/// When the counts of the run before are looked for first, and then until they are found.
const SOON: Duration = Duration::from_millis(250);
/// How often what is asked most is written down.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// How long warming waits for a cache that is being opened; it can warm the others without.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

impl ClassificationSystem {
    /// Works the answers to questions out ahead, each with `depth` variations by the taxonomy's templates besides, and
    /// keeps them. What a cache has already is skipped, and so is what says the same as another. All questions come
    /// before their variations. `options` says how many at a time and how fast; its `queries` are left aside.
    ///
    /// `progress` is told after each question, and when `cancelled` ends, no other is begun.
    pub async fn warm(
        &self,
        queries: impl IntoIterator<Item = String>,
        options: &WarmingConfig,
        progress: impl Fn(&WarmReport) + Send + Sync,
        cancelled: impl Future<Output = ()> + Send,
    ) -> WarmReport {
        let queries = self.engine.with_variations(queries.into_iter().collect(), options.depth);
        let warming = self.engine.warm_all(queries, options, progress, cancelled);
        match self.own_background() {
            Ok(background) => background.within(warming).await,
            // Where there is no thread to be had, the caller's runtime does it.
            Err(_) => warming.await,
        }
    }

    /// For programs that stay: fills the caches in the background with `cache_warm_queries` and with what was asked most
    /// in the run before, if `enable_cache_warming` says so. Answers need not wait for any of it.
    ///
    /// And looks at the processors, the memory and the files of the process every `monitoring_interval_seconds`: while
    /// something is short, the memory tier and the buffers shrink, and there are fewer calls with more questions in each.
    pub async fn start(&self) {
        self.warm_llm();
        let runtime = self.handle();
        self.means.start(&self.config, &self.engine, &self.counts, self.memory.clone(), runtime);
        let knows_something = !self.config.warming.queries.is_empty() || self.engine.asked.is_some();
        if !self.config.warming.enabled || !knows_something {
            return;
        }
        let handle = match self.own_background() {
            Ok(background) => background.handle(),
            Err(error) => return tracing::warn!(%error, "the caches are not warmed"),
        };
        let (engine, options) = (Arc::clone(&self.engine), self.config.warming.clone());
        let task = handle.spawn(async move {
            let mut queries = options.queries.clone();
            let taken_over = async {
                while engine.asked.is_some() && !engine.take_over_asked().await {
                    tokio::time::sleep(SOON).await;
                }
            };
            // OK to ignore: what was asked most stays unknown, and the list is warmed all the same.
            let _ = tokio::time::timeout(OPEN_WITHIN, taken_over).await;
            queries.extend(engine.most_asked().into_iter().map(|(query, _)| query));
            if queries.is_empty() {
                return;
            }
            let queries = engine.with_variations(queries, options.depth);
            let report = engine.warm_all(queries, &options, |_| {}, pending()).await;
            let WarmReport { warmed, skipped, failed, .. } = report;
            tracing::info!(warmed, skipped, failed, "the caches are warm");
        });
        self.remember(task);
    }

    /// The questions asked most, with about how often, the greatest count first: those of this run and half of those of
    /// the runs before. Empty without a cache on disk, which keeps them.
    pub async fn most_asked(&self) -> Vec<(String, u64)> {
        self.within(self.engine.take_over_asked()).await;
        self.engine.most_asked()
    }

    /// Opens connections to the language model in the background.
    fn warm_llm(&self) {
        if let (Some(warming), Ok(background)) = (self.llm.warming(), self.own_background()) {
            let task = background.handle().spawn(warming);
            self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        }
    }

    /// Writes down from time to time what is asked most.
    pub(super) fn keep_asked_in_background(&self) {
        let Some(background) = self.handle().filter(|_| self.engine.asked.is_some()) else { return };
        let engine = Arc::clone(&self.engine);
        let task = background.spawn(async move {
            tokio::time::sleep(SOON).await;
            while !engine.take_over_asked().await {
                tokio::time::sleep(SOON).await;
            }
            loop {
                tokio::time::sleep(KEEP_EVERY).await;
                engine.keep_asked().await;
            }
        });
        self.remember(task);
    }

    fn remember(&self, task: tokio::task::JoinHandle<()>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

impl Engine {
    /// The queries, and then variations of each, the likeliest of all before the next; none of them twice.
    fn with_variations(&self, queries: Vec<String>, depth: usize) -> Vec<String> {
        let taxonomy = self.classifier.taxonomy();
        let mut seen = HashSet::new();
        let mut all: Vec<String> = Vec::new();
        let mut by_rank = vec![Vec::new(); depth];
        for query in queries {
            if !seen.insert(self.key(&Request::new(&query))) {
                continue;
            }
            if self.check(&Request::new(&query)).is_ok() {
                for (variations, variation) in by_rank.iter_mut().zip(taxonomy.variations(&query)) {
                    variations.push(variation);
                }
            }
            all.push(query);
        }
        for variation in by_rank.into_iter().flatten() {
            if seen.insert(self.key(&Request::new(&variation))) {
                all.push(variation);
            }
        }
        all
    }

    async fn warm_all(
        &self,
        queries: Vec<String>,
        options: &WarmingConfig,
        progress: impl Fn(&WarmReport) + Send + Sync,
        cancelled: impl Future<Output = ()> + Send,
    ) -> WarmReport {
        let n_written = AtomicUsize::new(0);
        let n_written = &n_written;
        let work = move |query: String| async move {
            let warmed = self.warm(&query).await?;
            if warmed == Warmed::Warmed {
                let n = n_written.fetch_add(1, Ordering::Relaxed) + 1;
                if n.is_multiple_of(self.writes_between_drains) {
                    self.cache.drain().await;
                }
            }
            Ok::<_, crate::Error>(warmed)
        };
        let options = WarmOptions { concurrency: options.concurrency, per_second: options.per_second };
        warm(queries, &options, work, progress, cancelled).await
    }
}
