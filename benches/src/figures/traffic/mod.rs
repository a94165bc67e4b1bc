//! What coalescing, batching, lanes and admission do for many who ask at once, against a simulated provider.

mod batching;
mod memory;
mod overload;
mod tasks;

pub(super) use batching::measure as batching;
pub(super) use memory::measure as memory;
pub(super) use overload::measure as overload;
pub(super) use tasks::measure as tasks;
