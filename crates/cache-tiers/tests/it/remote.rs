//! The tier on a server, against real servers of every shape.

use std::sync::Arc;
use std::time::Duration;

use cache_tiers::{Key, KeySpace, MessagePack, RemoteConfig, RemoteTier, Secret, SystemClock};

mod basics;
mod faults;
mod processes;
mod proxy;
mod replicas;
mod server;

type Tier = RemoteTier<Vec<u8>>;

const HOUR: Duration = Duration::from_secs(3600);

fn config(url: &str) -> RemoteConfig {
    // The machine of a test is busy: only the tests of faults are about how long things take.
    let operation_timeout = Duration::from_secs(1);
    RemoteConfig { url: Secret::new(url), operation_timeout, ..RemoteConfig::default() }
}

fn start(config: RemoteConfig) -> Tier {
    RemoteTier::new(config, Arc::new(MessagePack::version(1)), Arc::new(SystemClock)).unwrap()
}

/// A tier that is in service.
async fn connect(config: RemoteConfig) -> Tier {
    let tier = start(config);
    let in_service = tokio::time::timeout(Duration::from_secs(20), tier.in_service()).await;
    assert!(in_service.is_ok(), "the tier did not come into service: {:?}", tier.last_error());
    tier
}

fn key(number: u64) -> Key {
    KeySpace::builder("cache-tiers test").build().key([number.to_le_bytes().as_slice()])
}
