//! `ringwal append`: many threads append the records that one thread reads.
//!
//! 1. The log is closed in every case, and the first failure decides the exit code.
//! 2. No input is read before the log is open, so a refused option consumes none.

mod args;
mod generate;
mod input;
mod summary;
mod worker;

use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};
use ringwal::Verdict;

use crate::append::generate::generate_records;
use crate::append::input::{CHUNKS_PER_WORKER, Message, read_records};
use crate::append::summary::Summary;
use crate::append::worker::{AppendRun, Tally};
use crate::output::exit::Failure;
use crate::output::losses::tell_losses;
use crate::output::progress::Progress;
use crate::output::stream::{say, stdin};
use crate::util::signal::{Stop, stop_on_signals};

pub(crate) use args::AppendArgs;

/// Runs the command.
pub(crate) fn run(args: &AppendArgs) -> Result<ExitCode, Failure> {
    if args.acks && !args.engine.is_written() {
        return Err(Failure::Request(
            "--acks reports durable records, but --durability queued does not wait for writes: \
             leave one of them out, or use --durability written"
                .to_owned(),
        ));
    }
    let stop = Stop::new();
    stop_on_signals(&stop).map_err(|error| Failure::Setup("signal handlers", error))?;
    let log = args.engine.builder(&args.dir).open()?;
    // Report what opening cut off before anything is appended.
    let found = log.recovery();
    let told = match found.verdict {
        Verdict::Clean | Verdict::Stale => tell_losses(found),
        _ => say(found),
    };
    let progress = Progress::new(args.generate, args.acks);
    let run_state = AppendRun {
        log: &log,
        chunks: start_input(args)?,
        stop: &stop,
        progress: &progress,
        window: args.window,
        acks: args.acks,
    };
    let start = Instant::now();
    let (tally, appended) = append_all(&run_state, args.threads.get());
    let flushed = log.flush();
    let elapsed = start.elapsed();
    let closed = log.close();
    progress.clear();
    let (metrics, backend) = (&log.metrics(), log.backend());
    let (stopped, is_written) = (stop.reason(), args.engine.is_written());
    let summary = Summary { tally: &tally, metrics, backend, elapsed, stopped, is_written };
    let said = say(summary);
    appended?;
    flushed?;
    closed?;
    told?;
    said?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the input thread. It ends when the receivers are gone, or with the process.
fn start_input(args: &AppendArgs) -> Result<Receiver<Message>, Failure> {
    let (sender, receiver) = bounded(CHUNKS_PER_WORKER * args.threads.get());
    let input = thread::Builder::new().name("input".into());
    let started = match args.generate {
        Some(count) => {
            let size = args.size;
            input.spawn(move || generate_records(count, size, &sender))
        }
        None => {
            let framing = args.framing;
            input.spawn(move || read_records(stdin(), framing, &sender))
        }
    };
    started.map_err(|error| Failure::Setup("thread for the input", error))?;
    Ok(receiver)
}

/// Runs `threads` workers to their end. Returns their combined tally and the first failure.
fn append_all(run_state: &AppendRun<'_>, threads: usize) -> (Tally, Result<(), Failure>) {
    thread::scope(|scope| {
        let mut result = Ok(());
        let mut workers = Vec::with_capacity(threads);
        for number in 0..threads {
            let worker = thread::Builder::new().name(format!("append-{number}"));
            match worker.spawn_scoped(scope, || worker::run(run_state)) {
                Ok(worker) => workers.push(worker),
                Err(error) => {
                    run_state.stop.stop("a failure");
                    result = Err(Failure::Setup("thread to append", error));
                    break;
                }
            }
        }
        let mut tally = Tally::new();
        for worker in workers {
            match worker.join() {
                Ok((part, ended)) => {
                    tally.add(&part);
                    result = result.and(ended);
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        (tally, result)
    })
}
