//! An answer from the whole pipeline within a process, cached and not.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::Questions;
use cache_tiers::{MemoryConfig, MemoryTier, SystemClock};
use classifier_core::{CachedAnswer, ClassificationSystem, Config, Request};
use criterion::Criterion;
use tokio::runtime::Runtime;

fn main() -> anyhow::Result<()> {
    let questions = Questions::load(None)?;
    let cache = Arc::new(MemoryTier::new(MemoryConfig::default(), Arc::new(SystemClock)));
    let config = Config::default();
    let system = ClassificationSystem::builder(&config).with_tier(cache.clone()).build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    // What follows does not look at the answers, so whether there are any is seen here.
    for text in questions.texts() {
        runtime.block_on(system.classify(&Request::new(text)))?;
    }
    let subject = Subject { system, cache, runtime, texts: questions.texts() };
    let mut criterion = Criterion::default().configure_from_args();
    subject.cached(&mut criterion);
    subject.uncached(&mut criterion);
    criterion.final_summary();
    Ok(())
}

struct Subject<'a> {
    system: ClassificationSystem,
    cache: Arc<MemoryTier<CachedAnswer>>,
    runtime: Runtime,
    texts: &'a [String],
}

impl Subject<'_> {
    fn cached(&self, criterion: &mut Criterion) {
        let text = &self.texts[0];
        criterion.bench_function("system/cached", |bencher| {
            bencher.iter_custom(|n_calls| self.ask((0..n_calls).map(|_| text)));
        });
    }

    /// Every question is new: the cache is emptied after each time through the file.
    fn uncached(&self, criterion: &mut Criterion) {
        criterion.bench_function("system/uncached", |bencher| {
            bencher.iter_custom(|n_calls| {
                let mut n_left = usize::try_from(n_calls).unwrap_or(usize::MAX);
                let mut time = Duration::ZERO;
                while n_left > 0 {
                    self.cache.clear();
                    let n_asked = n_left.min(self.texts.len());
                    time += self.ask(self.texts[..n_asked].iter());
                    n_left -= n_asked;
                }
                time
            });
        });
    }

    /// The time for all of them, without that for entering the runtime.
    fn ask<'a>(&self, texts: impl Iterator<Item = &'a String>) -> Duration {
        self.runtime.block_on(async {
            let started = Instant::now();
            for text in texts {
                drop(black_box(self.system.classify(&Request::new(black_box(text))).await));
            }
            started.elapsed()
        })
    }
}
