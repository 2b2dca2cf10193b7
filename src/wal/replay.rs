//! What opening an event log makes of its records, while recovery verifies them.
//!
//! 1. One pass: each record goes into the window by the time of its batch, and into the answer if
//!    the last checkpoint does not cover it. Where no duplicates are to be told, what it covers is
//!    not looked at.
//! 2. Nothing of this counts unless opening succeeds; then it is what the log has.
//! 3. Memory: the events that are returned, and the window, which keeps its own bound.

use std::path::PathBuf;

use crate::clock::Clock;
use crate::wal::SignalEvent;
use crate::wal::dedup::DedupWindow;
use crate::wal::format::{EventRecord, event_bytes};
use crate::{Replayed, Result};

#[derive(Debug)]
pub(crate) struct Replay {
    dir: PathBuf,
    /// Started at the first look. The log was locked before, so nothing in it is younger.
    pub(crate) clock: Option<Clock>,
    pub(crate) window: Option<DedupWindow>,
    pub(crate) events: Vec<SignalEvent>,
}

impl Replay {
    /// For the log in `dir`, which messages name.
    pub(crate) fn new(dir: PathBuf, window: Option<DedupWindow>) -> Replay {
        Replay { dir, clock: None, window, events: Vec::new() }
    }

    /// Takes a record in.
    pub(crate) fn show(&mut self, record: Replayed<'_>) -> Result<()> {
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
