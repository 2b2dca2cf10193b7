//! The promises in the writers' lines, compared with the log after their death.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use ringwal::{Checkpoint, Log, Seq};

use crate::record::Ident;

/// A promise that was broken, in words.
pub(crate) type Broken = String;

macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}

/// The cause of the writer's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// Only the process died: the operating system keeps all written bytes.
    #[allow(dead_code, reason = "each program that uses the model knows one kind of death")]
    Killed,
    /// The power.
    #[allow(dead_code, reason = "each program that uses the model knows one kind of death")]
    PowerCut,
}

/// The expected content of a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// The writer of each record, by its number, as far as a line says so.
    sent: BTreeMap<u64, Ident>,
    /// Every record up to this one must survive a power cut.
    synced: u64,
    /// Every record up to this one must survive the death of the process.
    written: u64,
    /// The first remaining record.
    first: u64,
    checkpoint: Option<(u64, String)>,
    /// The operations that were begun and not ended.
    maybe_first: Option<u64>,
    maybe_cut: Option<u64>,
    maybe_checkpoint: Option<(u64, String)>,
    /// Where the log was cut: an atomic batch may end there.
    cuts: Vec<u64>,
    /// The writers of records that were cut off, which must never come back.
    gone: HashSet<Ident>,
    /// Whether the writer was killed: it may have appended more than its lines say.
    maybe_more: bool,
    /// Writers from this one on may have appended records without a line.
    life: u32,
}

/// The log found in a directory.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) first: u64,
    pub(crate) last: u64,
    records: Vec<Vec<u8>>,
    checkpoint: Option<(u64, String)>,
}

impl Found {
    /// Reads a directory, changing nothing.
    pub(crate) fn read(dir: &Path) -> Result<Found, Broken> {
        if !dir.exists() {
            return Ok(Found { first: 1, last: 0, records: Vec::new(), checkpoint: None });
        }
        let report = Log::builder(dir).verify().map_err(|error| format!("verify: {error}"))?;
        ensure!(report.corruption.is_none(), "verify says: {report}");
        let reader = Log::builder(dir).read_only().map_err(|error| format!("read: {error}"))?;
        Found::of(reader, (report.first_seq, report.last_seq), Checkpoint::read(dir))
    }

    /// Reads an open log.
    #[allow(dead_code, reason = "one of the programs that use the model")]
    pub(crate) fn open(log: &Log) -> Result<Found, Broken> {
        let reader = log.reader().map_err(|error| format!("read: {error}"))?;
        Found::of(reader, (log.first_seq(), log.durable_seq()), Ok(log.last_checkpoint()))
    }

    fn of(
        reader: ringwal::Reader,
        (first, last): (Seq, Seq),
        checkpoint: ringwal::Result<Option<Checkpoint>>,
    ) -> Result<Found, Broken> {
        let mut records = Vec::new();
        for record in reader {
            let next = first.get() + records.len() as u64;
            let record = record.map_err(|error| format!("record {next}: {error}"))?;
            ensure!(record.seq().get() == next, "record {} for {next}", record.seq());
            records.push(record.into_data());
        }
        let end = first.get() + records.len() as u64;
        ensure!(end == last.get() + 1, "the records end before {end}, the report says {last}");
        let checkpoint = checkpoint.map_err(|error| format!("checkpoint: {error}"))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let checkpoint = checkpoint.map(|mark| (mark.seq.get(), text(mark.payload)));
        Ok(Found { first: first.get(), last: last.get(), records, checkpoint })
    }
}

impl Model {
    pub(crate) fn new() -> Model {
        Model { first: 1, ..Model::default() }
    }

    /// A new writer begins.
    pub(crate) fn new_life(&mut self, life: u32) {
        self.life = life;
    }

    /// The last record that must not be lost.
    pub(crate) fn floor(&self, death: Death) -> u64 {
        match death {
            Death::Killed => self.written.max(self.synced),
            Death::PowerCut => self.synced,
        }
    }

    /// Takes in a line of a writer.
    pub(crate) fn hear(&mut self, line: &str) -> Result<(), Broken> {
        let mut words = line.splitn(3, ' ');
        let what = words.next().unwrap_or_default();
        let number = words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        let rest = words.next().unwrap_or_default();
        match what {
            "opened" => {
                let last: u64 = rest.parse().map_err(|_| format!("not a line: {line:?}"))?;
                let floor = self.floor(Death::Killed);
                let told = self.sent.last_key_value().map_or(floor, |(&seq, _)| seq.max(floor));
                let most = if std::mem::take(&mut self.maybe_more) { u64::MAX } else { told };
                let right = (floor..=most).contains(&last) || self.maybe_cut == Some(last);
                ensure!(right, "it opened with {last} records, not with {floor} to {most}");
                self.shown(number, last)?;
            }
            "sent" => {
                let ident = Ident::parse(rest).ok_or(format!("not a line: {line:?}"))?;
                self.sent.insert(number, ident);
            }
            "ok" if rest == "synced" => self.synced = self.synced.max(number),
            "ok" => self.written = self.written.max(number),
            "before" => self.maybe_first = Some(number),
            "begins" => {
                let most = self.maybe_first.take().unwrap_or(0).max(self.first);
                let right = (self.first..=most).contains(&number);
                ensure!(right, "truncation before {most} left a log that begins at {number}");
                self.first = number;
            }
            "after" => self.maybe_cut = Some(number),
            "cut" => {
                self.maybe_cut = None;
                self.cuts.push(number);
                self.cut(number);
            }
            "mark" => self.maybe_checkpoint = Some((number, rest.to_owned())),
            "marked" => self.checkpoint = self.maybe_checkpoint.take(),
            "closed" => {
                let last = self.sent.last_key_value().map_or(0, |(&seq, _)| seq);
                self.synced = self.synced.max(last);
            }
            "killed" => self.maybe_more = true,
            "end" | "kill" => {}
            _ => return Err(format!("the writer says: {line}")),
        }
        Ok(())
    }

    /// Takes over the records that an opened log shows; from now on they must stay.
    fn shown(&mut self, first: u64, last: u64) -> Result<(), Broken> {
        let most = self.maybe_first.take().unwrap_or(0).max(self.first);
        let in_range = (self.first..=most).contains(&first);
        ensure!(in_range, "it begins at {first}, not at {}", self.first);
        self.first = first;
        if self.maybe_cut.take() == Some(last) {
            self.cuts.push(last);
        }
        self.cut(last);
        Ok(())
    }

    fn cut(&mut self, seq: u64) {
        self.gone.extend(self.sent.split_off(&(seq + 1)).into_values());
        (self.synced, self.written) = (seq, seq);
    }

    /// Compares with the log found after the writer's death, and takes it over: it was shown.
    pub(crate) fn check(&mut self, found: &Found, death: Death) -> Result<(), Broken> {
        let last = found.last;
        let floor = self.floor(death);
        let is_cut = self.maybe_cut == Some(last);
        ensure!(last >= floor || is_cut, "it ends at {last}, but {floor} was acknowledged");
        let known = found.checkpoint == self.checkpoint
            || self.maybe_checkpoint.is_some() && found.checkpoint == self.maybe_checkpoint;
        let was = &self.checkpoint;
        ensure!(known, "the checkpoint is {:?}, not {was:?}", found.checkpoint);
        let mut groups: BTreeMap<(u32, u32, u32), u32> = BTreeMap::new();
        let mut place = 0;
        for (content, seq) in found.records.iter().zip(found.first..) {
            let ident = Ident::of(content)
                .ok_or_else(|| format!("record {seq} of {} bytes is made up", content.len()))?;
            match self.sent.get(&seq) {
                Some(sent) => ensure!(*sent == ident, "record {seq} is {ident:?}, not {sent:?}"),
                None => ensure!(ident.life >= self.life, "record {seq} is {ident:?}: an old one"),
            }
            ensure!(!self.gone.contains(&ident), "record {seq}, {ident:?}, came back");
            let group = (ident.life, ident.burst, ident.thread);
            let next = groups.insert(group, ident.index + 1);
            let follows = next.is_none_or(|next| next == ident.index);
            ensure!(follows, "record {seq} is {ident:?}: {next:?} of its thread is missing");
            // A batch that truncation has cut is followed by another one.
            let whole = ident.place == place || ident.place == 0 && self.cuts.contains(&(seq - 1));
            ensure!(whole, "record {seq} is {ident:?}: its atomic batch is torn");
            place = (ident.place + 1) % ident.batch;
            self.sent.insert(seq, ident);
        }
        let whole = place == 0 || is_cut || self.cuts.contains(&last);
        ensure!(whole, "the atomic batch that record {last} belongs to is torn");
        self.shown(found.first, last)?;
        self.checkpoint.clone_from(&found.checkpoint);
        self.maybe_checkpoint = None;
        Ok(())
    }
}
