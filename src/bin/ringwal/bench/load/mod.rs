//! Measures a log: threads or tasks append to a new log as a case specifies; then everything it
//! acknowledged is compared with what it returns. So does the log by hand, with the same load.
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
//!    blocks ([`prepare`]). Record 0 of thread 0 is written there. In a case that grows, nothing is
//!    prepared: neither here nor by hand.

mod appender;
mod by_hand;
mod executor;
mod offered_load;
mod phase;
mod prepare;
mod tasks;

use std::path::Path;
use std::time::{Duration, Instant};

use ringwal::{Backend, BackendKind, Batch, Commit, Log, Metrics};

use crate::bench::args::{Case, Mode};
use crate::bench::load::appender::{Measured, run_threads};
use crate::bench::load::phase::Counts;
use crate::bench::load::tasks::{AppendAsync, run_tasks};
use crate::bench::records::check::check;
use crate::bench::records::content::Content;
use crate::bench::sample::Sample;
use crate::bench::setting::Setting;
use crate::output::exit::Failure;

pub(crate) use by_hand::{HandResult, measure as measure_by_hand};

/// One measurement of a log.
pub(crate) struct LoadResult {
    pub(crate) sample: Sample,
    /// Records compared after the log was reopened: all that were acknowledged.
    pub(crate) compared: u64,
    /// The backend, and why it was chosen.
    pub(crate) backend: Backend,
    /// The log's metrics from open to close.
    pub(crate) metrics: Metrics,
    /// How long the first append to the new log took, if it was alone.
    pub(crate) first_append: Option<Duration>,
}

/// Measures `case` with a new log in `dir`, which is left there, on the backend that is asked for
/// or on that of the options.
pub(crate) fn measure(
    setting: &Setting<'_>,
    case: &Case,
    (dir, run): (&Path, u64),
    backend: Option<BackendKind>,
) -> Result<LoadResult, Failure> {
    let open = || {
        let builder = setting.engine.builder(dir);
        match backend {
            Some(kind) => builder.backend(kind).open(),
            None => builder.open(),
        }
    };
    let log = open()?;
    let (mut first, mut first_append) = (None, None);
    let prepared = match case.grow {
        true => Ok(()),
        false => {
            let mut content = Content::new(run, 0, case.size);
            let since = Instant::now();
            log.append(content.record(0)).map_err(Failure::Log).and_then(|seq| {
                (first, first_append) = (Some(seq.get()), Some(since.elapsed()));
                prepare::prepare(setting, (&log, dir))
            })
        }
    };
    let measured = prepared.and_then(|()| run_load(setting, case, &log, (run, first)));
    let closed = log.close();
    let (backend, metrics) = (log.backend().clone(), log.metrics());
    drop(log);
    let (sample, acked) = measured?;
    closed?;
    let log = open()?;
    let compared = check(&log, run, case.size, &acked)?;
    log.close()?;
    Ok(LoadResult { sample, compared, backend, metrics, first_append })
}

fn run_load(
    setting: &Setting<'_>,
    case: &Case,
    log: &Log,
    run: (u64, Option<u64>),
) -> Result<Measured, Failure> {
    let counts = || {
        let metrics = log.metrics();
        Counts {
            bytes: metrics.written_bytes,
            padding: metrics.padding_bytes,
            records: metrics.records,
            batches: metrics.batches,
        }
    };
    let append = |record: &[u8]| Ok(log.append(record)?.get());
    match case.mode {
        Mode::Tasks => run_tasks(setting, case, run, &counts, log.clone()),
        Mode::Blocking => run_threads(setting, case, run, &counts, |it| it.append_each(append)),
        Mode::Async => run_threads(setting, case, run, &counts, |it| {
            let wait = |ticket: Commit| Ok(ticket.wait()?.get());
            it.append_window(|record| log.submit(record).map_err(Failure::Log), wait)
        }),
        Mode::Batch => run_threads(setting, case, run, &counts, |it| {
            let push = |batch: &mut Batch, record: &[u8]| {
                batch.push(record)?;
                Ok(())
            };
            let append = |batch: &mut Batch| {
                let last = log.append(&*batch)?.get();
                batch.clear();
                Ok(last)
            };
            it.append_batches(Batch::new(), push, append)
        }),
    }
}

impl AppendAsync for Log {
    async fn append_async(&self, record: &[u8]) -> Result<u64, Failure> {
        Ok(Log::append_async(self, record).await?.get())
    }
}
