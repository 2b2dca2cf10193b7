//! The acts of a simulated run, step by step, and the expected outcome of each.

use ringwal::io::Storage;
use ringwal::{Batch, Durability, Error, Log, Seq, SimFault};

use crate::forged::forge;
use crate::model::{Broken, ensure};
use crate::rng::Rng;
use crate::world::{ERRNOS, World};

const LEVELS: [Durability; 4] =
    [Durability::Synced, Durability::Synced, Durability::Written, Durability::Queued];

/// An act; chance decides the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Append in any form, of any size, with any durability.
    Append,
    /// Run a few steps of the ring thread.
    Run,
    Flush,
    Rotate,
    Checkpoint,
    TruncateBefore,
    TruncateAfter,
    Read,
    /// Fill the disk, or free it.
    Fill,
    /// Make an operation fail soon.
    Fail,
    /// Run the ring thread until it sleeps.
    Settle,
    /// Delete the lock file, and open the log as another writer.
    Intrude,
}

impl World {
    pub(crate) fn act(&mut self, act: Act) -> Result<(), Broken> {
        let log = self.log()?;
        match act {
            Act::Append => self.append(&log),
            Act::Run => {
                for _ in 0..self.rng.below(6) {
                    log.step();
                }
                Ok(())
            }
            Act::Flush => self.flush(&log),
            Act::Rotate => {
                let rotated = log.rotate();
                self.tell(|| format!("rotate: {rotated:?}"));
                rotated.or_else(|error| self.expect_failure("rotate", &error))
            }
            Act::Checkpoint => self.checkpoint(&log),
            Act::TruncateBefore => self.truncate_before(&log),
            Act::TruncateAfter => self.truncate_after(&log),
            Act::Read => self.read(&log),
            Act::Fill => {
                let full = self.rng.percent(50);
                self.tell(|| format!("full {full}"));
                self.disk.set_capacity(full.then_some(20_000));
                self.full = full;
                // Only segments with preallocated space cannot run out of it.
                self.faulty |= full && !self.filled;
                self.unclean |= full && !self.filled;
                Ok(())
            }
            Act::Fail => {
                self.fail_soon();
                Ok(())
            }
            Act::Settle => self.check_settled(&log),
            Act::Intrude => self.intrude(),
        }
    }

    fn intrude(&mut self) -> Result<(), Broken> {
        // The planned fault must hit the log.
        if self.faulty || self.fault.is_some() {
            return Ok(());
        }
        self.disk.remove("lock").map_err(|error| error.to_string())?;
        match Log::builder("sim").open_sim(&self.disk) {
            Err(Error::Locked { .. }) => Ok(()),
            other => Err(format!("a second writer: {other:?}")),
        }
    }

    fn fail_soon(&mut self) {
        let fault = match self.rng.below(16) {
            0 | 1 => SimFault::ShortWrite,
            2 | 3 => SimFault::Cancelled,
            4 | 5 => SimFault::CutChain,
            6 => SimFault::Enter(libc::EBADF),
            8 | 9 => SimFault::NoDescriptor,
            7 => SimFault::Enter(self.rng.pick(&[libc::EAGAIN, libc::EBUSY, libc::EINTR])),
            _ => SimFault::Errno(self.rng.pick(&ERRNOS)),
        };
        let index = self.rng.below(20);
        self.tell(|| format!("{fault} at {index}"));
        match self.rng.percent(30) {
            true => self.disk.fail_from(index, fault),
            false => self.disk.fail_at(index, fault),
        }
        self.figures.faults += 1;
        (self.faulty, self.unclean) = (true, true);
        self.queue_lost |= matches!(fault, SimFault::Enter(_));
    }

    /// The ring thread must sleep, and must have finished all work.
    pub(crate) fn check_settled(&mut self, log: &Log) -> Result<(), Broken> {
        self.tell(|| "settle".to_owned());
        let sleeps = (0..1_000_000).any(|_| !log.step());
        ensure!(sleeps, "the driver is busy for ever");
        for (ticket, level) in &self.tickets {
            let done = ticket.is_done()
                || matches!(
                    ticket.wait_timeout(std::time::Duration::ZERO),
                    Err(Error::Poisoned(_))
                );
            ensure!(done, "{level:?} {} waits for ever", ticket.seq());
        }
        // A failed queue may still own the operations that the kernel had.
        let queued = log.metrics().queued_bytes;
        ensure!(queued == 0 || self.queue_lost, "{queued} bytes of buffers do not come back");
        Ok(())
    }

    /// The log's own watermarks and segments must be consistent.
    pub(crate) fn observe(&mut self) -> Result<(), Broken> {
        let log = self.log()?;
        let (durable, written) = (log.durable_seq().get(), log.written_seq().get());
        ensure!(durable <= written, "durable {durable}, written {written}");
        ensure!(written <= self.model.last(), "written {written} of {}", self.model.last());
        ensure!(durable >= self.model.acked, "durable fell to {durable}");
        for (ticket, level) in &self.tickets {
            let reached = match level {
                Durability::Synced => durable,
                Durability::Written => written,
                _ => u64::MAX,
            };
            let early = ticket.is_done() && ticket.seq().get() > reached;
            ensure!(!early, "{level:?} {} acknowledged at {reached}", ticket.seq());
        }
        let done = self.tickets.iter().filter(|(ticket, _)| ticket.seqs().end().get() <= durable);
        self.places.extend(done.map(|(ticket, _)| ticket.record_ref()));
        self.tickets.retain(|(ticket, _)| !ticket.is_done());
        self.model.acked = durable;
        self.model.written = written;
        Ok(())
    }

    fn size(&mut self) -> usize {
        if self.rng.percent(8) {
            // Alone in its batch, the record ends with a block, so that no padding is trimmed.
            return self.rng.pick(&[440, 952, 4024]);
        }
        let limit = self.rng.pick(&[20, 20, 200, 200, 1000, 6000]);
        self.rng.below(limit) as usize
    }

    fn append(&mut self, log: &Log) -> Result<(), Broken> {
        let level = self.rng.pick(&LEVELS);
        let form = self.rng.below(10);
        let count = if form < 7 { 1 } else { self.rng.between(1, 8) };
        let sizes: Vec<usize> = (0..count).map(|_| self.size()).collect();
        let mut records: Vec<_> = sizes.iter().map(|&size| self.model.record(size)).collect();
        for (record, seq) in records.iter_mut().zip(self.model.last() + 1..) {
            // With its own random numbers, so that the rest of the seed's run stays the same.
            let made = record.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            let mut chances = Rng::of_step(0xf07e, made);
            if chances.percent(40) {
                forge(record, seq, &mut chances, Some(&self.disk), &self.former);
            }
        }
        let first = self.model.last() + 1;
        let outcome = match form {
            0..3 => log.at(level).try_submit(&records[0]).map(Some),
            3..6 => log.at(level).submit(&records[0]).map(Some),
            6 => log.at(level).append(&records[0]).map(|seq| {
                assert_eq!(seq.get(), first);
                None
            }),
            _ => {
                let mut batch = Batch::new();
                for record in &records {
                    batch.push(record).map_err(|error| error.to_string())?;
                }
                match form {
                    7 => log.at(level).append(&batch).map(|_| None),
                    _ => log.at(level).submit(&batch).map(Some),
                }
            }
        };
        self.tell(|| format!("append {level:?} {form} {sizes:?}: {outcome:?}"));
        let taken = log.appended_seq().get() + 1 - first;
        ensure!(taken == 0 || taken == count, "{taken} of {count} records were taken");
        if taken > 0 {
            self.figures.records += count;
            self.model.records.extend(records);
            self.model.atomic.push((first, first + count - 1));
        }
        match outcome {
            Ok(Some(ticket)) => {
                ensure!(ticket.seqs().start().get() == first, "{ticket:?} is not {first}");
                self.tickets.push((ticket, level));
                Ok(())
            }
            Ok(None) => {
                let reached = match level {
                    Durability::Synced => log.durable_seq(),
                    Durability::Written => log.written_seq(),
                    _ => log.appended_seq(),
                };
                ensure!(reached.get() >= self.model.last(), "append returned at {reached}");
                Ok(())
            }
            Err(Error::QueueFull) if form < 3 => Ok(()),
            Err(Error::BatchTooLarge { .. }) => Ok(()),
            Err(Error::NoSpace { .. }) => {
                ensure!(taken == 0, "no space, but a number");
                // An append that does not wait may report a failure that has healed meanwhile.
                ensure!(self.full || self.faulty || form < 3, "no space, but there is room");
                Ok(())
            }
            Err(error) => self.expect_failure("append", &error),
        }
    }

    fn flush(&mut self, log: &Log) -> Result<(), Broken> {
        let flushed = log.flush();
        self.tell(|| format!("flush: {flushed:?}"));
        match flushed {
            Ok(seq) => {
                ensure!(seq.get() == self.model.last(), "flushed {seq}");
                ensure!(log.durable_seq() == seq, "flushed, but not durable");
                Ok(())
            }
            Err(error) => self.expect_failure("flush", &error),
        }
    }

    fn checkpoint(&mut self, log: &Log) -> Result<(), Broken> {
        let from = self.model.checkpoint.as_ref().map_or(0, |mark| mark.0);
        let seq = self.rng.between(from, log.durable_seq().get());
        // It begins with a mark, and is otherwise the same over several sectors: a write torn here
        // could be completed by a later one.
        let mut payload = self.rng.next().to_le_bytes().to_vec();
        payload.resize(self.rng.pick(&[8, 600, 3000]), 7);
        let outcome = log.checkpoint(Seq::new(seq), &payload);
        self.tell(|| format!("checkpoint {seq}: {outcome:?}"));
        match outcome {
            Ok(()) => self.model.checkpoint = Some((seq, payload)),
            Err(error) => {
                self.model.maybe_checkpoint =
                    self.model.maybe_checkpoint.take().or(Some((seq, payload)));
                return self.expect_failure("checkpoint", &error);
            }
        }
        Ok(())
    }

    /// Jumps to a number behind the last record.
    fn restart(&mut self, log: &Log) -> Result<(), Broken> {
        let seq = self.model.last() + self.rng.pick(&[1, 1, 2, 40]);
        let payload = self.rng.next().to_le_bytes().to_vec();
        let outcome = log.restart_at(Seq::new(seq), &payload);
        self.tell(|| format!("restart at {seq}: {outcome:?}"));
        if let Err(error) = outcome {
            self.model.maybe_restart = self.model.maybe_restart.or(Some(seq));
            self.model.maybe_first = self.model.maybe_first.or(Some(seq));
            self.model.maybe_checkpoint =
                self.model.maybe_checkpoint.take().or(Some((seq - 1, payload)));
            return self.expect_failure("restart", &error);
        }
        self.model.restart(seq);
        self.model.checkpoint = Some((seq - 1, payload));
        self.tickets.clear();
        ensure!(log.appended_seq().get() == seq - 1, "restarted at {}", log.appended_seq());
        ensure!(log.first_seq().get() == seq, "begins at {}", log.first_seq());
        Ok(())
    }

    fn checkpoint_and_truncate(&mut self, log: &Log) -> Result<(), Broken> {
        let from = self.model.checkpoint.as_ref().map_or(0, |mark| mark.0);
        let seq = self.rng.between(from, log.durable_seq().get());
        let payload = self.rng.next().to_le_bytes().to_vec();
        let outcome = log.checkpoint_and_truncate(Seq::new(seq), &payload);
        self.tell(|| format!("checkpoint {seq} and truncate: {outcome:?}"));
        match outcome {
            Ok(freed) => {
                self.model.checkpoint = Some((seq, payload));
                if freed.segments > 0 {
                    let first = freed.first_seq.get();
                    let fits = first >= self.model.first && first <= seq + 1;
                    ensure!(fits, "truncated to {first}, not to {}", seq + 1);
                    self.model.first = first;
                }
                Ok(())
            }
            Err(error) => {
                self.model.maybe_first = self.model.maybe_first.or(Some(seq + 1));
                self.model.maybe_checkpoint =
                    self.model.maybe_checkpoint.take().or(Some((seq, payload)));
                self.expect_failure("checkpoint and truncate", &error)
            }
        }
    }

    fn truncate_before(&mut self, log: &Log) -> Result<(), Broken> {
        match self.rng.below(10) {
            0..2 => return self.restart(log),
            2..5 => return self.checkpoint_and_truncate(log),
            _ => {}
        }
        let seq = self.rng.between(self.model.first, log.durable_seq().get() + 1);
        let outcome = log.truncate_before(Seq::new(seq));
        self.tell(|| format!("truncate before {seq}: {outcome:?}"));
        match outcome {
            Ok(freed) => {
                let first = freed.first_seq.get();
                let fits = first >= self.model.first && first <= seq.max(self.model.first);
                ensure!(fits || freed.segments == 0, "truncated to {first}, not to {seq}");
                if freed.segments > 0 {
                    self.model.first = first;
                }
                Ok(())
            }
            Err(error) => {
                self.model.maybe_first = self.model.maybe_first.or(Some(seq));
                self.expect_failure("truncate before", &error)
            }
        }
    }

    /// Keeps copies of the segments that a cut after `seq` removes, as a service may have them.
    fn keep_copies_after(&mut self, seq: u64) {
        for name in self.disk.names() {
            let digits = name.strip_prefix("wal-").and_then(|name| name.strip_suffix(".seg"));
            let first = digits.and_then(|digits| digits.parse().ok());
            if let Some(first) = first.filter(|&first: &u64| first > seq) {
                self.former.push((first, self.disk.content(&name).unwrap_or_default()));
            }
        }
    }

    fn truncate_after(&mut self, log: &Log) -> Result<(), Broken> {
        let checkpoint = self.model.checkpoint.as_ref().map_or(0, |mark| mark.0);
        let least = checkpoint.max(self.model.first - 1);
        let mut seq = self.rng.between(least, self.model.last());
        // A cut where a segment begins: the next segment has the same first number.
        let mut chances = Rng::of_step(0xc07, self.model.last() + seq);
        let begins = log.segments().into_iter().map(|segment| segment.first_seq.get() - 1);
        let begins: Vec<_> = begins.filter(|&at| at >= least && at < self.model.last()).collect();
        if !begins.is_empty() && chances.percent(40) {
            seq = chances.pick(&begins);
        }
        self.keep_copies_after(seq);
        let outcome = log.truncate_after(Seq::new(seq));
        self.model.was_cut = true;
        self.tell(|| format!("truncate after {seq}: {outcome:?}"));
        match outcome {
            Ok(()) => {
                self.model.cut(seq);
                self.tickets.clear();
                self.places.retain(|place| place.seq().get() <= seq);
                ensure!(log.appended_seq().get() == seq, "cut at {}", log.appended_seq());
                Ok(())
            }
            // The segment to be cut cannot be read now, so nothing has changed.
            Err(error @ Error::Io { .. }) => {
                ensure!(self.faulty, "truncate after fails without a cause: {error}");
                ensure!(log.appended_seq().get() == self.model.last(), "{error}, but it is cut");
                self.check_cause(&error)
            }
            Err(error) => {
                self.model.maybe_cut = self.model.maybe_cut.or(Some(seq));
                self.expect_failure("truncate after", &error)
            }
        }
    }

    /// Reads a record by its position, which may come from an earlier opening.
    fn read_one(&mut self, log: &Log) -> Result<(), Broken> {
        if self.places.is_empty() {
            return Ok(());
        }
        let place = self.places[self.rng.below(self.places.len() as u64) as usize];
        let seq = place.seq().get();
        self.tell(|| format!("read {place:?}"));
        match log.read(place) {
            Ok(record) => {
                let expected = self.model.records.get(seq as usize - 1);
                let same = expected.is_some_and(|expected| expected == record.data());
                ensure!(same, "{place:?} has other bytes");
                Ok(())
            }
            Err(Error::Truncated { .. }) => {
                ensure!(place.seq() < log.first_seq(), "{place:?} is not truncated");
                Ok(())
            }
            Err(error) => self.expect_failure("read", &error),
        }
    }

    fn read(&mut self, log: &Log) -> Result<(), Broken> {
        if !self.faulty && self.fault.is_none() && self.rng.percent(30) {
            return self.read_wrongly(log);
        }
        self.read_one(log)?;
        let reader = match log.reader() {
            Ok(reader) => reader,
            Err(error) => return self.expect_failure("reader", &error),
        };
        match self.model.check_records(log, reader)? {
            None => Ok(()),
            Some(error) => self.expect_failure("reader", &error),
        }
    }
}
