//! The results as tables for people, with notes.
//!
//! Columns are separated by spaces, no cell contains one, and `-` is an unavailable figure:
//! `scripts/bench-gate.sh` finds columns by the names in the heading.

use std::fmt;

use crate::bench::machine::Device;
use crate::bench::machine::cache_drop::CacheDrop;
use crate::bench::recovery::{RECOVERY_FIGURES, Recovered};
use crate::bench::report::aged::write_ages;
use crate::bench::report::results::{
    BaselineResult, CaseResult, CaseRound, Ratio, RecoveryResult, Results, by_hand_way,
};
use crate::bench::report::rows::{number, range, write_rows};
use crate::bench::sample::Figure;

/// Displays all results.
pub(crate) struct Table<'a> {
    pub(crate) results: &'a Results,
    pub(crate) device: &'a Device,
    pub(crate) filesystem: &'a str,
    pub(crate) not_direct: Option<&'a str>,
    pub(crate) cache_drop: CacheDrop,
    pub(crate) rounds: u32,
    pub(crate) secs: f64,
    pub(crate) background: u32,
}

const CASE_HEADING: [&str; 34] = [
    "mode",
    "threads",
    "size",
    "window",
    "think",
    "burst",
    "segments",
    "acked/s",
    "p50",
    "p99",
    "p99.9",
    "max",
    "cpu-us",
    "flushes",
    "bytes",
    "padding",
    "batch",
    "x-floor",
    "floor-range",
    "x-ideal",
    "ideal-range",
    "x-hand",
    "hand-range",
    "x-hand-p99",
    "x-prepared",
    "prepared-range",
    "x-std",
    "std-range",
    "x-hand-std",
    "x-first",
    "strategy",
    "compared",
    "explained",
    "rounds",
];

const HAND_HEADING: [&str; 17] = [
    "by-hand",
    "mode",
    "threads",
    "size",
    "window",
    "think",
    "segments",
    "acked/s",
    "p50",
    "p99",
    "p99.9",
    "max",
    "cpu-us",
    "flushes",
    "batch",
    "compared",
    "explained",
];

const BASELINE_HEADING: [&str; 11] = [
    "floor",
    "at-once",
    "size",
    "per-s",
    "MiB/s",
    "p50",
    "p99",
    "p99.9",
    "max",
    "flushes",
    "explained",
];

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Table { rounds, secs, background, .. } = self;
        writeln!(f, "medians of {rounds} rounds of {secs} s, {background} busy loops beside them")?;
        writeln!(f, "file system: {}; {}", self.filesystem, Beside(self.device))?;
        if !self.results.recoveries.is_empty() || !self.results.ages.is_empty() {
            writeln!(f, "before each opening: {}", self.cache_drop)?;
        }
        writeln!(f)?;
        if !self.results.cases.is_empty() {
            write_rows(f, &CASE_HEADING, self.results.cases.iter().map(case_row).collect())?;
            writeln!(f)?;
        }
        let by_hand = |case: &&CaseResult| case.rounds.iter().any(|it| it.by_hand.is_some());
        let by_hand: Vec<_> = self.results.cases.iter().filter(by_hand).map(hand_row).collect();
        if !by_hand.is_empty() {
            write_rows(f, &HAND_HEADING, by_hand)?;
            writeln!(f)?;
        }
        if !self.results.recoveries.is_empty() {
            write_recoveries(f, &self.results.recoveries)?;
        }
        if !self.results.ages.is_empty() {
            write_ages(f, &self.results.ages)?;
        }
        if !self.results.baselines.is_empty() {
            self.write_baselines(f)?;
        }
        if self.results.cases.iter().any(CaseResult::is_unexplained)
            || self.results.baselines.iter().any(BaselineResult::is_unexplained)
        {
            writeln!(
                f,
                "UNEXPLAINED: more was acknowledged than the flushes of the device can have made \
                 durable. Do not believe those rates: something below does not flush."
            )?;
        }
        Ok(())
    }
}

impl Table<'_> {
    fn write_baselines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_rows(
            f,
            &BASELINE_HEADING,
            self.results.baselines.iter().map(baseline_row).collect(),
        )?;
        for (name, reason) in &self.results.left_out {
            writeln!(f, "left out: {name}: {reason}")?;
        }
        match self.not_direct {
            Some(reason) => {
                writeln!(f, "no direct I/O for the raw floors, which use the page cache: {reason}")
            }
            None => Ok(()),
        }
    }
}

/// The flush counter of the device, and its meaning.
struct Beside<'a>(&'a Device);

impl fmt::Display for Beside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.name {
            Ok(name) => {
                let cache = self.0.write_cache.as_deref().unwrap_or("unknown write cache");
                write!(f, "flushes are those of all of {name} ({cache})")?;
                if !self.0.counts_every_flush() {
                    write!(f, ", which need not flush: whether they explain a rate is not judged")?;
                }
                Ok(())
            }
            Err(reason) => write!(f, "flushes are not counted: {reason}"),
        }
    }
}

fn case_row(result: &CaseResult) -> Vec<String> {
    let case = &result.case;
    let median = |figure, digits| number(result.median(figure), digits);
    let ratio = |of: Ratio| number(result.ratio(of), 3);
    let ranged = |of: Ratio| range(result.rounds.iter().map(of));
    vec![
        case.mode.to_string(),
        case.threads.to_string(),
        case.size.to_string(),
        case.window.to_string(),
        case.think.as_micros().to_string(),
        case.burst.to_string(),
        case.segments().to_owned(),
        median(Figure::PerSecond, 0),
        median(Figure::P50, 0),
        median(Figure::P99, 0),
        median(Figure::P999, 0),
        median(Figure::Max, 0),
        median(Figure::CpuMicros, 2),
        median(Figure::Flushes, 4),
        median(Figure::Bytes, 0),
        median(Figure::Padding, 2),
        median(Figure::BatchRecords, 1),
        ratio(|round| round.to_baseline),
        ranged(|round| round.to_baseline),
        ratio(|round| round.to_batch_bound),
        ranged(|round| round.to_batch_bound),
        ratio(|round| round.to_hand),
        ranged(|round| round.to_hand),
        ratio(CaseRound::to_hand_p99),
        ratio(|round| round.to_prepared),
        ranged(|round| round.to_prepared),
        ratio(|round| round.to_std),
        ranged(|round| round.to_std),
        ratio(CaseRound::std_to_hand),
        ratio(|round| round.first_append_flushes),
        result.strategies(),
        result.compared().to_string(),
        explained(result.rounds.iter().map(|round| round.unexplained)),
        result.rounds.len().to_string(),
    ]
}

/// The log by hand, under the load of a case.
fn hand_row(result: &CaseResult) -> Vec<String> {
    let case = &result.case;
    let median = |figure, digits| number(result.hand_median(figure), digits);
    let rounds = || result.rounds.iter().filter_map(|round| round.by_hand.as_ref());
    vec![
        by_hand_way(case.mode).to_owned(),
        case.mode.to_string(),
        case.threads.to_string(),
        case.size.to_string(),
        case.window.to_string(),
        case.think.as_micros().to_string(),
        case.segments().to_owned(),
        median(Figure::PerSecond, 0),
        median(Figure::P50, 0),
        median(Figure::P99, 0),
        median(Figure::P999, 0),
        median(Figure::Max, 0),
        median(Figure::CpuMicros, 2),
        median(Figure::Flushes, 4),
        median(Figure::BatchRecords, 1),
        rounds().map(|round| round.compared).sum::<u64>().to_string(),
        explained(rounds().map(|round| round.unexplained)),
    ]
}

fn baseline_row(result: &BaselineResult) -> Vec<String> {
    let median = |figure, digits| number(result.median(figure), digits);
    vec![
        result.baseline.name().to_owned(),
        result.baseline.outstanding().to_string(),
        result.baseline.size().to_string(),
        median(Figure::PerSecond, 0),
        median(Figure::MibPerSecond, 1),
        median(Figure::P50, 0),
        median(Figure::P99, 0),
        median(Figure::P999, 0),
        median(Figure::Max, 0),
        median(Figure::Flushes, 4),
        explained(result.rounds.iter().map(|(_, unexplained)| *unexplained)),
    ]
}

fn write_recoveries(f: &mut fmt::Formatter<'_>, results: &[RecoveryResult]) -> fmt::Result {
    let mut heading = vec!["recovery", "size", "records", "bytes"];
    heading.extend(RECOVERY_FIGURES.map(|(_, _, name)| name));
    let row = |result: &RecoveryResult| {
        let last = result.rounds.last();
        let count = |of: fn(&Recovered) -> u64| number(last.map(|it| of(it) as f64), 0);
        let mut row = vec!["cold".to_owned(), result.size.to_string()];
        row.extend([count(|it| it.records), count(|it| it.bytes)]);
        row.extend(RECOVERY_FIGURES.map(|(figure, ..)| number(result.median(figure), 3)));
        row
    };
    write_rows(f, &heading, results.iter().map(row).collect())?;
    let reasons = results.iter().flat_map(|result| &result.rounds).flat_map(|it| &it.not_direct);
    if let Some(reason) = reasons.last() {
        writeln!(f, "the raw read went through the page cache: {reason}")?;
    }
    writeln!(f)
}

/// `NO` if any round is unexplained, `-` if one was not judged.
fn explained(rounds: impl Iterator<Item = Option<bool>>) -> String {
    let judged: Option<Vec<bool>> = rounds.collect();
    let word = match judged {
        Some(unexplained) if unexplained.contains(&true) => "NO",
        Some(_) => "yes",
        None => "-",
    };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unexplained_round_is_enough_and_one_unjudged_says_so() {
        assert_eq!(explained([Some(false), Some(true)].into_iter()), "NO");
        assert_eq!(explained([Some(false)].into_iter()), "yes");
        assert_eq!(explained([Some(false), None].into_iter()), "-");
    }
}
