//! The task that keeps the connection and tells the server what was spent.

use std::time::Duration;

use fred::clients::{Client, WithOptions};
use fred::error::Error;
use fred::interfaces::{ClientLike, LuaInterface};
use fred::types::ConnectHandle;
use hp_base::Backoff;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::MicroDollars;

const SETTLE: &str = include_str!("settle.lua");

/// The most that one script settles.
const BATCH: usize = 100;

/// How often it is tried when all who use the ledger have gone.
const N_LAST_TRIES: u32 = 5;

pub(super) type Connection = WithOptions<Client>;

/// What the task is asked to do.
pub(super) enum Task {
    /// Settles what was put aside under a token; of no effect if nothing is.
    Settle { token: String, spent: MicroDollars, _place: Option<OwnedSemaphorePermit> },
    /// Says when all before it is done.
    Flush(oneshot::Sender<()>),
}

pub(super) struct Delivery {
    connection: Connection,
    key: String,
    operation_timeout: Duration,
}

impl Delivery {
    pub(super) fn new(connection: Connection, key: String, operation_timeout: Duration) -> Self {
        Self { connection, key, operation_timeout }
    }

    /// Goes on until all senders are gone and all is told.
    pub(super) async fn run(self, mut queue: mpsc::UnboundedReceiver<Task>) {
        let client: Client = (*self.connection).clone();
        let connecting = tokio::spawn(stay_connected(client.clone()));
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            let arguments: Vec<String> = batch.iter().filter_map(Task::arguments).flatten().collect();
            if !arguments.is_empty() && !self.deliver(&arguments, &queue).await {
                tracing::warn!("what calls have cost could not be told to the server, and stays put aside");
                break;
            }
            for task in batch.drain(..) {
                if let Task::Flush(done) = task {
                    // OK to ignore: nobody waits any more.
                    let _ = done.send(());
                }
            }
        }
        // Else the connection would be made anew.
        connecting.abort();
        let _ = client.quit().await;
    }

    /// Tries until it has worked, or until that would help nobody any more.
    async fn deliver(&self, arguments: &[String], queue: &mpsc::UnboundedReceiver<Task>) -> bool {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
        let mut n_last_tries = 0;
        loop {
            let settled =
                self.connection.eval::<i64, _, _, _>(SETTLE, vec![self.key.clone()], arguments.to_vec());
            let settled: Result<Result<i64, Error>, _> = timeout(self.operation_timeout, settled).await;
            if matches!(settled, Ok(Ok(_))) {
                return true;
            }
            if queue.is_closed() || queue.sender_strong_count() == 0 {
                n_last_tries += 1;
                if n_last_tries == N_LAST_TRIES {
                    return false;
                }
            }
            sleep(backoff.next()).await;
        }
    }
}

impl Task {
    fn arguments(&self) -> Option<[String; 2]> {
        match self {
            Self::Settle { token, spent, .. } => Some([token.clone(), spent.0.to_string()]),
            Self::Flush(_) => None,
        }
    }
}

/// Ends the connection when dropped.
struct Connecting(ConnectHandle);

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The client reconnects by itself, but gives up on errors it takes for lasting.
async fn stay_connected(client: Client) {
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
    loop {
        // OK to ignore how it ended: those who ask find that out, and it is begun again.
        let mut connecting = Connecting(client.connect());
        let _ = (&mut connecting.0).await;
        sleep(backoff.next()).await;
    }
}
