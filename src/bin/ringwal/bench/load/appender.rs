//! The threads that append, and what each of them does until the end.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::thread;
use std::time::Instant;

use crossbeam_channel::bounded;

use crate::bench::args::Case;
use crate::bench::load::offered_load::OfferedLoad;
use crate::bench::load::phase::{Counts, Phase, observe};
use crate::bench::records::acked::Acked;
use crate::bench::records::content::Content;
use crate::bench::sample::{Latencies, Sample};
use crate::bench::setting::Setting;
use crate::output::exit::Failure;

/// Only one in this many async records is timed: reading the clock twice takes about as long as
/// such an append.
const TIMED_EVERY: u64 = 16;

/// A measurement, and what was acknowledged to each thread in all phases.
pub(crate) type Measured = (Sample, Vec<Acked>);

/// Measures the threads of `case`, each of which does `work` until the end. Record 0 of thread 0
/// was acknowledged as `first`, if there is one.
pub(crate) fn run_threads(
    setting: &Setting<'_>,
    case: &Case,
    (run, first): (u64, Option<u64>),
    counts: &dyn Fn() -> Counts,
    work: impl Fn(&mut Appender<'_>) -> Result<(), Failure> + Sync,
) -> Result<Measured, Failure> {
    let phase = Phase::default();
    // A failing thread reports this to end the measurement at once; the message may go unread.
    let (failing, failed) = bounded(1);
    thread::scope(|scope| {
        let mut workers = Vec::with_capacity(case.threads);
        let mut started = Ok(());
        for number in 0..case.threads as u32 {
            let (phase, failing, work) = (&phase, failing.clone(), &work);
            let worker = thread::Builder::new().name(format!("append-{number}"));
            let worker = worker.spawn_scoped(scope, move || {
                let acked = first.filter(|_| number == 0).into_iter().collect();
                let content = Content::new(run, number, case.size);
                let offered = OfferedLoad::new(case, run, number);
                let mut worker = Appender::new(phase, case, (content, offered), acked);
                let ended = work(&mut worker);
                if ended.is_err() {
                    // A full channel means that another thread failed first.
                    let _ = failing.try_send(());
                }
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
        let measured = started.and_then(|()| observe(setting, counts, &phase, &failed));
        phase.end();
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

/// One appending thread.
pub(crate) struct Appender<'a> {
    phase: &'a Phase,
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
        phase: &'a Phase,
        case: &'a Case,
        (content, offered): (Content, OfferedLoad),
        acked: Acked,
    ) -> Appender<'a> {
        let appended = acked.records();
        Appender {
            phase,
            case,
            content,
            offered,
            appended,
            acked,
            measured: 0,
            latencies: Latencies::new(),
        }
    }

    /// Appends a record and waits for it, again and again.
    pub(crate) fn append_each(
        &mut self,
        append: impl Fn(&[u8]) -> Result<u64, Failure>,
    ) -> Result<(), Failure> {
        while !self.phase.is_over() {
            let record = self.content.record(self.appended);
            let since = Instant::now();
            let seq = append(record)?;
            self.note(seq..=seq, Some(since));
            self.offered.count();
            self.offered.pause();
        }
        Ok(())
    }

    /// Keeps a window of records outstanding and waits for the oldest.
    pub(crate) fn append_window<T>(
        &mut self,
        submit: impl Fn(&[u8]) -> Result<T, Failure>,
        wait: impl Fn(T) -> Result<u64, Failure>,
    ) -> Result<(), Failure> {
        let mut pending: VecDeque<T> = VecDeque::with_capacity(self.case.window);
        let mut timed = VecDeque::new();
        let mut submitted = self.appended;
        loop {
            let ends = self.phase.is_over();
            if ends || pending.len() == self.case.window || self.offered.is_due() {
                let Some(oldest) = pending.pop_front() else {
                    if ends {
                        return Ok(());
                    }
                    self.offered.pause();
                    continue;
                };
                let seq = wait(oldest)?;
                let since = match self.appended.is_multiple_of(TIMED_EVERY) {
                    true => timed.pop_front(),
                    false => None,
                };
                self.note(seq..=seq, since);
                continue;
            }
            let record = self.content.record(submitted);
            if submitted.is_multiple_of(TIMED_EVERY) {
                timed.push_back(Instant::now());
            }
            pending.push_back(submit(record)?);
            submitted += 1;
            self.offered.count();
        }
    }

    /// Appends a batch of a window of records and waits for it, again and again.
    pub(crate) fn append_batches<B>(
        &mut self,
        mut batch: B,
        push: impl Fn(&mut B, &[u8]) -> Result<(), Failure>,
        append: impl Fn(&mut B) -> Result<u64, Failure>,
    ) -> Result<(), Failure> {
        let window = self.case.window;
        while !self.phase.is_over() {
            for number in (self.appended..).take(window) {
                push(&mut batch, self.content.record(number))?;
            }
            let since = Instant::now();
            let last = append(&mut batch)?;
            self.note(last + 1 - window as u64..=last, Some(since));
            self.offered.count();
            self.offered.pause();
        }
        Ok(())
    }

    /// Notes acknowledged records, the next ones of this thread.
    fn note(&mut self, seqs: RangeInclusive<u64>, since: Option<Instant>) {
        let before = self.appended;
        self.acked.extend(seqs);
        self.appended = self.acked.records();
        let records = self.appended - before;
        if self.phase.is_measured() {
            self.measured += records;
            if let Some(since) = since {
                self.latencies.note(since);
            }
        }
    }
}
