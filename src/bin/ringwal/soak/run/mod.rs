//! One run: lives of the store, one after the other, with all that is looked at.
//!
//! 1. A life does the next operations of the script and ends in a clean close or, with `--kill`
//!    every other time, in the SIGKILL of the process that has the store open.
//! 2. After each life the store is opened again, and every key and value is compared with what is
//!    expected.
//! 3. What was sent and has no answer is kept. After a kill a prefix of it has happened; the rest
//!    is done in the next life.

mod check;
pub(crate) mod child;
pub(crate) mod writer;

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use ringwal::kv::DataWal;

use crate::output::exit::Failure;
use crate::soak::args::SoakArgs;
use crate::soak::report::lines::say;
use crate::soak::report::time_series::{Counts, Gauges, Series};
use crate::soak::run::check::{compare, difference, prefix};
use crate::soak::run::child::ChildWriter;
use crate::soak::run::writer::{Reply, Totals, Writer, broken, open_store};
use crate::soak::workload::generator::Dice;
use crate::soak::workload::oracle::Digest;
use crate::soak::workload::{Op, Script, Step};
use crate::util::signal::Stop;

/// What may be sent before an answer, to a writer in a process of its own.
const OPEN_STEPS: usize = 64;
const OPEN_BYTES: usize = 8 << 20;
/// Before every other kill a compaction begins, so many operations earlier.
const COMPACTION_BEFORE_KILL: u64 = 100;

/// Who does the operations of a life.
enum Life {
    Here(Writer),
    Child(ChildWriter),
}

impl Life {
    fn send(&mut self, op: &Op) -> Result<(), Failure> {
        match self {
            Life::Here(writer) => writer.send(op),
            Life::Child(child) => child.send(op),
        }
    }

    /// The next answer, which there has to be.
    fn reply(&mut self) -> Result<Reply, Failure> {
        match self {
            Life::Here(writer) => writer.reply().ok_or_else(unasked),
            Life::Child(child) => child.reply()?.ok_or_else(|| child.ended()),
        }
    }

    /// The process, if it is one of its own.
    fn pid(&self) -> Option<u32> {
        match self {
            Life::Here(_) => None,
            Life::Child(child) => Some(child.pid()),
        }
    }

    /// Whether there must be an answer before more is sent. One that is here answers at once.
    fn has_too_much_open(&self, open: &VecDeque<Step>) -> bool {
        let bytes = || open.iter().map(|step| step.op.bytes()).sum::<usize>();
        match self {
            Life::Here(_) => !open.is_empty(),
            Life::Child(_) => open.len() > OPEN_STEPS || (open.len() > 1 && bytes() > OPEN_BYTES),
        }
    }
}

/// A run.
pub(crate) struct Run<'a> {
    args: &'a SoakArgs,
    dir: &'a Path,
    stop: &'a Stop,
    start: Instant,
    pub(crate) script: Script,
    /// Decides how long lives are: the operations do not depend on it.
    dice: Dice,
    /// Was sent and has no answer yet.
    open: VecDeque<Step>,
    /// Did not happen before a kill.
    again: VecDeque<Step>,
    /// What the lives before this one did, and this one.
    before: Totals,
    totals: Totals,
    pub(crate) counts: Counts,
    pub(crate) series: Series,
    /// When the next row is due.
    row_due: Duration,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        args: &'a SoakArgs,
        dir: &'a Path,
        stop: &'a Stop,
        (seed, script, series): (u64, Script, Series),
    ) -> Run<'a> {
        Run {
            args,
            dir,
            stop,
            start: Instant::now(),
            script,
            dice: Dice::new(!seed),
            open: VecDeque::new(),
            again: VecDeque::new(),
            before: Totals::default(),
            totals: Totals::default(),
            counts: Counts::default(),
            series,
            row_due: Duration::from_secs(args.progress_secs),
        }
    }

    /// Lives until the end; gives how many keys the last comparison saw.
    pub(crate) fn live(&mut self, mut store: DataWal) -> Result<usize, Failure> {
        loop {
            let is_killed = self.args.kill && self.counts.restarts % 2 == 1;
            if is_killed {
                store.close().map_err(broken("close"))?;
                drop(store);
                self.live_and_be_killed()?;
            } else {
                self.live_and_close(store)?;
            }
            store = open_store(self.dir, &self.args.store).map_err(broken("open again"))?;
            let happened = prefix(&store, &self.open)?;
            self.open.drain(..happened).for_each(|step| self.counts.add(&step.op));
            self.again.extend(self.open.drain(..));
            let keys = compare(&store, &self.script.expected, &self.again)?;
            self.look(None);
            if self.is_over() && self.again.is_empty() {
                store.close().map_err(broken("close"))?;
                return Ok(keys);
            }
            self.counts.restarts += 1;
        }
    }

    fn live_and_close(&mut self, store: DataWal) -> Result<(), Failure> {
        let mut life = Life::Here(Writer::new(store));
        let last = self.last_of_life();
        self.operate(&mut life, last)?;
        self.end_cleanly(life)
    }

    fn live_and_be_killed(&mut self) -> Result<(), Failure> {
        let mut life = Life::Child(ChildWriter::start(self.dir, &self.args.store)?);
        let last = self.last_of_life();
        self.operate(&mut life, last.saturating_sub(COMPACTION_BEFORE_KILL))?;
        if self.dice.below(2) == 0 {
            // Not of the script: where kills come is no matter for what is done.
            let number = self.script.number();
            let step = Step { number, op: Op::Compact, before: None, after: None };
            self.send(&mut life, step)?;
        }
        self.operate(&mut life, last)?;
        let Life::Child(mut child) = life else { return Ok(()) };
        if self.is_over() {
            return self.end_cleanly(Life::Child(child));
        }
        child.kill()?;
        while let Some(reply) = child.reply()? {
            self.settle(&reply, Some(child.pid()))?;
        }
        child.wait(true)?;
        self.counts.kills += 1;
        self.life_is_over(self.totals);
        Ok(())
    }

    /// Does operations up to a number, or until the run is over.
    fn operate(&mut self, life: &mut Life, last: u64) -> Result<(), Failure> {
        while !self.again.is_empty() || (self.script.number() < last && !self.is_over()) {
            let step = match self.again.pop_front() {
                Some(step) => step,
                None => self.script.next()?,
            };
            self.send(life, step)?;
            if self.start.elapsed() >= self.row_due {
                self.add_row()?;
                let every = Duration::from_secs(self.args.progress_secs);
                while self.row_due <= self.start.elapsed() {
                    self.row_due += every;
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, life: &mut Life, step: Step) -> Result<(), Failure> {
        let number = step.number;
        life.send(&step.op).map_err(|failure| at_operation(failure, number))?;
        self.open.push_back(step);
        while life.has_too_much_open(&self.open) {
            let reply = life.reply().map_err(|failure| at_operation(failure, number))?;
            self.settle(&reply, life.pid())?;
        }
        Ok(())
    }

    /// The oldest open step has an answer: checks and counts it.
    fn settle(&mut self, reply: &Reply, writer: Option<u32>) -> Result<(), Failure> {
        let step = self.open.pop_front().ok_or_else(unasked)?;
        self.counts.add(&step.op);
        self.totals = reply.totals;
        let number = step.number;
        match &step.op {
            Op::Put { .. } => self.series.puts.note(reply.nanos),
            Op::Delete { key } if !reply.was_there => {
                let gone = difference(key, None, Some(&step.before));
                return Err(at_operation(Failure::Invariant(gone), number));
            }
            Op::Get { key } if reply.value != step.before => {
                let wrong = difference(key, reply.value, Some(&step.before));
                return Err(at_operation(Failure::Invariant(wrong), number));
            }
            Op::Fsync => {
                self.series.fsyncs.note(reply.nanos);
                self.look(writer);
            }
            Op::Delete { .. } | Op::Get { .. } | Op::Compact => {}
        }
        Ok(())
    }

    fn end_cleanly(&mut self, life: Life) -> Result<(), Failure> {
        match life {
            Life::Here(writer) => {
                let totals = writer.close()?;
                self.life_is_over(totals);
            }
            Life::Child(mut child) => {
                child.finish();
                while let Some(reply) = child.reply()? {
                    self.settle(&reply, Some(child.pid()))?;
                }
                child.wait(false)?;
                if let Some(step) = self.open.front() {
                    let what = "the process of a writer ended without an answer".to_owned();
                    return Err(at_operation(Failure::Invariant(what), step.number));
                }
                self.life_is_over(self.totals);
            }
        }
        Ok(())
    }

    fn life_is_over(&mut self, totals: Totals) {
        self.before = self.before.plus(totals);
        self.totals = Totals::default();
    }

    /// The number of the last operation of the life that begins.
    fn last_of_life(&mut self) -> u64 {
        let most = self.args.restart_every;
        let length = most / 2 + self.dice.below(most - most / 2) + 1;
        self.script.number().saturating_add(length)
    }

    fn is_over(&self) -> bool {
        self.stop.is_stopped()
            || self.args.operations.is_some_and(|most| self.script.number() >= most)
            || self.start.elapsed() >= self.args.duration
    }

    fn look(&mut self, writer: Option<u32>) {
        self.series.note(Gauges::look(self.dir, writer));
    }

    /// Writes a row and says it.
    pub(crate) fn add_row(&mut self) -> Result<(), Failure> {
        let Totals { rotations, compactions, written_bytes } = self.before.plus(self.totals);
        let counts = Counts { rotations, compactions, written_bytes, ..self.counts };
        let keys = self.script.expected.len() as u64;
        let row = self.series.add_row(self.start.elapsed(), keys, counts)?;
        say(format_args!("{}", row.progress()));
        Ok(())
    }

    /// What the run did, for people, and for comparing runs.
    pub(crate) fn operations(&self) -> (u64, Digest) {
        (self.script.number(), self.script.digest())
    }
}

impl Counts {
    fn add(&mut self, op: &Op) {
        let count = match op {
            Op::Put { .. } => &mut self.puts,
            Op::Delete { .. } => &mut self.deletes,
            Op::Get { .. } => &mut self.gets,
            Op::Fsync => &mut self.fsyncs,
            Op::Compact => return,
        };
        *count += 1;
    }
}

/// Answers and operations do not go together.
fn unasked() -> Failure {
    Failure::Invariant("a writer answered what it was not asked".to_owned())
}

/// A failed invariant, with the operation at which it was seen.
fn at_operation(failure: Failure, number: u64) -> Failure {
    match failure {
        Failure::Invariant(what) => Failure::Invariant(format!("at operation {number}: {what}")),
        other => other,
    }
}
