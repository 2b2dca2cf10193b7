//! The window of recent events, by which an append recognizes duplicates.
//!
//! ```text
//! table      event -> stamp, the number of its entry
//! entries    | event, time | event, time | event, time | event, time |   oldest first
//! in flight                              | appended    | reserved    |   the newest entries
//! ```
//!
//! 1. Exact: the window compares the events themselves, all 21 bytes, so it never reports a false
//!    duplicate. (A BLAKE3 hash would be longer than the event, and costs six times the copy and
//!    checksum of the append.)
//! 2. An event is a duplicate if an equal one arrived at most one window before. The time of an
//!    event is that of its arrival; after a reopen, that of its batch. Duplicates do not extend it.
//!    While the log is open, both times come from a monotonic clock (`clock`): setting the wall
//!    clock neither shortens nor extends the window.
//! 3. Bounded: when the window is full, the oldest entries are forgotten early, and counted. Events
//!    in flight are never forgotten and may exceed the bound; the engine's queue limits them.
//! 4. An event is *reserved* until its append gets a sequence number, then *appended* with a ticket
//!    of the engine, then *settled*. A duplicate gets the first event's ticket and waits outside
//!    the lock.
//! 5. A reservation whose append fails is forgotten, and its duplicates fail with it. Its entry is
//!    removed once no later event is in flight.
//! 6. Who does not block, a task or `try_submit`, admits and appends in one step, under the lock.
//!    So nobody ever waits for a reservation of a task, which may be dropped.
//! 7. No call takes long: it settles and forgets a few entries, but more than it adds.
//!
//! Threading: any thread may call. There is one short lock; no thread waits or wakes another one
//! while it holds it.

mod table;

use crate::sync::plain::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::wal::format::EVENT_SIZE;
use crate::wal::pending::PendingCommit;
use crate::{Commit, Error};

use table::{EventTable, Lookup};

/// The default number of entries: 48 MiB of memory when all of them are used.
pub const ENTRIES_DEFAULT: usize = 1 << 20;

/// The largest number of entries that the builder accepts.
pub const ENTRIES_MAX: usize = 1 << 28;

/// The most entries that one call settles, and the most that it forgets.
const STEPS_MAX: usize = 32;

type Event = [u8; EVENT_SIZE];

/// A window of recent events, by their times of arrival.
///
/// ```
/// use std::time::Duration;
/// use ringwal::wal::dedup::DedupWindow;
///
/// let window = DedupWindow::new(Duration::from_nanos(10), 1000);
/// assert!(window.remember(&[1; 21], 100));
/// assert!(!window.remember(&[1; 21], 110)); // a duplicate
/// assert!(window.remember(&[1; 21], 111)); // the window is over
/// ```
#[derive(Debug)]
pub struct DedupWindow {
    state: Mutex<WindowState>,
}

#[derive(Debug)]
struct WindowState {
    window_nanos: u64,
    entries_max: usize,
    /// The greatest time so far.
    last_nanos: u64,
    hasher: RandomState,
    table: EventTable,
    entries: VecDeque<WindowEntry>,
    /// The stamp of the oldest entry.
    first_stamp: u64,
    /// The progress of the newest entries.
    in_flight: VecDeque<Progress>,
    forgotten_early: u64,
}

#[derive(Debug)]
struct WindowEntry {
    event: Event,
    time_nanos: u64,
}

/// How far the append of an event has come.
#[derive(Debug)]
enum Progress {
    /// It has no number yet. The first duplicate makes the pending ticket.
    Reserved(Option<Arc<PendingCommit>>),
    Appended(Commit),
    /// It is acknowledged: a duplicate has nothing to wait for.
    Settled,
    /// It failed: the entry belongs to no event.
    Failed,
}

/// The window's answer to an event.
#[derive(Debug)]
pub(crate) enum Admission {
    /// The event is new, and reserved.
    New,
    /// An equal event is durable.
    Known,
    /// An equal event was appended and may not be durable yet.
    Appended(Commit),
    /// An equal event is about to be appended.
    Reserved(Arc<PendingCommit>),
}

impl DedupWindow {
    /// An empty window that remembers at most `entries_max` events for `window` each.
    pub fn new(window: Duration, entries_max: usize) -> DedupWindow {
        // Reserve all of it now: unused memory costs nothing, and growing later would delay every
        // append. If there is not that much, the queue grows as it is used.
        let mut entries = VecDeque::new();
        let _ = entries.try_reserve(entries_max.saturating_add(1));
        let state = WindowState {
            window_nanos: u64::try_from(window.as_nanos()).unwrap_or(u64::MAX),
            entries_max,
            last_nanos: 0,
            hasher: RandomState::new(),
            table: EventTable::new(entries_max),
            entries,
            first_stamp: 0,
            in_flight: VecDeque::new(),
            forgotten_early: 0,
        };
        DedupWindow { state: Mutex::new(state) }
    }

    /// Remembers an event that arrives at `time_nanos`. Returns whether it was new.
    pub fn remember(&self, event: &[u8; EVENT_SIZE], time_nanos: u64) -> bool {
        let mut state = self.state();
        state.advance(time_nanos);
        let (tag, found) = state.find(event);
        let is_new = state.known(found).is_none();
        if is_new {
            state.insert(event, (tag, found), None);
        }
        is_new
    }

    /// The number of events in the window.
    pub fn len(&self) -> usize {
        self.state().table.len()
    }

    /// Whether the window is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of events that were forgotten early because the window was full.
    pub fn forgotten_early(&self) -> u64 {
        self.state().forgotten_early
    }

    /// Remembers an event from the log, during recovery at `now_nanos`.
    pub(crate) fn restore(&self, event: &Event, time_nanos: u64, now_nanos: u64) {
        let mut state = self.state();
        // Entries are forgotten in order: one with a time in the future would block all later ones.
        let time_nanos = time_nanos.min(now_nanos);
        if now_nanos - time_nanos <= state.window_nanos {
            state.advance(time_nanos);
            let found = state.find(event);
            state.insert(event, found, None);
        }
    }

    /// Reserves the new ones among `events`, and answers each.
    pub(crate) fn admit<'e>(
        &self,
        events: impl Iterator<Item = &'e Event>,
        now_nanos: u64,
    ) -> (Reservation<'_>, Vec<Admission>) {
        let mut state = self.state();
        let first = state.next_stamp();
        let admit = |event: &Event| state.admit(event, now_nanos);
        let admissions = events.map(admit).collect();
        let stamps = first..state.next_stamp();
        (Reservation { window: self, stamps }, admissions)
    }

    /// [`admit`](Self::admit) of one event.
    pub(crate) fn admit_one(&self, event: &Event, now_nanos: u64) -> (Reservation<'_>, Admission) {
        let mut state = self.state();
        let first = state.next_stamp();
        let admission = state.admit(event, now_nanos);
        let stamps = first..state.next_stamp();
        (Reservation { window: self, stamps }, admission)
    }

    /// Admits events and appends the new ones in one step, under the lock: `append` must not wait,
    /// and wakes nobody. If it returns no ticket, no trace is left of them, and nobody has seen
    /// that they were about to be appended.
    pub(crate) fn admit_at_once<'e>(
        &self,
        events: impl Iterator<Item = &'e Event>,
        now_nanos: u64,
        append: impl FnOnce(&[Admission]) -> Option<Commit>,
    ) -> Vec<Admission> {
        let mut state = self.state();
        let first = state.next_stamp();
        let admissions: Vec<_> = events.map(|event| state.admit(event, now_nanos)).collect();
        let stamps = first..state.next_stamp();
        let commit = if stamps.is_empty() { None } else { append(&admissions) };
        let resolve = |stamp| state.resolve(stamp, commit.as_ref());
        // Of duplicates within the same call.
        let pending: Vec<_> = stamps.filter_map(resolve).collect();
        drop(state);
        if let Some(commit) = commit {
            pending.iter().for_each(|waiter| waiter.resolve(Ok(commit.clone())));
        }
        admissions
    }

    /// [`admit_at_once`](Self::admit_at_once) of one event.
    pub(crate) fn admit_one_at_once(
        &self,
        event: &Event,
        now_nanos: u64,
        append: impl FnOnce() -> Option<Commit>,
    ) -> Admission {
        let mut state = self.state();
        let stamp = state.next_stamp();
        let admission = state.admit(event, now_nanos);
        if matches!(admission, Admission::New) {
            let commit = append();
            // Nobody has seen the reservation.
            let _none = state.resolve(stamp, commit.as_ref());
        }
        admission
    }

    fn state(&self) -> MutexGuard<'_, WindowState> {
        self.state.lock()
    }
}

impl WindowState {
    fn next_stamp(&self) -> u64 {
        self.first_stamp + self.entries.len() as u64
    }

    fn admit(&mut self, event: &Event, now_nanos: u64) -> Admission {
        self.advance(now_nanos);
        let (tag, found) = self.find(event);
        match self.known(found) {
            Some(admission) => admission,
            None => {
                self.insert(event, (tag, found), Some(Progress::Reserved(None)));
                Admission::New
            }
        }
    }

    /// The tag of an event, and where it is in the table.
    fn find(&self, event: &Event) -> (u32, Lookup) {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(event);
        let tag = table::tag(hasher.finish());
        let found = self.table.find(tag, |low| self.entries[self.index(low)].event == *event);
        (tag, found)
    }

    /// The answer to a duplicate; `None` if the event is not in the window.
    fn known(&mut self, found: Lookup) -> Option<Admission> {
        let Lookup::Found(_, low) = found else { return None };
        let index = self.index(low);
        if self.is_over(&self.entries[index]) {
            return None;
        }
        Some(match self.progress(index) {
            None | Some(Progress::Settled | Progress::Failed) => Admission::Known,
            Some(Progress::Appended(commit)) => Admission::Appended(commit.clone()),
            Some(Progress::Reserved(pending)) => {
                Admission::Reserved(Arc::clone(pending.get_or_insert_default()))
            }
        })
    }

    /// Adds a new event at the place that [`find`](Self::find) returned. Without `progress` it is
    /// settled.
    fn insert(&mut self, event: &Event, found: (u32, Lookup), progress: Option<Progress>) {
        // Make room only now: the entry to forget could have been this event's duplicate.
        let (tag, found) = if self.make_room() { self.find(event) } else { found };
        let stamp = self.next_stamp();
        self.table.put(found, tag, stamp as u32);
        self.entries.push_back(WindowEntry { event: *event, time_nanos: self.last_nanos });
        match progress {
            Some(progress) => self.in_flight.push_back(progress),
            None if self.in_flight.is_empty() => {}
            None => self.in_flight.push_back(Progress::Settled),
        }
    }

    /// Forgets the oldest settled entries until there is room for one more. Returns whether places
    /// in the table may have changed.
    fn make_room(&mut self) -> bool {
        let mut steps = 0;
        while self.entries.len() >= self.entries_max && steps < STEPS_MAX && self.forget_oldest() {
            steps += 1;
        }
        steps > 0
    }

    /// Forgets the oldest entry unless it is in flight. Returns whether it did.
    fn forget_oldest(&mut self) -> bool {
        if self.entries.len() == self.in_flight.len() {
            return false;
        }
        let Some(oldest) = self.entries.front() else { return false };
        let (event, is_over) = (oldest.event, self.is_over(oldest));
        if self.forget(&event, self.first_stamp) {
            self.forgotten_early += u64::from(!is_over);
        }
        self.entries.pop_front();
        self.first_stamp += 1;
        true
    }

    /// Advances the window to a time: settles acknowledged entries and forgets old ones.
    fn advance(&mut self, now_nanos: u64) {
        self.last_nanos = self.last_nanos.max(now_nanos);
        for _ in 0..STEPS_MAX {
            match self.in_flight.front() {
                Some(Progress::Settled | Progress::Failed) => {}
                Some(Progress::Appended(commit)) if commit.is_done() => {}
                _ => break,
            }
            self.in_flight.pop_front();
        }
        for _ in 0..STEPS_MAX {
            let is_over = self.entries.front().is_some_and(|entry| self.is_over(entry));
            if !is_over || !self.forget_oldest() {
                break;
            }
        }
    }

    fn is_over(&self, entry: &WindowEntry) -> bool {
        self.last_nanos - entry.time_nanos > self.window_nanos
    }

    /// Removes an event from the table unless a later entry has replaced it.
    fn forget(&mut self, event: &Event, stamp: u64) -> bool {
        match self.find(event) {
            (tag, Lookup::Found(at, low)) if low == stamp as u32 => {
                self.table.remove(tag, at);
                true
            }
            _ => false,
        }
    }

    /// The index of the entry whose stamp has these low bits.
    fn index(&self, low: u32) -> usize {
        low.wrapping_sub(self.first_stamp as u32) as usize
    }

    /// The progress of an entry; `None` if it and all older ones are settled.
    fn progress(&mut self, index: usize) -> Option<&mut Progress> {
        let settled = self.entries.len() - self.in_flight.len();
        self.in_flight.get_mut(index.checked_sub(settled)?)
    }

    /// Marks a reservation as appended, or forgets it if there is no commit. Returns the pending
    /// ticket of its duplicates, to be resolved without the lock.
    fn resolve(&mut self, stamp: u64, commit: Option<&Commit>) -> Option<Arc<PendingCommit>> {
        let index = self.index(stamp as u32);
        if commit.is_none() {
            let event = self.entries[index].event;
            self.forget(&event, stamp);
        }
        let resolved = commit.map_or(Progress::Failed, |commit| Progress::Appended(commit.clone()));
        let before = std::mem::replace(self.progress(index)?, resolved);
        // Drop failed entries at the end here: they settle only after all older ones, which in a
        // failed log never happens.
        while let Some(Progress::Failed) = self.in_flight.back() {
            self.in_flight.pop_back();
            self.entries.pop_back();
        }
        match before {
            Progress::Reserved(pending) => pending,
            _ => None,
        }
    }
}

/// New events that are about to be appended. Dropped unresolved, it forgets them.
#[derive(Debug)]
#[must_use = "reserved events must be appended"]
pub(crate) struct Reservation<'w> {
    window: &'w DedupWindow,
    stamps: Range<u64>,
}

impl Reservation<'_> {
    /// The events are appended, all with this ticket.
    pub(crate) fn appended(mut self, commit: &Commit) {
        self.resolve(Some(commit), || Ok(commit.clone()));
    }

    /// The append failed.
    pub(crate) fn failed(mut self, error: &Error) {
        self.resolve(None, || Err(error.clone()));
    }

    fn resolve(
        &mut self,
        commit: Option<&Commit>,
        mut outcome: impl FnMut() -> crate::Result<Commit>,
    ) {
        let stamps = std::mem::replace(&mut self.stamps, 0..0);
        if stamps.is_empty() {
            return;
        }
        let pending: Vec<_> = {
            let mut state = self.window.state();
            stamps.filter_map(|stamp| state.resolve(stamp, commit)).collect()
        };
        // Without the lock: resolving wakes tasks and threads.
        for commit in pending {
            commit.resolve(outcome());
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        // Some events are left only if the append panicked.
        self.resolve(None, || Err(Error::Closed));
    }
}

#[cfg(test)]
mod tests;
