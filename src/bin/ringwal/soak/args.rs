//! The options of `ringwal soak`, each with an environment variable, and their checks.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::BoolishValueParser;

use crate::options::engine::BackendArg;
use crate::options::parse::parse_bytes;
use crate::output::exit::Failure;

/// `ringwal soak`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "SIGINT, SIGTERM and SIGHUP end the run early, with the same final checks as a \
full run. After a failure the store is kept. The log directory gets soak.csv and soak.svg, which \
replace those of an earlier run. If standard output fails, the run continues and exits 1 at its \
end."
)]
pub(crate) struct SoakArgs {
    /// Duration of the run: seconds, or a number with s, m or h.
    #[arg(long, env = "RINGWAL_SOAK_DURATION", value_name = "TIME", default_value = "1h",
          value_parser = parse_duration)]
    pub(crate) duration: Duration,
    /// End after this many puts, deletes and reads, even if time is left.
    #[arg(long, env = "RINGWAL_SOAK_OPERATIONS", value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) operations: Option<u64>,
    /// Source of the records.
    #[arg(long, env = "RINGWAL_SOAK_MODE", value_enum, default_value_t = RecordSource::Synthetic)]
    pub(crate) mode: RecordSource,
    /// The small records of --mode real: lines of {"key": "<base64>", "payload": "<base64>"}.
    #[arg(long, env = "RINGWAL_SOAK_SMALL", value_name = "FILE")]
    pub(crate) small: Option<PathBuf>,
    /// The medium records, in the same form.
    #[arg(long, env = "RINGWAL_SOAK_MEDIUM", value_name = "FILE")]
    pub(crate) medium: Option<PathBuf>,
    /// The large records, in the same form.
    #[arg(long, env = "RINGWAL_SOAK_LARGE", value_name = "FILE")]
    pub(crate) large: Option<PathBuf>,
    /// Seed of the operations; the same seed gives the same operations [default: a new one,
    /// printed].
    #[arg(long, env = "RINGWAL_SOAK_SEED", value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Directory of the store, which is created as `store` in it and removed after a clean run.
    #[arg(long, env = "RINGWAL_SOAK_WORK_DIR", value_name = "DIR", default_value = "ringwal-soak")]
    pub(crate) work_dir: PathBuf,
    /// Directory of the time series and its plot.
    #[arg(long, env = "RINGWAL_SOAK_LOG_DIR", value_name = "DIR", default_value = "ringwal-soak")]
    pub(crate) log_dir: PathBuf,
    /// Seconds between progress lines, each with a row of the time series.
    #[arg(long, env = "RINGWAL_SOAK_PROGRESS_SECS", value_name = "N", default_value = "60",
          value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub(crate) progress_secs: u64,
    /// Number of operations between two compactions.
    #[arg(long, env = "RINGWAL_SOAK_COMPACT_EVERY", value_name = "N", default_value = "20000",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) compact_every: u64,
    /// Maximum number of operations between two restarts of the store; the minimum is half of it.
    #[arg(long, env = "RINGWAL_SOAK_RESTART_EVERY", value_name = "N", default_value = "100000",
          value_parser = clap::value_parser!(u64).range(2..))]
    pub(crate) restart_every: u64,
    /// Run every other cycle of the store in a child process, and end it with SIGKILL.
    #[arg(long, env = "RINGWAL_SOAK_KILL", value_parser = BoolishValueParser::new())]
    pub(crate) kill: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// How the store is opened, by this process and by a writer process.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// The I/O backend: auto uses io_uring where it is available.
    #[arg(long, env = "RINGWAL_SOAK_BACKEND", value_enum, default_value_t = BackendArg::Auto)]
    pub(crate) backend: BackendArg,
    /// Segment size; takes KiB, MiB, GiB.
    #[arg(long, env = "RINGWAL_SOAK_SEGMENT_BYTES", value_name = "BYTES",
          default_value = "32MiB", value_parser = parse_bytes)]
    pub(crate) segment_bytes: u64,
}

/// `ringwal soak-writer`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WriterArgs {
    /// The store's directory.
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// The source of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecordSource {
    /// Generated records.
    Synthetic,
    /// Records from three files.
    Real,
}

impl SoakArgs {
    /// The three record files of --mode real.
    pub(crate) fn files(&self) -> Result<Option<[PathBuf; 3]>, Failure> {
        let given =
            [("--small", &self.small), ("--medium", &self.medium), ("--large", &self.large)];
        match (self.mode, &self.small, &self.medium, &self.large) {
            (RecordSource::Real, Some(small), Some(medium), Some(large)) => {
                Ok(Some([small.clone(), medium.clone(), large.clone()]))
            }
            (RecordSource::Synthetic, None, None, None) => Ok(None),
            (RecordSource::Real, ..) => {
                let missing = given.iter().filter(|(_, file)| file.is_none());
                let missing: Vec<_> = missing.map(|(name, _)| *name).collect();
                Err(Failure::Request(format!(
                    "--mode real needs three files of records: {} missing",
                    missing.join(" and ")
                )))
            }
            (RecordSource::Synthetic, ..) => Err(Failure::Request(
                "--small, --medium and --large are for --mode real".to_owned(),
            )),
        }
    }

    /// Returns an error unless the time series fits into memory.
    pub(crate) fn check_rows(&self) -> Result<(), Failure> {
        let rows = self.duration.as_secs() / self.progress_secs;
        if rows <= ROWS_MAX {
            return Ok(());
        }
        Err(Failure::Request(format!(
            "a row every {} s would be {rows} rows, more than {ROWS_MAX}: raise --progress-secs",
            self.progress_secs
        )))
    }
}

/// Maximum number of rows of a time series, which are kept for the plot.
const ROWS_MAX: u64 = 100_000;
const SECS_MAX: u64 = 366 * 24 * 3600;

fn parse_duration(text: &str) -> Result<Duration, String> {
    let (digits, factor) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(digits) if text.ends_with('h') => (digits, 3600),
        Some(digits) if text.ends_with('m') => (digits, 60),
        Some(digits) => (digits, 1),
        None => (text, 1),
    };
    let secs = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    secs.filter(|secs| (1..=SECS_MAX).contains(secs))
        .map(Duration::from_secs)
        .ok_or_else(|| "expected a time of 1 second to 366 days like 90, 20m or 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_or_are_seconds() {
        for (text, secs) in [("90", 90), ("90s", 90), ("20m", 1200), ("1h", 3600)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(secs)), "{text}");
        }
        for text in ["", "s", "0", "1d", "-1", "1.5h", "9999999h", "99999999999999999999"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
