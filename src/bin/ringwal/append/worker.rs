//! An appending thread: takes chunks, appends their records and acknowledges durable ones.
//!
//! 1. With a window of 1, it appends a record and waits for it before taking the next. With a
//!    larger window, it keeps that many appends in flight and waits for the oldest.
//! 2. It never waits for input while it has an unacknowledged append.
//! 3. An acknowledgement is one line in one write, after the log returned `Ok` for the record.
//! 4. When it stops, for any reason but a failed standard output, it still waits for its pending
//!    appends and acknowledges those that became durable.

use std::collections::VecDeque;
use std::io::Write;
use std::num::NonZeroUsize;
use std::time::Instant;

use crossbeam_channel::{Receiver, TryRecvError, select};
use hdrhistogram::Histogram;
use ringwal::{Commit, Error, Log, Seq};

use crate::append::input::{Chunk, Message};
use crate::output::exit::Failure;
use crate::output::progress::Progress;
use crate::output::records::Digest;
use crate::output::stream::stdout;
use crate::util::signal::Stop;

/// What all workers of a run share.
#[derive(Debug)]
pub(crate) struct AppendRun<'a> {
    pub(crate) log: &'a Log,
    pub(crate) chunks: Receiver<Message>,
    pub(crate) stop: &'a Stop,
    pub(crate) progress: &'a Progress,
    pub(crate) window: NonZeroUsize,
    pub(crate) acks: bool,
}

/// The results of one worker, or of several combined.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// The lowest and highest acknowledged sequence number.
    pub(crate) seqs: Option<(Seq, Seq)>,
    /// Nanoseconds from the append until the worker learned that the record was durable.
    pub(crate) wait_nanos: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        let histogram = Histogram::new(3);
        // The valid range is 0 to 5.
        let wait_nanos = histogram.expect("three significant digits are valid");
        Tally { records: 0, bytes: 0, seqs: None, wait_nanos }
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        self.records += other.records;
        self.bytes += other.bytes;
        if let Some((first, last)) = other.seqs {
            self.seqs = Some(match self.seqs {
                Some((least, greatest)) => (least.min(first), greatest.max(last)),
                None => (first, last),
            });
        }
        self.wait_nanos += &other.wait_nanos;
    }

    fn note(&mut self, seq: Seq, bytes: usize, since: Instant) {
        self.records += 1;
        self.bytes += bytes as u64;
        let (least, greatest) = self.seqs.unwrap_or((seq, seq));
        self.seqs = Some((least.min(seq), greatest.max(seq)));
        let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // The histogram resizes itself, so recording cannot fail; `saturating_record` would not
        // resize.
        let _ = self.wait_nanos.record(nanos);
    }
}

/// Appends until the input ends, the stop switch is turned or an operation fails. A failure turns
/// the switch for the other workers.
pub(crate) fn run(run_state: &AppendRun<'_>) -> (Tally, Result<(), Failure>) {
    let mut worker = Worker { run_state, tally: Tally::new(), pending: VecDeque::new() };
    let mut result = worker.append_all();
    if result.is_err() {
        run_state.stop.stop("a failure");
    }
    while !matches!(result, Err(Failure::Output(_))) && !worker.pending.is_empty() {
        let acknowledged = worker.acknowledge_oldest();
        if result.is_ok() {
            result = acknowledged;
        }
    }
    (worker.tally, result)
}

/// An append not yet acknowledged.
#[derive(Debug)]
struct Pending {
    commit: Commit,
    digest: Option<Digest>,
    bytes: usize,
    since: Instant,
}

struct Worker<'a> {
    run_state: &'a AppendRun<'a>,
    tally: Tally,
    pending: VecDeque<Pending>,
}

impl Worker<'_> {
    fn append_all(&mut self) -> Result<(), Failure> {
        while let Some(chunk) = self.next_chunk()? {
            let before = self.tally.records;
            for record in chunk.records() {
                if self.run_state.stop.is_stopped() {
                    return Ok(());
                }
                if self.run_state.window.get() == 1 {
                    self.append_and_wait(record)?;
                } else {
                    self.append(record)?;
                }
            }
            self.run_state.progress.add(self.tally.records - before);
        }
        Ok(())
    }

    /// The next chunk, or `None` at the end of the input or when the stop switch is turned.
    fn next_chunk(&mut self) -> Result<Option<Chunk>, Failure> {
        loop {
            if self.run_state.stop.is_stopped() {
                return Ok(None);
            }
            match self.run_state.chunks.try_recv() {
                Ok(message) => return message.map(Some).map_err(Failure::Input),
                Err(TryRecvError::Disconnected) => return Ok(None),
                Err(TryRecvError::Empty) if self.pending.is_empty() => break,
                Err(TryRecvError::Empty) => self.acknowledge_oldest()?,
            }
        }
        select! {
            recv(self.run_state.chunks) -> message => match message {
                Ok(message) => message.map(Some).map_err(Failure::Input),
                Err(_) => Ok(None),
            },
            recv(self.run_state.stop.receiver()) -> _ => Ok(None),
        }
    }

    fn append_and_wait(&mut self, record: &[u8]) -> Result<(), Failure> {
        let since = Instant::now();
        let seq = self.run_state.log.append(record)?;
        self.tally.note(seq, record.len(), since);
        if self.run_state.acks { print_ack(seq, Digest::of(record)) } else { Ok(()) }
    }

    fn append(&mut self, record: &[u8]) -> Result<(), Failure> {
        let digest = self.run_state.acks.then(|| Digest::of(record));
        let since = Instant::now();
        let commit = loop {
            match self.run_state.log.try_submit(record) {
                // Waiting for the oldest append acknowledges it; waiting for space would not.
                Err(Error::QueueFull) if !self.pending.is_empty() => self.acknowledge_oldest()?,
                Err(Error::QueueFull) => break self.run_state.log.submit(record)?,
                other => break other?,
            }
        };
        self.pending.push_back(Pending { commit, digest, bytes: record.len(), since });
        while self.pending.front().is_some_and(|oldest| oldest.commit.is_done()) {
            self.acknowledge_oldest()?;
        }
        if self.pending.len() >= self.run_state.window.get() {
            self.acknowledge_oldest()?;
        }
        Ok(())
    }

    /// Waits for the oldest append and acknowledges it.
    fn acknowledge_oldest(&mut self) -> Result<(), Failure> {
        let Some(oldest) = self.pending.pop_front() else { return Ok(()) };
        let seq = oldest.commit.wait()?;
        self.tally.note(seq, oldest.bytes, oldest.since);
        match oldest.digest {
            Some(digest) => print_ack(seq, digest),
            None => Ok(()),
        }
    }
}

/// Prints one acknowledgement in one write. Here, a closed pipe is a failure.
fn print_ack(seq: Seq, digest: Digest) -> Result<(), Failure> {
    let mut line = Vec::with_capacity(40);
    digest
        .write_line(&mut line, seq)
        .and_then(|()| stdout().write_all(&line))
        .map_err(Failure::Output)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    #[test]
    fn tallies_keep_waits_of_any_length_and_add_up() {
        let (mut one, mut two) = (Tally::new(), Tally::new());
        let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(5)) else { return };
        one.note(Seq::new(2), 10, long_ago);
        two.note(Seq::new(1), 5, Instant::now());
        one.add(&two);
        assert_eq!((one.records, one.bytes), (2, 15));
        assert_eq!(one.seqs, Some((Seq::new(1), Seq::new(2))));
        assert!(one.wait_nanos.max() >= 4_990_000_000, "{}", one.wait_nanos.max());
    }
}
