//! The tasks that append: each appends a record and awaits it, again and again.
//!
//! A histogram for each of thousands of tasks would take gigabytes, so they share a few.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Sender, bounded, unbounded};

use crate::bench::args::Case;
use crate::bench::load::appender::Measured;
use crate::bench::load::executor::Executor;
use crate::bench::load::phase::{Counts, Phase, observe};
use crate::bench::records::acked::Acked;
use crate::bench::records::content::Content;
use crate::bench::sample::{Latencies, Sample};
use crate::bench::setting::Setting;
use crate::output::exit::Failure;

/// A log that a task appends to.
pub(crate) trait AppendAsync: Clone + Send + Sync + 'static {
    /// Appends a record and waits until it is durable. Returns its number.
    fn append_async(&self, record: &[u8]) -> impl Future<Output = Result<u64, Failure>> + Send;
}

/// The number of histograms.
const HISTOGRAMS: usize = 16;

/// What all tasks share.
struct Shared {
    phase: Phase,
    /// Records acknowledged during the measurement.
    measured: AtomicU64,
    latencies: Vec<Mutex<Latencies>>,
    /// A failing task reports this to end the measurement at once; the message may go unread.
    failing: Sender<()>,
}

/// What a task ends with: its number, what was acknowledged to it, and why it failed.
type Ended = (usize, Acked, Result<(), Failure>);

/// Measures the tasks of `case`. Record 0 of task 0 was acknowledged as `first`, if there is one.
pub(crate) fn run_tasks(
    setting: &Setting<'_>,
    case: &Case,
    (run, first): (u64, Option<u64>),
    counts: &dyn Fn() -> Counts,
    log: impl AppendAsync,
) -> Result<Measured, Failure> {
    let (failing, failed) = bounded(1);
    let shared = Arc::new(Shared {
        phase: Phase::default(),
        measured: AtomicU64::new(0),
        latencies: (0..HISTOGRAMS).map(|_| Mutex::new(Latencies::new())).collect(),
        failing,
    });
    let (end, ended) = unbounded::<Ended>();
    let executor = Executor::start(case.workers)?;
    for number in 0..case.threads {
        let (log, shared, end) = (log.clone(), shared.clone(), end.clone());
        let mut acked: Acked = first.filter(|_| number == 0).into_iter().collect();
        let content = Content::new(run, number as u32, case.size);
        executor.spawn(async move {
            let result = append_each(&log, &shared, (number, content), &mut acked).await;
            if result.is_err() {
                let _ = shared.failing.try_send(());
            }
            drop(log);
            // The receiver waits for all tasks.
            let _ = end.send((number, acked, result));
        });
    }
    drop((log, end));
    let measured = observe(setting, counts, &shared.phase, &failed);
    shared.phase.end();
    let mut acked = vec![Acked::default(); case.threads];
    let mut result = Ok(());
    let mut tasks = 0;
    for (number, own, how) in ended.iter().take(case.threads) {
        acked[number] = own;
        result = result.and(how);
        tasks += 1;
    }
    drop(executor);
    result?;
    if tasks < case.threads {
        return Err(Failure::Invariant(format!("{} tasks panicked", case.threads - tasks)));
    }
    let mut latencies = Latencies::new();
    for shard in &shared.latencies {
        latencies.add(&shard.lock().unwrap_or_else(PoisonError::into_inner));
    }
    let records = shared.measured.load(Ordering::Relaxed);
    Ok((Sample { latencies, records, ..measured? }, acked))
}

async fn append_each(
    log: &impl AppendAsync,
    shared: &Shared,
    (number, mut content): (usize, Content),
    acked: &mut Acked,
) -> Result<(), Failure> {
    let latencies = &shared.latencies[number % HISTOGRAMS];
    while !shared.phase.is_over() {
        let record = content.record(acked.records());
        let since = Instant::now();
        let seq = log.append_async(record).await?;
        acked.extend(seq..=seq);
        if shared.phase.is_measured() {
            shared.measured.fetch_add(1, Ordering::Relaxed);
            latencies.lock().unwrap_or_else(PoisonError::into_inner).note(since);
        }
    }
    Ok(())
}
