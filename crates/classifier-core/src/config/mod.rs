//! The configuration: plain resolved values, and where each of them came from.

mod caches;
mod layers;
mod llm;
mod parameters;
mod redacted;
mod schema;
mod traffic;
mod value;

use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "llm")]
pub(crate) use caches::secret;
pub use caches::{L1Config, L2Config, L3Config, WarmingConfig};
pub use layers::{Layers, Origin, Resolved};
pub use llm::{BudgetConfig, EarlyAcceptance, EndpointConfig, LlmConfig, Mode, Provider, ReplyForm};
pub use schema::schema;
pub use traffic::{ResourceConfig, TrafficConfig};
pub use value::Value;

use crate::embedded::EmbeddedOptions;

/// Everything that can be configured, resolved.
///
/// The names, units, ranges and defaults on the outside (in files, `HP_…` variables and flags) are those of
/// [`schema`]; [`Layers::resolve`] reads them.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// A response within this time meets its target. Default: 1.5 s.
    pub target_response_time: Duration,
    /// No response takes longer; what is not known by then is answered by the embedded classifier. Default: 2 s.
    pub max_response_time: Duration,
    /// A longer query is refused, in characters. Default: 8,192.
    pub max_query_chars: usize,
    /// Keeps the cache entries of one tenant apart from those of another. Default: `default`.
    pub tenant: String,
    /// A taxonomy file instead of the built-in one. Default: none.
    pub taxonomy: Option<PathBuf>,
    /// A model file instead of the built-in one. Default: none.
    pub model: Option<PathBuf>,
    /// The L1 cache. Default: 10,000 entries, 32 MiB, 300 s, 10 % jitter.
    pub l1: L1Config,
    /// The L2 cache. Default: in the user's cache folder, 1,000 MiB, 1 hour.
    pub l2: L2Config,
    /// The L3 cache. Default: none, for want of an address.
    pub l3: L3Config,
    /// For how long after its time an answer is still given while it is renewed; zero for never. Default: zero.
    pub stale_while_revalidate: Duration,
    /// Writes that wait for each lower cache at the most. Default: 4,096.
    pub write_queue: usize,
    /// What the caches are filled with before anybody asks. Default: the questions asked most, with 3 variations each.
    pub warming: WarmingConfig,
    /// What is done once for many questions. Default: as [`TrafficConfig`].
    pub traffic: TrafficConfig,
    /// Threads, buffers, probes and advice. Default: as [`ResourceConfig`].
    pub resources: ResourceConfig,
    /// Which language model is asked, when and how. Default: none.
    pub llm: LlmConfig,
    /// How the embedded classifier answers. Default: as [`EmbeddedOptions`].
    pub embedded: EmbeddedOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            target_response_time: Duration::from_millis(1500),
            max_response_time: Duration::from_secs(2),
            max_query_chars: 8192,
            tenant: "default".to_owned(),
            taxonomy: None,
            model: None,
            l1: L1Config::default(),
            l2: L2Config::default(),
            l3: L3Config::default(),
            stale_while_revalidate: Duration::ZERO,
            write_queue: 4096,
            warming: WarmingConfig::default(),
            traffic: TrafficConfig::default(),
            resources: ResourceConfig::default(),
            llm: LlmConfig::default(),
            embedded: EmbeddedOptions::default(),
        }
    }
}
