//! `ringwal soak`: uses a key-value log for hours and checks everything it should hold.
//!
//! ```text
//! generator ─► workload ─► writer, here or in a process that is killed ─► store
//!                 │                     │ replies
//!                 ▼                     ▼
//!              oracle ──── compared with every reply, and with the store after each restart
//! ```
//!
//! | folder | content |
//! |---|---|
//! | `workload` | the operations of a seed, their records, and the oracle with the right answers |
//! | `run` | cycles of the store, its writer (local or a child process), and the checks |
//! | `report` | the time series, its bounds, its plot, the printed lines |
//!
//! 1. *Answers*: a get returns the last value put, or nothing after a delete. A delete finds its
//!    key. No operation fails.
//! 2. *Restarts*: after a clean close, every key and value is there, and no other.
//! 3. *Kills*: every acknowledged operation survives, flushed or not, because a put survives the
//!    death of its process. Of the unanswered operations, a prefix has happened and nothing else.
//! 4. *Bounds*: memory, descriptors and segments do not grow from the first half of the run to the
//!    second.
//!
//! It does not test power loss, which takes a simulated disk or a power switch.

mod args;
mod report;
mod run;
mod workload;

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::output::exit::Failure;
use crate::output::stream::say_also;
use crate::soak::report::lines::{output_failure, say};
use crate::soak::report::time_series::TimeSeries;
use crate::soak::report::{bounds, plot};
use crate::soak::run::Run;
use crate::soak::run::writer::open_store;
use crate::soak::workload::Workload;
use crate::soak::workload::generator::Generator;
use crate::util::signal::{Stop, stop_on_signals};

pub(crate) use args::{SoakArgs, WriterArgs};
pub(crate) use run::child::run as run_writer;

/// Runs the command.
pub(crate) fn run(args: &SoakArgs) -> Result<ExitCode, Failure> {
    args.check_rows()?;
    let generator = Generator::new(args.files()?)?;
    let stop = Stop::new();
    stop_on_signals(&stop).map_err(|error| Failure::Setup("signal handlers", error))?;
    let seed = match args.seed {
        Some(seed) => seed,
        None => getrandom::u64()
            .map_err(|error| Failure::Setup("a seed", io::Error::other(error.to_string())))?,
    };
    let dir = args.work_dir.join("store");
    for dir in [&args.log_dir, &args.work_dir] {
        fs::create_dir_all(dir).map_err(|error| Failure::Raw(dir.clone(), error))?;
    }
    fs::create_dir(&dir).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::Request(format!(
            "{}: the store of an earlier run is there: remove it, or give another --work-dir",
            dir.display()
        )),
        _ => Failure::Raw(dir.clone(), error),
    })?;
    let csv = args.log_dir.join("soak.csv");
    let series = TimeSeries::create(csv.clone()).map_err(|error| Failure::Raw(csv, error))?;
    let store = open_store(&dir, &args.store).inspect_err(|_| {
        // A run that did not begin leaves nothing in the way of the next one.
        let _kept = fs::remove_dir(&dir);
    })?;
    say(format_args!("soak of {} with --seed {seed}\n{}", dir.display(), store.backend()));

    let workload = Workload::new(seed, generator, args.compact_every);
    let mut run = Run::new(args, &dir, &stop, (seed, workload, series));
    let cycles = run.run_cycles(store);
    let finished = finish(&mut run, &args.log_dir);
    if let Some(reason) = stop.reason() {
        say(format_args!("ended early by {reason}"));
    }
    match cycles.and_then(|keys| finished.map(|()| keys)) {
        Ok(keys) => {
            say(format_args!("clean: {keys} keys and their values are what they should be"));
            fs::remove_dir_all(&dir).map_err(|error| Failure::Raw(dir, error))?;
            match output_failure() {
                Some(failure) => Err(failure),
                None => Ok(ExitCode::SUCCESS),
            }
        }
        Err(failure) => {
            let dir = dir.display();
            say_also(format_args!("ringwal: the store stays in {dir}; the seed was {seed}"));
            Err(failure)
        }
    }
}

/// Writes the last row and the plot, and checks the bounds.
fn finish(run: &mut Run<'_>, log_dir: &Path) -> Result<(), Failure> {
    run.add_row()?;
    let (operations, digest) = run.operations();
    say(format_args!("operations: {operations}, digest {digest}"));
    let svg = log_dir.join("soak.svg");
    let drawn = plot::draw(&svg, &run.series.rows);
    drawn.map_err(|error| Failure::Raw(svg, io::Error::other(error.to_string())))?;
    let bounds = match bounds::bounds(&run.series.rows) {
        Ok(bounds) => bounds,
        Err(reason) => {
            say(format_args!("bounds: not judged, {reason}"));
            return Ok(());
        }
    };
    bounds.iter().for_each(|bound| say(format_args!("bound: {bound}")));
    let broken = bounds.iter().filter(|bound| !bound.holds()).map(ToString::to_string);
    let broken: Vec<_> = broken.collect();
    if broken.is_empty() { Ok(()) } else { Err(Failure::Invariant(broken.join("; "))) }
}
