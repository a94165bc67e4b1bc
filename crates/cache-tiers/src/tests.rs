//! Tests of the crate as its users see it.

mod contract;
mod key;
mod memory;
mod normalize;
mod tiered;
