//! The append path, from a caller's bytes to a place in the open batch.
//!
//! The checksum is computed before the lock; under the lock a record gets its sequence number and
//! is copied, once, into the aligned buffer that the disk will read. The driver is woken only if
//! it said that it sleeps.

use std::ops::RangeInclusive;

use crate::engine::batch::Batch;
use crate::engine::commit::policy::Role;
use crate::engine::commit::queue::{Arrival, Blocked, Purpose};
use crate::engine::options::Durability;
use crate::engine::ready::Ready;
use crate::engine::ticket::Commit;
use crate::engine::{Log, commit::shared::Shared};
use crate::error::{Error, Result};
use crate::format::{RECORD_HEAD_SIZE, RecordHead};
use crate::mutation::mutated;
use crate::seq::Seq;
use crate::sync::now;
use crate::wakers::may_block;

/// What an append does when there is no room at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenFull {
    Wait,
    Refuse,
}

/// Whose code an append runs before it waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Calls {
    /// The crate's: it waits for nobody, so the appender still owes its batch what it owed.
    OurOwn,
    /// A user's: the ring thread takes over what is owed.
    Foreign,
}

/// Records on their way into a batch.
struct Payload<'a> {
    /// The head of a single record; an atomic batch has its heads in `bytes`.
    head: Option<[u8; RECORD_HEAD_SIZE]>,
    bytes: &'a [u8],
    /// The heads of an atomic batch.
    heads: &'a [u8],
    records: u32,
    /// The length of the first record.
    first_bytes: u32,
    purpose: Purpose,
}

impl Payload<'_> {
    fn len(&self) -> usize {
        self.head.map_or(0, |head| head.len()) + self.bytes.len()
    }

    fn heads(&self) -> &[u8] {
        self.head.as_ref().map_or(self.heads, |head| head)
    }

    fn copy_to(&self, place: &mut [u8]) {
        let (head, rest) = place.split_at_mut(self.head.map_or(0, |head| head.len()));
        if let Some(bytes) = &self.head {
            head.copy_from_slice(bytes);
        }
        rest.copy_from_slice(self.bytes);
    }
}

impl Log {
    /// Appends a record and blocks until it, and every record before it, is durable as the log's
    /// [`Durability`] says. Empty records are legal.
    ///
    /// # Errors
    ///
    /// [`Error::RecordTooLarge`] and [`Error::NoSpace`] before anything was written,
    /// [`Error::Closed`], or [`Error::Poisoned`] with the first failure of the log: then it is
    /// unknown whether the record will be there after reopening.
    pub fn append(&self, record: impl AsRef<[u8]>) -> Result<Seq> {
        self.append_with(record, self.options().durability)
    }

    /// [`append`](Self::append), with a durability of its own.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn append_with(&self, record: impl AsRef<[u8]>, durability: Durability) -> Result<Seq> {
        Ok(self.append_commit_with(record, durability)?.seq())
    }

    /// [`append`](Self::append) that returns the ticket, which is done: it knows where the record
    /// lies.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn append_commit(&self, record: impl AsRef<[u8]>) -> Result<Commit> {
        self.append_commit_with(record, self.options().durability)
    }

    /// [`append_commit`](Self::append_commit), with a durability of its own.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn append_commit_with(
        &self,
        record: impl AsRef<[u8]>,
        durability: Durability,
    ) -> Result<Commit> {
        self.append_and_wait(&self.single(record.as_ref())?, durability, Calls::OurOwn, |_| ())
    }

    /// [`append_commit`](Self::append_commit) that shows the ticket before it waits for it: the
    /// record has its number and its place, and is on its way. For who has to do something in the
    /// order of the numbers, or to let others in, before the record is durable. `admitted` may
    /// append to this log and wait for others who do: the ring thread sees to the batch meanwhile.
    ///
    /// ```
    /// use std::sync::Mutex;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let log = ringwal::Log::open(dir.path().join("log"))?;
    /// let newest = Mutex::new(None);
    /// let mut turn = newest.lock().unwrap();
    /// let commit = log.append_then("one", |commit| {
    ///     *turn = Some(commit.record_ref());
    ///     drop(turn); // the next one may append, while this one waits
    /// })?;
    /// assert!(commit.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append). If `admitted` was not called, the record is not in the log.
    ///
    /// # Panics
    ///
    /// If `admitted` does; the record is on its way nevertheless.
    pub fn append_then(
        &self,
        record: impl AsRef<[u8]>,
        admitted: impl FnOnce(&Commit),
    ) -> Result<Commit> {
        self.append_and_wait(
            &self.single(record.as_ref())?,
            self.options().durability,
            Calls::Foreign,
            admitted,
        )
    }

    /// [`append_then`](Self::append_then), with a durability of its own.
    ///
    /// # Errors
    ///
    /// As [`append_then`](Self::append_then).
    pub fn append_then_with(
        &self,
        record: impl AsRef<[u8]>,
        durability: Durability,
        admitted: impl FnOnce(&Commit),
    ) -> Result<Commit> {
        self.append_and_wait(&self.single(record.as_ref())?, durability, Calls::Foreign, admitted)
    }

    /// [`append_then_with`](Self::append_then_with) for an atomic batch.
    ///
    /// # Errors
    ///
    /// As [`append_batch`](Self::append_batch).
    pub fn append_batch_then_with(
        &self,
        batch: &Batch,
        durability: Durability,
        admitted: impl FnOnce(&Commit),
    ) -> Result<Commit> {
        self.append_and_wait(&self.several(batch)?, durability, Calls::Foreign, admitted)
    }

    /// [`append_then`](Self::append_then) for an atomic batch.
    ///
    /// # Errors
    ///
    /// As [`append_batch`](Self::append_batch).
    pub fn append_batch_then(
        &self,
        batch: &Batch,
        admitted: impl FnOnce(&Commit),
    ) -> Result<Commit> {
        self.append_and_wait(
            &self.several(batch)?,
            self.options().durability,
            Calls::Foreign,
            admitted,
        )
    }

    /// Appends a record and returns at once with a ticket. Blocks only while the queue is full.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append); a later failure comes out of the ticket.
    pub fn append_async(&self, record: impl AsRef<[u8]>) -> Result<Commit> {
        self.append_async_with(record, self.options().durability)
    }

    /// [`append_async`](Self::append_async), with a durability of its own.
    ///
    /// # Errors
    ///
    /// As [`append_async`](Self::append_async).
    pub fn append_async_with(
        &self,
        record: impl AsRef<[u8]>,
        durability: Durability,
    ) -> Result<Commit> {
        self.append_and_leave(&self.single(record.as_ref())?, durability, WhenFull::Wait)
    }

    /// [`append_async`](Self::append_async) that never blocks.
    ///
    /// # Errors
    ///
    /// [`Error::QueueFull`] where `append_async` would wait, for memory or for the next segment
    /// to be prepared; [`ready`](Self::ready) tells when to try again. Else as `append_async`.
    pub fn try_append(&self, record: impl AsRef<[u8]>) -> Result<Commit> {
        self.try_append_with(record, self.options().durability)
    }

    /// [`try_append`](Self::try_append), with a durability of its own.
    ///
    /// # Errors
    ///
    /// As [`try_append`](Self::try_append).
    pub fn try_append_with(
        &self,
        record: impl AsRef<[u8]>,
        durability: Durability,
    ) -> Result<Commit> {
        self.append_and_leave(&self.single(record.as_ref())?, durability, WhenFull::Refuse)
    }

    /// A future that is done when [`try_append`](Self::try_append) of a small record is worth
    /// another try: there is room, or there is an error to be told.
    pub fn ready(&self) -> Ready<'_> {
        Ready::of(self)
    }

    /// Appends the records of `batch`, all or nothing, and blocks like [`append`](Self::append).
    /// Returns their sequence numbers.
    ///
    /// # Errors
    ///
    /// [`Error::BatchEmpty`], [`Error::BatchTooLarge`], and as [`append`](Self::append).
    pub fn append_batch(&self, batch: &Batch) -> Result<RangeInclusive<Seq>> {
        self.append_batch_with(batch, self.options().durability)
    }

    /// [`append_batch`](Self::append_batch), with a durability of its own.
    ///
    /// # Errors
    ///
    /// As [`append_batch`](Self::append_batch).
    pub fn append_batch_with(
        &self,
        batch: &Batch,
        durability: Durability,
    ) -> Result<RangeInclusive<Seq>> {
        Ok(self.append_and_wait(&self.several(batch)?, durability, Calls::OurOwn, |_| ())?.seqs())
    }

    /// [`append_batch`](Self::append_batch) that returns at once with a ticket.
    ///
    /// # Errors
    ///
    /// As [`append_batch`](Self::append_batch).
    pub fn append_batch_async(&self, batch: &Batch) -> Result<Commit> {
        self.append_batch_async_with(batch, self.options().durability)
    }

    /// [`append_batch_async`](Self::append_batch_async), with a durability of its own.
    ///
    /// # Errors
    ///
    /// As [`append_batch`](Self::append_batch).
    pub fn append_batch_async_with(&self, batch: &Batch, durability: Durability) -> Result<Commit> {
        self.append_and_leave(&self.several(batch)?, durability, WhenFull::Wait)
    }

    fn append_and_leave(
        &self,
        payload: &Payload<'_>,
        level: Durability,
        full: WhenFull,
    ) -> Result<Commit> {
        let (commit, role) = self.admit(payload, level, full, false)?;
        if role != Role::Follow {
            self.shared().wake_ring();
        }
        Ok(commit)
    }

    fn append_and_wait(
        &self,
        payload: &Payload<'_>,
        level: Durability,
        calls: Calls,
        admitted: impl FnOnce(&Commit),
    ) -> Result<Commit> {
        may_block()?;
        let waits = level.level().is_some();
        let (commit, mut role) = self.admit(payload, level, WhenFull::Wait, waits)?;
        match calls {
            Calls::OurOwn => {
                let owed = Owed(self.shared());
                admitted(&commit);
                std::mem::forget(owed);
            }
            Calls::Foreign => {
                // Whoever the callback waits for may wait for this batch.
                if role != Role::Follow && !mutated("call_back_in_debt") {
                    self.shared().wake_ring();
                    role = Role::Follow;
                }
                admitted(&commit);
            }
        }
        match role {
            Role::Follow => {}
            Role::WakeRing => self.shared().wake_ring(),
            Role::Lead => self.shared().commit_inline(),
            Role::LeadAt(time) => {
                if !commit.wait_until(time)? {
                    self.shared().commit_inline();
                }
            }
        }
        self.inner.run_until(|| !commit.is_pending());
        commit.wait()?;
        Ok(commit)
    }

    fn several<'a>(&self, batch: &'a Batch) -> Result<Payload<'a>> {
        let bytes = batch.payload();
        let Some(head) = bytes.first_chunk::<RECORD_HEAD_SIZE>() else {
            return Err(Error::BatchEmpty);
        };
        let limit = self.options().batch_payload_max();
        if bytes.len() > limit {
            return Err(Error::BatchTooLarge { bytes: bytes.len() as u64, limit: limit as u64 });
        }
        let first_bytes = RecordHead::from_bytes(*head).len;
        let heads = batch.heads();
        let (records, purpose) = (batch.records(), Purpose::Keep);
        Ok(Payload { head: None, bytes, heads, records, first_bytes, purpose })
    }

    #[inline(always)]
    fn single<'a>(&self, record: &'a [u8]) -> Result<Payload<'a>> {
        let limit = self.options().record_bytes_max;
        if record.len() > limit {
            let bytes = record.len() as u64;
            return Err(Error::RecordTooLarge { bytes, limit: limit as u64 });
        }
        let head = RecordHead::of(record);
        let (first_bytes, head) = (head.len, Some(head.to_bytes()));
        let purpose = Purpose::Keep;
        Ok(Payload { head, bytes: record, heads: &[], records: 1, first_bytes, purpose })
    }

    /// Gets records into a batch. The caller has to see to the batch as the role says.
    // What is returned through several calls is stored in pieces and loaded as a whole, for which
    // the processor waits: about a tenth of an append that is not waited for.
    #[inline(always)]
    fn admit(
        &self,
        payload: &Payload<'_>,
        level: Durability,
        full: WhenFull,
        waits: bool,
    ) -> Result<(Commit, Role)> {
        let (records, heads, bytes) = (payload.records, payload.heads(), payload.len());
        let sync = level == Durability::Synced;
        let shared = self.shared();
        shared.require_own_process()?;
        let mut refusals_before = None;
        // Before the lock, so that it is left after it.
        let mut line = InLine { shared, ticket: None };
        let mut queue = shared.queue();
        let placed = loop {
            let copy = |place: &mut [u8]| payload.copy_to(place);
            let (ticket, purpose) = (line.ticket, payload.purpose);
            let arrival = Arrival { records, heads, bytes, sync, waits, ticket, purpose };
            match queue.push(arrival, now, copy) {
                Ok(placed) => break placed,
                Err(Blocked::Ended(ended)) => return Err(ended.into()),
                Err(Blocked::Numbers) => {
                    let last_seq = Seq::new(queue.appended_seq());
                    return Err(Error::SeqsUsedUp { last_seq });
                }
                Err(Blocked::Room) if full == WhenFull::Wait => {
                    may_block()?;
                    line.ticket.get_or_insert_with(|| queue.line_up());
                    queue = self.inner.wait_for_room(queue);
                }
                Err(Blocked::Room) => return Err(Error::QueueFull),
                Err(Blocked::Segment) if full == WhenFull::Refuse => {
                    let refusal = queue.take_refusal();
                    drop(queue);
                    shared.wake_ring();
                    return Err(refusal.map_or(Error::QueueFull, |why| (*why).clone()));
                }
                Err(Blocked::Segment) if may_block().is_err() => {
                    drop(queue);
                    shared.wake_ring();
                    return Err(Error::InWaker);
                }
                Err(Blocked::Segment) => match refusals_before {
                    None => {
                        refusals_before = Some(queue.refusals());
                        drop(queue);
                        shared.wake_ring();
                        queue = shared.queue();
                    }
                    Some(before) if queue.refusals() > before => match queue.refusal() {
                        Some(why) => return Err((*why).clone()),
                        // It was told to a caller that does not wait; ask for a segment again.
                        None => refusals_before = None,
                    },
                    Some(_) => {
                        // What was prepared meanwhile went to somebody else or is too small, so
                        // another one has been asked for: the driver may sleep again.
                        if !mutated("handover_ask_in_silence") {
                            shared.wake_ring();
                        }
                        queue = self.inner.wait_for_room(queue);
                    }
                },
            }
        };
        match line.ticket.take() {
            Some(ticket) if queue.leave_line(ticket) => shared.announce_room(queue),
            _ => drop(queue),
        }
        let role = placed.role;
        let Payload { records, first_bytes, .. } = *payload;
        Ok((Commit::new(placed, records, first_bytes, level.level()), role))
    }
}

impl Log {
    /// [`append_then_with`](Self::append_then_with) for a callback of this crate that waits for
    /// nobody: this thread still commits its batch itself where it can.
    pub(crate) fn append_noting(
        &self,
        record: impl AsRef<[u8]>,
        durability: Durability,
        admitted: impl FnOnce(&Commit),
    ) -> Result<Commit> {
        let record = self.single(record.as_ref())?;
        self.append_and_wait(&record, durability, Calls::OurOwn, admitted)
    }

    /// [`append_noting`](Self::append_noting) for a record that outdates others, so that their room
    /// can be freed: it may have what is held back for that.
    pub(crate) fn append_delete_noting(
        &self,
        record: impl AsRef<[u8]>,
        durability: Durability,
        admitted: impl FnOnce(&Commit),
    ) -> Result<Commit> {
        let record = Payload { purpose: Purpose::Delete, ..self.single(record.as_ref())? };
        self.append_and_wait(&record, durability, Calls::OurOwn, admitted)
    }

    /// [`append_noting`](Self::append_noting) for an atomic batch.
    pub(crate) fn append_batch_noting(
        &self,
        batch: &Batch,
        durability: Durability,
        admitted: impl FnOnce(&Commit),
    ) -> Result<Commit> {
        self.append_and_wait(&self.several(batch)?, durability, Calls::OurOwn, admitted)
    }

    /// [`append_delete_noting`](Self::append_delete_noting) for an atomic batch.
    pub(crate) fn append_deletes_noting(
        &self,
        batch: &Batch,
        durability: Durability,
        admitted: impl FnOnce(&Commit),
    ) -> Result<Commit> {
        let records = Payload { purpose: Purpose::Delete, ..self.several(batch)? };
        self.append_and_wait(&records, durability, Calls::OurOwn, admitted)
    }

    /// [`append_batch_async_with`](Self::append_batch_async_with) for copies of records whose own
    /// room is freed next.
    pub(crate) fn append_copies(&self, batch: &Batch, durability: Durability) -> Result<Commit> {
        let records = Payload { purpose: Purpose::Compact, ..self.several(batch)? };
        self.append_and_leave(&records, durability, WhenFull::Wait)
    }

    /// The segments that are held back for records that give room back, and their bytes.
    pub(crate) fn reserve(&self) -> (u64, u64) {
        self.shared().queue().reserve()
    }

    /// Waits for a commit of this log that was left to the driver, on whatever runs it.
    pub(crate) fn wait_for(&self, commit: &Commit) -> Result<Seq> {
        self.inner.run_until(|| !commit.is_pending());
        commit.wait()
    }
}

/// A place in the line of those who wait for room, which is left whatever happens.
struct InLine<'a> {
    shared: &'a Shared,
    ticket: Option<u64>,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut queue = self.shared.queue();
        queue.leave_line(ticket);
        // Whoever came meanwhile was refused on its account.
        self.shared.announce_room(queue);
    }
}

/// What an appender owes its batch, left to the ring thread if the callback panics.
struct Owed<'a>(&'a Shared);

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        self.0.wake_ring();
    }
}
