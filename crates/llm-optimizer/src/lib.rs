//! The path to a large language model: providers behind one trait, and around them what makes a call fast, bounded and
//! cheap.
//!
//! # Nouns
//!
//! - A [`ChatModel`] answers a [`ChatRequest`] with a [`ChatReply`]. One call is one future: dropping it ends the call.
//! - A [`ReplyReader`] reads a reply while it arrives, and may have enough of it before the end.
//! - A [`ProviderConfig`] builds the model of a provider; [`JsonPrefix`] reads the JSON that it replies while it arrives.
//! - A decorator is a [`ChatModel`] around another one; [`decorate`] has them, and the order they go in.
//! - A [`Ledger`] keeps a budget, from which [`Budgeted`] pays the calls of a model by its [`Price`].
//! - A [`Ledger`] keeps a budget, from which [`Budgeted`] pays the calls of a model by its [`Price`].
//!
//! # Features
//!
//! - `contract`: the suite that tells whether a model of your own keeps the contract of [`ChatModel`]. For tests; off by
//!   default.
//! - `remote`: a budget on Redis or Valkey, which replicas share.
//! - `tokens`: exact token counts for OpenAI's newer models; the vocabulary takes 67 MB of memory once it is used.
//!
//! # Errors
//!
//! One, [`LlmError`], with a [`kind`](LlmError::kind) to branch on.

mod chat;
mod model;
mod reader;

mod json_prefix;
mod provider;

pub mod decorate;

mod budget;
mod meter;
mod prices;
mod tokens;

mod error;
mod money;

#[cfg(feature = "contract")]
pub mod contract;

pub use budget::{
    BudgetLimits, BudgetState, BudgetWindow, Budgeted, Ledger, MemoryLedger, NoLedger, Reservation,
};
#[cfg(unix)]
pub use budget::{LocalLedger, LocalLedgerConfig};
#[cfg(feature = "remote")]
pub use budget::{RemoteLedger, RemoteLedgerConfig};
pub use chat::{CallReport, ChatReply, ChatRequest, Finish, Message, ReplyFormat, ReplySchema, Role, Usage};
pub use error::{LlmError, LlmErrorKind};
pub use json_prefix::{JsonPrefix, PrefixState};
pub use meter::{Meter, MeterSnapshot, ModelMeter, Times};
pub use model::{ChatModel, NoModel};
pub use money::MicroDollars;
pub use prices::{Price, PriceTable};
pub use provider::{ProviderConfig, ProviderKind, SchemaSupport, TokenLimitField};
pub use reader::{Flow, ReplyReader, ReplyReaders};
#[cfg(feature = "tokens")]
pub use tokens::TokenCounter;
pub use tokens::{most_prompt_tokens, most_tokens};
