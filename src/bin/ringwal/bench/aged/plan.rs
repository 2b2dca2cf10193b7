//! The plan of `--mode age`, derived from the options, or why they contradict each other.

use crate::bench::args::{BenchArgs, ModeArg};
use crate::output::exit::Failure;

/// A plan for logs with records of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The size of a record.
    pub(crate) size: usize,
    /// The bytes of records that the caller keeps.
    pub(crate) live_bytes: u64,
    pub(crate) segment_bytes: u64,
    /// Maximum number of unacknowledged records.
    pub(crate) window: usize,
    /// Ascending and distinct.
    pub(crate) ages: Vec<u64>,
}

/// The default number of live bytes: thousands of records of each usual size, and several segments.
const LIVE_BYTES: u64 = 32 << 20;
/// The default number of segments for the live bytes: enough to make truncation a small step.
const SEGMENTS: u64 = 16;
/// The minimum, so that live bytes can be told from truncated ones.
const SEGMENTS_MIN: u64 = 8;
/// A window may be as large as a segment: it bounds a batch, and a segment holds at least one.
const WINDOW_PART: u64 = SEGMENTS_MIN;
/// Fewer live records cannot be divided into turns and parts.
const RECORDS_MIN: u64 = 64;
/// No benchmark should have to write more than this to one log.
const APPENDED_BYTES_MAX: u64 = 1 << 40;
/// The bytes appended between two checks of the stop switch.
const PIECE_BYTES: u64 = 16 << 20;

impl Plan {
    /// The number of records that the caller keeps.
    pub(crate) fn live_records(&self) -> u64 {
        self.live_bytes / self.size as u64
    }

    /// The approximate number of records in a segment, which is also the interval of truncations.
    pub(crate) fn segment_records(&self) -> u64 {
        (self.segment_bytes / self.size as u64).max(1)
    }

    pub(crate) fn piece_records(&self) -> u64 {
        (PIECE_BYTES / self.size as u64).max(1)
    }

    /// The greatest age.
    pub(crate) fn oldest(&self) -> u64 {
        self.ages.last().copied().unwrap_or(1)
    }

    /// A plan for records of `size` bytes.
    pub(crate) fn new(args: &BenchArgs, size: usize) -> Result<Plan, Failure> {
        let live_bytes = args.bytes.unwrap_or(LIVE_BYTES);
        let segment_bytes = args.engine.segment_bytes().unwrap_or(live_bytes / SEGMENTS);
        let window = args.window.get();
        let mut ages = args.ages.clone();
        ages.sort_unstable();
        ages.dedup();
        let plan = Plan { size, live_bytes, segment_bytes, window, ages };
        let refused = |what| Err(Failure::Request(format!("--mode age: {what}")));
        if plan.live_records() < RECORDS_MIN {
            return refused(format!(
                "{live_bytes} live bytes of records of {size} are fewer than {RECORDS_MIN} \
                 records: raise --bytes or lower --size"
            ));
        }
        if segment_bytes > live_bytes / SEGMENTS_MIN {
            return refused(format!(
                "{live_bytes} live bytes are fewer than {SEGMENTS_MIN} segments of \
                 {segment_bytes}: raise --bytes or lower --segment-bytes"
            ));
        }
        if (window as u64).saturating_mul(size as u64) > live_bytes / WINDOW_PART {
            return refused(format!(
                "a window of {window} records of {size} bytes is more than 1/{WINDOW_PART} of \
                 {live_bytes} live bytes: raise --bytes or lower --window or --size"
            ));
        }
        // The measurement itself appends another one and a quarter times the live bytes.
        let appended = live_bytes.saturating_mul(plan.oldest() + 2);
        if appended > APPENDED_BYTES_MAX {
            return refused(format!(
                "{live_bytes} live bytes to the age of {} are more than {APPENDED_BYTES_MAX} \
                 bytes appended: lower --bytes or --ages",
                plan.oldest()
            ));
        }
        Ok(plan)
    }
}

impl BenchArgs {
    /// The plans of a run, one per record size.
    pub(crate) fn plans(&self) -> Result<Vec<Plan>, Failure> {
        let mut plans = Vec::new();
        if self.mode.contains(&ModeArg::Age) {
            for &size in &self.size {
                let plan = Plan::new(self, size)?;
                if !plans.contains(&plan) {
                    plans.push(plan);
                }
            }
        }
        Ok(plans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::args::tests::parse;

    fn plans(args: &[&str]) -> Result<Vec<Plan>, Failure> {
        parse(&[&["--mode", "age"], args].concat()).plans()
    }

    #[test]
    fn each_size_is_a_plan_once_and_ages_ascend() {
        let found = plans(&["--size", "100,1KiB,100", "--ages", "8,1,4,8"]).unwrap();
        assert_eq!(found.iter().map(|plan| plan.size).collect::<Vec<_>>(), [100, 1024]);
        assert_eq!((&found[0].ages[..], found[0].oldest()), (&[1, 4, 8][..], 8));
        let plan = &found[1];
        assert_eq!((plan.live_records(), plan.segment_records()), (32 << 10, 2 << 10));
        assert!(parse(&["--size", "1"]).plans().unwrap().is_empty());
    }

    #[test]
    fn what_is_given_is_kept() {
        let found = plans(&["--size", "64", "--bytes", "1MiB", "--segment-bytes", "64KiB"]);
        let plan = &found.unwrap()[0];
        assert_eq!((plan.live_bytes, plan.segment_bytes, plan.window), (1 << 20, 1 << 16, 256));
    }

    #[test]
    fn what_could_not_be_told_apart_or_would_take_days_is_refused_by_name() {
        for (args, named) in [
            (&["--size", "1KiB", "--bytes", "63KiB", "--window", "1"][..], "--size"),
            (&["--size", "100", "--bytes", "1MiB", "--segment-bytes", "256KiB"], "--segment-bytes"),
            (&["--size", "1KiB", "--bytes", "1MiB", "--window", "257"], "--window"),
            (&["--size", "100", "--bytes", "64GiB", "--ages", "16"], "--ages"),
        ] {
            let refused = plans(args);
            assert!(
                matches!(&refused, Err(Failure::Request(what)) if what.contains(named)),
                "{args:?}: {refused:?}"
            );
        }
    }
}
