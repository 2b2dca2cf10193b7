//! `ringwal bench`: measures a log against the raw limits of its file system, and against the log
//! that one would write by hand, in one run.
//!
//! ```text
//! round 1: baselines of case 1, case 1, by hand │ baselines of case 2, ... │ ... │ bandwidths
//! round 2: the same, and so on; then medians over rounds, ratios within rounds
//! age: an old log and a young one, interleaved
//! recovery: a raw read of a log's files, the log opened and read, and so on
//! ```
//!
//! 1. No figure of a log is shown unless every acknowledged record was compared after the log was
//!    reopened. One record that differs is an error, and no table is printed.
//! 2. A baseline runs at most once per round, right before the first case that is compared with it.
//! 3. The blocks of the baseline files are allocated before they are measured, and a log has
//!    prepared its segments: as many as it is configured to hold.
//! 4. Everything happens in a scratch directory that is removed at the end, except after a
//!    mismatch: then the log is kept for inspection.
//! 5. It uses the public API of the crate, as a service would, and no unsafe code.
//!
//! Threading: the baselines run on the main thread, appends on threads of their own, aged logs in
//! processes of their own.

mod aged;
mod args;
mod baseline;
mod load;
mod machine;
mod records;
mod recovery;
mod report;
mod rounds;
mod sample;
mod scratch;
mod setting;

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::bench::machine::cache_drop::CacheDrop;
use crate::bench::machine::{BackgroundLoad, Device};
use crate::bench::report::{json, table};
use crate::bench::rounds::{Bench, Beside};
use crate::bench::scratch::Scratch;
use crate::bench::setting::Setting;
use crate::output::exit::Failure;
use crate::output::json::exact;
use crate::output::stream::{print, say_also};
use crate::util::signal::{Stop, stop_on_signals};

pub(crate) use args::BenchArgs;

/// Runs the command.
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode, Failure> {
    if let Some(dir) = &args.aged_log {
        return aged::run_process(args, dir);
    }
    let (cases, recoveries, plans) = (args.cases()?, args.recoveries()?, args.plans()?);
    let stop = Stop::new();
    stop_on_signals(&stop).map_err(|error| Failure::Setup("signal handlers", error))?;
    let mut scratch = Scratch::new(args.dir.as_deref())?;
    let device = Device::below(scratch.path());
    // Find out before minutes of measuring that the file cannot be written. Its old content stays
    // until there are results to replace it.
    let mut options = File::options();
    let open = |path: &PathBuf| {
        let file = options.write(true).create(true).truncate(false).open(path);
        file.map_err(|error| Failure::Raw(path.clone(), error))
    };
    let json = args.json.as_ref().map(open).transpose()?;
    let cache_drop = CacheDrop::best(args.drop_caches);
    let (engine, duration) = (&args.engine, args.secs);
    let setting = Setting { engine, device: &device, stop: &stop, duration, cache_drop };
    let beside = Beside { baselines: args.baselines, hand: args.by_hand, std: args.beside_std };
    let mut bench = Bench::new(&setting, scratch.path(), &cases, beside)?;
    let recovered_bytes = args.recovered_bytes();
    let background = BackgroundLoad::start(args.background)?;
    let measured = bench
        .measure(&cases, args.rounds)
        .and_then(|()| bench.measure_recoveries(&recoveries, (args.rounds, recovered_bytes)))
        .and_then(|()| bench.measure_ages(plans, args.rounds));
    drop(background);
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
        cache_drop,
        rounds: args.rounds,
        secs: args.secs.as_secs_f64(),
        background: args.background,
    };
    let printed = print(table);
    if let (Some(path), Some(mut file)) = (&args.json, json) {
        let context = json::Context {
            args,
            device: &device,
            filesystem: &filesystem,
            not_direct,
            cache_drop,
        };
        let text = format!("{:#}\n", exact(json::to_json(&context, &results)));
        replace(&mut file, &text).map_err(|error| Failure::Raw(path.clone(), error))?;
    }
    printed?;
    Ok(ExitCode::SUCCESS)
}

/// Replaces the content of a file with `text`; a stream has no content to replace.
fn replace(file: &mut File, text: &str) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())
}
