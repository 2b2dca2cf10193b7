//! The offered load of an appending thread: bursts, with think time in between.
//!
//! ```text
//! append ─ append ─ append │ think │ append ─ append ─ append │ think │ ...
//! └──────── burst ───────┘ └─ random, exponential ─┘
//! ```
//!
//! Think times are drawn independently, so many threads arrive at random, as independent clients
//! do. A sleep takes longer than requested, by some 60 us on Linux.

use std::time::Duration;

use crate::bench::args::Case;
use crate::util::random::splitmix64;

/// When a thread pauses, and for how long.
#[derive(Debug)]
pub(crate) struct OfferedLoad {
    think: Duration,
    burst: u64,
    /// Appends since the last pause.
    appends: u64,
    random: u64,
}

impl OfferedLoad {
    pub(crate) fn new(case: &Case, run: u64, thread: u32) -> OfferedLoad {
        let random = (run << 32) | u64::from(thread);
        OfferedLoad { think: case.think, burst: case.burst, appends: 0, random }
    }

    /// Counts an append.
    pub(crate) fn count(&mut self) {
        self.appends += 1;
    }

    /// Whether the thread must think before its next append.
    pub(crate) fn is_due(&self) -> bool {
        self.appends >= self.burst && !self.think.is_zero()
    }

    /// Sleeps for a think time if one is due. Everything appended should be acknowledged first.
    #[expect(clippy::disallowed_methods, reason = "the pause is the load; it waits for no event")]
    pub(crate) fn pause(&mut self) {
        if self.is_due() {
            self.appends = 0;
            std::thread::sleep(self.draw());
        }
    }

    /// A think time: exponentially distributed, capped at ten times the mean.
    fn draw(&mut self) -> Duration {
        // A value from 1 to 2^53, of 2^53.
        let parts = (splitmix64(&mut self.random) >> 11) + 1;
        let share = -(parts as f64 / (1_u64 << 53) as f64).ln();
        self.think.mul_f64(share.min(10.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::bench::args::Mode;

    fn offered(think: Duration, burst: u64) -> OfferedLoad {
        let (mode, threads, workers, size, window, grow) = (Mode::Blocking, 1, 1, 1, 1, false);
        let case = Case { mode, threads, workers, size, window, think, burst, grow };
        OfferedLoad::new(&case, 1, 2)
    }

    #[test]
    fn a_pause_is_due_after_each_burst_and_never_without_time_to_think() {
        let due = |mut offered: OfferedLoad| -> Vec<bool> {
            let count = |_| {
                offered.count();
                let due = offered.is_due();
                offered.pause();
                due
            };
            (0..6).map(count).collect()
        };
        assert_eq!(
            due(offered(Duration::from_nanos(1), 3)),
            [false, false, true, false, false, true]
        );
        assert_eq!(due(offered(Duration::ZERO, 1)), [false; 6]);
    }

    #[test]
    fn times_to_think_have_their_mean_and_differ() {
        let mean = Duration::from_millis(1);
        let mut offered = offered(mean, 1);
        let draws: Vec<f64> = (0..10_000).map(|_| offered.draw().as_secs_f64()).collect();
        let found = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((0.95e-3..1.05e-3).contains(&found), "{found}");
        let above = draws.iter().filter(|&&draw| draw > 1e-3).count();
        assert!((3400..4000).contains(&above), "{above} of 10,000 above the mean, e^-1 expected");
        assert!(draws.iter().all(|&draw| draw <= 10e-3));
    }
}
