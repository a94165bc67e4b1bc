//! Tests of the buffer pool: what is kept, and that it is never too much.

use std::sync::Barrier;

use proptest::prelude::*;

use super::shelves::{LARGEST, class_of};
use super::*;

const MIB: u64 = 1024 * 1024;

#[test]
fn a_buffer_comes_back_empty_and_is_used_again() {
    let pool = BufferPool::new(MIB);
    let mut buffer = pool.take(5_000);
    assert_eq!((buffer.len(), buffer.capacity()), (0, 8_192));
    buffer.extend_from_slice(b"hello");
    let address = buffer.as_ptr();
    drop(buffer);
    let buffer = pool.take(8_000);
    assert_eq!((buffer.len(), buffer.as_ptr()), (0, address));
    let expected =
        BufferStats { n_reused: 1, n_allocated: 1, n_returned: 1, max_bytes: MIB, ..BufferStats::default() };
    assert_eq!(pool.stats(), expected);
}

#[test]
fn what_is_larger_than_the_largest_class_is_plain_and_not_kept() {
    let pool = BufferPool::new(100 * MIB);
    let buffer = pool.take(LARGEST + 1);
    assert_eq!(buffer.capacity(), LARGEST + 1);
    drop(buffer);
    assert_eq!((pool.stats().n_discarded, pool.stats().bytes_kept), (1, 0));
    drop(pool.take(LARGEST));
    assert_eq!(pool.stats().bytes_kept, MIB);
}

#[test]
fn a_buffer_that_grew_serves_in_the_class_it_grew_to() {
    let pool = BufferPool::new(MIB);
    let mut buffer = pool.take(256);
    buffer.reserve_exact(1_500);
    let capacity = buffer.capacity();
    drop(buffer);
    assert_eq!(pool.stats().bytes_kept, capacity as u64);
    assert_eq!(pool.take(1_024).capacity(), capacity);
    assert_eq!(pool.stats().bytes_kept, capacity as u64);
}

#[test]
fn a_buffer_that_was_taken_out_does_not_come_back() {
    let pool = BufferPool::new(MIB);
    let mut buffer = pool.take(10);
    buffer.push(7);
    assert_eq!(buffer.into_vec(), [7]);
    let mut buffer = pool.take(10);
    *buffer = Vec::new();
    drop(buffer);
    assert_eq!((pool.stats().n_returned, pool.stats().bytes_kept), (0, 0));
}

#[test]
fn trimming_frees_down_to_a_share_and_the_largest_first() {
    let pool = BufferPool::new(10_240);
    drop([256, 1_024, 8_192].map(|size| pool.take(size)));
    assert_eq!(pool.stats().bytes_kept, 9_472);
    pool.trim(0.5);
    assert_eq!(pool.stats().bytes_kept, 1_280);
    pool.trim(f64::NAN);
    assert_eq!((pool.stats().bytes_kept, pool.stats().n_discarded), (0, 3));
}

#[test]
fn under_pressure_nothing_is_kept_and_afterwards_as_much_as_before() {
    let pool = BufferPool::new(MIB);
    let response = ShrinkBuffers::new(pool.clone());
    drop(pool.take(1_000));
    response.respond(PressureState { memory: Level::High, cpu: Level::Normal });
    drop(pool.take(1_000));
    assert_eq!((pool.stats().bytes_kept, pool.stats().max_bytes), (0, 0));
    response.respond(PressureState { memory: Level::Normal, cpu: Level::High });
    drop(pool.take(1_000));
    assert_eq!((pool.stats().bytes_kept, pool.stats().max_bytes), (1_024, MIB));
}

#[test]
fn neither_debug_nor_display_shows_what_is_in_a_buffer() {
    let mut buffer = BufferPool::new(MIB).take(1);
    buffer.extend_from_slice(b"AB");
    assert_eq!(format!("{buffer:?}"), "PooledBuffer { len: 2, capacity: 256 }");
}

#[test]
fn many_threads_take_and_give_within_the_bound() {
    let pool = BufferPool::new(64 * 1024);
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let (pool, start) = (pool.clone(), &start);
            scope.spawn(move || {
                start.wait();
                for round in 0..5_000 {
                    let size = 256 << ((round * 7 + thread) % 8);
                    let mut buffer = pool.take(size);
                    assert!(buffer.is_empty() && buffer.capacity() >= size);
                    buffer.push(1);
                    assert!(pool.stats().bytes_kept <= 64 * 1024);
                }
            });
        }
    });
    let stats = pool.stats();
    assert_eq!(stats.n_reused + stats.n_allocated, 20_000);
    assert_eq!(stats.n_returned + stats.n_discarded, 20_000);
    pool.trim(0.0);
    assert_eq!(pool.stats().bytes_kept, 0, "the count and the buffers agree");
}

#[derive(Debug, Clone)]
enum Step {
    Take(usize),
    Drop(usize),
    Grow(usize, usize),
    Trim(f64),
    Bound(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3 * LARGEST / 2).prop_map(Step::Take),
        4 => (0..20_000_usize).prop_map(Step::Take),
        8 => any::<usize>().prop_map(Step::Drop),
        2 => (any::<usize>(), 0..100_000_usize).prop_map(|(index, more)| Step::Grow(index, more)),
        1 => (-0.5..1.5_f64).prop_map(Step::Trim),
        1 => (0..3 * MIB).prop_map(Step::Bound),
    ];
    prop::collection::vec(step, 0..100)
}

proptest! {
    #[test]
    fn the_bound_holds_at_all_times(mut bound in 0..3 * MIB, steps in steps()) {
        let pool = BufferPool::new(bound);
        let mut taken = Vec::new();
        let mut n_taken = 0;
        for step in steps {
            match step {
                Step::Take(size) => {
                    let buffer = pool.take(size);
                    prop_assert!(buffer.is_empty() && buffer.capacity() >= size);
                    n_taken += 1;
                    taken.push(buffer);
                }
                Step::Drop(index) if !taken.is_empty() => drop(taken.swap_remove(index % taken.len())),
                Step::Grow(index, more) if !taken.is_empty() => {
                    let index = index % taken.len();
                    taken[index].reserve(more);
                }
                Step::Drop(_) | Step::Grow(..) => (),
                Step::Trim(share) => {
                    pool.trim(share);
                    prop_assert!(pool.stats().bytes_kept as f64 <= bound as f64 * share.clamp(0.0, 1.0));
                }
                Step::Bound(to) => {
                    bound = to;
                    pool.set_max_bytes(to);
                }
            }
            let stats = pool.stats();
            prop_assert!(stats.bytes_kept <= bound && stats.max_bytes == bound);
            prop_assert_eq!(stats.n_reused + stats.n_allocated, n_taken);
        }
    }

    #[test]
    fn a_kept_buffer_has_room_for_its_class(capacity in 0..2 * LARGEST, at_least in 0..2 * LARGEST) {
        if let Some(class) = class_of(capacity) {
            prop_assert!(capacity_of(class) <= capacity && capacity < 2 * capacity_of(class));
        }
        match class_for(at_least) {
            Some(class) => prop_assert!(capacity_of(class) >= at_least && class_of(capacity_of(class)) == Some(class)),
            None => prop_assert!(at_least > LARGEST),
        }
    }
}
