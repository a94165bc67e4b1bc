//! Tests of admission: the limit in simulation, the queue, and everything at random.

mod random;
mod simulation;
mod waiting;
