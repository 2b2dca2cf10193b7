//! Group commit by hand, for threads that wait: a mutex, two condition variables, and a leader.
//!
//! ```text
//! append: frame ─ join the open batch ─ leader? ── no: wait for the batch, or for the lead
//!                                          └ yes: take the batch ─ write, sync ─ wake its threads
//!                                                 and one of the next batch, which leads
//! ```
//!
//! 1. Batches are numbered; one is written while the next is open. So two condition variables are
//!    enough: those of a batch wait on the one of its number's parity.
//! 2. The leader holds no lock while it writes.

use std::io::{self, ErrorKind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::bench::baseline::by_hand::file::{HandFile, frame};
use crate::output::exit::Failure;

/// A log by hand that threads share.
pub(crate) struct Group {
    state: Mutex<State>,
    /// Only the leader locks it.
    file: Mutex<HandFile>,
    turns: [Condvar; 2],
}

/// Framed records, one after the other.
#[derive(Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    records: u64,
}

struct State {
    open: Frames,
    /// The buffer of an earlier batch, for the next one.
    spare: Frames,
    /// The number of the open batch.
    number: u64,
    /// All batches up to this one are durable.
    durable: u64,
    is_led: bool,
    /// The number of the last record.
    last: u64,
    failed: Option<(ErrorKind, String)>,
}

impl Frames {
    fn push(&mut self, record: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(&frame(record)?);
        self.bytes.extend_from_slice(record);
        self.records += 1;
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.records = 0;
    }
}

impl Group {
    pub(crate) fn new(file: HandFile) -> Group {
        let state = State {
            open: Frames::default(),
            spare: Frames::default(),
            number: 1,
            durable: 0,
            is_led: false,
            last: 0,
            failed: None,
        };
        Group {
            state: Mutex::new(state),
            file: Mutex::new(file),
            turns: [Condvar::new(), Condvar::new()],
        }
    }

    /// Appends a record and waits until it is durable. Returns its number, from 1.
    pub(crate) fn append(&self, record: &[u8]) -> Result<u64, Failure> {
        let frame = frame(record).map_err(|error| self.failure(error))?;
        self.join(|open| {
            open.bytes.extend_from_slice(&frame);
            open.bytes.extend_from_slice(record);
            open.records += 1;
        })
    }

    /// Adds a record to `frames`.
    pub(crate) fn push(&self, frames: &mut Frames, record: &[u8]) -> Result<(), Failure> {
        frames.push(record).map_err(|error| self.failure(error))
    }

    /// Appends records that become durable together. Returns the number of the last one.
    pub(crate) fn append_all(&self, frames: &Frames) -> Result<u64, Failure> {
        self.join(|open| {
            open.bytes.extend_from_slice(&frames.bytes);
            open.records += frames.records;
        })
    }

    fn join(&self, add: impl FnOnce(&mut Frames)) -> Result<u64, Failure> {
        let mut state = lock(&self.state);
        let before = state.open.records;
        add(&mut state.open);
        state.last += state.open.records - before;
        let (own, last) = (state.number, state.last);
        loop {
            if let Some((kind, what)) = &state.failed {
                return Err(self.failure(io::Error::new(*kind, what.clone())));
            }
            if state.durable >= own {
                return Ok(last);
            }
            if !state.is_led {
                break;
            }
            let turn = &self.turns[(own % 2) as usize];
            state = turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.lead(state).map(|()| last)
    }

    /// Writes the open batch.
    fn lead(&self, mut state: MutexGuard<'_, State>) -> Result<(), Failure> {
        state.is_led = true;
        let own = state.number;
        state.number += 1;
        let spare = std::mem::take(&mut state.spare);
        let mut batch = std::mem::replace(&mut state.open, spare);
        drop(state);
        let written = lock(&self.file).append(&batch.bytes, batch.records);
        batch.clear();

        let mut state = lock(&self.state);
        state.spare = batch;
        state.is_led = false;
        match &written {
            Ok(()) => state.durable = own,
            Err(error) => state.failed = Some((error.kind(), error.to_string())),
        }
        drop(state);
        let [its, next] = [own % 2, (own + 1) % 2].map(|turn| &self.turns[turn as usize]);
        its.notify_all();
        match written {
            Ok(()) => {
                next.notify_one();
                Ok(())
            }
            Err(error) => {
                next.notify_all();
                Err(self.failure(error))
            }
        }
    }

    fn failure(&self, error: io::Error) -> Failure {
        Failure::Raw(lock(&self.file).path().to_path_buf(), error)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::Ordering;

    use crate::bench::baseline::by_hand::file::tests::records;

    #[test]
    fn threads_get_every_number_once_and_find_their_records_under_it() {
        const THREADS: u64 = 8;
        const EACH: u64 = 50;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hand");
        let file = HandFile::create(&path, 1000, true).unwrap();
        let written = file.written();
        let group = Group::new(file);
        let append = |thread: u64| {
            let one = |number| {
                let record = format!("{thread}:{number}");
                (group.append(record.as_bytes()).unwrap(), record.into_bytes())
            };
            (0..EACH).map(one).collect::<Vec<_>>()
        };
        let mut acked: Vec<(u64, Vec<u8>)> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..THREADS).map(|thread| scope.spawn(move || append(thread))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        acked.sort();
        assert!(acked.iter().map(|(number, _)| *number).eq(1..=THREADS * EACH));
        assert!(acked.into_iter().map(|(_, record)| record).eq(records(&path)));
        assert!(written.batches.load(Ordering::Relaxed) <= THREADS * EACH);
        assert_eq!(written.records.load(Ordering::Relaxed), THREADS * EACH);
    }

    #[test]
    fn a_batch_gets_the_number_of_its_last_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hand");
        let group = Group::new(HandFile::create(&path, 0, true).unwrap());
        let mut batch = Frames::default();
        for record in [b"one", b"two"] {
            batch.push(record).unwrap();
        }
        assert_eq!(group.append_all(&batch).unwrap(), 2);
        batch.clear();
        batch.push(b"six").unwrap();
        assert_eq!(group.append_all(&batch).unwrap(), 3);
        assert_eq!(records(&path), [b"one", b"two", b"six"]);
    }

    #[test]
    fn a_failing_write_is_told_to_everyone_and_nothing_is_acknowledged_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hand");
        let mut file = HandFile::create(&path, 1000, true).unwrap();
        file.append(&[frame(b"one").unwrap().as_slice(), b"one"].concat(), 1).unwrap();
        file.break_writes();
        let group = Group::new(file);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| group.append(b"two"))).collect();
            for thread in threads {
                let told = thread.join().unwrap();
                assert!(matches!(&told, Err(Failure::Raw(named, _)) if *named == path), "{told:?}");
            }
        });
        assert!(group.append(b"two").is_err());
        assert_eq!(records(&path), [b"one"]);
    }
}
