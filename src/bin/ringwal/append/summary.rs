//! The summary that `append` prints to standard error at its end.

use std::fmt;
use std::time::Duration;

use ringwal::{Backend, Metrics};

use crate::append::worker::Tally;

/// The figures of one run.
pub(crate) struct Summary<'a> {
    pub(crate) tally: &'a Tally,
    pub(crate) metrics: &'a Metrics,
    /// The backend, its strategy, and the reasons.
    pub(crate) backend: &'a Backend,
    pub(crate) elapsed: Duration,
    /// Why the run ended before the input did.
    pub(crate) stopped: Option<&'static str>,
    /// Whether an acknowledged record has been written.
    pub(crate) is_written: bool,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { tally, metrics, .. } = self;
        let seconds = self.elapsed.as_secs_f64();
        let rate = |amount: u64| amount as f64 / seconds.max(f64::MIN_POSITIVE);
        if let Some(reason) = self.stopped {
            writeln!(f, "stopped:  by {reason}")?;
        }
        writeln!(
            f,
            "records:  {} {}, {} bytes, in {seconds:.3} s: {:.0} records/s, {:.2} MiB/s",
            tally.records,
            if self.is_written { "acknowledged" } else { "queued" },
            tally.bytes,
            rate(tally.records),
            rate(tally.bytes) / MIB,
        )?;
        if let Some((first, last)) = tally.seqs {
            writeln!(f, "seq:      {first} to {last}")?;
        }
        let wait = |quantile| Nanos(tally.wait_nanos.value_at_quantile(quantile));
        writeln!(f, "wait:     p50 {}, p99 {}, p99.9 {}", wait(0.5), wait(0.99), wait(0.999))?;
        writeln!(
            f,
            "batches:  {}, {:.1} records each on average; {} written by an appender itself",
            metrics.batches,
            metrics.records as f64 / (metrics.batches.max(1)) as f64,
            metrics.inline_batches,
        )?;
        if let Some(now) = metrics.strategy.filter(|now| *now != self.backend.strategy) {
            let chosen = self.backend.strategy;
            writeln!(f, "changed:  from {chosen} to {now}, as it was not clearly faster any more")?;
        }
        writeln!(
            f,
            "written:  {} bytes, of which {} padding",
            metrics.written_bytes, metrics.padding_bytes,
        )?;
        write!(f, "{}", self.backend)
    }
}

/// A duration in a suitable unit.
struct Nanos(u64);

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0 as f64 / 1e3;
        match micros {
            ..1e3 => write!(f, "{micros:.1} us"),
            ..1e6 => write!(f, "{:.2} ms", micros / 1e3),
            _ => write!(f, "{:.2} s", micros / 1e6),
        }
    }
}

const MIB: f64 = 1048576.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_shown_in_a_fitting_unit() {
        for (nanos, shown) in [(0, "0.0 us"), (1_500, "1.5 us"), (2_345_678, "2.35 ms")] {
            assert_eq!(Nanos(nanos).to_string(), shown);
        }
        assert_eq!(Nanos(12_000_000_000).to_string(), "12.00 s");
    }
}
