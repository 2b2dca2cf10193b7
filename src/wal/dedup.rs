//! Which events were accepted lately, so that the same one is not accepted again.
//!
//! ```text
//! table    event -> number of its slot, its stamp
//! slots    | event, time | event, time | event, time | event, time |   oldest first
//! flights                              | appended    | reserved    |   of the newest slots
//! ```
//!
//! 1. Exact: the events themselves are compared, all 21 bytes, so there is no false duplicate.
//!    (A BLAKE3 hash of them would be longer than they are, and costs six times the copy and
//!    checksum of the append.)
//! 2. An event is a duplicate when an equal one arrived at most the window before. Its time is
//!    that of its arrival; after a reopen, that of its batch. Duplicates do not prolong it. While
//!    the log is open, time is that of a clock that only runs, and so is that of batches
//!    (`clock`): a wall clock that is set neither shortens the window nor prolongs it.
//! 3. Bounded: at the most entries, the oldest are forgotten before their time, and counted.
//!    Events in flight are never forgotten, and come on top; the engine's queue bounds them.
//! 4. An event is *reserved* while its append is about to get a sequence number, then *appended*
//!    with a ticket of the engine, then settled. Who brings a duplicate gets what there is to wait
//!    for, and waits without the lock.
//! 5. A reservation that is not appended is forgotten, and fails those who wait for it. Nothing of
//!    it is kept once no later one is on its way.
//! 6. No step takes long: a call settles and forgets a few entries, more than it adds.
//!
//! Threading: any thread may call; one short lock, under which nobody waits or is woken.

mod table;

use crate::sync::plain::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::wal::format::EVENT_SIZE;
use crate::wal::ticket::Ticket;
use crate::{Commit, Error};

use table::{Place, Table};

/// How many entries are remembered unless the builder says otherwise: 48 MiB when all of them are
/// used.
pub const ENTRIES_DEFAULT: usize = 1 << 20;

/// The most entries that can be asked for.
pub const ENTRIES_MAX: usize = 1 << 28;

/// How many entries one call settles or forgets at most, each.
const STEPS_MAX: usize = 32;

type Event = [u8; EVENT_SIZE];

/// A window of events by their time of arrival.
///
/// ```
/// use std::time::Duration;
/// use ringwal::wal::dedup::DedupWindow;
///
/// let window = DedupWindow::new(Duration::from_nanos(10), 1000);
/// assert!(window.remember(&[1; 21], 100));
/// assert!(!window.remember(&[1; 21], 110)); // a duplicate
/// assert!(window.remember(&[1; 21], 111)); // forgotten meanwhile
/// ```
#[derive(Debug)]
pub struct DedupWindow {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    window_nanos: u64,
    entries_max: usize,
    /// The greatest time so far.
    last_nanos: u64,
    hasher: RandomState,
    table: Table,
    slots: VecDeque<Slot>,
    /// The stamp of the oldest slot.
    first_stamp: u64,
    flights: VecDeque<Flight>,
    forgotten_early: u64,
}

#[derive(Debug)]
struct Slot {
    event: Event,
    time_nanos: u64,
}

#[derive(Debug)]
enum Flight {
    /// Its append has no number yet. The ticket is made by the first duplicate.
    Reserved(Option<Arc<Ticket>>),
    Appended(Commit),
    /// There is nothing to wait for.
    Settled,
    /// It was not appended: the slot is nobody's.
    Gone,
}

/// What a window says to an event.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It is new, and reserved.
    New,
    /// One is durable.
    Known,
    /// One was appended and may not be durable yet.
    Appended(Commit),
    /// One is about to be appended.
    Reserved(Arc<Ticket>),
}

impl DedupWindow {
    /// An empty window that remembers at most `entries_max` events for `window` each.
    pub fn new(window: Duration, entries_max: usize) -> DedupWindow {
        // Memory that is not used yet costs nothing, and growing would hold everybody up. Where
        // so much is not to be had, it grows all the same.
        let mut slots = VecDeque::new();
        let _ = slots.try_reserve(entries_max.saturating_add(1));
        let state = State {
            window_nanos: u64::try_from(window.as_nanos()).unwrap_or(u64::MAX),
            entries_max,
            last_nanos: 0,
            hasher: RandomState::new(),
            table: Table::new(entries_max),
            slots,
            first_stamp: 0,
            flights: VecDeque::new(),
            forgotten_early: 0,
        };
        DedupWindow { state: Mutex::new(state) }
    }

    /// Remembers an event that arrived at `time_nanos`, unless it is a duplicate. Returns whether
    /// it was new.
    pub fn remember(&self, event: &[u8; EVENT_SIZE], time_nanos: u64) -> bool {
        let mut state = self.state();
        state.advance(time_nanos);
        let (tag, place) = state.find(event);
        let is_new = state.known(place).is_none();
        if is_new {
            state.insert(event, (tag, place), None);
        }
        is_new
    }

    /// How many events are remembered.
    pub fn len(&self) -> usize {
        self.state().table.len()
    }

    /// Whether no event is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many events were forgotten before their time, because there were too many.
    pub fn forgotten_early(&self) -> u64 {
        self.state().forgotten_early
    }

    /// Remembers an event that the log has, seen at `now_nanos`.
    pub(crate) fn restore(&self, event: &Event, time_nanos: u64, now_nanos: u64) {
        let mut state = self.state();
        // A time in the future would hold up the forgetting of all that come after it.
        let time_nanos = time_nanos.min(now_nanos);
        if now_nanos - time_nanos <= state.window_nanos {
            state.advance(time_nanos);
            let found = state.find(event);
            state.insert(event, found, None);
        }
    }

    /// Reserves those of `events` that are new, and says what there is to each.
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn next_stamp(&self) -> u64 {
        self.first_stamp + self.slots.len() as u64
    }

    fn admit(&mut self, event: &Event, now_nanos: u64) -> Admission {
        self.advance(now_nanos);
        let (tag, place) = self.find(event);
        match self.known(place) {
            Some(admission) => admission,
            None => {
                self.insert(event, (tag, place), Some(Flight::Reserved(None)));
                Admission::New
            }
        }
    }

    /// The tag of an event, and its place in the table.
    fn find(&self, event: &Event) -> (u32, Place) {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(event);
        let tag = table::tag(hasher.finish());
        let place = self.table.find(tag, |low| self.slots[self.index(low)].event == *event);
        (tag, place)
    }

    /// What there is to an event that was found and whose window is not over.
    fn known(&mut self, place: Place) -> Option<Admission> {
        let Place::Found(_, low) = place else { return None };
        let index = self.index(low);
        if self.is_over(&self.slots[index]) {
            return None;
        }
        Some(match self.flight(index) {
            None | Some(Flight::Settled | Flight::Gone) => Admission::Known,
            Some(Flight::Appended(commit)) => Admission::Appended(commit.clone()),
            Some(Flight::Reserved(ticket)) => {
                Admission::Reserved(Arc::clone(ticket.get_or_insert_default()))
            }
        })
    }

    /// Takes an event in that was found to be new, at the place that was found for it.
    fn insert(&mut self, event: &Event, found: (u32, Place), flight: Option<Flight>) {
        // Not before it is known that it is new: the oldest could be what it is a duplicate of.
        let (tag, place) = if self.make_room() { self.find(event) } else { found };
        let stamp = self.next_stamp();
        self.table.put(place, tag, stamp as u32);
        self.slots.push_back(Slot { event: *event, time_nanos: self.last_nanos });
        match flight {
            Some(flight) => self.flights.push_back(flight),
            None if self.flights.is_empty() => {}
            None => self.flights.push_back(Flight::Settled),
        }
    }

    /// Forgets the oldest entries until there is room for one more, as far as they are not in
    /// flight. Returns whether places may have changed.
    fn make_room(&mut self) -> bool {
        let mut steps = 0;
        while self.slots.len() >= self.entries_max && steps < STEPS_MAX && self.forget_oldest() {
            steps += 1;
        }
        steps > 0
    }

    /// Forgets the oldest entry, unless it is in flight.
    fn forget_oldest(&mut self) -> bool {
        if self.slots.len() == self.flights.len() {
            return false;
        }
        let Some(slot) = self.slots.front() else { return false };
        let (event, is_over) = (slot.event, self.is_over(slot));
        if self.forget(&event, self.first_stamp) {
            self.forgotten_early += u64::from(!is_over);
        }
        self.slots.pop_front();
        self.first_stamp += 1;
        true
    }

    /// Goes on to a time: settles what is done, forgets what is old.
    fn advance(&mut self, now_nanos: u64) {
        self.last_nanos = self.last_nanos.max(now_nanos);
        for _ in 0..STEPS_MAX {
            match self.flights.front() {
                Some(Flight::Settled | Flight::Gone) => {}
                Some(Flight::Appended(commit)) if commit.is_done() => {}
                _ => break,
            }
            self.flights.pop_front();
        }
        for _ in 0..STEPS_MAX {
            let is_over = self.slots.front().is_some_and(|slot| self.is_over(slot));
            if !is_over || !self.forget_oldest() {
                break;
            }
        }
    }

    fn is_over(&self, slot: &Slot) -> bool {
        self.last_nanos - slot.time_nanos > self.window_nanos
    }

    /// Removes an event from the table unless a later slot has it by now.
    fn forget(&mut self, event: &Event, stamp: u64) -> bool {
        match self.find(event) {
            (tag, Place::Found(at, low)) if low == stamp as u32 => {
                self.table.remove(tag, at);
                true
            }
            _ => false,
        }
    }

    /// Where the slot with a stamp of these low bits is.
    fn index(&self, low: u32) -> usize {
        low.wrapping_sub(self.first_stamp as u32) as usize
    }

    fn flight(&mut self, index: usize) -> Option<&mut Flight> {
        let settled = self.slots.len() - self.flights.len();
        self.flights.get_mut(index.checked_sub(settled)?)
    }

    /// Settles a reservation that got `commit`, or forgets it without. Returns who waits for it.
    fn resolve(&mut self, stamp: u64, commit: Option<&Commit>) -> Option<Arc<Ticket>> {
        let index = self.index(stamp as u32);
        if commit.is_none() {
            let event = self.slots[index].event;
            self.forget(&event, stamp);
        }
        let resolved = commit.map_or(Flight::Gone, |commit| Flight::Appended(commit.clone()));
        let before = std::mem::replace(self.flight(index)?, resolved);
        // Else a log that refuses everything would keep a slot for each refusal: what is in flight
        // before them does not settle any more.
        while let Some(Flight::Gone) = self.flights.back() {
            self.flights.pop_back();
            self.slots.pop_back();
        }
        match before {
            Flight::Reserved(ticket) => ticket,
            _ => None,
        }
    }
}

/// New events on their way to the log. Dropping it unappended forgets them.
#[derive(Debug)]
#[must_use = "what is reserved must be appended"]
pub(crate) struct Reservation<'w> {
    window: &'w DedupWindow,
    stamps: Range<u64>,
}

impl Reservation<'_> {
    /// They are appended, all with this ticket.
    pub(crate) fn appended(mut self, commit: &Commit) {
        self.resolve(Some(commit), || Ok(commit.clone()));
    }

    /// They are not appended.
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
        let tickets: Vec<_> = {
            let mut state = self.window.state();
            stamps.filter_map(|stamp| state.resolve(stamp, commit)).collect()
        };
        for ticket in tickets {
            ticket.resolve(outcome());
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        // Only a panic in between gets here with something left.
        self.resolve(None, || Err(Error::Closed));
    }
}

#[cfg(test)]
mod tests;
