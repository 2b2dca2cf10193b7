//! The command line: the commands, their exit codes, and the module that runs each.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::append::AppendArgs;
use crate::backup::BackupArgs;
use crate::bench::BenchArgs;
use crate::dump::DumpArgs;
use crate::import::ImportArgs;
use crate::output::exit::Failure;
use crate::recover::RecoverArgs;
use crate::soak::{SoakArgs, WriterArgs};
use crate::verify::VerifyArgs;
use crate::{append, backup, bench, dump, import, recover, soak, verify};

const EXIT_CODES: &str = "\
Exit codes, the same for every command:
  0  Done. This includes: a torn tail, which was never acknowledged; append or soak ended early
     by a signal; standard output or error closed by its reader.
  1  Failed. Damaged log; failing or full disk; refused backend; log in use; input that cannot
     be read or does not have the stated framing; standard output or error fails; the reader of
     acknowledgements is gone; soak found a broken invariant; a signal ended bench.
  2  The request is wrong, and nothing was changed. Unknown option or value out of range; not a
     log, a missing shard, a log of a newer version or, for append, of a kind other than raw; a
     path that does not exist or cannot be read; a new directory that is not empty.";

/// A write-ahead log from the shell: append, dump, recover, verify, import, backup, bench, soak.
#[derive(Debug, Parser)]
#[command(name = "ringwal", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Append records from standard input, or generated ones, and acknowledge them once durable.
    Append(AppendArgs),
    /// Print the records of a log in order; works beside a live writer and changes nothing.
    Dump(DumpArgs),
    /// Open a log of any kind as a service would, recovering it (or creating it), and print the
    /// report.
    Recover(RecoverArgs),
    /// Read everything, change nothing, print the report.
    Verify(VerifyArgs),
    /// Copy the records of another crate's log into a new directory; the old one is not changed.
    Import(ImportArgs),
    /// Copy a log into a new directory that opens as a log; works beside a live writer and does not
    /// change the log.
    Backup(BackupArgs),
    /// Measure a log against the raw limits of its file system in one run, and check every
    /// acknowledged record.
    Bench(BenchArgs),
    /// Use a key-value log for hours, with restarts and kills, and check everything it should hold.
    Soak(SoakArgs),
    /// The writer that `soak --kill` kills.
    #[command(hide = true)]
    SoakWriter(WriterArgs),
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    ///
    /// The failure that ends it; its exit code is [`Failure::code`].
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        match self {
            Command::Append(args) => append::run(args),
            Command::Dump(args) => dump::run(args),
            Command::Recover(args) => recover::run(args),
            Command::Verify(args) => verify::run(args),
            Command::Import(args) => import::run(args),
            Command::Backup(args) => backup::run(args),
            Command::Bench(args) => bench::run(args),
            Command::Soak(args) => soak::run(args),
            Command::SoakWriter(args) => soak::run_writer(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Args::command().debug_assert();
        assert!(Args::try_parse_from(["ringwal", "append", "d", "--generate", "3"]).is_ok());
        assert!(Args::try_parse_from(["ringwal", "append", "d", "--size", "3"]).is_err());
        assert!(Args::try_parse_from(["ringwal", "append", "d", "--threads", "0"]).is_err());
    }
}
