//! Measures a log: threads append to a new log as a case specifies; then everything it acknowledged
//! is compared with what it returns.
//!
//! ```text
//! main      append, wait for segments │
//! threads                             │ append ─ append ─ append ─ append ─ ...
//! phase     prepare                   │ warm up │ measure ───── │ cool down │ end
//! ```
//!
//! 1. A record acknowledged during the measurement counts, whenever its append began. Records
//!    acknowledged in any phase are compared.
//! 2. Making a record costs a few bytes; its noise is made beforehand.
//! 3. No thread ends before the counters were read for the second time.
//! 4. The log has its segments before the threads start, just as the baseline files have their
//!    blocks ([`prepare`]). Record 0 of thread 0 is written there.

mod offered_load;
mod prepare;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use ringwal::{Backend, Batch, Commit, Error, Log, Metrics};

use crate::bench::args::{Case, Mode};
use crate::bench::load::offered_load::OfferedLoad;
use crate::bench::machine::Mark;
use crate::bench::records::acked::Acked;
use crate::bench::records::check::check;
use crate::bench::records::content::Content;
use crate::bench::sample::{Latencies, Sample};
use crate::bench::setting::{Setting, stopped};
use crate::output::exit::Failure;

/// One measurement of a log.
pub(crate) struct LoadResult {
    pub(crate) sample: Sample,
    /// Records compared after the log was reopened: all that were acknowledged.
    pub(crate) compared: u64,
    /// The backend, and why it was chosen.
    pub(crate) backend: Backend,
    /// The log's metrics from open to close.
    pub(crate) metrics: Metrics,
}

/// Only one in this many async records is timed: reading the clock twice takes about as long as
/// such an append.
const TIMED_EVERY: u64 = 16;

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const COOL_DOWN: u8 = 2;
const END: u8 = 3;

/// Measures `case` with a new log in `dir`, which is left there.
pub(crate) fn measure(
    setting: &Setting<'_>,
    case: &Case,
    dir: &Path,
    run: u64,
) -> Result<LoadResult, Failure> {
    let log = setting.engine.builder(dir).open()?;
    let mut content = Content::new(run, 0, case.size);
    let measured = prepare::prepare(setting, (&log, dir), content.record(0))
        .and_then(|first| run_threads(setting, case, &log, (run, first)));
    let closed = log.close();
    let (backend, metrics) = (log.backend().clone(), log.metrics());
    drop(log);
    let (sample, acked) = measured?;
    closed?;
    let log = setting.engine.builder(dir).open()?;
    let compared = check(&log, run, case.size, &acked)?;
    log.close()?;
    Ok(LoadResult { sample, compared, backend, metrics })
}

fn run_threads(
    setting: &Setting<'_>,
    case: &Case,
    log: &Log,
    (run, first): (u64, u64),
) -> Result<(Sample, Vec<Acked>), Failure> {
    let phase = AtomicU8::new(WARM_UP);
    // A failing thread reports this to end the measurement at once; the message may go unread.
    let (failing, failed) = bounded(1);
    thread::scope(|scope| {
        let mut workers = Vec::with_capacity(case.threads);
        let mut started = Ok(());
        for number in 0..case.threads as u32 {
            let (phase, failing) = (&phase, failing.clone());
            let worker = thread::Builder::new().name(format!("append-{number}"));
            let worker = worker.spawn_scoped(scope, move || {
                let acked = (number == 0).then_some(first).into_iter().collect();
                let content = Content::new(run, number, case.size);
                let offered = OfferedLoad::new(case, run, number);
                let mut worker = Appender::new(log, case, (content, offered), acked);
                let ended = worker.run(phase, &failing);
                (worker, ended)
            });
            match worker {
                Ok(worker) => workers.push(worker),
                Err(error) => {
                    started = Err(Failure::Setup("thread to append", error));
                    break;
                }
            }
        }
        let measured = started.and_then(|()| observe(setting, log, &phase, &failed));
        phase.store(END, Ordering::Relaxed);
        let mut result = Ok(());
        let (mut latencies, mut records, mut acked) = (Latencies::new(), 0, Vec::new());
        for worker in workers {
            let (worker, ended) =
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result = result.and(ended);
            latencies.add(&worker.latencies);
            records += worker.measured;
            acked.push(worker.acked);
        }
        result?;
        Ok((Sample { latencies, records, ..measured? }, acked))
    })
}

/// Lets the threads warm up and measures them; their own counts are filled in later.
fn observe(
    setting: &Setting<'_>,
    log: &Log,
    phase: &AtomicU8,
    failed: &Receiver<()>,
) -> Result<Sample, Failure> {
    let wait = |duration| {
        select! {
            // The thread itself returns the reason.
            recv(failed) -> _ => Ok(()),
            recv(setting.stop.receiver()) -> _ => {
                Err(stopped(setting))
            }
            default(duration) => Ok(()),
        }
    };
    wait(setting.warm_up().duration)?;
    let before = log.metrics();
    let mark = Mark::now(setting.device);
    phase.store(MEASURE, Ordering::Relaxed);
    let waited = wait(setting.duration);
    let elapsed = mark.elapsed();
    phase.store(COOL_DOWN, Ordering::Relaxed);
    let spent = mark.spent(setting.device, elapsed);
    waited?;
    let after = log.metrics();
    Ok(Sample {
        records: 0,
        latencies: Latencies::new(),
        spent,
        moved_bytes: after.written_bytes - before.written_bytes,
        padding_bytes: after.padding_bytes - before.padding_bytes,
        moved_records: after.records - before.records,
        writes: after.batches - before.batches,
    })
}

/// One appending thread.
struct Appender<'a> {
    log: &'a Log,
    case: &'a Case,
    content: Content,
    offered: OfferedLoad,
    appended: u64,
    acked: Acked,
    /// Records acknowledged during the measurement.
    measured: u64,
    latencies: Latencies,
}

impl<'a> Appender<'a> {
    /// A worker whose first records were already `acked`.
    fn new(
        log: &'a Log,
        case: &'a Case,
        (content, offered): (Content, OfferedLoad),
        acked: Acked,
    ) -> Appender<'a> {
        let appended = acked.records();
        Appender {
            log,
            case,
            content,
            offered,
            appended,
            acked,
            measured: 0,
            latencies: Latencies::new(),
        }
    }

    fn run(&mut self, phase: &AtomicU8, failing: &Sender<()>) -> Result<(), Failure> {
        let result = match self.case.mode {
            Mode::Blocking => self.append_each(phase),
            Mode::Async => self.append_window(phase),
            Mode::Batch => self.append_batches(phase),
        };
        if result.is_err() {
            // A full channel means that another thread failed first.
            let _ = failing.try_send(());
        }
        result.map_err(Failure::Log)
    }

    fn append_each(&mut self, phase: &AtomicU8) -> Result<(), Error> {
        while phase.load(Ordering::Relaxed) != END {
            let record = self.content.record(self.appended);
            let since = Instant::now();
            let seq = self.log.append(record)?;
            self.note(phase, seq.get()..=seq.get(), Some(since));
            self.offered.count();
            self.offered.pause();
        }
        Ok(())
    }

    fn append_window(&mut self, phase: &AtomicU8) -> Result<(), Error> {
        let mut pending: VecDeque<Commit> = VecDeque::with_capacity(self.case.window);
        let mut timed = VecDeque::new();
        let mut submitted = self.appended;
        loop {
            let ends = phase.load(Ordering::Relaxed) == END;
            if ends || pending.len() == self.case.window || self.offered.is_due() {
                let Some(oldest) = pending.pop_front() else {
                    if ends {
                        return Ok(());
                    }
                    self.offered.pause();
                    continue;
                };
                let seq = oldest.wait()?;
                let since = match self.appended.is_multiple_of(TIMED_EVERY) {
                    true => timed.pop_front(),
                    false => None,
                };
                self.note(phase, seq.get()..=seq.get(), since);
                continue;
            }
            let record = self.content.record(submitted);
            if submitted.is_multiple_of(TIMED_EVERY) {
                timed.push_back(Instant::now());
            }
            pending.push_back(self.log.submit(record)?);
            submitted += 1;
            self.offered.count();
        }
    }

    fn append_batches(&mut self, phase: &AtomicU8) -> Result<(), Error> {
        let mut batch = Batch::new();
        while phase.load(Ordering::Relaxed) != END {
            batch.clear();
            for number in (self.appended..).take(self.case.window) {
                batch.push(self.content.record(number))?;
            }
            let since = Instant::now();
            let last = self.log.append(&batch)?.get();
            self.note(phase, last + 1 - batch.len() as u64..=last, Some(since));
            self.offered.count();
            self.offered.pause();
        }
        Ok(())
    }

    /// Notes acknowledged records, the next ones of this thread.
    fn note(
        &mut self,
        phase: &AtomicU8,
        seqs: std::ops::RangeInclusive<u64>,
        since: Option<Instant>,
    ) {
        let before = self.appended;
        self.acked.extend(seqs);
        self.appended = self.acked.records();
        let records = self.appended - before;
        if phase.load(Ordering::Relaxed) == MEASURE {
            self.measured += records;
            if let Some(since) = since {
                self.latencies.note(since);
            }
        }
    }
}
