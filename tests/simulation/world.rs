//! A log on a simulated disk, its model, and how the log is opened, closed and killed.

use ringwal::{
    Blocks, Builder, Commit, Durability, Error, Log, RecordRef, RecoveryPolicy, SimDisk, SimFault,
    Strategy, Verdict,
};

use crate::acts::Act;
use crate::life::{Path, Steps};
use crate::model::{Broken, Model, ensure};
use crate::reads::WRONG_READS;
use crate::rng::Rng;

pub(crate) const ERRNOS: [i32; 5] =
    [libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::EINTR, libc::ECANCELED];

/// Counts of the events in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) crashes: u64,
    pub(crate) in_recovery: u64,
    pub(crate) faults: u64,
    pub(crate) wrong_reads: u64,
    pub(crate) steps: u64,
    pub(crate) records: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, other: Figures) {
        self.crashes += other.crashes;
        self.in_recovery += other.in_recovery;
        self.faults += other.faults;
        self.wrong_reads += other.wrong_reads;
        self.steps += other.steps;
        self.records += other.records;
    }
}

pub(crate) struct World {
    pub(crate) path: Path,
    /// The random numbers of this step.
    pub(crate) rng: Rng,
    pub(crate) disk: SimDisk,
    pub(crate) log: Option<Log>,
    pub(crate) model: Model,
    pub(crate) tickets: Vec<(Commit, Durability)>,
    pub(crate) places: Vec<RecordRef>,
    /// The content of segments that were cut off, by their first record.
    pub(crate) former: Vec<(u64, Vec<u8>)>,
    /// Whether the log was closed and nothing failed.
    pub(crate) closed: bool,
    /// Whether a fault was injected since the log was opened.
    pub(crate) faulty: bool,
    /// Whether the queue itself may have failed, with all its operations.
    pub(crate) queue_lost: bool,
    /// Whether the disk is almost full.
    pub(crate) full: bool,
    /// Whether whole segments have preallocated space.
    pub(crate) filled: bool,
    /// Whether failed writes may or may not be on the disk, until the next power cut.
    pub(crate) unclean: bool,
    pub(crate) killed: bool,
    pub(crate) figures: Figures,
    telling: bool,
    /// The only fault, in place of random ones.
    pub(crate) fault: Option<SimFault>,
    /// The strategy, in place of a random one.
    pub(crate) strategy: Option<Strategy>,
    /// Short runs with many changes of `state`.
    of_state: bool,
    pub(crate) story: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, steps: Steps) -> World {
        World {
            path: Path::new(seed, steps),
            rng: Rng::new(seed),
            disk: SimDisk::new(seed.wrapping_mul(31)),
            log: None,
            model: Model::new(),
            tickets: Vec::new(),
            places: Vec::new(),
            former: Vec::new(),
            closed: false,
            faulty: false,
            queue_lost: false,
            full: false,
            filled: false,
            unclean: false,
            killed: false,
            figures: Figures::default(),
            telling: false,
            fault: None,
            strategy: None,
            of_state: false,
            story: Vec::new(),
        }
    }

    /// Records an event, for the failure report.
    pub(crate) fn tell_all(&mut self) {
        self.telling = true;
    }

    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.telling {
            let line = what();
            self.story.push(line);
        }
    }

    /// Whether the next step is taken. If so, draws come from this step's random numbers.
    fn may(&mut self) -> bool {
        match self.path.may() {
            Some(rng) => self.rng = rng,
            None => return false,
        }
        true
    }

    /// Opens, uses and ends a log several times.
    pub(crate) fn run(&mut self) -> Result<(), Broken> {
        self.rng = self.path.must();
        self.of_state = self.rng.percent(25);
        let rounds = if self.of_state { 12 } else { self.rng.between(2, 6) };
        for _ in 0..rounds {
            self.open()?;
            if self.may() && self.rng.percent(15) {
                self.end()?;
                self.open()?;
            }
            self.rng = self.path.must();
            let steps = match self.of_state {
                true => self.rng.pick(&[2, 4, 8]),
                false => self.rng.pick(&[3, 20, 60, 60, 150]),
            };
            if self.may() && self.rng.percent(60) {
                let index = self.rng.below(steps * 2);
                self.tell(|| format!("power off at {index}"));
                self.disk.fail_at(index, SimFault::PowerCut);
                self.faulty = true;
            }
            for _ in 0..steps {
                if !self.may() || self.disk.is_off() {
                    continue;
                }
                self.figures.steps += 1;
                let act = self.choose();
                self.act(act)?;
                self.observe()?;
            }
            if self.may() {
                self.end()?;
            }
        }
        self.end()?;
        self.open()?;
        let log = self.log.take().ok_or("no log")?;
        let record = self.model.record(20);
        let seq = log.append(&record).map_err(|error| format!("the last append: {error}"))?;
        ensure!(seq.get() == self.model.last() + 1, "the last append got {seq}");
        log.close().map_err(|error| format!("the last close: {error}"))?;
        drop(log);
        self.check_released()
    }

    fn choose(&mut self) -> Act {
        if self.of_state && self.rng.percent(60) {
            return match self.rng.below(10) {
                0 => Act::TruncateBefore,
                1 => Act::TruncateAfter,
                _ => Act::Checkpoint,
            };
        }
        match self.rng.below(100) {
            0..40 => Act::Append,
            40..70 => Act::Run,
            70..75 => Act::Flush,
            75..80 => Act::Rotate,
            80..84 => Act::Checkpoint,
            84..89 => Act::TruncateBefore,
            89..92 => Act::TruncateAfter,
            92..95 => Act::Read,
            95..97 => Act::Fill,
            97 => Act::Fail,
            98 => Act::Intrude,
            _ => Act::Settle,
        }
    }

    pub(crate) fn builder(&mut self) -> Builder {
        let rng = &mut self.rng;
        self.disk.set_unit(rng.pick(&[512, 512, 1024, 4096, 16_384]));
        let blocks = rng.pick(&[Blocks::Written, Blocks::Reserved, Blocks::AsTheyCome]);
        self.filled = blocks != Blocks::AsTheyCome;
        let batch_bytes = rng.pick(&[4096, 4096, 8192, 16384]);
        let strategy = rng.pick(&Strategy::ALL);
        let builder = Log::builder("sim")
            .segment_bytes(rng.pick(&[128, 600, 2000, 8192, 20_000, 65_536]))
            .first_segment_bytes(rng.pick(&[128, 4096, 65_536]))
            .spare_segments(rng.pick(&[0, 1, 1, 3]))
            .recycle_segments(rng.pick(&[0, 1, 4]))
            .batch_bytes(batch_bytes)
            .batch_records(rng.pick(&[1, 2, 7, 1000]))
            .queue_bytes(batch_bytes * rng.pick(&[1, 2, 8]))
            .queue_depth(rng.pick(&[1, 2, 4, 16]))
            .record_bytes_max(10_000)
            .recovery(rng.pick(&[RecoveryPolicy::Strict, RecoveryPolicy::TolerateTail]))
            .strategy(Some(self.strategy.unwrap_or(strategy)))
            .preallocate(Some(blocks))
            .direct_io(rng.percent(60));
        if self.telling {
            self.story.push(format!("{builder:?}"));
        }
        builder
    }

    /// Perhaps plans a power cut or a fault while the log is opened.
    fn trouble(&mut self) {
        let trouble = self.rng.below(100);
        let index = self.rng.below(40);
        if trouble < 40 {
            self.disk.fail_at(index, SimFault::PowerCut);
            self.tell(|| format!("power off at {index} of opening"));
        } else if trouble < 50 {
            let fault = match self.rng.below(6) {
                0 => SimFault::ShortWrite,
                _ => SimFault::Errno(self.rng.pick(&ERRNOS)),
            };
            match trouble < 45 {
                true => self.disk.fail_from(index, fault),
                false => self.disk.fail_at(index, fault),
            }
            self.tell(|| format!("{fault} at {index} of opening"));
            self.figures.faults += 1;
            self.unclean = true;
        }
        self.faulty = trouble < 50;
    }

    /// Opens the log, if it is not open, perhaps with power cuts and failures meanwhile, and checks
    /// what it shows.
    fn open(&mut self) -> Result<(), Broken> {
        for attempt in 0.. {
            if self.log.is_some() {
                return Ok(());
            }
            if self.may() && self.rng.percent(20) {
                let (index, for_good) = (self.rng.below(12), self.rng.percent(50));
                let fault = self.rng.pick(&WRONG_READS);
                self.tell(|| format!("{fault} at {index} of opening a copy, for good: {for_good}"));
                self.look(index, fault, for_good)?;
            }
            self.rng = self.path.must();
            let builder = self.builder();
            self.disk.set_capacity(None);
            (self.full, self.faulty, self.queue_lost) = (false, false, false);
            if attempt < 4 && self.may() {
                self.trouble();
            }
            if !self.faulty && !self.unclean && self.rng.percent(30) {
                let report = Log::builder("sim").verify_sim(&self.disk);
                let report = report.map_err(|error| format!("verify: {error}"))?;
                ensure!(report.corruption.is_none(), "verify: {report}");
            }
            if self.telling {
                self.disk.start_trace();
            }
            match builder.open_sim(&self.disk) {
                Ok(log) => self.opened(log)?,
                Err(error) => self.not_opened(&error)?,
            }
            ensure!(attempt < 100, "never opened");
        }
        Ok(())
    }

    fn opened(&mut self, log: Log) -> Result<(), Broken> {
        self.tell(|| format!("opened: {log:?} {:?}", log.recovery().rule));
        ensure!(!self.disk.is_off(), "opened without power");
        if self.faulty {
            self.disk.heal();
            self.faulty = false;
        }
        let ended = self.model.check_reopened(&log, self.killed && !self.unclean)?;
        ensure!(ended.is_none(), "reading what was opened: {ended:?}");
        let found = log.recovery();
        ensure!(found.tolerated.is_none(), "tolerated: {found}");
        ensure!(!self.closed || found.verdict == Verdict::Clean, "closed: {found}");
        self.closed = false;
        let last = self.model.last();
        self.places.retain(|place| place.seq().get() <= last);
        self.log = Some(log);
        self.killed = false;
        Ok(())
    }

    fn not_opened(&mut self, error: &Error) -> Result<(), Broken> {
        self.tell(|| format!("not opened: {error}"));
        let is_told = matches!(error, Error::Io { .. } | Error::NoSpace { .. });
        ensure!(is_told, "opening fails with {error}");
        ensure!(self.faulty, "opening fails without a cause: {error}");
        self.check_released()?;
        self.figures.in_recovery += 1;
        self.disk.heal();
        if self.disk.is_off() || self.rng.percent(50) {
            self.disk = self.disk.crash();
            self.unclean = false;
            self.figures.crashes += 1;
            // Records that were only written before need not have survived this.
            self.killed = false;
        }
        Ok(())
    }

    /// No file, lock or queue may be open any more.
    pub(crate) fn check_released(&self) -> Result<(), Broken> {
        let users = self.disk.users();
        ensure!(users == 0, "{users} files, locks or queues are still open");
        Ok(())
    }

    /// Closes, drops or kills the log.
    pub(crate) fn end(&mut self) -> Result<(), Broken> {
        if self.log.is_some() && !self.disk.is_off() && self.rng.percent(15) {
            self.disk.heal();
            self.close()?;
        }
        let killed = !self.disk.is_off() && self.rng.percent(25);
        self.stop(killed)
    }

    pub(crate) fn close(&mut self) -> Result<(), Broken> {
        let closed = self.log()?.close();
        self.tell(|| format!("close: {closed:?}"));
        match closed {
            Ok(()) => {
                self.closed = true;
                self.model.acked = self.model.last();
                self.model.written = self.model.last();
                Ok(())
            }
            Err(error) => self.expect_failure("close", &error),
        }
    }

    /// Kills the process, or cuts the power.
    pub(crate) fn stop(&mut self, killed: bool) -> Result<(), Broken> {
        let Some(log) = self.log.take() else { return Ok(()) };
        self.figures.crashes += 1;
        self.killed = killed;
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
        self.check_released()?;
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

    /// Checks an error that a call may return: the log was poisoned, and for a reason.
    pub(crate) fn expect_failure(&mut self, what: &str, error: &Error) -> Result<(), Broken> {
        match error {
            Error::Poisoned(_) => {
                ensure!(self.faulty, "{what} fails without a cause: {error}");
                self.check_cause(error)
            }
            // No handle is left for which the log could be poisoned; and a failed read is no
            // failure of the log.
            Error::Io { .. } if ["close", "read", "reader"].contains(&what) => {
                ensure!(self.faulty, "{what} fails without a cause: {error}");
                self.check_cause(error)
            }
            _ => Err(format!("{what}: {error}")),
        }
    }
}
