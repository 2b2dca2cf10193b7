//! `ringwal bench`: a log beside the raw limits of its file system, in one run.
//!
//! ```text
//! round 1: floors of case 1, case 1 │ floors of case 2, case 2 │ ... │ bandwidths
//! round 2: the same, and so on; then medians over rounds, ratios within rounds
//! age: an old log and a young one, by turns
//! recovery: a raw read of a log's files, the log opened and read, and so on
//! ```
//!
//! 1. No figure of a log is shown unless all that it acknowledged was compared after the log was
//!    opened again; one record that differs is an error, and no table is printed.
//! 2. A floor runs at most once in a round, right before the first case that is compared with it.
//! 3. The files of the raw limits have their blocks before they are measured, and a log has its
//!    segments: as many as it was told to hold ready.
//! 4. Everything happens in a directory of its own that is removed at the end, except after a
//!    mismatch: then the log stays for whoever looks into it.
//! 5. It uses the public API of the crate, as a service would, and no unsafe code.
//!
//! Threading: the floors and the rings run on the main thread, the appends on threads of their
//! own, logs that age in processes of their own.

mod aged;
mod args;
mod baseline;
mod load;
mod machine;
mod records;
mod recovery;
mod report;
mod sample;
mod scratch;
mod setting;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use ringwal::BackendKind;
use ringwal::io::{QueueOptions, StdStorage, Strategy, open_queue};

use crate::bench::aged::{AgeResult, AgeRow, Plan};
use crate::bench::args::Case;
use crate::bench::baseline::files::remove_dir;
use crate::bench::baseline::raw::{Floor, RawFiles};
use crate::bench::baseline::ring::Ring;
use crate::bench::machine::cache_drop::Cold;
use crate::bench::machine::{Device, Hogs};
use crate::bench::recovery::Recoverable;
use crate::bench::report::results::{
    CaseResult, CaseRound, RecoveryResult, Results, floors_of, ideal, pwrite,
};
use crate::bench::report::{json, table};
use crate::bench::sample::{Figure, Sample};
use crate::bench::scratch::Scratch;
use crate::bench::setting::Setting;
use crate::output::exit::Failure;
use crate::output::json::exact;
use crate::output::progress::Progress;
use crate::output::stream::{print, say_also};
use crate::util::signal::{Stop, stop_on_signals};

pub(crate) use args::BenchArgs;

/// Runs it.
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode, Failure> {
    if let Some(dir) = &args.life {
        return aged::run_process(args, dir);
    }
    let (cases, recoveries, plans) = (args.cases()?, args.recoveries()?, args.plans()?);
    let stop = Stop::new();
    stop_on_signals(&stop).map_err(|error| Failure::Setup("signal handlers", error))?;
    let mut scratch = Scratch::new(args.dir.as_deref())?;
    let device = Device::below(scratch.path());
    // What cannot be written should be known before minutes of measuring; what is there already
    // stays until there is something to replace it.
    let mut options = File::options();
    let open = |path: &PathBuf| {
        let file = options.write(true).create(true).truncate(false).open(path);
        file.map_err(|error| Failure::Raw(path.clone(), error))
    };
    let json = args.json.as_ref().map(open).transpose()?;
    let cold = Cold::here(args.drop_caches);
    let (engine, duration) = (&args.engine, args.secs);
    let setting = Setting { engine, device: &device, stop: &stop, duration, cold };
    let mut bench = Bench::new(&setting, scratch.path(), &cases, args.floors)?;
    let recovered_bytes = args.recovered_bytes();
    let hogs = Hogs::start(args.hogs)?;
    let measured = bench
        .measure(&cases, args.rounds)
        .and_then(|()| bench.measure_recoveries(&recoveries, (args.rounds, recovered_bytes)))
        .and_then(|()| bench.measure_ages(plans, args.rounds));
    drop(hogs);
    if measured.as_ref().is_err_and(Failure::is_evidence) {
        scratch.keep();
        say_also(format_args!("ringwal: the log stays in {}", scratch.path().display()));
    }
    measured?;
    let Bench { results, files, filesystem, .. } = bench;
    let not_direct = files.not_direct.as_deref();
    let table = table::Table {
        results: &results,
        device: &device,
        filesystem: &filesystem,
        not_direct,
        cold,
        rounds: args.rounds,
        secs: args.secs.as_secs_f64(),
        hogs: args.hogs,
    };
    let printed = print(table);
    if let (Some(path), Some(mut file)) = (&args.json, json) {
        let context =
            json::Context { args, device: &device, filesystem: &filesystem, not_direct, cold };
        let text = format!("{:#}\n", exact(json::to_json(&context, &results)));
        replace(&mut file, &text).map_err(|error| Failure::Raw(path.clone(), error))?;
    }
    printed?;
    Ok(ExitCode::SUCCESS)
}

/// Writes `text` in place of what a file has; a stream has nothing to be replaced.
fn replace(file: &mut File, text: &str) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())
}

/// A run.
struct Bench<'a> {
    setting: &'a Setting<'a>,
    dir: PathBuf,
    with_floors: bool,
    files: RawFiles,
    linked: Option<Ring>,
    dsync: Option<Ring>,
    results: Results,
    filesystem: String,
    /// Counts the measurements of logs, so that each appends bytes of its own.
    run: u64,
}

impl<'a> Bench<'a> {
    /// Prepares the raw files.
    fn new(
        setting: &'a Setting<'a>,
        dir: &Path,
        cases: &[Case],
        with_floors: bool,
    ) -> Result<Bench<'a>, Failure> {
        let most = |of: fn(&Case) -> usize| cases.iter().map(of).max().unwrap_or(1);
        let files = RawFiles::new(dir, most(|case| case.outstanding() * case.size))?;
        let (depth, size) = (most(|case| case.threads), most(|case| case.size));
        let mut results = Results::default();
        let mut ring = |strategy, floor: Floor| {
            Ok::<_, Failure>(match Ring::new(dir, strategy, depth, size)? {
                Ok(ring) => Some(ring),
                Err(reason) => {
                    results.left_out.push((floor.name(), reason));
                    None
                }
            })
        };
        let linked = ring(Strategy::LinkedFsync, Floor::Linked { depth, size })?;
        let dsync = ring(Strategy::Dsync, Floor::Dsync { depth, size })?;
        results.cases = cases.iter().map(|&case| CaseResult { case, rounds: Vec::new() }).collect();
        let options = QueueOptions { kind: BackendKind::Std, ..QueueOptions::default() };
        let storage = Arc::new(StdStorage::new(dir));
        let filesystem = open_queue(storage, &options, "raw-std")?.1.filesystem;
        let dir = dir.to_path_buf();
        Ok(Bench { setting, dir, with_floors, files, linked, dsync, results, filesystem, run: 0 })
    }

    fn measure(&mut self, cases: &[Case], rounds: u32) -> Result<(), Failure> {
        let progress = Progress::of_measurements(u64::from(rounds) * cases.len() as u64);
        let measured = (0..rounds as usize).try_for_each(|round| {
            for (at, case) in cases.iter().enumerate() {
                for floor in floors_of(case) {
                    self.measure_floor(floor, round)?;
                }
                let found = self.measure_case(case, round)?;
                self.results.cases[at].rounds.push(found);
                progress.add(1);
            }
            self.measure_floor(Floor::SequentialWrite, round)?;
            self.measure_floor(Floor::SequentialRead, round)
        });
        progress.clear();
        measured
    }

    /// Measures a floor, unless none is asked for, it was in this round, or it cannot be.
    fn measure_floor(&mut self, floor: Floor, round: usize) -> Result<(), Failure> {
        if !self.with_floors || self.results.has_floor(&floor, round) {
            return Ok(());
        }
        let warm_up = self.setting.warm_up();
        if floor.is_synced() && self.floor_sample(&floor, &warm_up)?.is_none() {
            return Ok(());
        }
        let Some(sample) = self.floor_sample(&floor, self.setting)? else { return Ok(()) };
        let judged = floor.is_synced() && self.setting.device.counts_every_flush();
        let unexplained = if judged { sample.is_unexplained(floor.outstanding()) } else { None };
        self.results.add_floor(floor, sample, unexplained);
        Ok(())
    }

    /// Recovers a log of `bytes` for each size, once a round.
    fn measure_recoveries(
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

    /// Lets a log grow old for each plan and age, once a round, beside a young one.
    fn measure_ages(&mut self, plans: Vec<Plan>, rounds: u32) -> Result<(), Failure> {
        let per_round: usize = plans.iter().map(|plan| plan.ages.len()).sum();
        let progress = Progress::of_measurements(u64::from(rounds) * per_round as u64);
        let result = |plan: Plan| {
            let rows = plan.ages.iter().map(|&age| AgeRow { age, rounds: Vec::new() });
            AgeResult { rows: rows.collect(), plan }
        };
        self.results.ages = plans.into_iter().map(result).collect();
        let measured = (0..rounds).try_for_each(|_| {
            for AgeResult { plan, rows } in &mut self.results.ages {
                for row in rows {
                    self.run += 1;
                    let which = (self.run, row.age);
                    row.rounds.push(aged::measure(self.setting, &self.dir, plan, which)?);
                    progress.add(1);
                }
            }
            Ok(())
        });
        progress.clear();
        measured
    }

    /// A measurement of a floor, `None` if there is no ring for it.
    fn floor_sample(
        &mut self,
        floor: &Floor,
        setting: &Setting<'_>,
    ) -> Result<Option<Sample>, Failure> {
        let (ring, depth, size) = match *floor {
            Floor::Dsync { depth, size } => (&mut self.dsync, depth, size),
            Floor::Linked { depth, size } => (&mut self.linked, depth, size),
            _ => return self.files.measure(setting, floor).map(Some),
        };
        ring.as_mut().map(|ring| ring.measure(setting, depth, size)).transpose()
    }

    fn measure_case(&mut self, case: &Case, round: usize) -> Result<CaseRound, Failure> {
        self.run += 1;
        let dir = self.dir.join("log");
        let loaded = load::measure(self.setting, case, &dir, self.run)?;
        remove_dir(&dir)?;
        let judged = self.setting.engine.is_synced() && self.setting.device.counts_every_flush();
        let own = loaded.sample.figure(Figure::PerSecond);
        let ratio = |floor| {
            let rate = self.results.rate(&floor, round).filter(|rate| *rate > 0.0)?;
            Some(own? / rate)
        };
        Ok(CaseRound {
            to_floor: ratio(pwrite(case)),
            to_ideal: ratio(ideal(case)),
            unexplained: judged.then(|| loaded.sample.is_unexplained(case.outstanding())).flatten(),
            sample: loaded.sample,
            compared: loaded.compared,
            backend: loaded.backend,
            metrics: loaded.metrics,
        })
    }
}
