//! The tasks beside the requests: they connect, listen, and find out whether the server is well.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface, KeysInterface, PubsubInterface};
use fred::prelude::Client;
use fred::types::{ConnectHandle, Expiration, Message};
use futures_util::future::join_all;
use hp_base::Backoff;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::names;
use super::server::{Connection, Server, garbled, not_connected, random_token, script_on};
use crate::Key;

/// How often a server that is well is looked at, as a backstop behind the doorbell.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The same while the doorbell cannot be heard: a flush is then learnt in this time.
const LOOK_OFTEN: Duration = Duration::from_millis(100);

/// Starts them all; they end when the set is dropped.
pub(super) fn start(server: &Arc<Server>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for connection in &server.connections {
        let client: &Client = connection;
        tasks.spawn(stay_connected(Arc::clone(server), client.clone()));
    }
    tasks.spawn(listen(Arc::clone(server)));
    tasks.spawn(look_after(Arc::clone(server)));
    tasks
}

/// Ends the connection when dropped.
struct Connecting(ConnectHandle);

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps one connection going: the client reconnects by itself, but gives up on errors it takes for lasting.
async fn stay_connected(server: Arc<Server>, client: Client) {
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
    let (mut errors, mut connects) = (client.error_rx(), client.reconnect_rx());
    loop {
        let mut connecting = Connecting(client.connect());
        loop {
            tokio::select! {
                ended = &mut connecting.0 => {
                    let reason = match ended {
                        Ok(Err(error)) => error.to_string(),
                        _ => "the connection has ended".to_owned(),
                    };
                    server.connection_lost(&reason);
                    break;
                }
                error = errors.recv() => match error {
                    Ok((error, _)) => server.connection_lost(&error.to_string()),
                    Err(_) => server.connection_lost("connections fail over and over"),
                },
                _ = connects.recv() => {
                    backoff.reset();
                    server.alarm.notify_one();
                }
            }
        }
        sleep(backoff.next()).await;
    }
}

/// Subscribes again after each loss, and passes on what is heard.
async fn listen(server: Arc<Server>) {
    let listener = server.listener.clone();
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
    let (mut errors, mut connects) = (listener.error_rx(), listener.reconnect_rx());
    let mut messages = listener.message_rx();
    let mut connecting = Connecting(listener.connect());
    loop {
        let is_listening = server.is_listening.load(Ordering::Acquire);
        tokio::select! {
            _ = &mut connecting.0 => {
                server.is_listening.store(false, Ordering::Release);
                sleep(backoff.next()).await;
                connecting = Connecting(listener.connect());
            }
            _ = errors.recv() => server.is_listening.store(false, Ordering::Release),
            _ = connects.recv() => subscribe(&server, &listener).await,
            () = sleep(LOOK_OFTEN), if !is_listening => {
                if listener.is_connected() {
                    subscribe(&server, &listener).await;
                }
            }
            message = messages.recv() => match message {
                Ok(message) => heard(&server, &message),
                // More came than fit: all may have changed.
                Err(_) => wake_all(&server),
            },
        }
    }
}

async fn subscribe(server: &Server, listener: &Client) {
    let channels = vec![server.names.forgotten.clone(), server.names.done.clone()];
    let subscribed = listener.subscribe(channels).await;
    if let Err(error) = &subscribed {
        server.note_error(&error.to_string());
    }
    server.is_listening.store(subscribed.is_ok(), Ordering::Release);
    if subscribed.is_ok() {
        // What was said in between was missed.
        wake_all(server);
    }
}

fn heard(server: &Server, message: &Message) {
    let text = message.value.as_str().unwrap_or_default();
    if *message.channel == *server.names.forgotten {
        if let Ok(epoch) = text.parse::<u64>()
            && server.epoch().is_some()
        {
            server.learn_epoch(epoch);
        }
        server.ring();
    } else if let Ok(key) = text.parse::<Key>() {
        server.waiters.wake(&key);
    }
}

fn wake_all(server: &Server) {
    server.ring();
    server.waiters.doubt();
    server.alarm.notify_one();
}

/// Looks at the server again and again, and opens the gates when it is well.
async fn look_after(server: Arc<Server>) {
    let breaker = server.config.breaker;
    let mut backoff = Backoff::new(breaker.open_for, breaker.open_for_most.max(breaker.open_for));
    let mut well_at = Instant::now();
    loop {
        let wait = match look(&server).await {
            Ok(()) => {
                backoff.reset();
                well_at = Instant::now();
                if server.is_listening.load(Ordering::Acquire) { LOOK_EVERY } else { LOOK_OFTEN }
            }
            Err(error) => {
                server.note_error(&error.to_string());
                // Answers that are late for ever, because some before them never came, look like this: the client
                // goes on pairing each with the question before.
                if *error.kind() == ErrorKind::Timeout && well_at.elapsed() > server.config.connect_timeout {
                    join_all(server.connections.iter().map(|connection| reconnect(&server, connection)))
                        .await;
                    well_at = Instant::now();
                }
                backoff.next()
            }
        };
        tokio::select! {
            () = server.alarm.notified() => {}
            () = sleep(wait) => {}
        }
    }
}

async fn look(server: &Server) -> Result<(), Error> {
    let n_times = if server.reads.lets_through() { 1 } else { server.config.breaker.n_trials };
    for _ in 0..n_times {
        if let Err(error) = every_connection(server, |connection| sync(server, connection)).await {
            if server.reads.shut() {
                server.after_shutting(&error.to_string());
            }
            return Err(error);
        }
    }
    let paid = pay(server).await;
    server.reads.open_to_requests();
    let writable = look_at_writes(server).await;
    // Last, since whoever waits for this wants to write as well if that can be had.
    if !server.is_usable.send_replace(server.reads.lets_through()) {
        tracing::info!("the cache on the server is in service");
    }
    paid.and(writable)
}

async fn look_at_writes(server: &Server) -> Result<(), Error> {
    if server.writes.lets_through() {
        return Ok(());
    }
    for _ in 0..server.config.breaker.n_trials {
        every_connection(server, |connection| try_writing(server, connection)).await?;
    }
    server.writes.open_to_requests();
    Ok(())
}

/// Does something on every connection that is up; one at least.
async fn every_connection<'a, F>(
    server: &'a Server,
    operation: impl Fn(&'a Connection) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>>,
{
    let up = server.connections.iter().filter(|connection| connection.is_connected());
    let results = join_all(up.map(operation)).await;
    if results.is_empty() {
        return Err(not_connected());
    }
    results.into_iter().collect()
}

/// Asks for the epoch, with a token so that answers that have got out of step are noticed.
async fn sync(server: &Server, connection: &Connection) -> Result<(), Error> {
    let known = server.epoch().unwrap_or_default().to_string();
    let token = random_token();
    let keys = [&*server.names.epoch, &*server.names.forgotten];
    let answer = script_on(connection, names::SYNC, &keys, &[&known, &token]).await?.into_array();
    let epoch = match answer.as_slice() {
        [echo, epoch] if echo.as_str().is_some_and(|echo| echo == token.as_str()) => epoch.as_u64(),
        _ => None,
    };
    let Some(epoch) = epoch else {
        reconnect(server, connection).await;
        return Err(garbled());
    };
    server.learn_epoch(epoch);
    Ok(())
}

async fn try_writing(server: &Server, connection: &Connection) -> Result<(), Error> {
    let name = server.names.probe.as_str();
    let written: Result<(), Error> = connection.set(name, "", Some(Expiration::PX(1000)), None, false).await;
    if let Err(error) = &written
        && error.details().starts_with("READONLY")
    {
        // It is no master any more; connecting anew finds the one that is.
        reconnect(server, connection).await;
    }
    written
}

/// Gives a connection up for a new one, which may take until the next look or longer.
async fn reconnect(server: &Server, connection: &Connection) {
    let _ = timeout(server.config.connect_timeout, connection.force_reconnection()).await;
}

/// Makes up for what was to be forgotten while the server was away.
async fn pay(server: &Server) -> Result<(), Error> {
    while let Some(debt) = server.owed.next() {
        server.forget(debt.0).await?;
        server.owed.paid(debt);
    }
    Ok(())
}
