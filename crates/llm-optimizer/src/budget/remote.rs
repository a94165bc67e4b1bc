//! A budget on a server that replicas share: Redis or Valkey, alone, under Sentinel or as a Cluster.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fred::interfaces::{ClientLike, LuaInterface};
use fred::prelude::Builder;
use fred::types::config::Options;
use hp_base::{CircuitBreaker, Clock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::book::{Account, Book, Stamp, over_budget};
use super::warning::Warnings;
use super::{BudgetLimits, BudgetState, Ledger, Reservation, unknown};
use crate::{LlmError, MicroDollars};

mod config;
mod delivery;

pub use config::RemoteLedgerConfig;

use config::invalid;
use delivery::{Connection, Delivery, Task};

const RESERVE: &str = include_str!("remote/reserve.lua");

/// As many reservations are under way at the most, each of which may have to be settled; more are refused.
const MOST_UNDER_WAY: usize = 100_000;

/// A [`Ledger`] on a server that replicas share.
///
/// One script puts an amount aside, on the server and by the server's clock, if both limits allow it. When the server
/// does not answer in time, or is not connected, calls are refused with `BudgetUnknown`; after a few in a row at once,
/// until it is well again. Settling waits for nobody: it is queued, tried until it has worked, and of no effect the
/// second time. What is put aside by a process that is killed stays spent until the day is over.
///
/// # The server
///
/// Redis 6.2 or later, or Valkey. An ACL user needs the key `prefix:budget:name` and
/// `+eval +time +hmget +hget +hset +hdel +del +expire`, besides what a client needs to log in. The key should not be
/// evicted: `noeviction`, or `volatile-ttl` on a server that is not full. If the server loses it all the same, or is
/// started anew without its data, replicas that were running bring back what they know to be gone. A fail-over that loses
/// the last writes, as Redis may, forgets what was put aside in them.
pub struct RemoteLedger {
    key: String,
    limits: BudgetLimits,
    operation_timeout: Duration,
    flush_timeout: Duration,
    connection: Connection,
    breaker: CircuitBreaker,
    tasks: mpsc::UnboundedSender<Task>,
    places: Arc<Semaphore>,
    warnings: Arc<Warnings>,
    known: Mutex<Known>,
    /// By lot, and what is counted up: together no two tokens are the same.
    origin: String,
    next: AtomicU64,
}

/// What the server has said last, to be brought back to it if it forgets.
#[derive(Debug, Default)]
struct Known {
    life: String,
    book: Book,
}

/// What the server answers.
struct Answer {
    fits: bool,
    now: u64,
    life: String,
    book: Book,
}

impl RemoteLedger {
    /// A ledger that begins to connect. To be made inside a tokio runtime, in which a task goes on until the ledger is
    /// dropped and all is settled.
    ///
    /// # Errors
    /// `InvalidConfig`.
    pub fn new(
        config: &RemoteLedgerConfig,
        limits: BudgetLimits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LlmError> {
        limits.validate()?;
        config.validate()?;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(invalid("the ledger is made outside of a tokio runtime, make it inside of one"));
        }
        let client_config = config.client()?;
        let is_clustered = client_config.server.is_clustered();
        let mut builder = Builder::from_config(client_config);
        builder.set_policy(RemoteLedgerConfig::reconnecting());
        builder.set_connection_config(config.connection());
        builder.set_performance_config(config.performance());
        let client = builder
            .build()
            .map_err(|error| invalid("the client of the server cannot be set up").with_source(error))?;
        let connection = client.with_options(&Options {
            // A command that a Cluster redirects is written once more.
            max_attempts: Some(if is_clustered { 3 } else { 1 }),
            timeout: Some(config.operation_timeout),
            fail_fast: true,
            ..Options::default()
        });
        let (tasks, queue) = mpsc::unbounded_channel();
        tokio::spawn(Delivery::new(connection.clone(), config.key(), config.operation_timeout).run(queue));
        Ok(Self {
            key: config.key(),
            limits,
            operation_timeout: config.operation_timeout,
            flush_timeout: config.connect_timeout,
            connection,
            breaker: CircuitBreaker::new(config.breaker, clock),
            tasks,
            places: Arc::new(Semaphore::new(MOST_UNDER_WAY)),
            warnings: Arc::default(),
            known: Mutex::default(),
            origin: random_token(),
            next: AtomicU64::new(0),
        })
    }

    /// Waits until the server has answered, which it must within that time.
    ///
    /// # Errors
    /// `BudgetUnknown`.
    pub async fn in_service(&self, within: Duration) -> Result<(), LlmError> {
        let answered = async {
            while self.state().await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(within, answered).await.map_err(|_| unknown("the server of the budget does not answer"))
    }

    fn token(&self) -> String {
        format!("{}{:x}", self.origin, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Asks the server, with an amount to put aside or without.
    async fn ask(
        &self,
        token: &str,
        amount: Option<MicroDollars>,
        is_sent: &mut bool,
    ) -> Result<Answer, LlmError> {
        if !self.connection.is_connected() {
            return Err(unknown("the server of the budget is not connected"));
        }
        let Some(call) = self.breaker.try_call() else {
            return Err(unknown("the server of the budget is out of service for now"));
        };
        let arguments = self.arguments(token, amount);
        *is_sent = true;
        let evaluated =
            self.connection.eval::<Vec<String>, _, _, _>(RESERVE, vec![self.key.clone()], arguments);
        match timeout(self.operation_timeout, evaluated).await {
            Ok(Ok(answer)) => {
                call.succeeded();
                let answer = Answer::read(&answer)
                    .ok_or_else(|| unknown("the server of the budget tells nonsense"))?;
                let mut known = self.lock_known();
                known.life.clone_from(&answer.life);
                known.book = answer.book;
                Ok(answer)
            }
            Ok(Err(error)) => {
                call.failed();
                Err(unknown("the server of the budget could not be asked").with_source(error))
            }
            Err(_) => {
                call.failed();
                let time = self.operation_timeout;
                Err(unknown(format!("the server of the budget has not answered within {time:?}")))
            }
        }
    }

    fn arguments(&self, token: &str, amount: Option<MicroDollars>) -> Vec<String> {
        let or_none = |amount: Option<MicroDollars>| {
            amount.map_or_else(|| "-1".to_owned(), |amount| amount.0.to_string())
        };
        let known = self.lock_known();
        let Book { day, hour } = known.book;
        vec![
            token.to_owned(),
            or_none(amount),
            or_none(self.limits.daily),
            or_none(self.limits.hourly),
            known.life.clone(),
            day.number.to_string(),
            day.gone().to_string(),
            hour.number.to_string(),
            hour.gone().to_string(),
        ]
    }

    fn lock_known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    fn read(fields: &[String]) -> Option<Self> {
        let [fits, now, life, rest @ ..] = fields else { return None };
        let mut numbers = [0; 6];
        if rest.len() != numbers.len() {
            return None;
        }
        for (number, text) in numbers.iter_mut().zip(rest) {
            *number = text.parse().ok()?;
        }
        let account =
            |at: usize| Account { number: numbers[at], settled: numbers[at + 1], reserved: numbers[at + 2] };
        let book = Book { day: account(0), hour: account(3) };
        Some(Self { fits: fits == "1", now: now.parse().ok()?, life: life.clone(), book })
    }
}

/// Gives back what was put aside for one who has gone before the answer came, if it was.
struct Asking<'a> {
    tasks: &'a mpsc::UnboundedSender<Task>,
    token: String,
    place: Option<OwnedSemaphorePermit>,
    is_sent: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.is_sent && self.place.is_some() {
            let token = std::mem::take(&mut self.token);
            // OK to ignore: the queue is there as long as the ledger.
            let _ =
                self.tasks.send(Task::Settle { token, spent: MicroDollars(0), _place: self.place.take() });
        }
    }
}

#[async_trait]
impl Ledger for RemoteLedger {
    async fn reserve(&self, amount: MicroDollars) -> Result<Reservation, LlmError> {
        if amount.0 > 1 << 53 {
            return Err(invalid("a call that may cost above nine billion dollars is not made"));
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| unknown("too many calls are under way or not settled yet"))?;
        let token = self.token();
        let mut asking =
            Asking { tasks: &self.tasks, token: token.clone(), place: Some(place), is_sent: false };
        let answer = self.ask(&token, Some(amount), &mut asking.is_sent).await?;
        let place = asking.place.take();
        let state = answer.book.windows(&self.limits, answer.now);
        let stamp = Stamp { day: answer.book.day.number, hour: answer.book.hour.number };
        self.warnings.look(stamp, &state);
        if !answer.fits {
            return Err(over_budget(&self.limits, &state, amount));
        }
        let (tasks, warnings) = (self.tasks.clone(), Arc::clone(&self.warnings));
        Ok(Reservation::new(amount, move |spent| {
            warnings.exceeded(amount, spent);
            // OK to ignore: without the task, the runtime has ended, and the amount stays put aside.
            let _ = tasks.send(Task::Settle { token, spent, _place: place });
        }))
    }

    async fn state(&self) -> Result<BudgetState, LlmError> {
        let answer = self.ask(&self.token(), None, &mut false).await?;
        Ok(answer.book.windows(&self.limits, answer.now))
    }

    async fn flush(&self) -> Result<(), LlmError> {
        let (done, is_done) = oneshot::channel();
        let _ = self.tasks.send(Task::Flush(done));
        match timeout(self.flush_timeout, is_done).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(unknown("what calls have cost could not be told to the server yet")),
        }
    }
}

/// 128 bits that no other process will draw, as digits.
fn random_token() -> String {
    use std::hash::{BuildHasher, RandomState};
    let state = RandomState::new();
    format!("{:016x}{:016x}-", state.hash_one(0_u8), state.hash_one(1_u8))
}

impl fmt::Debug for RemoteLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteLedger")
            .field("key", &self.key)
            .field("limits", &self.limits)
            .field("breaker", &self.breaker.state())
            .finish_non_exhaustive()
    }
}
