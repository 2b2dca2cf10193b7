//! `ringwal`: append to a log, read it, recover it, check it and measure it, from a shell.
//!
//! ```text
//! stdin | --generate ─► input ─► chunks ─► N workers ─► Log ─► acks on stdout, summary on stderr
//!                                (append)
//! DIR ─► Reader ─► records on stdout          (dump, recover)
//! DIR ─► report on stderr or as JSON          (recover, verify)
//! DIR of another crate ─► a new directory, report on stderr   (import)
//! DIR ─► NEWDIR, a copy of it                 (backup)
//! a log and raw files, interleaved ─► a table on stdout, and JSON  (bench)
//! generated records | FILES ─► DataWal, restarted and killed ─► lines on stdout, CSV, SVG  (soak)
//! ```
//!
//! 1. An acknowledgement is printed only after the log has reported the record durable.
//! 2. `dump`, `verify` and `backup` do not modify the log and take no lock, so they can run beside
//!    a live writer.
//! 3. Standard output carries data; standard error carries messages for people.
//! 4. All access to the standard streams goes through `output::stream`, which also documents how
//!    their errors are handled.
//!
//! The command uses only the public API of the crate.
//!
//! `cli` is on top and names every command. Each command has a file or a folder of its own and
//! imports no other command. What they share lies below them: `output`, then `options`, then
//! `util` (checked in `tests/tidy/circles.rs`).

mod append;
mod backup;
mod bench;
mod cli;
mod dump;
mod import;
mod options;
mod output;
mod recover;
mod soak;
mod util;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::Args;
use output::refused;
use output::stream::say_also;
use util::system;

fn main() -> ExitCode {
    system::ignore_file_size_signal();
    let result = match Args::try_parse() {
        Ok(args) => args.command.run(),
        Err(error) => refused::tell(&error, Args::command()).map(ExitCode::from),
    };
    result.unwrap_or_else(|failure| {
        say_also(format_args!("ringwal: {failure}"));
        ExitCode::from(failure.code())
    })
}
