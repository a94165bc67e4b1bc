//! Many questions at once: those that take a processor on threads of their own, the others side by side.

use std::time::Instant;

use futures_util::stream::{self, StreamExt as _};
use resource_manager::PooledBuffer;

use super::engine::Given;
use super::{ClassificationSystem, Outcome};
use crate::classifier::{Context, Request, Verdict};
use crate::error::Result;
use cache_tiers::{Hit, Key, Lookup};

/// With fewer questions to work out the threads cost more than they save.
const WORTH_A_THREAD: usize = 32;
/// Questions a thread takes at a time: about a millisecond.
const CHUNK: usize = 64;
/// Questions that wait for a classifier at a time.
const MOST_ASKED_AT_ONCE: usize = 1_000;

/// Where a question stands after a first look.
enum Standing {
    Done(Result<Outcome>),
    /// In no cache.
    Open(Key),
    /// Perhaps on disk or on Redis, or forced.
    Unknown,
}

/// Questions that a thread can take along: their texts stand in one buffer, one behind the other.
struct Chunk {
    texts: PooledBuffer,
    questions: Vec<(usize, Context)>,
}

impl ClassificationSystem {
    /// Classifies many questions, and gives the outcomes in their order. The whole of it goes the way of
    /// [`classify`](Self::classify), but what takes a processor is done on worker threads, so that the async ones stay
    /// free.
    ///
    /// # Errors
    /// By question, as [`classify`](Self::classify).
    pub async fn classify_many(&self, requests: &[Request<'_>]) -> Vec<Result<Outcome>> {
        let started = self.engine.clock.now();
        let mut standings: Vec<Standing> =
            requests.iter().map(|request| self.first_look(request, started)).collect();
        let open: Vec<usize> =
            (0..requests.len()).filter(|&number| matches!(standings[number], Standing::Open(_))).collect();
        let mut verdicts = self.work_out(requests, &open).await.into_iter();
        for number in open {
            if let (Some(Some(verdict)), Standing::Open(key)) = (verdicts.next(), &standings[number]) {
                let given = self.engine.keep(*key, verdict.into()).await;
                standings[number] = Standing::Done(Ok(self.outcome(given, &requests[number], started)));
            }
        }
        let rest = requests.iter().zip(standings).map(|(request, standing)| async move {
            match standing {
                Standing::Done(outcome) => outcome,
                // No cache has it, and nobody knows it at once.
                Standing::Open(key) => self.finish(self.ask(request, key, started).await, request, started),
                Standing::Unknown => self.finish(self.find(request, started).await, request, started),
            }
        });
        // Collected first: what borrows must not be held by the stream's closures.
        let rest: Vec<_> = rest.collect();
        stream::iter(rest).buffered(MOST_ASKED_AT_ONCE).collect().await
    }

    /// Looks as far as looking needs no waiting.
    fn first_look(&self, request: &Request<'_>, started: Instant) -> Standing {
        if let Err(error) = self.engine.check(request) {
            self.counts.refused();
            return Standing::Done(Err(error));
        }
        if request.force_llm {
            return Standing::Unknown;
        }
        let key = self.engine.key(request);
        match self.engine.cache.probe(&key) {
            Lookup::Hit(Hit { value, level, is_stale: false, .. }) => {
                self.engine.count(key, request);
                Standing::Done(Ok(self.outcome(Given::cached(value, level), request, started)))
            }
            Lookup::Miss => {
                self.engine.count(key, request);
                Standing::Open(key)
            }
            Lookup::Hit(_) | Lookup::Pending(_) => Standing::Unknown,
        }
    }

    /// What the classifier knows at once, on the worker threads if there is much to do; nothing of what takes its time.
    async fn work_out(&self, requests: &[Request<'_>], open: &[usize]) -> Vec<Option<Verdict>> {
        if open.len() < WORTH_A_THREAD {
            return open.iter().map(|&number| self.engine.classifier.at_once(&requests[number])).collect();
        }
        let chunks = open.chunks(CHUNK).map(|numbers| {
            let n_bytes = numbers.iter().map(|&number| requests[number].query.len()).sum();
            let mut texts = self.means.buffers.take(n_bytes);
            let questions = numbers.iter().map(|&number| {
                let Request { query, context, .. } = &requests[number];
                texts.extend_from_slice(query.as_bytes());
                (query.len(), context.clone())
            });
            let questions = questions.collect();
            Chunk { texts, questions }
        });
        let engine = self.engine.clone();
        let work = move |chunk: Chunk| {
            let mut at = 0;
            let verdict = |(length, context): (usize, Context)| {
                let text = &chunk.texts[at..at + length];
                at += length;
                // OK to fall back: these are the bytes of a text.
                let query = std::str::from_utf8(text).unwrap_or_default();
                engine.classifier.at_once(&Request { context, ..Request::new(query) })
            };
            chunk.questions.into_iter().map(verdict).collect::<Vec<_>>()
        };
        let worked_out = self.means.workers.map(chunks.collect(), work).await;
        let lengths = open.chunks(CHUNK).map(<[usize]>::len);
        // What no thread has done is asked as any single question is.
        let verdicts = worked_out.into_iter().zip(lengths).flat_map(|(chunk, length)| match chunk {
            Ok(verdicts) => verdicts,
            Err(_) => vec![None; length],
        });
        verdicts.collect()
    }
}
