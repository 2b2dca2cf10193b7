//! The phases of a measurement, and what is counted in them.

use std::sync::atomic::{AtomicU8, Ordering};

use crossbeam_channel::{Receiver, select};

use crate::bench::machine::Mark;
use crate::bench::sample::{Latencies, Sample};
use crate::bench::setting::{Setting, stopped};
use crate::output::exit::Failure;

/// The phase that all threads and tasks are in.
#[derive(Debug, Default)]
pub(crate) struct Phase(AtomicU8);

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const COOL_DOWN: u8 = 2;
const END: u8 = 3;

const _: () = assert!(WARM_UP == 0, "a phase begins with the default");

impl Phase {
    /// Whether what is acknowledged now counts.
    pub(crate) fn is_measured(&self) -> bool {
        self.0.load(Ordering::Relaxed) == MEASURE
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == END
    }

    pub(crate) fn end(&self) {
        self.0.store(END, Ordering::Relaxed);
    }
}

/// What a log has written since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) bytes: u64,
    pub(crate) padding: u64,
    pub(crate) records: u64,
    pub(crate) batches: u64,
}

/// Lets the threads warm up and measures them; their own counts are filled in later. A message in
/// `failed` ends it early: the thread itself returns the reason.
pub(crate) fn observe(
    setting: &Setting<'_>,
    counts: &dyn Fn() -> Counts,
    phase: &Phase,
    failed: &Receiver<()>,
) -> Result<Sample, Failure> {
    let wait = |duration| {
        select! {
            recv(failed) -> _ => Ok(()),
            recv(setting.stop.receiver()) -> _ => {
                Err(stopped(setting))
            }
            default(duration) => Ok(()),
        }
    };
    wait(setting.warm_up().duration)?;
    let before = counts();
    let mark = Mark::now(setting.device);
    phase.0.store(MEASURE, Ordering::Relaxed);
    let waited = wait(setting.duration);
    let elapsed = mark.elapsed();
    phase.0.store(COOL_DOWN, Ordering::Relaxed);
    let spent = mark.spent(setting.device, elapsed);
    waited?;
    let after = counts();
    Ok(Sample {
        records: 0,
        latencies: Latencies::new(),
        spent,
        moved_bytes: after.bytes - before.bytes,
        padding_bytes: after.padding - before.padding,
        moved_records: after.records - before.records,
        writes: after.batches - before.batches,
    })
}
