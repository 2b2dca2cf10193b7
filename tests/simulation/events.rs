//! Random runs of an event log on a simulated disk, against a plain model; and what its callers
//! see after a fault.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringwal::wal::{EventCommit, SignalEvent, WalConfig, WalHandle, WalReport};
use ringwal::{Error, SimDisk, SimFault, Strategy};

use crate::faults::{FAULTS, HARMLESS};
use crate::life::{Path, Steps};
use crate::model::{Broken, ensure};
use crate::rng::Rng;
use crate::world::Figures;

/// Few different events, so that many are duplicates.
const DIFFERENT: u64 = 60;

fn event(n: u64) -> SignalEvent {
    let (signal_type, weight) = ((n % 7) as u8, n as f32);
    SignalEvent { entity_id: n, signal_type, weight, timestamp_nanos: 1_000 + n }
}

/// The expected content of the log.
#[derive(Debug, Default)]
struct Model {
    /// The events by their numbers, from 1 on: all that were submitted and are no duplicates.
    events: Vec<u64>,
    /// The events that are recognised as duplicates, and their numbers.
    known: BTreeMap<u64, u64>,
    acked: u64,
    first: u64,
    checkpoint: u64,
    maybe_checkpoint: Option<u64>,
    maybe_first: Option<u64>,
}

impl Model {
    fn last(&self) -> u64 {
        self.events.len() as u64
    }

    /// The number of an event, 0 for a duplicate.
    fn submit(&mut self, n: u64) -> u64 {
        if self.known.contains_key(&n) {
            return 0;
        }
        self.events.push(n);
        self.known.insert(n, self.last());
        self.last()
    }

    /// Compares with what was opened, and takes it over.
    fn check_opened(
        &mut self,
        wal: &WalHandle,
        events: &[SignalEvent],
        report: &WalReport,
    ) -> Result<(), Broken> {
        let (last, checkpoint) = (wal.durable_seq(), report.checkpoint_seq);
        ensure!(last >= self.acked, "{last} events, {} acknowledged", self.acked);
        ensure!(last <= self.last(), "{last} events of {}: made up", self.last());
        ensure!(report.events_lost == 0, "lost: {report}");
        let known = checkpoint == self.checkpoint || Some(checkpoint) == self.maybe_checkpoint;
        ensure!(known, "checkpoint {checkpoint}, not {}", self.checkpoint);
        let first = report.recovery.first_seq.get();
        let first_max = self.maybe_first.unwrap_or(0).max(self.first);
        let in_range = (self.first..=first_max).contains(&first) || first == last + 1;
        ensure!(in_range, "begins at {first}, not at {}", self.first);
        let from = first.max(checkpoint + 1);
        let expected: Vec<_> =
            (from..=last).map(|seq| event(self.events[seq as usize - 1])).collect();
        ensure!(events == expected, "replayed {events:?}, not {expected:?}");
        self.events.truncate(last as usize);
        (self.acked, self.first, self.checkpoint) = (last, first.max(self.first), checkpoint);
        (self.maybe_checkpoint, self.maybe_first) = (None, None);
        let live = first..=last;
        self.known = live.map(|seq| (self.events[seq as usize - 1], seq)).collect();
        Ok(())
    }
}

pub(crate) struct Events {
    pub(crate) path: Path,
    rng: Rng,
    pub(crate) disk: SimDisk,
    wal: Option<WalHandle>,
    model: Model,
    /// The events that are waited for, with the numbers that they get.
    tickets: Vec<(EventCommit, u64)>,
    faulty: bool,
    pub(crate) figures: Figures,
    pub(crate) telling: bool,
    pub(crate) story: Vec<String>,
}

impl Events {
    pub(crate) fn new(seed: u64, steps: Steps) -> Events {
        Events {
            path: Path::new(seed, steps),
            rng: Rng::new(seed),
            disk: SimDisk::new(seed),
            wal: None,
            model: Model { first: 1, ..Model::default() },
            tickets: Vec::new(),
            faulty: false,
            figures: Figures::default(),
            telling: false,
            story: Vec::new(),
        }
    }

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
        let rounds = self.rng.between(2, 6);
        for _ in 0..rounds {
            self.open()?;
            self.rng = self.path.must();
            let steps = self.rng.pick(&[5, 30, 100]);
            if self.may() && self.rng.percent(60) {
                self.disk.fail_at(self.rng.below(steps * 2), SimFault::PowerCut);
                self.faulty = true;
            }
            for _ in 0..steps {
                if self.may() && !self.disk.is_off() {
                    self.act()?;
                    self.observe()?;
                }
            }
            if self.may() {
                self.end()?;
            }
        }
        self.end()?;
        self.open()?;
        let appended = self.wal()?.append(event(DIFFERENT));
        self.appended(DIFFERENT, appended)?;
        self.wal = None;
        ensure!(self.disk.users() == 0, "something is still open");
        Ok(())
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.telling {
            let line = what();
            self.story.push(line);
        }
    }

    fn wal(&self) -> Result<&WalHandle, Broken> {
        self.wal.as_ref().ok_or_else(|| "no log".to_owned())
    }

    fn open(&mut self) -> Result<(), Broken> {
        while self.wal.is_none() {
            self.rng = self.path.must();
            let config = WalConfig {
                dir: "sim".into(),
                segment_size: self.rng.pick(&[128, 600, 4096, 20_000]),
                batch_size: self.rng.pick(&[1, 3, 1000]) as usize,
                dedup_window: Duration::from_secs(3600),
                ..WalConfig::default()
            };
            let builder = WalHandle::builder(config)
                .dedup_entries(1000)
                .queue_depth(self.rng.pick(&[1, 2, 8]) as usize)
                .strategy(Some(self.rng.pick(&Strategy::ALL)))
                .direct_io(self.rng.percent(60))
                .spare_segments(self.rng.pick(&[0, 1, 2]) as usize);
            self.faulty = false;
            if self.may() && self.rng.percent(30) {
                self.disk.fail_at(self.rng.below(40), SimFault::PowerCut);
                self.faulty = true;
            }
            match builder.open_sim(&self.disk) {
                Ok((wal, events, report)) => {
                    self.disk.heal();
                    self.faulty = false;
                    self.tell(|| format!("opened: {report:?}"));
                    self.model.check_opened(&wal, &events, &report)?;
                    self.wal = Some(wal);
                }
                Err(error) => {
                    let is_told =
                        self.faulty && matches!(error, Error::Io { .. } | Error::NoSpace { .. });
                    ensure!(is_told, "opening fails with {error}");
                    self.disk = self.disk.crash();
                    self.figures.crashes += 1;
                    self.figures.in_recovery += 1;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Broken> {
        let Some(wal) = self.wal.take() else { return Ok(()) };
        self.figures.crashes += 1;
        if !self.disk.is_off() && self.rng.percent(20) {
            self.disk.heal();
            match wal.shutdown() {
                Ok(()) => self.model.acked = self.model.last(),
                Err(error) => self.expect_failure("shutdown", &error)?,
            }
            self.disk = self.disk.crash();
        } else {
            let killed = !self.disk.is_off() && self.rng.percent(30);
            let after = if killed { self.disk.kill() } else { self.disk.crash() };
            drop(wal);
            self.disk = after;
        }
        self.tickets.clear();
        Ok(())
    }

    fn expect_failure(&self, what: &str, error: &Error) -> Result<(), Broken> {
        let is_told = matches!(error, Error::Poisoned(_) | Error::Io { .. });
        ensure!(is_told && self.faulty, "{what} fails with {error}");
        let is_named = matches!(error.root_cause(), Error::Io { .. });
        ensure!(is_named, "{what} fails without a cause: {error:?}");
        Ok(())
    }

    fn act(&mut self) -> Result<(), Broken> {
        let n = self.rng.below(DIFFERENT);
        let act = self.rng.below(100);
        self.figures.steps += 1;
        self.tell(|| format!("act {act} with event {n}"));
        match act {
            0..25 => self.append(n),
            25..50 => self.submit(n),
            50..60 => self.append_batch(n),
            60..82 => {
                for _ in 0..self.rng.below(6) {
                    self.wal()?.step();
                }
                Ok(())
            }
            82..88 => self.checkpoint(),
            88..94 => self.truncate(),
            94..97 => {
                let fault = FAULTS[self.rng.below(FAULTS.len() as u64) as usize];
                let index = self.rng.below(20);
                self.tell(|| format!("{fault} at {index}"));
                self.disk.fail_at(index, fault);
                self.figures.faults += 1;
                self.faulty = true;
                Ok(())
            }
            _ => self.settle(),
        }
    }

    fn append(&mut self, n: u64) -> Result<(), Broken> {
        let appended = self.wal()?.append(event(n));
        self.appended(n, appended)
    }

    fn append_batch(&mut self, n: u64) -> Result<(), Broken> {
        let numbers: Vec<u64> = (0..self.rng.below(6)).map(|i| (n + i * i) % DIFFERENT).collect();
        let events: Vec<_> = numbers.iter().map(|&n| event(n)).collect();
        match self.wal()?.append_batch(&events) {
            Ok(seqs) => {
                for (n, seq) in numbers.into_iter().zip(seqs) {
                    self.appended(n, Ok(seq))?;
                }
                Ok(())
            }
            Err(error @ Error::NoSpace { .. }) => self.appended(n, Err(error)),
            Err(error) => {
                for n in numbers {
                    self.model.submit(n);
                }
                self.expect_failure("append_batch", &error)
            }
        }
    }

    /// Checks the outcome of an append that has returned.
    fn appended(&mut self, n: u64, appended: ringwal::Result<u64>) -> Result<(), Broken> {
        match appended {
            Ok(seq) => {
                let expected = self.model.submit(n);
                ensure!(seq == expected, "event {n} got {seq}, not {expected}");
                let (durable, seq) = (self.wal()?.durable_seq(), self.model.known[&n]);
                ensure!(durable >= seq, "event {n} is acknowledged, {durable} of {seq} is durable");
                Ok(())
            }
            Err(Error::NoSpace { .. }) => {
                ensure!(self.faulty, "no space, but there is room");
                Ok(())
            }
            Err(error) => {
                self.model.submit(n);
                self.expect_failure("append", &error)
            }
        }
    }

    fn submit(&mut self, n: u64) -> Result<(), Broken> {
        match self.wal()?.submit(event(n)) {
            Ok(ticket) => {
                let seq = self.model.submit(n);
                let is_duplicate = ticket.is_duplicate();
                ensure!(is_duplicate == (seq == 0), "event {n} is no {seq}: {ticket:?}");
                self.tickets.push((ticket, seq));
                Ok(())
            }
            Err(error) => self.appended(n, Err(error)),
        }
    }

    fn checkpoint(&mut self) -> Result<(), Broken> {
        let durable = self.wal()?.durable_seq();
        let seq = self.rng.between(self.model.checkpoint, durable);
        match self.wal()?.checkpoint(seq) {
            Ok(()) => self.model.checkpoint = seq,
            Err(error) => {
                self.model.maybe_checkpoint = self.model.maybe_checkpoint.or(Some(seq));
                self.expect_failure("checkpoint", &error)?;
            }
        }
        Ok(())
    }

    fn truncate(&mut self) -> Result<(), Broken> {
        let next = self.wal()?.durable_seq() + 1;
        let seq = self.rng.between(self.model.first, next);
        let discards = self.rng.percent(30);
        let truncated = match discards {
            true => self.wal()?.discard_before(seq),
            false => self.wal()?.truncate_before(seq),
        };
        match truncated {
            Ok(freed) if freed.segments > 0 => {
                let first = freed.first_seq.get();
                let limit = if discards { seq } else { seq.min(self.model.checkpoint + 1) };
                ensure!(first <= limit, "truncated to {first}, not to {limit}");
                self.model.first = first;
            }
            Ok(_) => {}
            Err(error) => {
                self.model.maybe_first = self.model.maybe_first.or(Some(seq));
                self.expect_failure("truncate", &error)?;
            }
        }
        Ok(())
    }

    /// No ticket waits for ever: each one gets a number or the cause of the failure.
    fn settle(&mut self) -> Result<(), Broken> {
        let wal = self.wal()?;
        ensure!((0..1_000_000).any(|_| !wal.step()), "it is busy for ever");
        for (ticket, seq) in std::mem::take(&mut self.tickets) {
            match answer(ticket) {
                Some(Ok(got)) => ensure!(got == seq, "a ticket is {got}, not {seq}"),
                Some(Err(error)) => self.expect_failure("wait", &error)?,
                None => return Err(format!("the ticket of {seq} waits for ever")),
            }
        }
        Ok(())
    }

    fn observe(&mut self) -> Result<(), Broken> {
        let durable = self.wal()?.durable_seq();
        ensure!(durable >= self.model.acked, "durable fell to {durable}");
        ensure!(durable <= self.model.last(), "durable {durable} of {}", self.model.last());
        for (ticket, seq) in &self.tickets {
            let early = ticket.is_done() && *seq > durable;
            ensure!(!early, "{seq} is acknowledged, {durable} is durable");
        }
        self.figures.records += durable - self.model.acked;
        self.model.acked = durable;
        Ok(())
    }
}

/// The outcome of a ticket, if there is one yet.
fn answer(mut ticket: EventCommit) -> Option<ringwal::Result<u64>> {
    match Pin::new(&mut ticket).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

/// Callers of every kind, with a fault at the n-th call: all of them get its cause, and every event
/// that was acknowledged is there afterwards.
fn tell_everybody(at: u64, fault: SimFault, for_good: bool) -> bool {
    let disk = SimDisk::new(at);
    let config = WalConfig { dir: "sim".into(), segment_size: 600, ..WalConfig::default() };
    let open = |disk: &SimDisk| WalHandle::builder(config.clone()).queue_depth(2).open_sim(disk);
    let (wal, _, _) = open(&disk).unwrap();
    wal.append(event(0)).unwrap();
    match for_good {
        true => disk.fail_from(at, fault),
        false => disk.fail_at(at, fault),
    }
    let tickets: Vec<_> = [1, 2, 3, 1, 0, 4, 5, 4].map(|n| wal.submit(event(n))).into();
    let blocking = [wal.append(event(6)), wal.append(event(2)), wal.checkpoint(1).map(|()| 0)];
    while wal.step() {}
    let waited =
        tickets.into_iter().map(|ticket| ticket.and_then(|ticket| answer(ticket).unwrap()));
    let told: Vec<_> = waited.chain(blocking).collect();
    let struck = !disk.struck().is_empty();
    let names = |error: &Error| match (error.root_cause(), fault) {
        (Error::Io { source, .. }, SimFault::Errno(errno) | SimFault::Enter(errno)) => {
            source.raw_os_error() == Some(errno)
        }
        // A segment without room is refused, which is not fatal.
        (Error::NoSpace { source, .. }, SimFault::Errno(errno)) => {
            source.raw_os_error() == Some(errno)
        }
        // Without power no file can be opened, and closing fails.
        (Error::Io { source, .. }, _) => source.raw_os_error().is_none(),
        _ => false,
    };
    for error in told.iter().filter_map(|told| told.as_ref().err()) {
        assert!(struck && names(error), "{fault} at {at}: {error}");
        assert!(for_good || !HARMLESS.contains(&fault), "{fault} at {at}: {error}");
    }
    disk.heal();
    let is_over = told.iter().any(|told| matches!(told, Err(Error::Poisoned(_))));
    match (wal.append(event(7)), wal.shutdown()) {
        (Ok(_), Ok(())) => assert!(!is_over && !disk.is_off(), "{fault} at {at}: {told:?}"),
        (Err(append), Err(shutdown)) => {
            assert!(struck && names(&append) && names(&shutdown), "{append}, {shutdown}");
        }
        mixed => panic!("{fault} at {at}: {mixed:?}"),
    }
    let reopened = open(&disk.crash()).unwrap().0.durable_seq();
    let acked = told.iter().flatten().max().copied().unwrap_or_default();
    assert!(reopened >= acked.max(1), "{fault} at {at}: {told:?}, then {reopened} events");
    struck
}

#[test]
fn a_failure_reaches_every_caller_of_an_event_log_with_its_root_cause() {
    for (fault, for_good) in FAULTS.into_iter().flat_map(|fault| [(fault, false), (fault, true)]) {
        let struck = (0..).take_while(|&at| tell_everybody(at, fault, for_good)).count();
        assert!(struck > 0, "{fault} never struck");
    }
}
