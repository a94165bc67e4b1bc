//! Shows on a terminal how far a run has come, how fast it is and when it will be done.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hp_base::Clock;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::journal::Progress;

/// Counts the rows of this process, and shows them if somebody is there to see.
pub(super) struct Meter {
    clock: Arc<dyn Clock>,
    started: Instant,
    n_rows_before: u64,
    bar: Option<ProgressBar>,
}

impl Meter {
    /// Starts at `progress` in an input of `n_bytes`, where that is known.
    pub(super) fn start(clock: Arc<dyn Clock>, progress: Progress, n_bytes: Option<u64>) -> Self {
        let bar = io::stderr().is_terminal().then(|| bar(progress.input.offset, n_bytes));
        Self { started: clock.now(), clock, n_rows_before: progress.n_rows(), bar }
    }

    /// Shows `progress`.
    pub(super) fn show(&self, progress: Progress) {
        if let Some(bar) = &self.bar {
            let (n_rows, rows_per_second) =
                (grouped(progress.n_rows()), grouped(self.rows_per_second(progress)));
            bar.set_message(format!("{n_rows} rows, {rows_per_second} rows/s"));
            bar.set_position(progress.input.offset);
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// The time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.started)
    }

    /// The rows of this process a second.
    pub(super) fn rows_per_second(&self, progress: Progress) -> u64 {
        let n_rows = progress.n_rows() - self.n_rows_before;
        (n_rows as f64 / self.elapsed().as_secs_f64().max(1e-9)) as u64
    }
}

fn bar(offset: u64, n_bytes: Option<u64>) -> ProgressBar {
    let bar = n_bytes.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let template = match n_bytes {
        Some(_) => "{bar:30} {percent:>3} %  {msg}, {eta} to go",
        None => "{spinner} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_draw_target(ProgressDrawTarget::stderr());
    // The rate, and with it the time to go, counts from here.
    bar.set_position(offset);
    bar.reset_eta();
    bar
}

/// The number with a comma between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use hp_base::ManualClock;

    use super::{Meter, Progress, grouped};

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn the_rate_counts_from_the_start_of_this_process() {
        let clock = Arc::new(ManualClock::new());
        let before = Progress { n_answered: 900, n_refused: 100, ..Progress::default() };
        let meter = Meter::start(clock.clone(), before, None);
        clock.advance(Duration::from_secs(2));
        assert_eq!(meter.rows_per_second(Progress { n_answered: 1900, ..before }), 500);
        assert_eq!(meter.elapsed(), Duration::from_secs(2));
    }
}
