//! Checks that memory, descriptors and segments stay bounded.
//!
//! The peak of the second half of a run is compared with that of the first half, plus slack. A run
//! with fewer than two compactions in its first half is too short: its store may still be growing.

use std::fmt;

use crate::soak::report::time_series::{Gauges, Row};

const COMPACTIONS_MIN: u64 = 2;

/// The slack of a bound in the second half.
struct Slack {
    what: &'static str,
    percent: u64,
    plus: u64,
}

/// A quarter more, plus memory retained by the allocator and threads.
const RESIDENT: Slack = Slack { what: "KiB resident", percent: 125, plus: 16 << 10 };
/// Segments that are read stay open, too.
const DESCRIPTORS: Slack = Slack { what: "descriptors", percent: 150, plus: 16 };
/// A compaction may start later beside other work.
const SEGMENTS: Slack = Slack { what: "segments", percent: 150, plus: 4 };

/// One bound, and whether it held.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    what: &'static str,
    first: u64,
    second: u64,
    allowed: u64,
}

impl Bound {
    pub(crate) fn holds(&self) -> bool {
        self.second <= self.allowed
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bound { what, first, second, allowed } = self;
        write!(f, "{what}: at most {first} in the first half of the run, {second} in the second")?;
        write!(f, " ({allowed} allowed)")
    }
}

/// The bounds of a run, or why they cannot be checked.
pub(crate) fn bounds(rows: &[Row]) -> Result<Vec<Bound>, String> {
    let half = rows.last().map_or(0.0, |row| row.elapsed.as_secs_f64()) / 2.0;
    let middle = rows.partition_point(|row| row.elapsed.as_secs_f64() <= half);
    let (first, second) = rows.split_at(middle);
    let compactions = first.last().map_or(0, |row| row.counts.compactions);
    if compactions < COMPACTIONS_MIN {
        return Err(format!(
            "the run was too short for bounds: {compactions} compactions in its first half, \
             {COMPACTIONS_MIN} are needed"
        ));
    }
    let peak = |rows: &[Row]| rows.iter().fold(Gauges::default(), |peak, row| peak.max(row.gauges));
    let (first, second) = (peak(first), peak(second));
    let bound = |slack: Slack, first: Option<u64>, second: Option<u64>| {
        let (first, second) = (first?, second?);
        let allowed = first.saturating_mul(slack.percent) / 100 + slack.plus;
        Some(Bound { what: slack.what, first, second, allowed })
    };
    let all = [
        bound(RESIDENT, first.resident_kib, second.resident_kib),
        bound(DESCRIPTORS, first.descriptors, second.descriptors),
        bound(SEGMENTS, Some(first.segments), Some(second.segments)),
    ];
    Ok(all.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::soak::report::time_series::tests::row;

    #[test]
    fn what_grows_on_breaks_its_bound_and_what_stays_does_not() {
        let rows = |growth: u64| -> Vec<_> {
            (1..=20)
                .map(|at| row(at * 60, 40_000 + growth * at, 10 + growth / 500 * at, at))
                .collect()
        };
        let steady = bounds(&rows(0)).unwrap();
        assert_eq!(steady.len(), 3);
        assert!(steady.iter().all(Bound::holds), "{steady:?}");
        let leaking = bounds(&rows(5000)).unwrap();
        let broken: Vec<_> = leaking.iter().filter(|bound| !bound.holds()).collect();
        assert_eq!(broken.len(), 2, "{leaking:?}");
        assert_eq!(
            broken[1].to_string(),
            "segments: at most 110 in the first half of the run, 210 in the second (169 allowed)"
        );
    }

    #[test]
    fn a_short_run_says_that_it_cannot_tell() {
        assert!(bounds(&[]).is_err());
        let reason = bounds(&[row(1, 1, 1, 1), row(2, 1, 1, 9)]).unwrap_err();
        assert!(reason.contains("1 compactions"), "{reason}");
    }
}
