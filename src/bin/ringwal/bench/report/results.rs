//! The results of a run: every case and baseline, round by round, and their ratios.
//!
//! A ratio is computed within a round, from measurements seconds apart, before the median over
//! rounds is taken: a drift during the run affects both sides.

use ringwal::{Backend, Metrics};

use crate::bench::aged::AgedResult;
use crate::bench::args::Case;
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
    /// Whether the device flushes cannot explain the rate, where that can be judged.
    pub(crate) unexplained: Option<bool>,
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

    pub(crate) fn to_baseline(&self) -> Option<f64> {
        median(self.rounds.iter().map(|round| round.to_baseline))
    }

    pub(crate) fn to_batch_bound(&self) -> Option<f64> {
        median(self.rounds.iter().map(|round| round.to_batch_bound))
    }

    pub(crate) fn compared(&self) -> u64 {
        self.rounds.iter().map(|round| round.compared).sum()
    }

    pub(crate) fn is_unexplained(&self) -> bool {
        self.rounds.iter().any(|round| round.unexplained == Some(true))
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
pub(crate) fn baselines_of(case: &Case) -> [Baseline; 5] {
    let Case { size, threads: depth, .. } = *case;
    [
        pwrite(case),
        batch_bound(case),
        Baseline::Dsync { depth, size },
        Baseline::Linked { depth: 1, size },
        Baseline::Linked { depth, size },
    ]
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
