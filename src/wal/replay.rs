//! Replay at open: fills the window and collects the events after the checkpoint, while recovery
//! verifies the log.
//!
//! 1. One pass: each record enters the window with the time of its batch. Records after the last
//!    checkpoint are also returned to the caller. Without a window, earlier ones are skipped.
//! 2. The result is used only if opening succeeds.
//! 3. Memory: the returned events, and the window, which has its own bound.

use std::path::PathBuf;

use crate::clock::Clock;
use crate::wal::SignalEvent;
use crate::wal::dedup::DedupWindow;
use crate::wal::format::{EventRecord, event_bytes};
use crate::{Replayed, Result};

#[derive(Debug)]
pub(crate) struct EventReplay {
    dir: PathBuf,
    /// Started at the first record. The log is locked by then, so no batch in it is younger.
    pub(crate) clock: Option<Clock>,
    pub(crate) window: Option<DedupWindow>,
    pub(crate) events: Vec<SignalEvent>,
}

impl EventReplay {
    /// A replay of the log in `dir`; error messages name it.
    pub(crate) fn new(dir: PathBuf, window: Option<DedupWindow>) -> EventReplay {
        EventReplay { dir, clock: None, window, events: Vec::new() }
    }

    /// Takes the next record.
    pub(crate) fn take(&mut self, record: Replayed<'_>) -> Result<()> {
        if record.is_checkpointed() && self.window.is_none() {
            return Ok(());
        }
        let bytes = event_bytes(record.seq(), record.data(), &self.dir)?;
        if let Some(window) = &self.window {
            let clock = self.clock.get_or_insert_with(Clock::start);
            window.restore(bytes, record.time_nanos(), clock.now_nanos());
        }
        if !record.is_checkpointed() {
            self.events.push(EventRecord::from_bytes(*bytes).into());
        }
        Ok(())
    }
}
