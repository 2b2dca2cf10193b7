//! The results of aged logs, round by round, and their ratios.
//!
//! A ratio is computed within a round, from interleaved measurements, before the median over rounds
//! is taken: a drift during the run affects both sides.

use crate::bench::aged::plan::Plan;
use crate::bench::aged::protocol::{Appended, Opened, Usage};
use crate::bench::sample::median;

/// A log in one round: the old one, or the young one beside it.
#[derive(Clone, Debug)]
pub(crate) struct Aged {
    pub(crate) appends: Vec<Appended>,
    /// The usage after the appends.
    pub(crate) usage: Usage,
    pub(crate) openings: Vec<Opened>,
}

/// The oldest log, truncated to a part of its live records.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The live records were divided by this.
    pub(crate) share: u64,
    pub(crate) openings: Vec<Opened>,
}

/// Both logs in one round.
#[derive(Clone, Debug)]
pub(crate) struct AgedRound {
    pub(crate) old: Aged,
    pub(crate) young: Aged,
    /// From the largest to the smallest; empty except at the greatest age.
    pub(crate) parts: Vec<Part>,
}

/// The rounds of one age.
#[derive(Clone, Debug)]
pub(crate) struct AgedRow {
    pub(crate) age: u64,
    pub(crate) rounds: Vec<AgedRound>,
}

/// The results of logs with records of one size.
#[derive(Clone, Debug)]
pub(crate) struct AgedResult {
    pub(crate) plan: Plan,
    /// One for each age.
    pub(crate) rows: Vec<AgedRow>,
}

/// A figure of a log.
pub(crate) type AgedFigure = fn(&Aged) -> Option<f64>;

/// All figures, with their names in JSON.
pub(crate) const AGED_FIGURES: [(AgedFigure, &str); 5] = [
    (Aged::per_second, "acked_per_second"),
    (Aged::cpu_micros, "cpu_micros_per_append"),
    (|aged| aged.usage.resident_kib.map(|kib| kib as f64), "resident_kib"),
    (|aged| aged.usage.descriptors.map(|open| open as f64), "descriptors"),
    (|aged| Some(aged.usage.files as f64), "files"),
];

/// A ratio of the old log to the young one.
pub(crate) type AgedRatio = fn(&AgedRound) -> Option<f64>;

/// The ratios of appending and memory, with their names in JSON and in the table.
pub(crate) const AGED_RATIOS: [(AgedRatio, &str, &str); 3] = [
    (|round| round.ratio(Aged::cpu_micros), "ratio_of_cpu", "cpu"),
    (|round| round.ratio(Aged::per_second), "ratio_of_rate", "rate"),
    (
        |round| round.ratio(|aged| Some(aged.usage.resident_kib? as f64)),
        "ratio_of_memory",
        "memory",
    ),
];

/// A time of opening.
pub(crate) type OpenFigure = fn(&Opened) -> f64;

/// All times, with their names in JSON and in the table.
pub(crate) const OPEN_FIGURES: [(OpenFigure, &str, &str); 4] = [
    (|it| it.opened, "opened_seconds", "opened-s"),
    (|it| it.recovered, "recovered_seconds", "recovered-s"),
    (|it| it.first, "first_record_seconds", "first-s"),
    (|it| it.last, "last_record_seconds", "last-s"),
];

/// A ratio of opening times where a given share of the records was live.
pub(crate) type OpenRatio = fn(&AgedRound, u64, OpenFigure) -> Option<f64>;

/// The times that are compared per live record, with their names in the table.
pub(crate) const OPEN_RATIOS: [(OpenFigure, &str); 2] =
    [(|it| it.opened, "open"), (|it| it.recovered, "recovery")];

impl Aged {
    /// The median over the turns, so that one turn with a busy disk or neighbour does not determine
    /// the cost of appending.
    fn median(&self, figure: impl Fn(&Appended) -> Option<f64>) -> Option<f64> {
        median(self.appends.iter().map(|turn| figure(turn).filter(|_| turn.records > 0)))
    }

    fn per_second(&self) -> Option<f64> {
        self.median(|turn| Some(turn.records as f64 / turn.seconds.max(f64::MIN_POSITIVE)))
    }

    fn cpu_micros(&self) -> Option<f64> {
        self.median(|turn| Some(turn.cpu_seconds? * 1e6 / turn.records as f64))
    }
}

/// The median of a time over the turns of a round.
pub(crate) fn open_time(openings: &[Opened], figure: OpenFigure) -> Option<f64> {
    median(openings.iter().map(|opened| Some(figure(opened))))
}

/// The median time per live record.
fn per_record(openings: &[Opened], figure: OpenFigure) -> Option<f64> {
    let records = openings.last()?.records;
    (records > 0).then_some(open_time(openings, figure)? / records as f64)
}

fn ratio(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(one? / other.filter(|other| *other > 0.0)?)
}

impl AgedRound {
    /// A figure of the old log as a multiple of the young one's.
    fn ratio(&self, figure: AgedFigure) -> Option<f64> {
        ratio(figure(&self.old), figure(&self.young))
    }

    /// The openings of the old log with this share of its records live.
    pub(crate) fn openings(&self, share: u64) -> &[Opened] {
        if share == 1 {
            return &self.old.openings;
        }
        let part = self.parts.iter().find(|part| part.share == share);
        part.map_or(&[], |part| &part.openings)
    }

    /// The time per live record as a multiple of the young log's.
    pub(crate) fn open_ratio(&self, share: u64, figure: OpenFigure) -> Option<f64> {
        ratio(per_record(self.openings(share), figure), per_record(&self.young.openings, figure))
    }

    /// The time per live record as a multiple of that with the fewest live records: more than 1
    /// means that opening grows faster than the live records.
    pub(crate) fn part_ratio(&self, share: u64, figure: OpenFigure) -> Option<f64> {
        let least = self.parts.last().filter(|part| part.share != share)?;
        ratio(per_record(self.openings(share), figure), per_record(&least.openings, figure))
    }
}

impl AgedRow {
    pub(crate) fn median(&self, figure: impl Fn(&AgedRound) -> Option<f64>) -> Option<f64> {
        median(self.rounds.iter().map(figure))
    }

    /// The shares of live records at the openings of the old log: all, and parts.
    pub(crate) fn shares(&self) -> Vec<u64> {
        let parts = self.rounds.first().map_or(&[][..], |round| &round.parts);
        std::iter::once(1).chain(parts.iter().map(|part| part.share)).collect()
    }

    /// The number of compared records, over both logs, all openings and all rounds.
    pub(crate) fn compared(&self) -> u64 {
        let rounds = self.rounds.iter();
        let openings = rounds.flat_map(|AgedRound { old, young, parts }| {
            let parts = parts.iter().flat_map(|part| &part.openings);
            old.openings.iter().chain(&young.openings).chain(parts)
        });
        openings.map(|opened| opened.records).sum()
    }

    /// The strategies in use, each once.
    pub(crate) fn strategies(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for aged in self.rounds.iter().flat_map(|round| [&round.old, &round.young]) {
            if !names.contains(&&*aged.usage.strategy) {
                names.push(&aged.usage.strategy);
            }
        }
        names.join("+")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::aged::protocol::tests::opened;

    fn aged(cpu_seconds: Option<f64>, resident_kib: u64, opening: Opened) -> Aged {
        let turn = Appended { records: 500, seconds: 0.25, cpu_seconds };
        let usage = Usage {
            resident_kib: Some(resident_kib),
            descriptors: Some(9),
            files: 12,
            strategy: "dsync".to_owned(),
        };
        Aged { appends: vec![turn; 2], usage, openings: vec![opening; 3] }
    }

    /// An old log that uses twice as much of everything, at the same rate.
    pub(crate) fn row() -> AgedRow {
        let part = |share, opened| Part { share, openings: vec![opened; 3] };
        let round = AgedRound {
            old: aged(Some(0.02), 4096, opened(1000, 4.0)),
            young: aged(Some(0.01), 2048, opened(2000, 4.0)),
            parts: vec![part(2, opened(500, 1.5)), part(4, opened(250, 0.5))],
        };
        AgedRow { age: 16, rounds: vec![round] }
    }

    #[test]
    fn ratios_are_of_the_old_log_to_the_young_one() {
        let row = row();
        assert_eq!(AGED_RATIOS.map(|it| row.median(it.0)), [Some(2.0), Some(1.0), Some(2.0)]);
        let cpu_micros = row.median(|round| AGED_FIGURES[1].0(&round.young));
        assert!(cpu_micros.is_some_and(|micros| (micros - 20.0).abs() < 1e-9), "{cpu_micros:?}");
        assert_eq!((row.strategies().as_str(), row.shares()), ("dsync", vec![1, 2, 4]));
        assert_eq!(row.compared(), 3 * (1000 + 2000 + 500 + 250));
    }

    #[test]
    fn time_to_open_is_compared_by_what_is_live() {
        let row = row();
        let round = &row.rounds[0];
        for (figure, _) in OPEN_RATIOS {
            assert_eq!(round.open_ratio(1, figure), Some(2.0));
            assert_eq!(
                [1, 2, 4].map(|share| round.part_ratio(share, figure)),
                [Some(2.0), Some(1.5), None]
            );
        }
    }

    #[test]
    fn one_bad_turn_of_many_changes_no_figure() {
        let mut log = row().rounds[0].old.clone();
        let bad = Appended { records: 500, seconds: 60.0, cpu_seconds: Some(30.0) };
        let (rate, cpu) = (log.per_second(), log.cpu_micros());
        assert_eq!(rate, Some(2000.0));
        log.appends.push(bad);
        assert_eq!((log.per_second(), log.cpu_micros()), (rate, cpu));
        log.appends[0].records = 0;
        assert_eq!((log.per_second(), log.cpu_micros()), (None, None));
    }

    #[test]
    fn a_figure_that_could_not_be_had_has_no_ratio() {
        let mut row = row();
        row.rounds[0].young.appends[1].cpu_seconds = None;
        row.rounds[0].young.usage.resident_kib = None;
        row.rounds[0].parts.clear();
        assert_eq!(AGED_RATIOS.map(|it| row.median(it.0)), [None, Some(1.0), None]);
        assert_eq!(row.median(|round| round.part_ratio(1, OPEN_RATIOS[0].0)), None);
        assert_eq!(row.shares(), [1]);
    }
}
