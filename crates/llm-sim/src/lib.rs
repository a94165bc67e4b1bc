//! A simulated provider of large language models, to test and measure against: it speaks the real wire formats over real
//! sockets, and can be slow, limited, wrong and broken on command, in the same way every time.

mod answer;
mod brain;
mod config;
mod error;
mod faults;
mod journal;
mod json;
mod latency;
mod prompt;
mod quota;
mod random;
mod schema;
mod server;
mod simulator;
mod state;
mod tokens;
mod wire;

pub use brain::Brain;
pub use config::{ApiKeys, Config, Limits};
pub use error::{SimError, SimErrorKind};
pub use faults::{FAULTS, Fault, Faults};
pub use journal::{LogEntry, Stats};
pub use latency::Latency;
pub use simulator::Simulator;
pub use wire::Provider;
