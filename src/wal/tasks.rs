//! The forms of an append that block no thread; and batches, in both forms.

use std::future::poll_fn;
use std::task::Poll;

use crate::wal::dedup::Admission;
use crate::wal::format::{EVENT_SIZE, EventRecord};
use crate::wal::ticket::CommitSource;
use crate::wal::{EventCommit, SignalEvent, WalHandle};
use crate::{Attempted, Batch, Commit, InTurn, Payload, Purpose, Result};
#[cfg(doc)]
use crate::{Error, Log};

type Event = [u8; EVENT_SIZE];

/// An attempt of an append that waits for its turn, and what came of it. `None` if there was
/// nothing to append.
struct Attempt<'t, 'a> {
    turn: &'t mut InTurn<'a>,
    attempted: Result<Option<Attempted<'a>>>,
}

impl Attempt<'_, '_> {
    /// Tries once, and returns the ticket of what was taken.
    fn append(&mut self, payload: Result<Payload<'_>>) -> Option<Commit> {
        let attempted = payload.and_then(|payload| self.turn.attempt(&payload, false));
        let commit = match &attempted {
            Ok(Attempted::Taken(admitted)) => Some(admitted.commit().clone()),
            _ => None,
        };
        self.attempted = attempted.map(Some);
        commit
    }
}

impl WalHandle {
    /// [`submit`](Self::submit) that never blocks.
    ///
    /// # Errors
    ///
    /// [`Error::QueueFull`] where `submit` would wait: the event is not remembered, and an equal
    /// one is new. [`append_async`](Self::append_async) waits without blocking a thread. Else as
    /// `submit`.
    pub fn try_submit(&self, event: SignalEvent) -> Result<EventCommit> {
        let bytes = EventRecord::from(event).to_bytes();
        self.log.require_own_process()?;
        let Some(window) = &self.window else {
            return Ok(EventCommit { source: CommitSource::Own(self.log.try_submit(bytes)?) });
        };
        let mut submitted = None;
        let admission = window.admit_one_at_once(&bytes, self.clock.now_nanos(), || {
            let own = submitted.insert(self.log.try_submit(bytes));
            own.as_ref().ok().cloned()
        });
        let source = match submitted {
            Some(own) => CommitSource::Own(own?),
            None => CommitSource::of_duplicate(admission, self.log.dir())
                .unwrap_or(CommitSource::Durable),
        };
        Ok(EventCommit { source })
    }

    /// [`append`](Self::append) for a task: it waits without blocking a thread, neither for room
    /// nor for the disk, in any runtime, also one with a single thread.
    ///
    /// A future that is dropped before its first poll, or while it waits for room, appends nothing,
    /// and an equal event is new: the event is remembered only from the moment when it has its
    /// number. Later it is on its way and becomes durable all the same.
    ///
    /// ```
    /// # fn block_on<T>(future: impl Future<Output = T>) -> T {
    /// #     let mut future = std::pin::pin!(future);
    /// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     loop {
    /// #         if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut context) {
    /// #             return done;
    /// #         }
    /// #         std::thread::yield_now();
    /// #     }
    /// # }
    /// use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let config = WalConfig { dir: dir.path().to_path_buf(), ..WalConfig::default() };
    /// let (wal, _, _) = WalHandle::open(config)?;
    /// let event = SignalEvent { entity_id: 1, signal_type: 0, weight: 1.0, timestamp_nanos: 5 };
    /// assert_eq!(block_on(wal.append_async(event))?, 1);
    /// assert_eq!(block_on(wal.append_async(event))?, 0); // a duplicate
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub async fn append_async(&self, event: SignalEvent) -> Result<u64> {
        let bytes = EventRecord::from(event).to_bytes();
        let (commit, admission) = self
            .admitted(|attempt| {
                let append = || attempt.append(self.log.payload(&bytes, Purpose::Keep));
                match &self.window {
                    Some(window) => {
                        window.admit_one_at_once(&bytes, self.clock.now_nanos(), append)
                    }
                    None => new_ones(append, Admission::New),
                }
            })
            .await?;
        match (commit, CommitSource::of_duplicate(admission, self.log.dir())) {
            (Some(commit), _) => commit.await.map(u64::from),
            (None, Some(source)) => EventCommit { source }.await,
            (None, None) => Ok(0),
        }
    }

    /// Appends events, all or none, and blocks like [`append`](Self::append). Returns the sequence
    /// number of each, or 0 for a duplicate, also of an earlier event of the same call. The events
    /// are one batch, even beyond `batch_size`.
    ///
    /// # Errors
    ///
    /// [`Error::BatchTooLarge`], and as [`append`](Self::append).
    pub fn append_batch(&self, events: &[SignalEvent]) -> Result<Vec<u64>> {
        let bytes = bytes_of(events);
        let admitted = self.window.as_ref().map(|w| w.admit(bytes.iter(), self.clock.now_nanos()));
        let (reservation, admissions) = admitted.unzip();
        let admissions = admissions.unwrap_or_else(|| all_new(&bytes));
        let batch = batch_of(&bytes, &admissions)?;
        let mut first_seq = 0;
        if !batch.is_empty() {
            let mut reservation = reservation;
            let appended = self.log.append_batch_noting(&batch, self.log.durability(), |commit| {
                reservation.take().into_iter().for_each(|first| first.appended(commit));
            });
            // Still there: the append failed before the events had numbers.
            if let (Err(error), Some(reservation)) = (&appended, reservation) {
                reservation.failed(error);
            }
            first_seq = appended?.seqs().start().get();
        }
        let seqs = numbers(first_seq, &admissions);
        // Wait for duplicates last: some are of events that this call has just appended.
        for admission in admissions {
            if let Some(source) = CommitSource::of_duplicate(admission, self.log.dir()) {
                self.wait_for(&EventCommit { source })?;
            }
        }
        Ok(seqs)
    }

    /// [`append_batch`](Self::append_batch) for a task, as [`append_async`](Self::append_async) is
    /// `append`.
    ///
    /// # Errors
    ///
    /// As [`append_batch`](Self::append_batch).
    pub async fn append_batch_async(&self, events: &[SignalEvent]) -> Result<Vec<u64>> {
        let bytes = bytes_of(events);
        let (commit, admissions) = self
            .admitted(|attempt| {
                let mut append = |admissions: &[Admission]| match batch_of(&bytes, admissions) {
                    Ok(batch) => attempt.append(self.log.payload(&&batch, Purpose::Keep)),
                    Err(error) => attempt.append(Err(error)),
                };
                match &self.window {
                    Some(window) => {
                        window.admit_at_once(bytes.iter(), self.clock.now_nanos(), append)
                    }
                    None if bytes.is_empty() => Vec::new(),
                    None => {
                        let admissions = all_new(&bytes);
                        new_ones(|| append(&admissions), ());
                        admissions
                    }
                }
            })
            .await?;
        let first_seq = match commit {
            Some(commit) => {
                let first_seq = commit.seqs().start().get();
                commit.await?;
                first_seq
            }
            None => 0,
        };
        let seqs = numbers(first_seq, &admissions);
        for admission in admissions {
            if let Some(source) = CommitSource::of_duplicate(admission, self.log.dir()) {
                EventCommit { source }.await?;
            }
        }
        Ok(seqs)
    }

    /// Calls `admit` until the append that it tries is taken or fails; or until it finds that there
    /// is nothing to append, and then there is no ticket. Between two calls, nothing is held but a
    /// place in the line.
    async fn admitted<A>(
        &self,
        admit: impl Fn(&mut Attempt<'_, '_>) -> A,
    ) -> Result<(Option<Commit>, A)> {
        let mut turn = self.log.at(self.log.durability()).in_turn();
        poll_fn(|context| {
            // In a forked child, the lock of the window may be held for ever.
            self.log.require_own_process()?;
            // Foreign code, so before the locks.
            let waker = context.waker().clone();
            let mut attempt = Attempt { turn: &mut turn, attempted: Ok(None) };
            let admission = admit(&mut attempt);
            match attempt.attempted? {
                None => Poll::Ready(Ok((None, admission))),
                Some(Attempted::Taken(admitted)) => {
                    Poll::Ready(Ok((Some(turn.submit(admitted)), admission)))
                }
                Some(Attempted::NotYet(queued)) => {
                    drop(queued.wake_by(waker));
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// Where no duplicates are detected: all is new.
fn new_ones<A>(append: impl FnOnce() -> Option<Commit>, admission: A) -> A {
    drop(append());
    admission
}

fn all_new(events: &[Event]) -> Vec<Admission> {
    events.iter().map(|_| Admission::New).collect()
}

fn bytes_of(events: &[SignalEvent]) -> Vec<Event> {
    events.iter().map(|&event| EventRecord::from(event).to_bytes()).collect()
}

/// The batch of the new events.
fn batch_of(events: &[Event], admissions: &[Admission]) -> Result<Batch> {
    let mut batch = Batch::new();
    for (event, admission) in events.iter().zip(admissions) {
        if matches!(admission, Admission::New) {
            batch.push(event)?;
        }
    }
    Ok(batch)
}

/// The number of each event of a batch, whose new ones begin at `first_seq`; 0 for a duplicate.
fn numbers(first_seq: u64, admissions: &[Admission]) -> Vec<u64> {
    let mut next_seq = first_seq;
    let number = |admission: &Admission| match admission {
        Admission::New => {
            next_seq += 1;
            next_seq - 1
        }
        _ => 0,
    };
    admissions.iter().map(number).collect()
}
