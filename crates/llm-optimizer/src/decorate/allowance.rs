//! How many calls more than were asked for may be made.

use std::sync::atomic::{AtomicU64, Ordering};

/// An additional call, in what an ordinary one earns a share of.
const WHOLE: u64 = 1_000_000;

/// Additional calls as a share of the ordinary ones, with a few in hand: a token bucket filled by calls instead of time,
/// so that an outage is not answered with twice the load.
#[derive(Debug)]
pub(super) struct Allowance {
    in_hand: AtomicU64,
    share: u64,
    most: u64,
}

impl Allowance {
    /// `share`, in [0, 1], of the ordinary calls and `burst` besides, which are there from the beginning.
    pub(super) fn new(share: f64, burst: u32) -> Self {
        // OK to cast: it is between 0 and a million, or no number, which becomes nothing.
        let share = (share.clamp(0.0, 1.0) * WHOLE as f64) as u64;
        let most = u64::from(burst) * WHOLE;
        // With a burst of less than one, what is earned could never become a call.
        Self { in_hand: AtomicU64::new(most), share, most: most.max(WHOLE) }
    }

    /// An ordinary call is made.
    pub(super) fn earn(&self) {
        self.change(|in_hand| Some((in_hand + self.share).min(self.most)));
    }

    /// Takes one additional call, if there is one.
    pub(super) fn spend(&self) -> bool {
        self.change(|in_hand| in_hand.checked_sub(WHOLE))
    }

    fn change(&self, change: impl FnMut(u64) -> Option<u64>) -> bool {
        self.in_hand.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_more_than_the_share_and_the_burst_is_ever_spent(
            share in 0.0..=1.0_f64,
            burst in 0..5_u32,
            spends in prop::collection::vec(0..3_u8, 0..400),
        ) {
            let allowance = Allowance::new(share, burst);
            let (mut n_calls, mut n_spent, mut n_refused_in_a_row) = (0_u32, 0_u32, 0_u32);
            for n in spends {
                allowance.earn();
                n_calls += 1;
                n_refused_in_a_row += 1;
                for _ in 0..n {
                    if allowance.spend() {
                        n_spent += 1;
                        n_refused_in_a_row = 0;
                    }
                }
                if n == 0 {
                    n_refused_in_a_row = 0;
                }
                prop_assert!(f64::from(n_spent) <= f64::from(burst) + share * f64::from(n_calls) + 1e-3);
                // A call that wants more than its share is not put off for ever.
                prop_assert!(f64::from(n_refused_in_a_row) * (share - 1e-6) <= 1.0 + 1e-3);
            }
        }
    }

    #[test]
    fn a_share_that_is_no_number_is_none() {
        let allowance = Allowance::new(f64::NAN, 0);
        (0..100).for_each(|_| allowance.earn());
        assert!(!allowance.spend());
    }
}
