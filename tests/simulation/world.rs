//! A log on a simulated disk, its model, and everything that may happen to them.

use ringwal::io::SimDisk;
use ringwal::{
    Batch, Builder, Commit, Durability, Error, Log, RecordRef, RecoveryPolicy, Seq, Strategy,
    Verdict,
};

use crate::faults::Fault;
use crate::model::{Broken, Model, ensure};
use crate::rng::Rng;

const LEVELS: [Durability; 4] =
    [Durability::Synced, Durability::Synced, Durability::Written, Durability::Queued];
const ERRNOS: [i32; 4] = [libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::ECANCELED];

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) crashes: u64,
    pub(crate) in_recovery: u64,
    pub(crate) faults: u64,
    pub(crate) steps: u64,
    pub(crate) records: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, other: Figures) {
        self.crashes += other.crashes;
        self.in_recovery += other.in_recovery;
        self.faults += other.faults;
        self.steps += other.steps;
        self.records += other.records;
    }
}

pub(crate) struct World {
    rng: Rng,
    pub(crate) disk: SimDisk,
    pub(crate) log: Option<Log>,
    pub(crate) model: Model,
    tickets: Vec<(Commit, Durability)>,
    places: Vec<RecordRef>,
    /// The log was closed, and nothing failed.
    closed: bool,
    /// Something was asked to fail in this life of the log.
    pub(crate) faulty: bool,
    /// The disk has no room for more than little.
    full: bool,
    /// Blocks of segments are written beforehand.
    filled: bool,
    /// What failed may be on the disk as it pleases until the next power cut.
    pub(crate) unclean: bool,
    pub(crate) killed: bool,
    pub(crate) figures: Figures,
    steps_left: u64,
    telling: bool,
    /// The only thing that goes wrong, instead of chance.
    pub(crate) fault: Option<Fault>,
    /// Short lives with many changes of `state`.
    of_state: bool,
    pub(crate) story: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, steps: u64) -> World {
        World {
            rng: Rng::new(seed),
            disk: SimDisk::new(seed.wrapping_mul(31)),
            log: None,
            model: Model::new(),
            tickets: Vec::new(),
            places: Vec::new(),
            closed: false,
            faulty: false,
            full: false,
            filled: false,
            unclean: false,
            killed: false,
            figures: Figures::default(),
            steps_left: steps,
            telling: false,
            fault: None,
            of_state: false,
            story: Vec::new(),
        }
    }

    /// Keeps what happens, for people.
    pub(crate) fn tell_all(&mut self) {
        self.telling = true;
    }

    /// Several lives of a log.
    pub(crate) fn run(&mut self) -> Result<(), Broken> {
        self.of_state = self.rng.percent(25);
        let rounds = if self.of_state { 12 } else { self.rng.between(2, 6) };
        for _ in 0..rounds {
            self.open()?;
            if self.rng.percent(15) {
                self.crash()?;
                self.open()?;
            }
            let steps = match self.of_state {
                true => self.rng.pick(&[2, 4, 8]),
                false => self.rng.pick(&[3, 20, 60, 60, 150]),
            };
            if self.rng.percent(60) {
                let index = self.rng.below(steps * 2);
                self.tell(|| format!("power off at {index}"));
                self.disk.power_off_at(index);
                self.faulty = true;
            }
            for _ in 0..steps {
                if self.steps_left == 0 || self.disk.is_off() {
                    break;
                }
                self.steps_left -= 1;
                self.figures.steps += 1;
                self.act()?;
                self.observe()?;
            }
            self.crash()?;
        }
        self.open()?;
        let log = self.log.take().ok_or("no log")?;
        let record = self.model.record(20);
        let seq = log.append(&record).map_err(|error| format!("the last append: {error}"))?;
        ensure!(seq.get() == self.model.last() + 1, "the last append got {seq}");
        log.close().map_err(|error| format!("the last close: {error}"))
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.telling {
            let line = what();
            self.story.push(line);
        }
    }

    pub(crate) fn builder(&mut self) -> Builder {
        let rng = &mut self.rng;
        self.disk.set_unit(rng.pick(&[512, 512, 1024, 4096]));
        self.filled = rng.percent(60);
        let batch_bytes = rng.pick(&[4096, 4096, 8192, 16384]);
        let builder = Log::builder("sim")
            .segment_bytes(rng.pick(&[128, 600, 2000, 8192, 20_000, 65_536]))
            .spare_segments(rng.pick(&[0, 1, 1, 3]))
            .recycle_segments(rng.pick(&[0, 1, 4]))
            .batch_bytes(batch_bytes)
            .batch_records(rng.pick(&[1, 2, 7, 1000]))
            .queue_bytes(batch_bytes * rng.pick(&[1, 2, 8]))
            .queue_depth(rng.pick(&[1, 2, 4, 16]))
            .record_bytes_max(10_000)
            .recovery(rng.pick(&[RecoveryPolicy::Strict, RecoveryPolicy::TolerateTail]))
            .strategy(Some(rng.pick(&Strategy::ALL)))
            .preallocate(Some(self.filled));
        if self.telling {
            self.story.push(format!("{:?}", builder));
        }
        builder
    }

    /// Opens the log, perhaps with power cuts and failures meanwhile, and checks what it shows.
    fn open(&mut self) -> Result<(), Broken> {
        for attempt in 0.. {
            let builder = self.builder();
            self.disk.set_capacity(None);
            self.full = false;
            let trouble = if attempt < 4 { self.rng.below(100) } else { 100 };
            let index = self.rng.below(40);
            if trouble < 40 {
                self.disk.power_off_at(index);
                self.tell(|| format!("power off at {index} of opening"));
            } else if trouble < 50 {
                let errno = self.rng.pick(&ERRNOS);
                self.disk.fail_at(index, errno, trouble < 45);
                self.tell(|| format!("errno {errno} at {index} of opening"));
                self.figures.faults += 1;
                self.unclean = true;
            }
            self.faulty = trouble < 50;
            if !self.faulty && !self.unclean && self.rng.percent(30) {
                let report = Log::builder("sim").verify_sim(&self.disk);
                let report = report.map_err(|error| format!("verify: {error}"))?;
                ensure!(report.corruption.is_none(), "verify: {report}");
            }
            if self.telling {
                self.disk.start_trace();
            }
            match builder.open_sim(&self.disk) {
                Ok(log) => {
                    self.tell(|| format!("opened: {:?} {:?}", log, log.recovery().rule));
                    if trouble < 50 && !self.disk.is_off() {
                        self.disk.heal();
                        self.faulty = false;
                    }
                    if self.disk.is_off() {
                        return Err("opened without power".to_owned());
                    }
                    self.model.check_reopened(&log, self.killed && !self.unclean)?;
                    let found = log.recovery();
                    ensure!(found.tolerated.is_none(), "tolerated: {found}");
                    ensure!(!self.closed || found.verdict == Verdict::Clean, "closed: {found}");
                    self.closed = false;
                    let last = self.model.last();
                    self.places.retain(|place| place.seq().get() <= last);
                    self.log = Some(log);
                    self.killed = false;
                    return Ok(());
                }
                Err(error) => {
                    self.tell(|| format!("not opened: {error}"));
                    ensure!(matches!(error, Error::Io { .. }), "opening fails with {error}");
                    ensure!(self.faulty, "opening fails without a cause: {error}");
                    self.figures.in_recovery += 1;
                    self.disk.heal();
                    if self.disk.is_off() || self.rng.percent(50) {
                        self.disk = self.disk.crash();
                        self.unclean = false;
                        self.figures.crashes += 1;
                        // What was only written before need not have survived this.
                        self.killed = false;
                    }
                }
            }
        }
        Err("never opened".to_owned())
    }

    /// Ends this life of the log.
    fn crash(&mut self) -> Result<(), Broken> {
        let Some(log) = self.log.take() else { return Ok(()) };
        self.figures.crashes += 1;
        if !self.disk.is_off() && self.rng.percent(15) {
            self.disk.heal();
            let closed = log.close();
            self.tell(|| format!("close: {closed:?}"));
            match closed {
                Ok(()) => {
                    self.closed = true;
                    self.model.acked = self.model.last();
                    self.model.written = self.model.last();
                }
                Err(error) => self.expect_failure("close", &error)?,
            }
        }
        self.killed = !self.disk.is_off() && self.rng.percent(25);
        self.tickets.retain(|(ticket, _)| !ticket.is_done());
        let after = if self.killed {
            self.tell(|| "kill".to_owned());
            self.disk.kill()
        } else {
            self.tell(|| "crash".to_owned());
            self.unclean = false;
            self.disk.crash()
        };
        drop(log);
        for (ticket, level) in self.tickets.drain(..) {
            let late = ticket.is_done() && level == Durability::Synced;
            ensure!(!late, "{} was acknowledged without power", ticket.seq());
        }
        self.disk = after;
        Ok(())
    }

    pub(crate) fn log(&self) -> Result<Log, Broken> {
        self.log.clone().ok_or_else(|| "no log".to_owned())
    }

    /// An error that a call may have: the log was poisoned, and there is a reason.
    pub(crate) fn expect_failure(&mut self, what: &str, error: &Error) -> Result<(), Broken> {
        match error {
            Error::Poisoned(_) => {
                ensure!(self.faulty, "{what} fails without a cause: {error}");
                self.check_cause(error)
            }
            // Nobody is left for whom the log could be poisoned.
            Error::Io { .. } if what == "close" => {
                ensure!(self.faulty, "{what} fails without a cause: {error}");
                self.check_cause(error)
            }
            _ => Err(format!("{what}: {error}")),
        }
    }

    pub(crate) fn act(&mut self) -> Result<(), Broken> {
        let log = self.log()?;
        if self.of_state && self.rng.percent(60) {
            return match self.rng.below(10) {
                0 => self.truncate_before(&log),
                1 => self.truncate_after(&log),
                _ => self.checkpoint(&log),
            };
        }
        match self.rng.below(100) {
            0..40 => self.append(&log),
            40..70 => {
                for _ in 0..self.rng.below(6) {
                    log.step();
                }
                Ok(())
            }
            70..75 => self.flush(&log),
            75..80 => {
                let rotated = log.rotate();
                self.tell(|| format!("rotate: {rotated:?}"));
                rotated.or_else(|error| self.expect_failure("rotate", &error))
            }
            80..84 => self.checkpoint(&log),
            84..89 => self.truncate_before(&log),
            89..92 => self.truncate_after(&log),
            92..95 => self.read(&log),
            95..97 if self.fault.is_none() => {
                let full = self.rng.percent(50);
                self.tell(|| format!("full {full}"));
                self.disk.set_capacity(full.then_some(20_000));
                self.full = full;
                // Only what was written beforehand cannot run out of room.
                self.faulty |= full && !self.filled;
                self.unclean |= full && !self.filled;
                Ok(())
            }
            97 if self.fault.is_none() => {
                let (index, errno) = (self.rng.below(20), self.rng.pick(&ERRNOS));
                let for_good = self.rng.percent(30);
                self.tell(|| format!("errno {errno} at {index}"));
                self.disk.fail_at(index, errno, for_good);
                self.figures.faults += 1;
                (self.faulty, self.unclean) = (true, true);
                Ok(())
            }
            98 if self.fault.is_none() && self.rng.percent(20) => {
                self.disk.fail_queue_at(self.rng.below(10));
                (self.faulty, self.unclean) = (true, true);
                Ok(())
            }
            _ => self.check_settled(&log),
        }
    }

    /// The driver comes to sleep and has left nothing undone.
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
        let queued = log.metrics().queued_bytes;
        let poisoned = matches!(log.reader(), Err(Error::Poisoned(_)));
        ensure!(queued == 0 || poisoned, "{queued} bytes are never written");
        Ok(())
    }

    /// What the log says of itself.
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
        let limit = self.rng.pick(&[20, 20, 200, 200, 1000, 6000]);
        self.rng.below(limit) as usize
    }

    fn append(&mut self, log: &Log) -> Result<(), Broken> {
        let level = self.rng.pick(&LEVELS);
        let form = self.rng.below(10);
        let count = if form < 7 { 1 } else { self.rng.between(1, 8) };
        let sizes: Vec<usize> = (0..count).map(|_| self.size()).collect();
        let records: Vec<_> = sizes.iter().map(|&size| self.model.record(size)).collect();
        let first = self.model.last() + 1;
        let outcome = match form {
            0..3 => log.try_append_with(&records[0], level).map(Some),
            3..6 => log.append_async_with(&records[0], level).map(Some),
            6 => log.append_with(&records[0], level).map(|seq| {
                assert_eq!(seq.get(), first);
                None
            }),
            _ => {
                let mut batch = Batch::new();
                for record in &records {
                    batch.push(record).map_err(|error| error.to_string())?;
                }
                match form {
                    7 => log.append_batch_with(&batch, level).map(|_| None),
                    _ => log.append_batch_async_with(&batch, level).map(Some),
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
                // One that does not wait may be told of what has healed meanwhile.
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
        // Beginning with a mark, and then like any other over several sectors: what is torn here
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

    fn truncate_before(&mut self, log: &Log) -> Result<(), Broken> {
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

    fn truncate_after(&mut self, log: &Log) -> Result<(), Broken> {
        let checkpoint = self.model.checkpoint.as_ref().map_or(0, |mark| mark.0);
        let seq = self.rng.between(checkpoint.max(self.model.first - 1), self.model.last());
        let outcome = log.truncate_after(Seq::new(seq));
        self.tell(|| format!("truncate after {seq}: {outcome:?}"));
        match outcome {
            Ok(()) => {
                self.model.cut(seq);
                self.tickets.clear();
                self.places.retain(|place| place.seq().get() <= seq);
                ensure!(log.appended_seq().get() == seq, "cut at {}", log.appended_seq());
                Ok(())
            }
            Err(error) => {
                self.model.maybe_cut = self.model.maybe_cut.or(Some(seq));
                self.expect_failure("truncate after", &error)
            }
        }
    }

    /// Reads a record by its place, which it may have got in an earlier life.
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
            Err(error) => Err(format!("{place:?}: {error}")),
        }
    }

    fn read(&mut self, log: &Log) -> Result<(), Broken> {
        match log.reader() {
            Ok(_) if !self.faulty => {
                self.read_one(log)?;
                self.model.check_content(log)
            }
            Ok(_) => Ok(()),
            Err(error) => self.expect_failure("reader", &error),
        }
    }
}
