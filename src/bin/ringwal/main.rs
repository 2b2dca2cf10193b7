//! `ringwal`: append to a log, read it, recover it, check it and measure it, from a shell.
//!
//! ```text
//! stdin | --generate ─► input ─► chunks ─► N workers ─► Log ─► acks on stdout, summary on stderr
//!                                (append)
//! DIR ─► Reader ─► records on stdout          (dump, recover)
//! DIR ─► report on stderr or as JSON          (recover, verify)
//! DIR of another crate ─► a new directory, report on stderr   (import)
//! DIR ─► NEWDIR, a copy of it                 (backup)
//! a log and raw files, in turn ─► a table on stdout, and JSON  (bench)
//! made-up records | FILES ─► DataWal, restarted and killed ─► lines on stdout, CSV, SVG  (soak)
//! ```
//!
//! 1. An acknowledgement is printed after the log said that the record is durable, never before.
//! 2. `dump`, `verify` and `backup` change nothing of a log and take no lock: they work beside a
//!    live writer.
//! 3. Standard output carries data, standard error everything for people.
//!
//! 4. They are read and written in `stream` alone: see there what becomes of their errors.
//!
//! It uses the public API of the crate and nothing else.

mod append;
mod args;
mod backup;
mod bench;
mod dump;
mod exit;
mod generate;
mod import;
mod input;
mod json;
mod losses;
mod output;
mod place;
mod process;
mod progress;
mod recover;
mod refused;
mod signal;
mod soak;
mod stream;
mod summary;
mod system;
mod verify;
mod worker;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

fn main() -> ExitCode {
    system::ignore_file_size_signal();
    let result = match args::Args::try_parse() {
        Ok(args) => run(args),
        Err(error) => refused::tell(&error, args::Args::command()).map(ExitCode::from),
    };
    result.unwrap_or_else(|failure| failure.report())
}

fn run(args: args::Args) -> Result<ExitCode, exit::Failure> {
    match args.command {
        args::Command::Append(args) => append::run(&args),
        args::Command::Dump(args) => dump::run(&args),
        args::Command::Recover(args) => recover::run(&args),
        args::Command::Verify(args) => verify::run(&args),
        args::Command::Import(args) => import::run(&args),
        args::Command::Backup(args) => backup::run(&args),
        args::Command::Bench(args) => bench::run(&args),
        args::Command::Soak(args) => soak::run(&args),
        args::Command::SoakWriter(args) => soak::run_writer(&args),
    }
}
