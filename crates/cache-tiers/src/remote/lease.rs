//! Leases: which of all processes works out a value, and how the others hear that it is done.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fred::error::Error;
use fred::interfaces::{KeysInterface, PubsubInterface};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};

use super::RemoteTier;
use super::names;
use super::server::{Server, garbled, not_connected, random_token};
use crate::{CacheError, Claim, Key, Lease, Leases};

/// While the doorbell cannot be heard, whoever waits looks again after this time.
const DEAF_WAIT: Duration = Duration::from_millis(250);

/// Who waits for which lease of others.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    by_key: Mutex<HashMap<Key, (Arc<Notify>, usize)>>,
    /// Something may have been missed, so all ask again.
    doubt: Notify,
}

impl Waiters {
    pub(super) fn wake(&self, key: &Key) {
        if let Some((notify, _)) = self.lock().get(key) {
            notify.notify_waiters();
        }
    }

    /// Makes all of them ask the server whether the lease they wait for is still held.
    pub(super) fn doubt(&self) {
        self.doubt.notify_waiters();
    }

    fn enter(&self, key: Key) -> Arc<Notify> {
        let mut waiters = self.lock();
        let (notify, n_waiting) = waiters.entry(key).or_default();
        *n_waiting += 1;
        Arc::clone(notify)
    }

    fn leave(&self, key: &Key) {
        let mut waiters = self.lock();
        if let Some((_, n_waiting)) = waiters.get_mut(key) {
            *n_waiting -= 1;
            if *n_waiting == 0 {
                waiters.remove(key);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (Arc<Notify>, usize)>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait for a key, left when dropped.
struct Waiting {
    server: Arc<Server>,
    key: Key,
    notify: Arc<Notify>,
}

impl Waiting {
    fn new(server: &Arc<Server>, key: Key) -> Self {
        Self { server: Arc::clone(server), key, notify: server.waiters.enter(key) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.server.waiters.leave(&self.key);
    }
}

#[async_trait]
impl<V: Send + Sync + 'static> Leases for RemoteTier<V> {
    async fn claim(&self, key: &Key) -> Result<Claim, CacheError> {
        let server = &self.server;
        let Some(call) = server.writes.enter() else {
            return Err(server.bypassed());
        };
        // Before the claim, so that a release right after it is heard.
        let waiting = Waiting::new(server, *key);
        let mut released = Box::pin(Arc::clone(&waiting.notify).notified_owned());
        released.as_mut().enable();

        let token = random_token();
        let name = server.names.lease(key);
        let ttl = millis(server.config.lease_ttl).to_string();
        let claim = async {
            let answer = server.script(names::CLAIM, &[&name], &[&token, &ttl]).await?;
            answer.as_i64().ok_or_else(garbled)
        };
        let left = server.run(&server.writes, call, claim).await?;
        if left < 0 {
            return Ok(Claim::Mine(hold(Arc::clone(server), *key, token)));
        }
        Ok(Claim::Theirs(Box::pin(async move {
            let server = Arc::clone(&waiting.server);
            let mut usable = server.is_usable.subscribe();
            tokio::select! {
                () = released => {}
                _ = usable.wait_for(|&is_usable| !is_usable) => {}
                () = expired(&server, &name, Duration::from_millis(left.unsigned_abs())) => {}
            }
            drop(waiting);
        })))
    }
}

/// Ends when the lease has not been renewed in time, or when that cannot be found out.
async fn expired(server: &Server, name: &str, mut left: Duration) {
    loop {
        let is_deaf = !server.is_listening.load(Ordering::Acquire);
        // Those who wait for a dead holder do not all come back in the same moment.
        let jitter = Duration::from_micros(lot() % 20_000);
        let wait = if is_deaf { left.min(DEAF_WAIT) } else { left };
        tokio::select! {
            () = sleep(wait + jitter) => {}
            () = server.waiters.doubt.notified() => {}
        }
        let asked: Result<i64, Error> = match server.connection() {
            Some(connection) => connection.pttl(name).await,
            None => Err(not_connected()),
        };
        match asked {
            Ok(more) if more > 0 => left = Duration::from_millis(more.unsigned_abs()),
            _ => return,
        }
    }
}

/// A lease with a task that renews it until it is dropped.
fn hold(server: Arc<Server>, key: Key, token: String) -> Lease {
    let (guard, dropped) = oneshot::channel::<()>();
    tokio::spawn(renew(server, key, token, dropped));
    Lease::new(guard)
}

async fn renew(server: Arc<Server>, key: Key, token: String, mut dropped: oneshot::Receiver<()>) {
    let name = server.names.lease(&key);
    let ttl = server.config.lease_ttl;
    let ttl_text = millis(ttl).to_string();
    let mut renewed_at = Instant::now();
    loop {
        tokio::select! {
            _ = &mut dropped => break,
            () = sleep(ttl / 3) => {}
        }
        match server.script(names::RENEW, &[&name], &[&token, &ttl_text]).await.map(|answer| answer.as_i64())
        {
            Ok(Some(1)) => renewed_at = Instant::now(),
            // Somebody else has it by now, and there is nothing to let go of.
            Ok(Some(0)) => return,
            _ if renewed_at.elapsed() > ttl => return,
            _ => {}
        }
    }
    if let Err(error) = release(&server, &name, &key, &token).await {
        // It will expire.
        server.note_error(&error.to_string());
    }
}

async fn release(server: &Server, name: &str, key: &Key, token: &str) -> Result<(), Error> {
    let released = server.script(names::RELEASE, &[name], &[token]).await?;
    if released.as_i64() == Some(1) {
        let connection = server.connection().ok_or_else(not_connected)?;
        let _: i64 = connection.publish(server.names.done.as_str(), key.to_string()).await?;
    }
    Ok(())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn lot() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_leave_leave_nothing() {
        let waiters = Waiters::default();
        let key = Key::from_bytes([1; 16]);
        waiters.enter(key);
        waiters.enter(key);
        waiters.leave(&key);
        assert_eq!(waiters.len(), 1);
        waiters.leave(&key);
        assert_eq!(waiters.len(), 0);
        waiters.wake(&key);
    }
}
