//! A log by hand for tickets and tasks: a channel, a writer thread and a oneshot for each record.
//!
//! ```text
//! submit: frame ─ send (record, oneshot) ┐
//! writer: ... sync ─ answer all ─ take all that wait ─ write ─ sync ─ answer all ─ ...
//! ```
//!
//! 1. The writer alone numbers the records, in the order in which it takes them.
//! 2. The channel has no bound: whoever submits bounds what is outstanding.
//! 3. After a failed write the writer answers every record with that failure, to its end.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::bench::baseline::by_hand::file::{FRAME_BYTES, HandFile, frame};
use crate::bench::baseline::by_hand::oneshot::{self, oneshot};
use crate::output::exit::Failure;

/// A log by hand with a writer thread, which ends when this is dropped.
pub(crate) struct Channel {
    records: Option<Sender<Waiting>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    path: PathBuf,
}

/// The number of a record, or why it is not durable.
type Answer = Result<u64, (ErrorKind, String)>;

struct Waiting {
    framed: Vec<u8>,
    answer: oneshot::Sender<Answer>,
}

/// A record on its way.
pub(crate) struct Ticket(oneshot::Receiver<Answer>);

/// The writer takes no more records at once, so that its buffer stays bounded.
const BATCH_RECORDS: usize = 1 << 16;

impl Channel {
    pub(crate) fn start(file: HandFile) -> Result<Channel, Failure> {
        let path = file.path().to_path_buf();
        let (records, waiting) = unbounded();
        let writer = thread::Builder::new().name("by-hand".to_owned());
        let writer = writer.spawn(move || write(file, &waiting));
        let writer = writer.map_err(|error| Failure::Setup("writer thread", error))?;
        Ok(Channel { records: Some(records), writer: Mutex::new(Some(writer)), path })
    }

    /// Hands a record to the writer.
    pub(crate) fn submit(&self, record: &[u8]) -> Result<Ticket, Failure> {
        let failed = |error| Failure::Raw(self.path.clone(), error);
        let frame = frame(record).map_err(failed)?;
        let mut framed = Vec::with_capacity(FRAME_BYTES + record.len());
        framed.extend_from_slice(&frame);
        framed.extend_from_slice(record);
        let (answer, ticket) = oneshot();
        let sent = self.records.as_ref().map(|to| to.send(Waiting { framed, answer }));
        match sent {
            Some(Ok(())) => Ok(Ticket(ticket)),
            _ => Err(failed(gone())),
        }
    }

    /// Waits until a record is durable. Returns its number, from 1.
    pub(crate) fn wait(&self, ticket: Ticket) -> Result<u64, Failure> {
        self.answered(ticket.0.wait())
    }

    /// Appends a record and waits until it is durable, without blocking a thread.
    pub(crate) async fn append_async(&self, record: &[u8]) -> Result<u64, Failure> {
        let Ticket(answer) = self.submit(record)?;
        self.answered(answer.await)
    }

    fn answered(&self, answer: Option<Answer>) -> Result<u64, Failure> {
        let error = match answer {
            Some(Ok(number)) => return Ok(number),
            Some(Err((kind, what))) => io::Error::new(kind, what),
            None => gone(),
        };
        Err(Failure::Raw(self.path.clone(), error))
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.records = None;
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // It has told everyone who waited already.
            let _ended = writer.join();
        }
    }
}

fn gone() -> io::Error {
    io::Error::new(ErrorKind::BrokenPipe, "the writer thread has ended")
}

fn write(mut file: HandFile, waiting: &Receiver<Waiting>) {
    let (mut buf, mut answers) = (Vec::new(), Vec::new());
    let (mut last, mut failed) = (0, None);
    while let Ok(first) = waiting.recv() {
        let more = waiting.try_iter().take(BATCH_RECORDS - 1);
        for Waiting { framed, answer } in std::iter::once(first).chain(more) {
            buf.extend_from_slice(&framed);
            answers.push(answer);
        }
        if failed.is_none()
            && let Err(error) = file.append(&buf, answers.len() as u64)
        {
            failed = Some((error.kind(), error.to_string()));
        }
        buf.clear();
        for answer in answers.drain(..) {
            last += 1;
            answer.send(failed.clone().map_or(Ok(last), Err));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::bench::baseline::by_hand::file::tests::records;

    #[test]
    fn a_thread_with_a_window_finds_its_records_in_its_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hand");
        let channel = Channel::start(HandFile::create(&path, 100, true).unwrap()).unwrap();
        let made: Vec<Vec<u8>> = (0..300).map(|at| format!("{at}").into_bytes()).collect();
        let tickets: Vec<Ticket> =
            made.iter().map(|record| channel.submit(record).unwrap()).collect();
        let numbers: Vec<u64> =
            tickets.into_iter().map(|ticket| channel.wait(ticket).unwrap()).collect();
        assert!(numbers.into_iter().eq(1..=300));
        drop(channel);
        assert_eq!(records(&path), made);
    }

    #[test]
    fn a_failing_write_is_told_and_nothing_is_acknowledged_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hand");
        let mut file = HandFile::create(&path, 100, true).unwrap();
        file.break_writes();
        let channel = Channel::start(file).unwrap();
        for _ in 0..2 {
            let tickets: Vec<Ticket> = (0..4).map(|_| channel.submit(b"one").unwrap()).collect();
            for ticket in tickets {
                let told = channel.wait(ticket);
                assert!(matches!(&told, Err(Failure::Raw(named, _)) if *named == path), "{told:?}");
            }
        }
        assert!(records(&path).is_empty());
    }
}
