//! The model: the expected content of a log as plain lists, compared with the log after reopening.

use ringwal::{Error, Log, Reader, Seq};

/// A promise that was broken, in words.
pub(crate) type Broken = String;

/// Fails with a message unless something holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use ensure;

/// A checkpoint: its sequence number and its payload.
pub(crate) type Mark = Option<(u64, Vec<u8>)>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// Every record that was submitted, from sequence number 1 on.
    pub(crate) records: Vec<Vec<u8>>,
    /// The first live record.
    pub(crate) first: u64,
    /// Every record up to this one must survive a power cut.
    pub(crate) acked: u64,
    /// Every record up to this one must survive the death of the process.
    pub(crate) written: u64,
    /// The sequence numbers of atomic batches.
    pub(crate) atomic: Vec<(u64, u64)>,
    pub(crate) checkpoint: Mark,
    /// The acts of failed calls, which may have happened.
    pub(crate) maybe_checkpoint: Mark,
    pub(crate) maybe_first: Option<u64>,
    pub(crate) maybe_cut: Option<u64>,
    pub(crate) maybe_restart: Option<u64>,
    /// Whether records were ever truncated at the end.
    pub(crate) was_cut: bool,
    made: u64,
}

impl Model {
    pub(crate) fn new() -> Model {
        Model { first: 1, ..Model::default() }
    }

    pub(crate) fn last(&self) -> u64 {
        self.records.len() as u64
    }

    /// A new record of `size` bytes that no other has, if it is long enough.
    pub(crate) fn record(&mut self, size: usize) -> Vec<u8> {
        self.made += 1;
        let mut record = self.made.to_le_bytes().repeat(size.div_ceil(8));
        record.truncate(size);
        record
    }

    /// All records after `seq` were cut off.
    pub(crate) fn cut(&mut self, seq: u64) {
        self.records.truncate(seq as usize);
        self.acked = seq;
        self.written = seq;
        self.atomic.retain(|&(_, last)| last <= seq);
    }

    /// Learns from an opened log whether a restart that failed has happened.
    pub(crate) fn settle_restart(&mut self, log: &Log) {
        let last = log.appended_seq().get();
        let maybe = self.maybe_restart.take().filter(|&seq| last == seq - 1);
        if let Some(seq) = maybe.filter(|&seq| log.first_seq().get() == seq) {
            self.restart(seq);
        }
    }

    /// The log restarted at `seq`.
    pub(crate) fn restart(&mut self, seq: u64) {
        self.records.resize(seq as usize - 1, Vec::new());
        (self.acked, self.written, self.first) = (seq - 1, seq - 1, seq);
        self.atomic.clear();
    }

    /// Compares with a log that was just opened, after the process was killed or the power cut,
    /// and takes over the shown records, which must stay. Returns the error that ended the
    /// reading, if there was one.
    pub(crate) fn check_reopened(
        &mut self,
        log: &Log,
        killed: bool,
    ) -> Result<Option<Error>, Broken> {
        let last = log.appended_seq().get();
        self.settle_restart(log);
        let floor = if killed { self.written.max(self.acked) } else { self.acked };
        ensure!(last <= self.last(), "{last} records of {}: made up", self.last());
        let is_cut = self.maybe_cut == Some(last);
        ensure!(last >= floor || is_cut, "{last} records, {floor} acknowledged");
        ensure!(log.durable_seq().get() == last, "shown, but not durable");
        ensure!(log.written_seq().get() == last, "shown, but not written");
        for &(from, to) in &self.atomic {
            let torn = from <= last && last < to && !is_cut;
            ensure!(!torn, "the atomic batch {from}..={to} ends at {last}");
        }
        let first = log.first_seq().get();
        let first_max = self.maybe_first.unwrap_or(0).max(self.first);
        let in_range = (self.first..=first_max).contains(&first);
        ensure!(in_range || first == last + 1, "begins at {first}, not at {}", self.first);
        self.records.truncate(last as usize);
        let ended = match log.reader() {
            Ok(reader) => self.check_records(log, reader)?,
            Err(error) => Some(error),
        };
        let found = log.last_checkpoint().map(|mark| (mark.seq.get(), mark.payload));
        let known = found == self.checkpoint
            || self.maybe_checkpoint.is_some() && found == self.maybe_checkpoint;
        ensure!(known, "the checkpoint {found:?} is not {:?}", self.checkpoint);
        self.first = first.max(self.first);
        self.cut(last);
        self.checkpoint = found;
        (self.maybe_checkpoint, self.maybe_first, self.maybe_cut) = (None, None, None);
        Ok(ended)
    }

    /// Compares the items of a reader with all durable records; or up to an error, and returns the
    /// error.
    pub(crate) fn check_records(&self, log: &Log, reader: Reader) -> Result<Option<Error>, Broken> {
        let mut next = log.first_seq().get();
        let end = log.durable_seq().get();
        for record in reader {
            let record = match record {
                Ok(record) => record,
                Err(error) => return Ok(Some(error)),
            };
            ensure!(record.seq() == Seq::new(next), "record {} for {next}", record.seq());
            let expected = self.records.get(next as usize - 1);
            ensure!(
                expected.is_some_and(|expected| expected == record.data()),
                "record {next} has other bytes"
            );
            next += 1;
        }
        ensure!(next == end + 1, "the reader ends before {next}, not at {end}");
        Ok(None)
    }
}
