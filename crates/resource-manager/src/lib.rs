//! Living within one's means: admission under a limit that finds itself, worker threads, buffers, probes of the machine
//! and the process, and advice on how many replicas there should be.

mod buffers;
mod pressure;
mod probe;
mod sync;
mod workers;

pub use buffers::{BufferPool, BufferStats, PooledBuffer, ShrinkBuffers};
pub use pressure::{
    Level, LogPressure, Pressure, PressureChange, PressureConfig, PressureControl, PressureResponse,
    PressureState, PressureStats,
};
pub use probe::{NoProbe, ResourceMonitor, ResourceProbe, Resources, Subscription, SystemProbe, n_cpus};
pub use workers::{WorkerError, WorkerPool, WorkerPoolConfig, WorkerStats};
mod scaling;
mod admission;
#[cfg(feature = "contract")]
pub mod contract;
pub use admission::{
    AdaptiveAdmission, Admission, AdmissionConfig, AdmissionStats, Applicant, NoAdmission, Outcome, Permit,
    RejectCounts, RejectReason, Rejected,
pub use scaling::{Advice, Observation, ScalingAction, ScalingAdvisor, ScalingConfig, ScalingReason};
