//! The time of an open log: a clock that reads the wall clock once, at the open, and then runs on
//! its own.
//!
//! People and other machines set wall clocks, sometimes wrongly and back again. If the wall clock
//! is a day ahead for a moment, events that are aged by it would live a day longer, and times that
//! must not go back would all stay a day ahead. So each open log reads it only once. Only the times
//! that an earlier life of the log left are compared with it.
//!
//! The price: an error of the wall clock at the open stays until the log is closed. And where
//! [`Instant`] does not count sleep, the clock is behind after the machine slept.

use std::time::{Duration, Instant, SystemTime};

use crate::sync::now;

/// A clock that starts with the wall clock and then only runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Nanoseconds since the Unix epoch at its start.
    base_nanos: u64,
    start: Instant,
}

impl Clock {
    /// Starts with the time of the wall clock.
    pub(crate) fn start() -> Clock {
        Clock::start_at(wall_nanos())
    }

    pub(crate) fn start_at(base_nanos: u64) -> Clock {
        Clock { base_nanos, start: now() }
    }

    /// The time in nanoseconds since the Unix epoch, by the wall clock at the start.
    pub(crate) fn now_nanos(&self) -> u64 {
        self.nanos_at(now())
    }

    /// The time at an instant; an instant before the start counts as the start.
    pub(crate) fn nanos_at(&self, instant: Instant) -> u64 {
        self.base_nanos.saturating_add(nanos(instant.saturating_duration_since(self.start)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The wall clock in nanoseconds since the Unix epoch; 0 if it is set to a time before that.
fn wall_nanos() -> u64 {
    let wall = SystemTime::now();
    #[cfg(test)]
    let wall = wall + tests::AHEAD.get();
    wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, nanos)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How far the wall clock of this thread is ahead.
        pub(crate) static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    #[test]
    fn a_clock_reads_the_wall_clock_once_and_then_only_runs() {
        let clock = Clock::start();
        let right = clock.now_nanos();
        AHEAD.set(Duration::from_secs(86_400));
        let ahead = Clock::start();
        AHEAD.set(Duration::ZERO);
        assert!(right <= clock.now_nanos() && clock.now_nanos() < right + 3_600_000_000_000);
        assert!(ahead.now_nanos() >= right + 86_000_000_000_000);
        let start = clock.start;
        assert_eq!(clock.nanos_at(start + Duration::from_nanos(7)), clock.base_nanos + 7);
        assert_eq!(Clock::start_at(u64::MAX).now_nanos(), u64::MAX);
    }
}
