//! The append path, from a caller's bytes to a place in the open batch.
//!
//! The checksum is computed before the lock. Under the lock a record gets its sequence number and
//! is copied, once, into the aligned buffer that the disk will read. The ring thread is woken only
//! if it is asleep.
//!
//! All forms of an append meet in [`At`]: they differ in what they wait for. Waiting for room is
//! the same for a thread and a task: both have a place in one line, and a waker.

use std::future::poll_fn;
use std::task::{Context, Poll};

use crate::engine::Log;
use crate::engine::batch::Batch;
use crate::engine::commit::latch::Outcome;
use crate::engine::commit::policy::Role;
use crate::engine::commit::queue::{Arrival, Blocked, Room, WriteQueue};
use crate::engine::commit::shared::Shared;
use crate::engine::options::Durability;
use crate::engine::permit::Permit;
use crate::engine::records::{Payload, Records};
use crate::engine::ticket::Commit;
use crate::error::{Error, Result};
use crate::mutation::mutated;
use crate::seq::Seq;
use crate::sync::{MutexGuard, now};
use crate::wakers::may_block;

/// A log whose appends are acknowledged at one [`Durability`]: [`Log::at`].
///
/// It has the same calls as the log, which are these at the durability that the log was opened
/// with.
///
/// ```
/// use ringwal::{Durability, Log};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path().join("log"))?;
/// let quick = log.at(Durability::Written); // survives this process, not yet a loss of power
/// quick.append("one")?;
/// quick.submit("two")?.wait()?;
/// log.flush()?; // now both are durable
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    log: &'a Log,
    durability: Durability,
}

impl Log {
    /// Appends records and blocks until they, and every record before them, are durable as the
    /// log's [`Durability`] says. Returns the last one's sequence number.
    ///
    /// # Errors
    ///
    /// [`Error::RecordTooLarge`], [`Error::BatchTooLarge`], [`Error::BatchEmpty`] and
    /// [`Error::NoSpace`] before anything was written, [`Error::Closed`], or [`Error::Poisoned`]
    /// with the first failure of the log: then it is unknown whether the records are on disk until
    /// the log was opened again. [`Error::InWaker`] in a waker or a callback, [`Error::Forked`] in
    /// a child of the process that opened the log.
    pub fn append(&self, records: impl Records) -> Result<Seq> {
        self.at(self.durability()).append(records)
    }

    /// Appends records and returns at once with a ticket. Blocks only for room, in the order of
    /// arrival: while the queue is full, or no segment is ready.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append); a later failure comes out of the ticket.
    pub fn submit(&self, records: impl Records) -> Result<Commit> {
        self.at(self.durability()).submit(records)
    }

    /// [`submit`](Self::submit) that never blocks.
    ///
    /// # Errors
    ///
    /// [`Error::QueueFull`] where `submit` would wait; [`reserve`](Self::reserve) waits without
    /// blocking a thread. Else as `submit`.
    pub fn try_submit(&self, records: impl Records) -> Result<Commit> {
        self.at(self.durability()).try_submit(records)
    }

    /// Waits for room for one record of so many bytes, or for a batch of so many with its heads (8
    /// bytes for each record after the first), without blocking a thread and in the order of
    /// arrival. What is submitted with the [`Permit`] is not refused for room.
    ///
    /// # Errors
    ///
    /// [`Error::RecordTooLarge`] for more than the log takes, [`Error::NoSpace`],
    /// [`Error::Closed`], [`Error::Poisoned`], [`Error::Forked`].
    pub async fn reserve(&self, bytes: usize) -> Result<Permit<'_>> {
        self.at(self.durability()).reserve(bytes).await
    }

    /// Appends records and waits until they are durable, without blocking a thread: neither for
    /// room nor for the disk. In any runtime, also one with a single thread.
    ///
    /// A future that is dropped before its first poll, or while it waits for room, appends nothing.
    /// Later the records are on their way and become durable all the same.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub async fn append_async(&self, records: impl Records) -> Result<Seq> {
        self.at(self.durability()).append_async(records).await
    }

    /// The same calls, with another durability.
    pub fn at(&self, durability: Durability) -> At<'_> {
        At { log: self, durability }
    }
}

impl<'a> At<'a> {
    /// As [`Log::append`].
    ///
    /// # Errors
    ///
    /// As [`Log::append`].
    pub fn append(&self, records: impl Records) -> Result<Seq> {
        let payload = records.payload(self.log.options())?;
        Ok(self.append_noting(&payload, |_| ())?.seq())
    }

    /// As [`Log::submit`].
    ///
    /// # Errors
    ///
    /// As [`Log::submit`].
    pub fn submit(&self, records: impl Records) -> Result<Commit> {
        self.submit_payload(&records.payload(self.log.options())?)
    }

    /// As [`Log::try_submit`].
    ///
    /// # Errors
    ///
    /// As [`Log::try_submit`].
    pub fn try_submit(&self, records: impl Records) -> Result<Commit> {
        let payload = records.payload(self.log.options())?;
        let (commit, role) = self.admit_at_once(&payload)?;
        self.leave_to_the_ring(role);
        Ok(commit)
    }

    /// As [`Log::reserve`].
    ///
    /// # Errors
    ///
    /// As [`Log::reserve`].
    pub async fn reserve(&self, bytes: usize) -> Result<Permit<'a>> {
        let payload = Permit::payload_of(bytes, self.log.options())?;
        let mut turn = Turn::new(self.log.shared());
        let hold = |queue: &mut WriteQueue, ticket| queue.hold(payload, ticket);
        let room = poll_fn(|context| turn.poll(context, hold)).await?;
        Ok(Permit::new(self.log, self.durability, room))
    }

    /// As [`Log::append_async`].
    ///
    /// # Errors
    ///
    /// As [`Log::append_async`].
    pub async fn append_async(&self, records: impl Records) -> Result<Seq> {
        let commit = {
            let payload = records.payload(self.log.options())?;
            let mut turn = Turn::new(self.log.shared());
            let push = |queue: &mut WriteQueue, ticket| self.push(queue, &payload, ticket, false);
            let (commit, role) = poll_fn(|context| turn.poll(context, push)).await?;
            self.leave_to_the_ring(role);
            commit
        };
        commit.await
    }

    pub(crate) fn log(&self) -> &'a Log {
        self.log
    }

    /// Appends and waits as [`append`](Self::append), and shows the ticket before the wait: the
    /// records have their numbers and places then. The callback must wait for nobody, because this
    /// thread still owes its batch what it owed.
    pub(crate) fn append_noting(
        &self,
        payload: &Payload<'_>,
        admitted: impl FnOnce(&Commit),
    ) -> Result<Commit> {
        may_block()?;
        let waits = self.durability.stage().is_some();
        let (commit, role) = self.admit(payload, waits)?;
        let owed = Owed(self.log.shared());
        admitted(&commit);
        std::mem::forget(owed);
        self.wait(commit, role)
    }

    /// Waits for a commit of this thread, and commits its batch if that is this thread's part.
    pub(super) fn wait(&self, commit: Commit, role: Role) -> Result<Commit> {
        let shared = self.log.shared();
        let mut deadline = None;
        match role {
            Role::Follow => {}
            Role::WakeRing => shared.wake_ring(),
            Role::Lead => deadline = shared.commit_inline(),
            Role::LeadAt(time) => deadline = Some(time),
        }
        loop {
            self.log.inner.run_until(|| !commit.is_pending() || commit.is_called());
            match commit.wait_or_lead(deadline)? {
                Outcome::Reached => return Ok(commit),
                Outcome::Lead | Outcome::TimedOut => deadline = shared.commit_inline(),
            }
        }
    }

    pub(crate) fn submit_payload(&self, payload: &Payload<'_>) -> Result<Commit> {
        let (commit, role) = self.admit(payload, false)?;
        self.leave_to_the_ring(role);
        Ok(commit)
    }

    /// Submits with the room of a permit.
    pub(crate) fn submit_with(&self, payload: &Payload<'_>, room: Room) -> Result<Commit> {
        let shared = self.log.shared();
        let mut turn = Turn::new(shared);
        let (commit, role) = turn.block_on(self.log, |queue, ticket| {
            let arrival = Arrival { room: Some(room), ..self.arrival(payload, ticket, false) };
            self.push_arrival(queue, payload, arrival)
        })?;
        self.leave_to_the_ring(role);
        Ok(commit)
    }

    pub(super) fn leave_to_the_ring(&self, role: Role) {
        if role != Role::Follow {
            self.log.shared().wake_ring();
        }
    }

    // What is returned through several calls is stored in pieces and loaded as a whole, for which
    // the processor waits: about a tenth of an append that is not waited for.
    #[inline(always)]
    fn admit(&self, payload: &Payload<'_>, waits: bool) -> Result<(Commit, Role)> {
        let shared = self.log.shared();
        shared.require_own_process()?;
        // As a rule there is room at once, and no line.
        let pushed = self.push(&mut shared.queue(), payload, None, waits);
        match pushed {
            Ok(admitted) => Ok(admitted),
            Err(Blocked::Ended(ended)) => Err(ended.into()),
            Err(Blocked::Numbers) => Err(Turn::new(shared).numbers()),
            Err(Blocked::Room | Blocked::Segment) => Turn::new(shared)
                .block_on(self.log, |queue, ticket| self.push(queue, payload, ticket, waits)),
        }
    }

    fn admit_at_once(&self, payload: &Payload<'_>) -> Result<(Commit, Role)> {
        let shared = self.log.shared();
        shared.require_own_process()?;
        let mut queue = shared.queue();
        match self.push(&mut queue, payload, None, false) {
            Ok(admitted) => Ok(admitted),
            Err(Blocked::Ended(ended)) => Err(ended.into()),
            Err(Blocked::Numbers) => Err(used_up(&queue)),
            Err(Blocked::Room) => Err(Error::QueueFull),
            Err(Blocked::Segment) => {
                let refusal = queue.take_refusal();
                drop(queue);
                shared.wake_ring();
                Err(refusal.map_or(Error::QueueFull, |why| (*why).clone()))
            }
        }
    }

    #[inline(always)]
    pub(super) fn push(
        &self,
        queue: &mut WriteQueue,
        payload: &Payload<'_>,
        ticket: Option<u64>,
        waits: bool,
    ) -> Result<(Commit, Role), Blocked> {
        let arrival = self.arrival(payload, ticket, waits);
        self.push_arrival(queue, payload, arrival)
    }

    #[inline(always)]
    fn arrival<'p>(
        &self,
        payload: &'p Payload<'_>,
        ticket: Option<u64>,
        waits: bool,
    ) -> Arrival<'p> {
        Arrival {
            records: payload.records,
            heads: payload.heads(),
            bytes: payload.len(),
            sync: self.durability == Durability::Synced,
            waits,
            ticket,
            room: None,
            purpose: payload.purpose,
        }
    }

    #[inline(always)]
    fn push_arrival(
        &self,
        queue: &mut WriteQueue,
        payload: &Payload<'_>,
        arrival: Arrival<'_>,
    ) -> Result<(Commit, Role), Blocked> {
        let placed = queue.push(arrival, now, |place| payload.copy_to(place))?;
        let (records, first_bytes, role) = (payload.records, payload.first_bytes, placed.role);
        Ok((Commit::new(placed, records, first_bytes, self.durability.stage()), role))
    }
}

/// The turn of somebody who wants room in the queue: a place in the line, if there is none at once.
/// The place is left whatever happens.
pub(super) struct Turn<'a> {
    shared: &'a Shared,
    ticket: Option<u64>,
    /// How often a segment had been refused when this one asked for one.
    refusals_before: Option<u64>,
}

/// What an attempt to get room comes to.
pub(super) enum Attempt<'a, T> {
    Done(Result<T>),
    /// Not yet: the waker goes into the line, with the lock under which it was tried.
    Wait(MutexGuard<'a, WriteQueue>, u64),
}

impl<'a> Turn<'a> {
    pub(super) fn new(shared: &'a Shared) -> Turn<'a> {
        Turn { shared, ticket: None, refusals_before: None }
    }

    fn numbers(&self) -> Error {
        used_up(&self.shared.queue())
    }

    /// Tries once.
    pub(super) fn attempt<T>(
        &mut self,
        mut queue: MutexGuard<'a, WriteQueue>,
        take: &impl Fn(&mut WriteQueue, Option<u64>) -> Result<T, Blocked>,
    ) -> Attempt<'a, T> {
        loop {
            match take(&mut queue, self.ticket) {
                // The place in the line is left with the turn: that wakes the next one, and a
                // caller may have a lock of its own here.
                Ok(taken) => return Attempt::Done(Ok(taken)),
                Err(Blocked::Ended(ended)) => return Attempt::Done(Err(ended.into())),
                Err(Blocked::Numbers) => return Attempt::Done(Err(used_up(&queue))),
                Err(Blocked::Room) => {
                    let ticket = *self.ticket.get_or_insert_with(|| queue.line.join());
                    return Attempt::Wait(queue, ticket);
                }
                Err(Blocked::Segment) => match self.refusals_before {
                    Some(before) if queue.refusals() > before => match queue.refusal() {
                        Some(why) => return Attempt::Done(Err((*why).clone())),
                        // A caller that does not wait was told; ask for a segment again.
                        None => self.refusals_before = None,
                    },
                    Some(_) => {
                        // What was prepared meanwhile went to somebody else or is too small, so
                        // another one has been asked for: the ring thread may sleep again.
                        let ticket = *self.ticket.get_or_insert_with(|| queue.line.join());
                        if !mutated("handover_ask_in_silence") {
                            self.shared.wake_ring();
                        }
                        return Attempt::Wait(queue, ticket);
                    }
                    None => {
                        self.refusals_before = Some(queue.refusals());
                        drop(queue);
                        self.shared.wake_ring();
                        queue = self.shared.queue();
                    }
                },
            }
        }
    }

    /// Tries, and waits without blocking a thread.
    fn poll<T>(
        &mut self,
        context: &Context<'_>,
        take: impl Fn(&mut WriteQueue, Option<u64>) -> Result<T, Blocked>,
    ) -> Poll<Result<T>> {
        if let Err(forked) = self.shared.require_own_process() {
            return Poll::Ready(Err(forked));
        }
        // Foreign code, so before the lock.
        let waker = context.waker().clone();
        match self.attempt(self.shared.queue(), &take) {
            Attempt::Done(result) => Poll::Ready(result),
            Attempt::Wait(mut queue, ticket) => {
                let before = queue.line.wait(ticket, waker);
                drop(queue);
                drop(before);
                Poll::Pending
            }
        }
    }

    /// Tries, and blocks the thread.
    fn block_on<T>(
        &mut self,
        log: &'a Log,
        take: impl Fn(&mut WriteQueue, Option<u64>) -> Result<T, Blocked>,
    ) -> Result<T> {
        self.shared.require_own_process()?;
        let mut queue = self.shared.queue();
        loop {
            match self.attempt(queue, &take) {
                Attempt::Done(result) => return result,
                Attempt::Wait(waiting, ticket) => {
                    if let Err(in_waker) = may_block() {
                        drop(waiting);
                        return Err(in_waker);
                    }
                    queue = log.inner.wait_for_room(waiting, ticket);
                }
            }
        }
    }

    fn leave(&mut self, mut queue: MutexGuard<'_, WriteQueue>) {
        let Some(ticket) = self.ticket.take() else { return };
        let was_first = !queue.line.is_behind(Some(ticket));
        let waker = queue.line.leave(ticket);
        match was_first {
            // The next one was refused on this one's account.
            true => self.shared.announce_room(queue),
            false => drop(queue),
        }
        drop(waker);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() && !self.shared.is_forked() {
            self.leave(self.shared.queue());
        }
    }
}

/// The ring thread takes over what an appender owes its batch, if a callback panics.
pub(super) struct Owed<'a>(pub(super) &'a Shared);

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        self.0.queue().give_up_lead();
        self.0.wake_ring();
    }
}

fn used_up(queue: &WriteQueue) -> Error {
    Error::SeqsUsedUp { last_seq: Seq::new(queue.appended_seq()) }
}

/// What the crate's other logs need of an append.
impl Log {
    /// [`At::append_noting`] for a record.
    pub(crate) fn append_noting(
        &self,
        record: impl AsRef<[u8]>,
        durability: Durability,
        admitted: impl FnOnce(&Commit),
    ) -> Result<Commit> {
        let record = Payload::single(record.as_ref(), self.options())?;
        self.at(durability).append_noting(&record, admitted)
    }

    /// [`At::append_noting`] for an atomic batch.
    pub(crate) fn append_batch_noting(
        &self,
        batch: &Batch,
        durability: Durability,
        admitted: impl FnOnce(&Commit),
    ) -> Result<Commit> {
        let records = Payload::batch(batch, self.options())?;
        self.at(durability).append_noting(&records, admitted)
    }

    /// The segments that are held back for records that give room back, and their bytes.
    pub(crate) fn reserved(&self) -> (u64, u64) {
        self.shared().queue().reserve()
    }

    /// Waits for a commit of this log that was left to the ring thread, on whatever runs that.
    pub(crate) fn wait_for(&self, commit: &Commit) -> Result<Seq> {
        self.inner.run_until(|| !commit.is_pending());
        commit.wait()
    }
}
