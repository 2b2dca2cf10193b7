//! What the ring thread does, as the threads see it that put records into the queue.
//!
//! ```text
//!             nothing is due             a batch is due at a time
//!   Asleep <─────────────────── Awake ───────────────────> Timed
//!      │                        ^   ^                        │
//!      │ an appender wakes it   │   │ looks again            │ an appender wakes it
//!      └────────────────────────┘   └──────── Woken <────────┘
//! ```
//!
//! It is awake also while no more batches may be in flight: whatever completes makes it look again.

/// See above. The ring thread says what it is about to do while it has the queue's lock, so no
/// appender finds it asleep that is not, or awake that will not look again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RingState {
    /// It will look into the queue again by itself.
    #[default]
    Awake,
    /// It wants to hear of a batch that is due.
    Asleep,
    /// The same, but it will look at the time when the open batch is due.
    Timed,
    /// An appender woke it before that time, for which no other timer is needed.
    Woken,
}

impl RingState {
    /// Whether an appender has to wake it for a batch that is due.
    pub(super) fn is_asleep(self) -> bool {
        matches!(self, RingState::Asleep | RingState::Timed)
    }

    /// Whether it looks at the open batch when that is due.
    pub(super) fn has_timer(self) -> bool {
        matches!(self, RingState::Timed | RingState::Woken)
    }

    /// An appender wakes it. Returns whether that is needed.
    pub(super) fn wake(&mut self) -> bool {
        let (next, is_needed) = match *self {
            RingState::Asleep => (RingState::Awake, true),
            RingState::Timed => (RingState::Woken, true),
            awake => (awake, false),
        };
        *self = next;
        is_needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_appender_wakes_it_and_a_timer_stays_until_it_looks_again() {
        for (ring, is_asleep, has_timer, woken) in [
            (RingState::Awake, false, false, RingState::Awake),
            (RingState::Asleep, true, false, RingState::Awake),
            (RingState::Timed, true, true, RingState::Woken),
            (RingState::Woken, false, true, RingState::Woken),
        ] {
            assert_eq!((ring.is_asleep(), ring.has_timer()), (is_asleep, has_timer), "{ring:?}");
            let mut next = ring;
            assert_eq!(next.wake(), is_asleep, "{ring:?}");
            assert_eq!(next, woken, "{ring:?}");
            assert!(!next.wake(), "{ring:?}: once is enough");
            assert_eq!(next.has_timer(), has_timer, "{ring:?}");
        }
    }
}
