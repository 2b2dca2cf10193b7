//! The way of a write into the log and the index, for a thread and for a task.
//!
//! Both take the same steps, in [`Store::attempt`]. A thread waits for its record and publishes it.
//! A task may be dropped at any moment, so what is left to do for its record belongs to the record:
//! the thread of the log that acknowledges it publishes it, unless the task comes first.

use crate::sync::plain::{Mutex, RwLockReadGuard};
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::kv::index::{Index, IndexEntry, KeyHash, Newest, PendingWrite};
use crate::kv::store::Store;
use crate::kv::writing::InFlight;
use crate::mutation::mutated;
use crate::wakers::{Key, may_block};
use crate::{Admitted, Attempted, Commit, Durability, InTurn, Payload, Purpose, Queued};
use crate::{Records, Result};

/// A put, a delete, or a batch of them, on its way to the log.
pub(crate) struct Write<'r, R> {
    pub(crate) records: &'r R,
    /// One for each record.
    pub(crate) ops: &'r [WriteOp],
    pub(crate) durability: Durability,
    /// Whether a delete of a key that does not exist is not written.
    pub(crate) only_existing: bool,
}

/// A record of a write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteOp {
    pub(crate) hash: KeyHash,
    pub(crate) is_put: bool,
    /// The length of the record.
    pub(crate) bytes: u32,
}

impl<R> Write<'_, R> {
    fn purpose(&self) -> Purpose {
        match self.ops.iter().any(|op| op.is_put) {
            true => Purpose::Keep,
            false => Purpose::Delete,
        }
    }
}

/// What an attempt comes to.
enum Step<'s, I: Deref<Target = Index>> {
    /// The key does not exist, so there is nothing to delete.
    Nothing,
    Taken(Admitted<'s>, PendingWrite<I>, Newest),
    NotYet(Queued<'s>),
}

/// A task's write that is on its way.
struct TaskWrite {
    /// Until it is in the index, or has failed.
    left: Mutex<Option<(PendingWrite<Arc<Index>>, InFlight)>>,
}

/// A task's write, its ticket, and the newest record of the first key before.
type Taken = (Arc<TaskWrite>, Commit, Newest);

impl TaskWrite {
    /// Does what is left to do, once the record is acknowledged or has failed. Called by the thread
    /// that acknowledges and by the task, whoever comes first; the other waits that long.
    fn finish(&self, is_acknowledged: bool) {
        let mut left = self.left.lock();
        let Some((pending, in_flight)) = left.take() else { return };
        if is_acknowledged {
            pending.publish();
        }
        drop(in_flight);
    }
}

/// A task that may wait until nobody holds the gate of the writers alone.
struct Entry<'s> {
    store: &'s Store,
    key: Option<Key>,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.filter(|_| self.store.log.require_own_process().is_ok()) {
            self.store.writing.leave(key);
        }
    }
}

impl Store {
    /// Writes, waits for the acknowledgement, and shows the records to readers, all at once.
    /// Returns the newest record of the first key before.
    pub(crate) fn write<R: Records>(&self, write: &Write<'_, R>) -> Result<Newest> {
        // Before any lock of the store: in a forked child, a lock may be held for ever.
        self.log.require_own_process()?;
        may_block()?;
        let payload = self.log.payload(write.records, write.purpose())?;
        let mut turn = self.log.at(write.durability).in_turn();
        loop {
            let writing = self.writing.enter();
            match self.attempt(write, &payload, &mut turn, true, &*self.index)? {
                Step::Nothing => {
                    drop(writing);
                    self.check_usable()?;
                    if write.relies_on_the_log() {
                        self.log.flush()?;
                    }
                    return Ok(Newest::Absent);
                }
                Step::Taken(admitted, pending, newest) => {
                    // Publish only what is acknowledged. On an error, dropping `pending` forgets
                    // the records.
                    drop(turn.wait(admitted)?);
                    pending.publish();
                    return Ok(newest);
                }
                Step::NotYet(queued) => {
                    drop(writing);
                    turn.block(queued)?;
                }
            }
        }
    }

    /// [`write`](Self::write) that blocks no thread.
    pub(crate) async fn write_async<R: Records>(&self, write: &Write<'_, R>) -> Result<Newest> {
        self.log.require_own_process()?;
        let taken = {
            let payload = self.log.payload(write.records, write.purpose())?;
            let mut turn = self.log.at(write.durability).in_turn();
            let mut entry = Entry { store: self, key: None };
            poll_fn(|context| self.poll_write(write, &payload, &mut turn, &mut entry, context))
                .await?
        };
        let Some((task, commit, newest)) = taken else {
            self.check_usable()?;
            if write.relies_on_the_log() {
                self.log.flush_in_turn().await?;
            }
            return Ok(Newest::Absent);
        };
        let outcome = commit.await;
        // In a forked child, the locks of the index belong to the parent.
        self.log.require_own_process()?;
        task.finish(outcome.is_ok());
        outcome.map(|_| newest)
    }

    fn poll_write<'s, R: Records>(
        &'s self,
        write: &Write<'_, R>,
        payload: &Payload<'_>,
        turn: &mut InTurn<'s>,
        entry: &mut Entry<'s>,
        context: &Context<'_>,
    ) -> Poll<Result<Option<Taken>>> {
        self.log.require_own_process()?;
        // Foreign code, so before the locks.
        let waker = context.waker().clone();
        let Poll::Ready(writing) = self.writing.poll_enter(&waker, &mut entry.key) else {
            return Poll::Pending;
        };
        match self.attempt(write, payload, turn, false, Arc::clone(&self.index))? {
            Step::Nothing => Poll::Ready(Ok(None)),
            Step::NotYet(queued) => {
                let before = queued.wake_by(waker);
                drop(writing);
                drop(before);
                Poll::Pending
            }
            Step::Taken(admitted, pending, newest) => {
                let (task, commit) = self.leave_to_the_log(turn, admitted, pending, writing);
                Poll::Ready(Ok(Some((task, commit, newest))))
            }
        }
    }

    /// From here on the record is on its way, whatever becomes of the task.
    fn leave_to_the_log<'s>(
        &'s self,
        turn: &InTurn<'s>,
        admitted: Admitted<'s>,
        pending: PendingWrite<Arc<Index>>,
        writing: RwLockReadGuard<'s, ()>,
    ) -> (Arc<TaskWrite>, Commit) {
        let left = Mutex::new(Some((pending, self.writing.count())));
        let task = Arc::new(TaskWrite { left });
        // Counted, so a snapshot waits for it.
        drop(writing);
        let commit = turn.submit(admitted);
        if !mutated("kv_publish_by_the_task_alone") {
            let task = Arc::clone(&task);
            commit.on_done(move |outcome| task.finish(outcome.is_ok()));
        }
        (task, commit)
    }

    /// Gets the records their numbers, if there is room for them and reason to write them. The
    /// shards are locked for that alone: so the numbers of a key follow the order of its writers,
    /// and nobody waits for the disk or for room with a shard in hand.
    fn attempt<'s, R: Records, I: Deref<Target = Index>>(
        &'s self,
        write: &Write<'_, R>,
        payload: &Payload<'_>,
        turn: &mut InTurn<'s>,
        waits: bool,
        index: I,
    ) -> Result<Step<'s, I>> {
        let mut shards = self.index.lock_shards(write.ops.iter().map(|op| op.hash));
        let newest = match write.ops {
            [op] if !op.is_put => shards.newest(op.hash),
            // Nobody asks.
            _ => Newest::Absent,
        };
        // A pending delete of somebody else is no reason to return early: its record is not
        // published, so a reader could still see the key after this call.
        if write.only_existing && newest == Newest::Absent {
            return Ok(Step::Nothing);
        }
        match turn.attempt(payload, waits)? {
            Attempted::NotYet(queued) => Ok(Step::NotYet(queued)),
            Attempted::Taken(admitted) => {
                let mut place = admitted.commit().record_ref();
                let entries = write.ops.iter().enumerate().map(|(at, op)| {
                    place = if at == 0 { place } else { place.next(op.bytes) };
                    let (hash, is_put) = (op.hash, op.is_put);
                    Ok(IndexEntry { hash, slot: self.slot_of(place)?, is_put })
                });
                let pending = shards.begin(index, entries.collect::<Result<_>>()?);
                Ok(Step::Taken(admitted, pending, newest))
            }
        }
    }
}

impl<R> Write<'_, R> {
    /// Whether a caller that writes nothing relies on the delete that removed the key, which may
    /// not be durable.
    fn relies_on_the_log(&self) -> bool {
        self.durability == Durability::Synced && !mutated("kv_nothing_unsynced")
    }
}

#[cfg(test)]
mod tests;
