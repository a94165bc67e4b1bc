//! What a cache asks of the other replicas, and of the store beside its entries: traits that tiers implement.

use std::any::Any;
use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;

use async_trait::async_trait;

use crate::{CacheError, Forget, Key};

/// The other replicas that share a server: what they have been told to forget reaches this one.
///
/// Forgetting on the shared tier announces itself; this trait is the ear.
#[async_trait]
pub trait Replicas: Debug + Send + Sync + 'static {
    /// Waits for what *other* replicas have forgotten after a position in their common history, and returns it in
    /// order. Outages are waited out, not returned. Where the history does not reach back to the position any more,
    /// the one thing to forget is [`Forget::All`].
    ///
    /// Without a position it returns at once, with the present one and nothing to forget, as soon as the server can
    /// be reached.
    async fn forgotten_since(&self, position: Option<Position>) -> (Vec<Forget>, Position);
}

/// A position in the history of what was forgotten: opaque, and worth keeping over a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(pub String);

/// Settles which of all processes works out a value.
#[async_trait]
pub trait Leases: Debug + Send + Sync + 'static {
    /// Asks to be the one who works out the value under the key.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Timeout`: nobody can be asked, so each process goes alone.
    async fn claim(&self, key: &Key) -> Result<Claim, CacheError>;
}

/// What became of a claim.
pub enum Claim {
    /// It is ours until the lease is dropped.
    Mine(Lease),
    /// Somebody else has it. The future ends when that one has let go or has died, or when nobody can tell any more;
    /// then look for the value, and claim again if it is not there.
    Theirs(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// Held while a value is worked out: renewed meanwhile, and let go when dropped.
pub struct Lease {
    _guard: Box<dyn Any + Send + Sync>,
}

impl Lease {
    /// A lease that lets go by dropping `guard`.
    #[must_use]
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self { _guard: Box::new(guard) }
    }
}

impl Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}

impl Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mine(_) => "Mine",
            Self::Theirs(_) => "Theirs",
        })
    }
}

/// Small things kept beside the entries under names of their own, for as long as the store lives; flushing the
/// entries spares them.
#[async_trait]
pub trait Notes: Debug + Send + Sync + 'static {
    /// The note of that name, if there is one.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Timeout` or `Corrupt`.
    async fn read_note(&self, name: &str) -> Result<Option<Vec<u8>>, CacheError>;

    /// Writes a note over the one of that name.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Timeout`.
    async fn write_note(&self, name: &str, bytes: Vec<u8>) -> Result<(), CacheError>;
}

const _: Option<&dyn Replicas> = None;
const _: Option<&dyn Leases> = None;
const _: Option<&dyn Notes> = None;
