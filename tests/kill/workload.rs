//! The work of a writer, by a seed, and the lines that it prints.
//!
//! It prints a line before each operation, and a line with its promise afterwards:
//!
//! | line | says |
//! |---|---|
//! | `opened FIRST LAST` | the records that opening found; shown, so they must stay |
//! | `sent SEQ IDENT` | a record has this number; nothing is promised |
//! | `ok SEQ written\|synced` | it, and all before it, survive a kill, or a power cut |
//! | `before SEQ`, `begins FIRST` | truncation before, begun and done |
//! | `after SEQ`, `cut SEQ` | truncation after, begun and done |
//! | `mark SEQ TEXT`, `marked` | a checkpoint, begun and done |
//! | `closed` | the log is closed, everything in it survives |
//! | `failed TEXT` | a call failed; none may |
//! | `killed` | the writer is dead; the parent adds this line |
//! | `end` | there is nothing more to do |

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use ringwal::{BackendKind, Batch, Blocks, Builder, Commit, Durability, Error, Log, Seq, Strategy};

use crate::record::Ident;
use crate::rng::Rng;

/// More live records than that, and the oldest are truncated.
const LIVE_RECORDS_MAX: u64 = 400;
const LIVE_RECORDS_KEPT: u64 = 150;

/// An operation that a writer does more often than by chance.
pub(crate) const OPERATIONS: [&str; 7] =
    ["open", "append", "rotate", "truncate-before", "truncate-after", "checkpoint", "close"];

/// The work of one writer process.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) dir: PathBuf,
    pub(crate) seed: u64,
    pub(crate) number: u32,
    pub(crate) steps: u64,
    /// The operation to do often.
    pub(crate) favourite: Option<&'static str>,
    /// `None` is the std backend, otherwise a strategy of io_uring.
    pub(crate) strategies: Vec<Option<Strategy>>,
}

/// Receives each line, and each operation as it begins and ends.
pub(crate) trait Witness: Sync {
    fn tell(&self, line: String);

    fn begins(&self, _operation: &'static str) {}

    fn ended(&self, _operation: &'static str) {}
}

type Done = Result<(), Error>;

/// Does the work of one writer.
pub(crate) fn live(life: &Life, witness: &dyn Witness) {
    let mut writer = Writer { life, witness, rng: Rng::new(life.seed), bursts: AtomicU32::new(0) };
    match writer.run() {
        Ok(()) => witness.tell("end".to_owned()),
        Err(error) => witness.tell(format!("failed {error}: {error:?}").replace('\n', " ")),
    }
}

struct Writer<'a> {
    life: &'a Life,
    witness: &'a dyn Witness,
    rng: Rng,
    bursts: AtomicU32,
}

impl Writer<'_> {
    fn run(&mut self) -> Done {
        let mut log = self.open()?;
        for _ in 0..self.life.steps {
            let operation = self.choose();
            let live = log.appended_seq().get() + 1 - log.first_seq().get();
            if live > LIVE_RECORDS_MAX {
                log.rotate()?;
                let seq = log.durable_seq().get() - LIVE_RECORDS_KEPT;
                self.truncate_before(&log, seq)?;
            }
            match operation {
                "close" | "open" => {
                    self.doing("close", || log.close())?;
                    self.witness.tell("closed".to_owned());
                    log = self.open()?;
                }
                "append" => self.burst(&log)?,
                other => self.alter(&log, other)?,
            }
        }
        Ok(())
    }

    fn choose(&mut self) -> &'static str {
        match self.life.favourite {
            Some(favourite) if self.rng.percent(45) => favourite,
            _ if self.rng.percent(55) => "append",
            _ => self.rng.pick(&OPERATIONS),
        }
    }

    fn doing<T>(
        &self,
        operation: &'static str,
        run: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.witness.begins(operation);
        let outcome = run();
        self.witness.ended(operation);
        outcome
    }

    fn open(&mut self) -> Result<Log, Error> {
        let builder = self.builder();
        let log = self.doing("open", || builder.open())?;
        let (first, last) = (log.first_seq(), log.appended_seq());
        self.witness.tell(format!("opened {first} {last}"));
        Ok(log)
    }

    fn builder(&mut self) -> Builder {
        let rng = &mut self.rng;
        let batch_bytes = rng.pick(&[4096, 8192, 65_536]);
        let strategy = self.life.strategies[rng.below(self.life.strategies.len() as u64) as usize];
        let kind = strategy.map_or(BackendKind::Std, |_| BackendKind::Uring);
        builder_in(&self.life.dir)
            .backend(kind)
            .strategy(strategy)
            .segment_bytes(rng.pick(&[4096, 16_384, 65_536]))
            .spare_segments(rng.pick(&[0, 1, 2]))
            .recycle_segments(rng.pick(&[0, 1, 4]))
            .batch_bytes(batch_bytes)
            .queue_bytes(batch_bytes * rng.pick(&[1, 2, 8]))
            .queue_depth(rng.pick(&[1, 2, 4, 16]))
            .preallocate(rng.pick(&[
                None,
                Some(Blocks::Written),
                Some(Blocks::Reserved),
                Some(Blocks::AsTheyCome),
            ]))
    }

    /// Appends from several threads, sometimes beside something else.
    fn burst(&mut self, log: &Log) -> Done {
        let threads = self.rng.pick(&[1, 1, 2, 4]);
        let burst = self.bursts.fetch_add(1, Ordering::Relaxed);
        let seeds: Vec<u64> = (0..threads).map(|_| self.rng.next()).collect();
        let beside = self.rng.percent(30).then(|| {
            self.rng.pick(&["flush", "rotate", "truncate-before", "checkpoint", "rotate"])
        });
        self.witness.begins("append");
        let outcome = thread::scope(|scope| {
            let mut appenders = Vec::new();
            for (seed, number) in seeds.into_iter().zip(0..) {
                let ident = Ident {
                    life: self.life.number,
                    burst,
                    thread: number,
                    index: 0,
                    place: 0,
                    batch: 1,
                    bytes: 0,
                };
                let witness = self.witness;
                let rng = Rng::new(seed);
                let mut appender = Appender { log, witness, rng, ident, pending: VecDeque::new() };
                appenders.push(scope.spawn(move || appender.run()));
            }
            let mut outcome = beside.map_or(Ok(()), |operation| self.alter(log, operation));
            for appender in appenders {
                let ended = appender.join().unwrap_or(Err(Error::Closed));
                outcome = outcome.and(ended);
            }
            outcome
        });
        self.witness.ended("append");
        outcome
    }

    /// Everything but appends, and opening and closing.
    fn alter(&mut self, log: &Log, operation: &'static str) -> Done {
        match operation {
            "rotate" => self.doing("rotate", || log.rotate()),
            "truncate-before" => {
                let (first, last) = (log.first_seq().get(), log.durable_seq().get());
                let seq = self.rng.between(first, last + 1);
                self.truncate_before(log, seq)
            }
            "truncate-after" => self.truncate_after(log),
            "checkpoint" => self.checkpoint(log),
            _ => {
                let seq = log.flush()?;
                self.witness.tell(format!("ok {seq} synced"));
                Ok(())
            }
        }
    }

    fn truncate_before(&self, log: &Log, seq: u64) -> Done {
        self.witness.tell(format!("before {seq}"));
        let freed = self.doing("truncate-before", || log.truncate_before(Seq::new(seq)))?;
        self.witness.tell(format!("begins {}", freed.first_seq));
        Ok(())
    }

    fn truncate_after(&mut self, log: &Log) -> Done {
        let checkpoint = log.last_checkpoint().map_or(0, |mark| mark.seq.get());
        let last = log.appended_seq().get();
        let least = checkpoint.max(log.first_seq().get() - 1);
        let near = last.saturating_sub(self.rng.pick(&[0, 3, 30, 1000]));
        let seq = self.rng.between(least.max(near), last);
        self.witness.tell(format!("after {seq}"));
        self.doing("truncate-after", || log.truncate_after(Seq::new(seq)))?;
        self.witness.tell(format!("cut {seq}"));
        Ok(())
    }

    fn checkpoint(&mut self, log: &Log) -> Done {
        let least = log.last_checkpoint().map_or(0, |mark| mark.seq.get());
        // Not at the end, or there would be nothing left to truncate after it.
        let last = log.durable_seq().get().saturating_sub(self.rng.pick(&[0, 5, 40]));
        let seq = self.rng.between(least, last.max(least));
        let text = format!("{}-{}", self.life.number, self.rng.below(1 << 40));
        self.witness.tell(format!("mark {seq} {text}"));
        self.doing("checkpoint", || log.checkpoint(Seq::new(seq), &text))?;
        self.witness.tell("marked".to_owned());
        Ok(())
    }
}

/// A builder with the options of all writers of a directory.
pub(crate) fn builder_in(dir: &Path) -> Builder {
    Log::builder(dir)
}

/// One thread of a burst.
struct Appender<'a> {
    log: &'a Log,
    witness: &'a dyn Witness,
    rng: Rng,
    ident: Ident,
    pending: VecDeque<(Commit, Durability)>,
}

impl Appender<'_> {
    fn run(&mut self) -> Done {
        for _ in 0..self.rng.pick(&[1, 4, 12, 30]) {
            self.append()?;
            if self.pending.len() > 8 {
                self.settle()?;
            }
        }
        while !self.pending.is_empty() {
            self.settle()?;
        }
        Ok(())
    }

    /// The next record.
    fn record(&mut self) -> Vec<u8> {
        let more = self.rng.pick(&[0, 1, 10, 100, 300, 2500, 9000]);
        self.ident.bytes = Ident::BYTES + self.rng.below(more + 1) as u32;
        self.ident.content()
    }

    fn append(&mut self) -> Done {
        let durability =
            self.rng.pick(&[Durability::Synced, Durability::Synced, Durability::Written]);
        match self.rng.below(6) {
            0 => {
                let records = self.rng.pick(&[1, 2, 5]);
                self.append_batch(records, durability)
            }
            1 | 2 => {
                let record = self.record();
                let seq = self.log.at(durability).append(&record)?;
                self.sent(seq.get());
                self.ok(seq, durability);
                Ok(())
            }
            3 => {
                let record = self.record();
                let tried = self.log.at(durability).try_submit(&record);
                let commit = match tried {
                    Err(Error::QueueFull) => self.log.at(durability).submit(&record)?,
                    other => other?,
                };
                self.keep(commit, durability);
                Ok(())
            }
            4 => {
                let record = self.record();
                let commit = self.log.at(Durability::Queued).submit(&record)?;
                self.keep(commit, Durability::Queued);
                Ok(())
            }
            _ => {
                let record = self.record();
                let commit = self.log.at(durability).submit(&record)?;
                self.keep(commit, durability);
                Ok(())
            }
        }
    }

    fn append_batch(&mut self, records: u32, durability: Durability) -> Done {
        let mut batch = Batch::new();
        let mut idents = Vec::new();
        for place in 0..records {
            (self.ident.place, self.ident.batch) = (place, records);
            self.ident.bytes = Ident::BYTES + self.rng.below(300) as u32;
            batch.push(self.ident.content())?;
            idents.push(self.ident);
            self.ident.index += 1;
        }
        (self.ident.place, self.ident.batch) = (0, 1);
        let last = self.log.at(durability).append(&batch)?;
        for (ident, seq) in idents.iter().zip(last.get() + 1 - u64::from(records)..) {
            self.witness.tell(format!("sent {seq} {}", ident.print()));
        }
        self.ok(last, durability);
        Ok(())
    }

    fn sent(&mut self, seq: u64) {
        self.witness.tell(format!("sent {seq} {}", self.ident.print()));
        self.ident.index += 1;
    }

    fn keep(&mut self, commit: Commit, durability: Durability) {
        self.sent(commit.seq().get());
        self.pending.push_back((commit, durability));
    }

    fn settle(&mut self) -> Done {
        let Some((commit, durability)) = self.pending.pop_front() else { return Ok(()) };
        let seq = commit.wait()?;
        self.ok(seq, durability);
        Ok(())
    }

    fn ok(&self, seq: Seq, durability: Durability) {
        match durability {
            Durability::Queued => {}
            Durability::Written => self.witness.tell(format!("ok {seq} written")),
            Durability::Synced => self.witness.tell(format!("ok {seq} synced")),
        }
    }
}
