//! The results of a run: every case and baseline, round by round, and their ratios.
//!
//! A ratio is computed within a round, from measurements seconds apart, before the median over
//! rounds is taken: a drift during the run affects both sides.

use ringwal::{Backend, Metrics};

use crate::bench::aged::AgedResult;
use crate::bench::args::{Case, Mode};
use crate::bench::baseline::raw::Baseline;
use crate::bench::recovery::{Recovered, RecoveryFigure};
use crate::bench::sample::{Figure, Sample, median};

/// A case, round by round.
pub(crate) struct CaseResult {
    pub(crate) case: Case,
    pub(crate) rounds: Vec<CaseRound>,
}

/// One measurement of a case.
pub(crate) struct CaseRound {
    pub(crate) sample: Sample,
    /// Records compared after the log was reopened.
    pub(crate) compared: u64,
    /// The backend, and why it was chosen.
    pub(crate) backend: Backend,
    /// The log's metrics, including the warm-up.
    pub(crate) metrics: Metrics,
    /// The rate as a multiple of one write and sync at a time.
    pub(crate) to_baseline: Option<f64>,
    /// The rate as a multiple of the batch bound.
    pub(crate) to_batch_bound: Option<f64>,
    /// The rate as a multiple of the log by hand.
    pub(crate) to_hand: Option<f64>,
    /// The rate of a log that grows as a multiple of the same log prepared.
    pub(crate) to_prepared: Option<f64>,
    /// The rate as a multiple of the same log on the std backend.
    pub(crate) to_std: Option<f64>,
    /// The time of the first append to the new log, in writes and syncs.
    pub(crate) first_append_flushes: Option<f64>,
    /// Whether the device flushes cannot explain the rate, where that can be judged.
    pub(crate) unexplained: Option<bool>,
    /// The log by hand, under the same load.
    pub(crate) by_hand: Option<HandRound>,
    /// The same log on the std backend.
    pub(crate) on_std: Option<Sample>,
}

/// One measurement of the log by hand.
pub(crate) struct HandRound {
    pub(crate) sample: Sample,
    /// Records compared after the file was read back.
    pub(crate) compared: u64,
    pub(crate) unexplained: Option<bool>,
}

/// A ratio of a case in a round.
pub(crate) type Ratio = fn(&CaseRound) -> Option<f64>;

/// All ratios of cases, with their names in JSON.
pub(crate) const RATIOS: [(Ratio, &str); 8] = [
    (|round| round.to_baseline, "ratio_to_floor"),
    (|round| round.to_batch_bound, "ratio_to_ideal"),
    (|round| round.to_hand, "ratio_to_by_hand"),
    (CaseRound::to_hand_p99, "ratio_of_p99_to_by_hand"),
    (|round| round.to_prepared, "ratio_to_prepared"),
    (|round| round.to_std, "ratio_to_std"),
    (CaseRound::std_to_hand, "ratio_of_std_to_by_hand"),
    (|round| round.first_append_flushes, "first_append_in_flushes"),
];

/// How the log by hand is made that a mode is compared with.
pub(crate) fn by_hand_way(mode: Mode) -> &'static str {
    match mode {
        Mode::Blocking | Mode::Batch => "group-commit",
        Mode::Async | Mode::Tasks => "writer-thread",
    }
}

/// A baseline, round by round.
pub(crate) struct BaselineResult {
    pub(crate) baseline: Baseline,
    pub(crate) rounds: Vec<(Sample, Option<bool>)>,
}

/// The recoveries of a log, round by round.
pub(crate) struct RecoveryResult {
    /// The size of a record.
    pub(crate) size: usize,
    pub(crate) rounds: Vec<Recovered>,
}

/// All results.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) cases: Vec<CaseResult>,
    pub(crate) baselines: Vec<BaselineResult>,
    pub(crate) recoveries: Vec<RecoveryResult>,
    pub(crate) ages: Vec<AgedResult>,
    /// Baselines that were left out, and why.
    pub(crate) left_out: Vec<(&'static str, String)>,
}

impl CaseResult {
    pub(crate) fn median(&self, figure: Figure) -> Option<f64> {
        median(self.rounds.iter().map(|round| round.sample.figure(figure)))
    }

    /// The median over the rounds of one of their ratios.
    pub(crate) fn ratio(&self, ratio: Ratio) -> Option<f64> {
        median(self.rounds.iter().map(ratio))
    }

    /// A figure of the log by hand.
    pub(crate) fn hand_median(&self, figure: Figure) -> Option<f64> {
        let of = |round: &CaseRound| round.by_hand.as_ref()?.sample.figure(figure);
        median(self.rounds.iter().map(of))
    }

    pub(crate) fn compared(&self) -> u64 {
        self.rounds.iter().map(|round| round.compared).sum()
    }

    pub(crate) fn is_unexplained(&self) -> bool {
        self.rounds.iter().any(|round| {
            let by_hand = round.by_hand.as_ref().and_then(|it| it.unexplained);
            round.unexplained == Some(true) || by_hand == Some(true)
        })
    }

    /// The strategies in use, in the order of the rounds, each once, including later changes.
    pub(crate) fn strategies(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for round in &self.rounds {
            let changed = round.metrics.strategy;
            for strategy in std::iter::once(round.backend.strategy).chain(changed) {
                if !names.contains(&strategy.name()) {
                    names.push(strategy.name());
                }
            }
        }
        names.join("+")
    }
}

impl CaseRound {
    /// The 99th percentile of the waits as a multiple of that of the log by hand.
    pub(crate) fn to_hand_p99(&self) -> Option<f64> {
        let by_hand = self.by_hand.as_ref()?.sample.figure(Figure::P99)?;
        (by_hand > 0.0).then_some(self.sample.figure(Figure::P99)? / by_hand)
    }

    /// The rate on the std backend as a multiple of the log by hand.
    pub(crate) fn std_to_hand(&self) -> Option<f64> {
        let by_hand = self.by_hand.as_ref()?.sample.figure(Figure::PerSecond)?;
        let on_std = self.on_std.as_ref()?.figure(Figure::PerSecond)?;
        (by_hand > 0.0).then_some(on_std / by_hand)
    }
}

impl BaselineResult {
    pub(crate) fn median(&self, figure: Figure) -> Option<f64> {
        median(self.rounds.iter().map(|(sample, _)| sample.figure(figure)))
    }

    pub(crate) fn is_unexplained(&self) -> bool {
        self.rounds.iter().any(|(_, unexplained)| *unexplained == Some(true))
    }
}

impl RecoveryResult {
    pub(crate) fn median(&self, figure: RecoveryFigure) -> Option<f64> {
        median(self.rounds.iter().map(|round| Some(figure(round))))
    }
}

impl Results {
    /// Whether the baseline was measured in the round (from 0).
    pub(crate) fn has_baseline(&self, baseline: &Baseline, round: usize) -> bool {
        self.rate(baseline, round).is_some()
    }

    /// The records per second of a baseline in a round.
    pub(crate) fn rate(&self, baseline: &Baseline, round: usize) -> Option<f64> {
        let result = self.baselines.iter().find(|result| result.baseline == *baseline)?;
        result.rounds.get(round)?.0.figure(Figure::PerSecond)
    }

    /// The measurement of a prepared log with the load of a case that grows, in a round.
    pub(crate) fn prepared(&self, case: &Case, round: usize) -> Option<&Sample> {
        let prepared = Case { grow: false, ..*case };
        let result = self.cases.iter().find(|it| case.grow && it.case == prepared)?;
        result.rounds.get(round).map(|round| &round.sample)
    }

    pub(crate) fn add_baseline(
        &mut self,
        baseline: Baseline,
        sample: Sample,
        unexplained: Option<bool>,
    ) {
        let at = self.baselines.iter().position(|result| result.baseline == baseline);
        let at = at.unwrap_or_else(|| {
            self.baselines.push(BaselineResult { baseline, rounds: Vec::new() });
            self.baselines.len() - 1
        });
        self.baselines[at].rounds.push((sample, unexplained));
    }
}

/// The baselines of a case.
pub(crate) fn baselines_of(case: &Case) -> Vec<Baseline> {
    let (size, depth) = (case.size, case.ring_depth());
    let mut baselines = vec![pwrite(case), batch_bound(case)];
    if case.mode != Mode::Tasks {
        baselines.push(Baseline::Dsync { depth, size });
        baselines.push(Baseline::Linked { depth: 1, size });
        baselines.push(Baseline::Linked { depth, size });
    }
    baselines
}

/// The baseline for one write and sync at a time.
pub(crate) fn pwrite(case: &Case) -> Baseline {
    Baseline::Pwrite { size: case.size }
}

/// The bound for one batch of all outstanding records of a case.
pub(crate) fn batch_bound(case: &Case) -> Baseline {
    Baseline::BatchBound { records: case.outstanding(), size: case.size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::tests::sample;

    #[test]
    fn baselines_are_found_by_round() {
        let mut results = Results::default();
        let (one, other) = (Baseline::Pwrite { size: 100 }, Baseline::Pwrite { size: 200 });
        results.add_baseline(one, sample(1000, None), None);
        results.add_baseline(one, sample(2000, None), None);
        assert_eq!(results.rate(&one, 1), Some(1000.0));
        assert!(results.has_baseline(&one, 0) && !results.has_baseline(&one, 2));
        assert!(!results.has_baseline(&other, 0));
        assert_eq!(results.baselines[0].median(Figure::PerSecond), Some(750.0));
    }
}
