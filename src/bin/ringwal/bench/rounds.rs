//! Measures everything that a run asks for, round by round.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ringwal::BackendKind;
use ringwal::io::{QueueOptions, StdStorage, Strategy, open_queue};

use crate::bench::aged::{AgedResult, AgedRow, Plan, measure as measure_aged};
use crate::bench::args::Case;
use crate::bench::baseline::raw::{Baseline, RawFiles};
use crate::bench::baseline::ring::Ring;
use crate::bench::load::{HandResult, LoadResult, measure as measure_load, measure_by_hand};
use crate::bench::recovery::Recoverable;
use crate::bench::report::results::{
    CaseResult, CaseRound, HandRound, RecoveryResult, Results, baselines_of, batch_bound, pwrite,
};
use crate::bench::sample::{Figure, Sample};
use crate::bench::scratch::remove_dir;
use crate::bench::setting::Setting;
use crate::output::exit::Failure;
use crate::output::progress::Progress;

/// What is measured beside the logs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside {
    /// The raw limits of the file system.
    pub(crate) baselines: bool,
    /// The log by hand.
    pub(crate) hand: bool,
    /// The same log on the std backend.
    pub(crate) std: bool,
}

/// A run of the benchmark.
pub(crate) struct Bench<'a> {
    setting: &'a Setting<'a>,
    dir: PathBuf,
    beside: Beside,
    pub(crate) files: RawFiles,
    linked: Option<Ring>,
    dsync: Option<Ring>,
    pub(crate) results: Results,
    pub(crate) filesystem: String,
    /// Counts the measurements of logs, so that each appends different bytes.
    run: u64,
}

impl<'a> Bench<'a> {
    /// Prepares the baseline files.
    pub(crate) fn new(
        setting: &'a Setting<'a>,
        dir: &Path,
        cases: &[Case],
        beside: Beside,
    ) -> Result<Bench<'a>, Failure> {
        let most = |of: fn(&Case) -> usize| cases.iter().map(of).max().unwrap_or(1);
        let files = RawFiles::new(dir, most(|case| case.outstanding() * case.size))?;
        let (depth, size) = (most(Case::ring_depth), most(|case| case.size));
        let mut results = Results::default();
        let mut ring = |strategy, baseline: Baseline| {
            Ok::<_, Failure>(match Ring::new(dir, strategy, depth, size)? {
                Ok(ring) => Some(ring),
                Err(reason) => {
                    results.left_out.push((baseline.name(), reason));
                    None
                }
            })
        };
        let linked = ring(Strategy::LinkedFsync, Baseline::Linked { depth, size })?;
        let dsync = ring(Strategy::Dsync, Baseline::Dsync { depth, size })?;
        results.cases = cases.iter().map(|&case| CaseResult { case, rounds: Vec::new() }).collect();
        let options = QueueOptions { kind: BackendKind::Std, ..QueueOptions::default() };
        let storage = Arc::new(StdStorage::new(dir));
        let filesystem = open_queue(storage, &options, "raw-std")?.1.filesystem;
        let dir = dir.to_path_buf();
        Ok(Bench { setting, dir, beside, files, linked, dsync, results, filesystem, run: 0 })
    }

    pub(crate) fn measure(&mut self, cases: &[Case], rounds: u32) -> Result<(), Failure> {
        let progress = Progress::of_measurements(u64::from(rounds) * cases.len() as u64);
        let measured = (0..rounds as usize).try_for_each(|round| {
            for (at, case) in cases.iter().enumerate() {
                for baseline in baselines_of(case) {
                    self.measure_baseline(baseline, round)?;
                }
                let found = self.measure_case(case, round)?;
                self.results.cases[at].rounds.push(found);
                progress.add(1);
            }
            self.measure_baseline(Baseline::SequentialWrite, round)?;
            self.measure_baseline(Baseline::SequentialRead, round)
        });
        progress.clear();
        measured
    }

    /// Measures a baseline, unless baselines are off, it was measured in this round, or it is
    /// unavailable.
    fn measure_baseline(&mut self, baseline: Baseline, round: usize) -> Result<(), Failure> {
        if !self.beside.baselines || self.results.has_baseline(&baseline, round) {
            return Ok(());
        }
        let warm_up = self.setting.warm_up();
        if baseline.is_synced() && self.baseline_sample(&baseline, &warm_up)?.is_none() {
            return Ok(());
        }
        let Some(sample) = self.baseline_sample(&baseline, self.setting)? else { return Ok(()) };
        let judged = baseline.is_synced() && self.setting.device.counts_every_flush();
        let unexplained = if judged { sample.is_unexplained(baseline.outstanding()) } else { None };
        self.results.add_baseline(baseline, sample, unexplained);
        Ok(())
    }

    /// Recovers a log of `bytes` for each size, once per round.
    pub(crate) fn measure_recoveries(
        &mut self,
        sizes: &[usize],
        (rounds, bytes): (u32, u64),
    ) -> Result<(), Failure> {
        let progress = Progress::of_measurements(u64::from(rounds) * sizes.len() as u64);
        let measured = sizes.iter().try_for_each(|&size| {
            self.run += 1;
            let dir = self.dir.join("log");
            let log = Recoverable::fill(self.setting, &dir, self.run, (bytes, size))?;
            let mut result = RecoveryResult { size, rounds: Vec::new() };
            for _ in 0..rounds {
                result.rounds.push(log.measure(self.setting)?);
                progress.add(1);
            }
            self.results.recoveries.push(result);
            remove_dir(&dir)
        });
        progress.clear();
        measured
    }

    /// Ages a log for each plan and age, once per round, beside a young one.
    pub(crate) fn measure_ages(&mut self, plans: Vec<Plan>, rounds: u32) -> Result<(), Failure> {
        let per_round: usize = plans.iter().map(|plan| plan.ages.len()).sum();
        let progress = Progress::of_measurements(u64::from(rounds) * per_round as u64);
        let result = |plan: Plan| {
            let rows = plan.ages.iter().map(|&age| AgedRow { age, rounds: Vec::new() });
            AgedResult { rows: rows.collect(), plan }
        };
        self.results.ages = plans.into_iter().map(result).collect();
        let measured = (0..rounds).try_for_each(|_| {
            for AgedResult { plan, rows } in &mut self.results.ages {
                for row in rows {
                    self.run += 1;
                    let which = (self.run, row.age);
                    row.rounds.push(measure_aged(self.setting, &self.dir, plan, which)?);
                    progress.add(1);
                }
            }
            Ok(())
        });
        progress.clear();
        measured
    }

    /// Measures a baseline; `None` if its ring is unavailable.
    fn baseline_sample(
        &mut self,
        baseline: &Baseline,
        setting: &Setting<'_>,
    ) -> Result<Option<Sample>, Failure> {
        let (ring, depth, size) = match *baseline {
            Baseline::Dsync { depth, size } => (&mut self.dsync, depth, size),
            Baseline::Linked { depth, size } => (&mut self.linked, depth, size),
            _ => return self.files.measure(setting, baseline).map(Some),
        };
        ring.as_mut().map(|ring| ring.measure(setting, depth, size)).transpose()
    }

    /// Measures the log and the one by hand, in turns the one or the other first.
    fn measure_case(&mut self, case: &Case, round: usize) -> Result<CaseRound, Failure> {
        let early = if round % 2 == 1 { self.measure_by_hand(case)? } else { None };
        let loaded = self.measure_log(case, None)?;
        let on_std = match self.beside.std {
            true => Some(self.measure_log(case, Some(BackendKind::Std))?.sample),
            false => None,
        };
        let by_hand = if round % 2 == 1 { early } else { self.measure_by_hand(case)? };
        let rate = |sample: &Sample| sample.figure(Figure::PerSecond).filter(|rate| *rate > 0.0);
        let to = |rate: Option<f64>| Some(loaded.sample.figure(Figure::PerSecond)? / rate?);
        let raw = |baseline| self.results.rate(&baseline, round).filter(|rate| *rate > 0.0);
        let floor = raw(pwrite(case));
        let flushes = |time: Duration| Some(time.as_secs_f64() * floor?);
        Ok(CaseRound {
            to_baseline: to(floor),
            to_batch_bound: to(raw(batch_bound(case))),
            to_hand: to(by_hand.as_ref().and_then(|it| rate(&it.sample))),
            to_prepared: to(self.results.prepared(case, round).and_then(rate)),
            to_std: to(on_std.as_ref().and_then(rate)),
            first_append_flushes: loaded.first_append.and_then(flushes),
            unexplained: self.is_unexplained(case, &loaded.sample),
            sample: loaded.sample,
            compared: loaded.compared,
            backend: loaded.backend,
            metrics: loaded.metrics,
            by_hand,
            on_std,
        })
    }

    fn measure_log(
        &mut self,
        case: &Case,
        backend: Option<BackendKind>,
    ) -> Result<LoadResult, Failure> {
        self.run += 1;
        let dir = self.dir.join("log");
        let loaded = measure_load(self.setting, case, (&dir, self.run), backend)?;
        remove_dir(&dir)?;
        Ok(loaded)
    }

    fn measure_by_hand(&mut self, case: &Case) -> Result<Option<HandRound>, Failure> {
        if !self.beside.hand {
            return Ok(None);
        }
        self.run += 1;
        let dir = self.dir.join("by-hand");
        std::fs::create_dir(&dir).map_err(|error| Failure::Raw(dir.clone(), error))?;
        let HandResult { sample, compared } =
            measure_by_hand(self.setting, case, (&dir.join("records"), self.run))?;
        remove_dir(&dir)?;
        let unexplained = self.is_unexplained(case, &sample);
        Ok(Some(HandRound { sample, compared, unexplained }))
    }

    /// Whether the flushes of the device cannot explain a rate, where that can be judged.
    fn is_unexplained(&self, case: &Case, sample: &Sample) -> Option<bool> {
        let judged = self.setting.engine.is_synced() && self.setting.device.counts_every_flush();
        judged.then(|| sample.is_unexplained(case.outstanding())).flatten()
    }
}
