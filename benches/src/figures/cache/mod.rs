//! The tiers below memory and the cache over all three, beside what is underneath each of them.

use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;

mod answers;
mod server;

pub(super) mod entry;
pub(super) mod l2;
pub(super) mod l3;
pub(super) mod tiered;

/// Longer than any measurement takes, since a miss is not what is measured.
const TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many writes are under way at once while a tier is filled; the write-behind queue has as many.
const N_AT_ONCE: u64 = 256;

fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")
}
