//! The durable note of the watermark after a pause.
//!
//! A batch is proven to have been acknowledged by what was written after it. The last one of a log
//! that was not closed has nothing behind it, so damage to it looks like a torn write. When nothing
//! became durable for a while, the ring thread therefore notes in `state` how far the log is. From
//! then on damage to any record so far is noticed.
//!
//! It costs one write and one sync of one slot for each pause, by the ring thread while it has
//! nothing else to do. While the note is up to date, that thread sleeps without a timer; so the
//! next appender that commits by itself wakes it.
//!
//! A note only helps. Where there is no room for it, below a limit on the length of files or on a
//! disk that is full, the log goes on without it, and it is tried again after the next pause.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::commit::shared::Shared;
use crate::engine::state_file::StateFile;
use crate::error::Error;
use crate::format::State;
use crate::mutation::mutated;
use crate::sync::Mutex;

/// What is known about the note of one log.
pub(crate) struct Notes {
    state: Arc<Mutex<StateFile>>,
    /// How long nothing must have become durable; `None` is never.
    after: Option<Duration>,
    noted_seq: u64,
    /// The watermark when it was last looked at, and since when it is known.
    seen: Option<(u64, Instant)>,
}

impl Notes {
    pub(crate) fn new(state: Arc<Mutex<StateFile>>, after: Option<Duration>, noted: u64) -> Notes {
        Notes { state, after, noted_seq: noted, seen: None }
    }

    /// Whether a record that becomes durable asks for a note, so that the ring thread has to hear
    /// of it.
    pub(crate) fn is_on(&self) -> bool {
        self.after.is_some()
    }

    /// When the note is due, or `None` if `durable_seq` is noted already.
    pub(crate) fn due_at(&mut self, durable_seq: u64, now: Instant) -> Option<Instant> {
        let after = self.after?;
        if durable_seq <= self.noted_seq {
            // Records were cut off, or there are none.
            self.noted_seq = self.noted_seq.min(durable_seq);
            return None;
        }
        let (_, since) = *self.seen.insert(match self.seen {
            Some((seq, since)) if seq == durable_seq => (seq, since),
            _ => (durable_seq, now),
        });
        Some(since + after)
    }

    /// Notes the watermark. Whoever changes `state` meanwhile notes it, too, so then it is left.
    pub(crate) fn write(&mut self, shared: &Shared) {
        self.seen = None;
        let Some(mut file) = self.state.try_lock() else { return };
        if shared.check().is_err() || file.require_generations().is_err() {
            self.after = None;
            return;
        }
        // Only now: whoever cuts records off holds `state` from before the cut until after it.
        let durable_seq = shared.watermarks.durable();
        let last_seq = file.current().last_seq.max(durable_seq);
        let state = State { last_seq, clean: false, ..file.current().clone() };
        if last_seq > file.current().last_seq && !mutated("forget_the_note") {
            let written = file.write(state);
            if written.as_ref().is_err_and(is_refused) && !mutated("end_for_a_note") {
                // After the next pause it is tried again.
                shared.metrics().notes_refused += 1;
                return;
            }
            let written = shared.or_poison(written);
            shared.metrics().notes += u64::from(written.is_ok());
        }
        self.noted_seq = last_seq;
    }
}

/// Whether there was no room for the note: then the state before it still counts. What of the note
/// was written is true, should a later torn write complete it. A sync that failed is another
/// matter, as always: nobody knows what it left.
fn is_refused(error: &Error) -> bool {
    matches!(error, Error::Io { op: "write", .. }) && error.is_shortage()
}
