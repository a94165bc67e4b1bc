//! A hit on a real server beside a bare GET through the same client.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use cache_tiers::{CacheTier as _, Codec as _, Key, RemoteTier};
use fred::bytes::Bytes;
use fred::clients::Pool;
use fred::interfaces::{ClientLike as _, KeysInterface as _};
use fred::types::Builder;
use fred::types::config::Config;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::answers::{AnswerCodec, Value, fill, key, value};
use super::server::Server;
use crate::figures::rounds::{Turns, drawn};
use crate::figures::{Figure, Goal};

const N_ENTRIES: u64 = 5_000;
const N_GETS: usize = 2_048;
const N_ROUNDS: u64 = 31;

pub(in crate::figures) fn measure() -> anyhow::Result<Vec<Figure>> {
    let runtime = super::runtime()?;
    let both = runtime.block_on(Both::fill())?;
    let alone = both.read(&runtime, 1)?;
    let crowd = both.read(&runtime, 64)?;
    Ok(vec![
        Figure::new("l3.hit_us", alone.ours / 1e3, "µs"),
        Figure::new("l3.bare_get_us", alone.bare / 1e3, "µs"),
        Figure::new("l3.hit_ratio", alone.ratio, "× bare").with_goal(Goal::AtMost(1.3)),
        Figure::new("l3.64_tasks.hits_per_second", 1e9 / crowd.ours, "hits/s"),
        Figure::new("l3.64_tasks.bare_gets_per_second", 1e9 / crowd.bare, "gets/s"),
        // Without a goal: a time limit for each read, which the bare client goes without, weighs more on busy cores.
        Figure::new("l3.64_tasks.hit_ratio", crowd.ratio, "× bare"),
    ])
}

/// A tier and a bare client, with as many connections to the same server.
struct Both {
    tier: Arc<RemoteTier<Value>>,
    bare: Pool,
    _server: Server,
}

impl Both {
    async fn fill() -> anyhow::Result<Self> {
        let server = Server::start().await?;
        let tier = Arc::new(server.tier().await?);
        fill(tier.as_ref(), 0..N_ENTRIES).await?;
        let n_connections = cache_tiers::RemoteConfig::default().pool_size;
        let bare = Builder::from_config(Config::from_url(&server.url())?).build_pool(n_connections)?;
        bare.init().await?;
        for number in 0..N_ENTRIES {
            let mut bytes = Vec::new();
            AnswerCodec.encode(&value(number), &mut bytes)?;
            let () = bare.set(bare_name(&key(number)), Bytes::from(bytes), None, None, false).await?;
        }
        Ok(Self { tier, bare, _server: server })
    }

    /// Both, each by so many tasks at once.
    fn read(&self, runtime: &Runtime, n_tasks: usize) -> anyhow::Result<Turns> {
        let keys: Arc<Vec<Key>> = Arc::new((0..N_ENTRIES).map(key).collect());
        let names: Arc<Vec<String>> = Arc::new(keys.iter().map(bare_name).collect());
        Turns::take(
            N_ROUNDS,
            |round| {
                let (tier, keys) = (Arc::clone(&self.tier), Arc::clone(&keys));
                runtime.block_on(by_tasks(n_tasks, round, move |draw| {
                    let (tier, keys) = (Arc::clone(&tier), Arc::clone(&keys));
                    async move { Ok(tier.fetch(&keys[draw]).await?.is_some_and(|entry| is_answer(&entry.value))) }
                }))
            },
            |round| {
                let (bare, names) = (self.bare.clone(), Arc::clone(&names));
                runtime.block_on(by_tasks(n_tasks, round, move |draw| {
                    let (bare, names) = (bare.clone(), Arc::clone(&names));
                    async move {
                        let bytes: Option<Bytes> = bare.get(names[draw].as_str()).await?;
                        let answer = AnswerCodec.decode(&bytes.context("the server lost an entry")?)?;
                        Ok(is_answer(&answer))
                    }
                }))
            },
        )
    }
}

fn bare_name(key: &Key) -> String {
    format!("bare:{key}")
}

fn is_answer(value: &Value) -> bool {
    black_box(Arc::strong_count(value)) > 0
}

/// The time of a get, in nanoseconds, when tasks make them all in parallel, each of them one after another.
async fn by_tasks<F, G>(n_tasks: usize, round: u64, get: G) -> anyhow::Result<f64>
where
    F: Future<Output = anyhow::Result<bool>> + Send + 'static,
    G: Fn(usize) -> F + Clone + Send + 'static,
{
    let draws = drawn(N_GETS, N_ENTRIES as usize, round);
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for part in draws.chunks(N_GETS / n_tasks) {
        let (part, get) = (part.to_vec(), get.clone());
        tasks.spawn(async move {
            for draw in part {
                ensure!(get(draw).await?, "the server lost an entry");
            }
            Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(started.elapsed().as_secs_f64() * 1e9 / draws.len() as f64)
}
