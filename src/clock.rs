//! The time within one life of a log: a clock that begins with the wall clock and only runs from
//! then on, whatever becomes of that.
//!
//! A wall clock is set, by people and by other machines, also wrongly and back again. Whatever is
//! aged by it within a life would live for a day longer because it was a day ahead for a moment;
//! and times that may not go back would all stay a day ahead. So the wall clock counts once in each
//! life, when that begins, and only what an earlier life left is aged by it.
//!
//! The price: what the wall clock had wrong then stays wrong for that life, and after the machine
//! slept it is behind, on systems where [`Instant`] does not count sleep.

use std::time::{Duration, Instant, SystemTime};

use crate::sync::now;

/// A clock of one life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Nanoseconds since the Unix epoch at its start.
    base_nanos: u64,
    start: Instant,
}

impl Clock {
    /// Begins with what the wall clock says.
    pub(crate) fn start() -> Clock {
        Clock::start_at(wall_nanos())
    }

    pub(crate) fn start_at(base_nanos: u64) -> Clock {
        Clock { base_nanos, start: now() }
    }

    /// The time, in nanoseconds since the Unix epoch as it seemed at the start.
    pub(crate) fn now_nanos(&self) -> u64 {
        self.nanos_at(now())
    }

    /// The time at an instant; that of the start for one before it.
    pub(crate) fn nanos_at(&self, instant: Instant) -> u64 {
        self.base_nanos.saturating_add(nanos(instant.saturating_duration_since(self.start)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What the wall clock says, in nanoseconds since the Unix epoch; 0 if it is before that.
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
        /// By how much the wall clock of this thread is ahead.
        pub(crate) static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    #[test]
    fn a_clock_goes_by_the_wall_once_and_then_only_runs() {
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
