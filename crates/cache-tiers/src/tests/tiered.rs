//! The tiered cache over tiers that can be stopped, watched and broken.

mod forgetting;
mod loading;
mod lookups;
mod model;
mod support;
mod writes;
