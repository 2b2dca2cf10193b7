//! What a run found: every case and every floor, round by round, and the ratios between them.
//!
//! A ratio is made within a round, of measurements that are seconds apart, and only then is the
//! median taken: what drifts over a run drifts in both.

use ringwal::{Backend, Metrics};

use crate::bench::aged::AgeResult;
use crate::bench::args::Case;
use crate::bench::baseline::raw::Floor;
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
    /// Records compared after the log was opened again.
    pub(crate) compared: u64,
    /// What ran, and why.
    pub(crate) backend: Backend,
    /// The log's own figures, warming up included.
    pub(crate) metrics: Metrics,
    /// The rate as a multiple of that of one write and sync at a time.
    pub(crate) to_floor: Option<f64>,
    /// The rate as a multiple of that of the ideal batch.
    pub(crate) to_ideal: Option<f64>,
    /// Whether the flushes cannot explain it, where that can be judged.
    pub(crate) unexplained: Option<bool>,
}

/// A floor, round by round.
pub(crate) struct FloorResult {
    pub(crate) floor: Floor,
    pub(crate) rounds: Vec<(Sample, Option<bool>)>,
}

/// The recoveries of a log, round by round.
pub(crate) struct RecoveryResult {
    /// The bytes of a record.
    pub(crate) size: usize,
    pub(crate) rounds: Vec<Recovered>,
}

/// Everything.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) cases: Vec<CaseResult>,
    pub(crate) floors: Vec<FloorResult>,
    pub(crate) recoveries: Vec<RecoveryResult>,
    pub(crate) ages: Vec<AgeResult>,
    /// Floors that were left out, and why.
    pub(crate) left_out: Vec<(&'static str, String)>,
}

impl CaseResult {
    pub(crate) fn median(&self, figure: Figure) -> Option<f64> {
        median(self.rounds.iter().map(|round| round.sample.figure(figure)))
    }

    pub(crate) fn to_floor(&self) -> Option<f64> {
        median(self.rounds.iter().map(|round| round.to_floor))
    }

    pub(crate) fn to_ideal(&self) -> Option<f64> {
        median(self.rounds.iter().map(|round| round.to_ideal))
    }

    pub(crate) fn compared(&self) -> u64 {
        self.rounds.iter().map(|round| round.compared).sum()
    }

    pub(crate) fn is_unexplained(&self) -> bool {
        self.rounds.iter().any(|round| round.unexplained == Some(true))
    }

    /// The strategies that ran, in the order of the rounds, each once; also those changed to.
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

impl FloorResult {
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
    /// Whether the floor was measured in the round (from 0).
    pub(crate) fn has_floor(&self, floor: &Floor, round: usize) -> bool {
        self.rate(floor, round).is_some()
    }

    /// The records per second of a floor in a round.
    pub(crate) fn rate(&self, floor: &Floor, round: usize) -> Option<f64> {
        let result = self.floors.iter().find(|result| result.floor == *floor)?;
        result.rounds.get(round)?.0.figure(Figure::PerSecond)
    }

    pub(crate) fn add_floor(&mut self, floor: Floor, sample: Sample, unexplained: Option<bool>) {
        let at = self.floors.iter().position(|result| result.floor == floor);
        let at = at.unwrap_or_else(|| {
            self.floors.push(FloorResult { floor, rounds: Vec::new() });
            self.floors.len() - 1
        });
        self.floors[at].rounds.push((sample, unexplained));
    }
}

/// The floors that a case is measured beside.
pub(crate) fn floors_of(case: &Case) -> [Floor; 5] {
    let Case { size, threads: depth, .. } = *case;
    [
        pwrite(case),
        ideal(case),
        Floor::Dsync { depth, size },
        Floor::Linked { depth: 1, size },
        Floor::Linked { depth, size },
    ]
}

/// The latency floor of a case.
pub(crate) fn pwrite(case: &Case) -> Floor {
    Floor::Pwrite { size: case.size }
}

/// The ideal batch of as many records as a case has outstanding.
pub(crate) fn ideal(case: &Case) -> Floor {
    Floor::Ideal { records: case.outstanding(), size: case.size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::tests::sample;

    #[test]
    fn floors_are_found_by_round() {
        let mut results = Results::default();
        let (one, other) = (Floor::Pwrite { size: 100 }, Floor::Pwrite { size: 200 });
        results.add_floor(one, sample(1000, None), None);
        results.add_floor(one, sample(2000, None), None);
        assert_eq!(results.rate(&one, 1), Some(1000.0));
        assert!(results.has_floor(&one, 0) && !results.has_floor(&one, 2));
        assert!(!results.has_floor(&other, 0));
        assert_eq!(results.floors[0].median(Figure::PerSecond), Some(750.0));
    }
}
