//! Living within one's means: admission under a limit that finds itself, worker threads, buffers, probes of the machine
//! and the process, and advice on how many replicas there should be.
//!
//! ```
//! use std::sync::Arc;
//! use hp_base::SystemClock;
//! use resource_manager::{AdaptiveAdmission, Admission, AdmissionConfig, Applicant};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), resource_manager::Rejected> {
//! let admission = AdaptiveAdmission::new(AdmissionConfig::default(), Arc::new(SystemClock));
//! let permit = admission.admit(Applicant::default()).await?;
//! // … the work …
//! permit.done();
//! assert_eq!(admission.stats().n_in_flight, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Nouns
//!
//! - An [`Admission`] gives a [`Permit`] to whom there is room for; the limit of [`AdaptiveAdmission`] finds itself.
//! - A [`WorkerPool`] has threads for what keeps a processor busy, a [`BufferPool`] buffers that are used again.
//! - A [`ResourceProbe`] samples [`Resources`]; a [`ResourceMonitor`] does so from time to time, and [`PressureControl`]
//!   has its [`PressureResponse`]s do something about what is short, and undo it.
//! - A [`ScalingAdvisor`] says how many replicas there should be.
//!
//! # Features
//!
//! - `contract`: the suite that tells whether an admission of your own keeps the contract of [`Admission`]. For tests; off
//!   by default.
//!
//! # Errors
//!
//! [`Rejected`], with a [`reason`](Rejected::reason), and [`WorkerError`], an enum to branch on.

mod admission;

mod workers;

mod buffers;

mod pressure;
mod probe;
mod scaling;

mod sync;

#[cfg(feature = "contract")]
pub mod contract;

pub use admission::{
    AdaptiveAdmission, Admission, AdmissionConfig, AdmissionStats, Applicant, NoAdmission, Outcome, Permit,
    RejectCounts, RejectReason, Rejected,
};
pub use buffers::{BufferPool, BufferStats, PooledBuffer, ShrinkBuffers};
pub use pressure::{
    Level, LogPressure, Pressure, PressureChange, PressureConfig, PressureControl, PressureResponse,
    PressureState, PressureStats,
};
pub use probe::{NoProbe, ResourceMonitor, ResourceProbe, Resources, Subscription, SystemProbe, n_cpus};
pub use scaling::{Advice, Observation, ScalingAction, ScalingAdvisor, ScalingConfig, ScalingReason};
pub use workers::{WorkerError, WorkerPool, WorkerPoolConfig, WorkerStats};
