//! The options of `ringwal bench`, and the cases that they select.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::options::engine::EngineArgs;
use crate::options::parse::{THREADS_MAX, parse_bytes, parse_size, parse_threads};
use crate::output::exit::Failure;

/// `ringwal bench`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Lists are separated by commas; every combination is a case. Each case gets a new \
log in a temporary directory that is removed afterwards. Before the measurement starts, a log \
gets one record and prepares its segments, the active one and --spare-segments; the files of the \
raw limits are allocated in advance, too. Times are in microseconds. x-floor is the rate as a \
multiple of one pwrite + fdatasync at a time; x-ideal as a multiple of one direct write of all \
outstanding records + fdatasync; x-hand as a multiple of the log that one would write by hand, \
with as many threads or tasks. All are measured in the same round. By hand, threads share a buffer \
with a mutex and condition variables, and one of them writes and syncs for all; tickets and tasks \
have a channel, a writer thread and a oneshot for each record. --grow measures each case again \
with nothing prepared, neither for the log nor by hand. x-first is the time of the first append to \
the new log, in pwrites + fdatasyncs. --mode age takes --bytes, \
--ages, --size and --window. It appends fixed amounts instead of running for --secs, and \
interleaves each aged log with a young one."
)]
pub(crate) struct BenchArgs {
    /// A directory on the file system to measure [default: the current one].
    pub(crate) dir: Option<PathBuf>,
    /// Number of appending threads; in the mode tasks, of tasks.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,16,64,256",
          value_parser = parse_crowd)]
    pub(crate) threads: Vec<NonZeroUsize>,
    /// Number of threads that run the tasks [default: the processors].
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    pub(crate) workers: Option<NonZeroUsize>,
    /// Record size.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "100,1024,16384",
          value_parser = parse_record)]
    pub(crate) size: Vec<usize>,
    /// How threads append.
    #[arg(
        long,
        value_enum,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "blocking"
    )]
    pub(crate) mode: Vec<ModeArg>,
    /// Number of records that an async thread, or the thread that ages a log, keeps outstanding; or
    /// that make up an atomic batch.
    #[arg(long, value_name = "N", default_value = "256", value_parser = parse_window)]
    pub(crate) window: NonZeroUsize,
    /// Mean think time of a thread between bursts, in microseconds; pauses are random.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0",
          value_parser = clap::value_parser!(u64).range(0..=THINK_MICROS_MAX))]
    pub(crate) think_us: Vec<u64>,
    /// Number of appends in a burst, before a thread thinks.
    #[arg(long, value_name = "N", default_value = "1",
          value_parser = clap::value_parser!(u64).range(1..=BURST_MAX))]
    pub(crate) burst: u64,
    /// Bytes of records in the log to recover [default: 512MiB], or live in an aged log [default:
    /// 32MiB].
    #[arg(long, value_name = "BYTES", value_parser = parse_log)]
    pub(crate) bytes: Option<u64>,
    /// Ages of logs: the total bytes appended, as multiples of the live bytes.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,4,16",
          value_parser = clap::value_parser!(u64).range(1..=AGE_MAX))]
    pub(crate) ages: Vec<u64>,
    /// Duration of each measurement, in seconds.
    #[arg(long, value_name = "S", default_value = "1", value_parser = parse_secs)]
    pub(crate) secs: Duration,
    /// Number of rounds; the table shows medians.
    #[arg(long, value_name = "N", default_value = "3",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Measure the raw limits as well; without them, compare runs with different options.
    #[arg(long = "floors", value_name = "BOOL", default_value = "true",
          action = clap::ArgAction::Set)]
    pub(crate) baselines: bool,
    /// Measure the log that one would write by hand as well.
    #[arg(long, value_name = "BOOL", default_value = "true", action = clap::ArgAction::Set)]
    pub(crate) by_hand: bool,
    /// Measure each case also with a log that grows: no segment is prepared before its time starts.
    #[arg(long)]
    pub(crate) grow: bool,
    /// Measure each case also on the std backend.
    #[arg(long)]
    pub(crate) beside_std: bool,
    /// As root, drop the caches of the whole system before a log is opened cold; otherwise advise
    /// the system to drop the files.
    #[arg(long, value_name = "BOOL", default_value = "true", action = clap::ArgAction::Set)]
    pub(crate) drop_caches: bool,
    /// Number of busy loops to run beside everything, raw limits included: services share their
    /// machine.
    #[arg(long = "hogs", value_name = "N", default_value = "0",
          value_parser = clap::value_parser!(u32).range(0..=256))]
    pub(crate) background: u32,
    /// Write all measurements, round by round, to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Own one log, in this directory, for the process that measures it.
    #[arg(long = "life", value_name = "DIR", hide = true)]
    pub(crate) aged_log: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    /// Each thread appends a record and waits for it.
    Blocking,
    /// Each thread keeps a window of records outstanding and waits for the oldest.
    Async,
    /// Each thread appends an atomic batch of a window of records and waits for it.
    Batch,
    /// Each task appends a record and awaits it. A few threads run all tasks.
    Tasks,
    /// Open and read a log in one thread, beside a raw read of its files.
    Recovery,
    /// Compare a log that was appended to and truncated for a long time with a young one: the cost
    /// of appending, memory, and the time to open it.
    Age,
}

/// How threads append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Append a record and wait for it.
    Blocking,
    /// Keep a window of records outstanding and wait for the oldest before each further one.
    Async,
    /// Append an atomic batch of a window of records and wait for it.
    Batch,
    /// As `Blocking`, but by tasks.
    Tasks,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Mode::Blocking => "blocking",
            Mode::Async => "async",
            Mode::Batch => "batch",
            Mode::Tasks => "tasks",
        })
    }
}

/// One way to load a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) mode: Mode,
    /// In the mode tasks, the number of tasks.
    pub(crate) threads: usize,
    /// The threads that run tasks.
    pub(crate) workers: usize,
    pub(crate) size: usize,
    /// Maximum number of unacknowledged records per thread.
    pub(crate) window: usize,
    /// The mean pause of a thread between bursts.
    pub(crate) think: Duration,
    /// Appends in a row before each pause.
    pub(crate) burst: u64,
    /// Whether nothing is prepared before the measurement.
    pub(crate) grow: bool,
}

impl Case {
    /// Maximum number of unacknowledged records of all threads.
    pub(crate) fn outstanding(&self) -> usize {
        self.threads * self.window
    }

    /// The raw writes in flight that compare with it. Thousands of tasks are no such number.
    pub(crate) fn ring_depth(&self) -> usize {
        if self.mode == Mode::Tasks { 1 } else { self.threads }
    }

    /// The segments of the log, and the file by hand, at the start.
    pub(crate) fn segments(&self) -> &'static str {
        if self.grow { "growing" } else { "prepared" }
    }
}

impl ModeArg {
    fn appends(&self) -> Option<Mode> {
        match self {
            ModeArg::Blocking => Some(Mode::Blocking),
            ModeArg::Async => Some(Mode::Async),
            ModeArg::Batch => Some(Mode::Batch),
            ModeArg::Tasks => Some(Mode::Tasks),
            ModeArg::Recovery | ModeArg::Age => None,
        }
    }
}

impl BenchArgs {
    /// The bytes of records in the log to recover.
    pub(crate) fn recovered_bytes(&self) -> u64 {
        self.bytes.unwrap_or(RECOVERED_BYTES)
    }

    /// The record sizes of the logs to recover.
    pub(crate) fn recoveries(&self) -> Result<Vec<usize>, Failure> {
        let mut sizes = Vec::new();
        if self.mode.contains(&ModeArg::Recovery) {
            for &size in &self.size {
                if self.recovered_bytes().div_ceil(size as u64) > RECOVERED_RECORDS_MAX {
                    return Err(Failure::Request(format!(
                        "{} bytes of records of {size} are more than {RECOVERED_RECORDS_MAX} \
                         records: lower --bytes or raise --size",
                        self.recovered_bytes()
                    )));
                }
                if !sizes.contains(&size) {
                    sizes.push(size);
                }
            }
        }
        Ok(sizes)
    }

    /// All combinations of the appending modes, in the order of the lists.
    pub(crate) fn cases(&self) -> Result<Vec<Case>, Failure> {
        if self.burst > 1 && self.think_us.iter().all(|&micros| micros == 0) {
            return Err(Failure::Request(
                "--burst needs think time between bursts: give --think-us as well".to_owned(),
            ));
        }
        let mut cases = Vec::new();
        for mode in self.mode.iter().filter_map(ModeArg::appends) {
            for &size in &self.size {
                for &think in &self.think_us {
                    for &threads in &self.threads {
                        let case = self.case(mode, size, think, threads.get())?;
                        let growing = self.grow.then_some(Case { grow: true, ..case });
                        for case in [case].into_iter().chain(growing) {
                            if !cases.contains(&case) {
                                cases.push(case);
                            }
                        }
                    }
                }
            }
        }
        Ok(cases)
    }

    fn case(&self, mode: Mode, size: usize, think: u64, threads: usize) -> Result<Case, Failure> {
        if mode != Mode::Tasks && threads > THREADS_MAX {
            return Err(Failure::Request(format!(
                "{threads} threads in the mode {mode}, expected at most {THREADS_MAX}: only --mode \
                 tasks takes more"
            )));
        }
        if mode == Mode::Tasks && think > 0 {
            return Err(Failure::Request(
                "tasks do not think: leave out --think-us or --mode tasks".to_owned(),
            ));
        }
        let window = match mode {
            Mode::Blocking | Mode::Tasks => 1,
            Mode::Async | Mode::Batch => self.window.get(),
        };
        let processors = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = self.workers.map_or_else(processors, NonZeroUsize::get);
        let (think, burst) = match think {
            0 => (Duration::ZERO, 1),
            micros => (Duration::from_micros(micros), self.burst),
        };
        let case = Case { mode, threads, workers, size, window, think, burst, grow: false };
        let bytes = case.outstanding().saturating_mul(size);
        if bytes > OUTSTANDING_BYTES_MAX {
            return Err(Failure::Request(format!(
                "{mode} with {threads} threads, a window of {window} and {size} bytes has {bytes} \
                 bytes outstanding, expected at most {OUTSTANDING_BYTES_MAX}: lower one of them"
            )));
        }
        Ok(case)
    }
}

/// The batch bound writes this much at once, which must fit a buffer and a file of reasonable size.
const OUTSTANDING_BYTES_MAX: usize = 256 << 20;
/// The default limit of a log.
const RECORD_BYTES_MAX: usize = 64 << 20;
/// Acknowledged sequence numbers are kept in memory for the comparison.
const RECOVERED_RECORDS_MAX: u64 = 1 << 25;
const RECOVERED_BYTES: u64 = 512 << 20;
const RECOVERED_BYTES_MAX: u64 = 64 << 30;
const AGE_MAX: u64 = 1 << 20;
const WINDOW_MAX: usize = 1 << 20;
/// Each task keeps a record and what was acknowledged to it.
const TASKS_MAX: usize = 1 << 17;
/// A thread ends only after it has finished thinking.
const THINK_MICROS_MAX: u64 = 1_000_000;
const BURST_MAX: u64 = 1 << 20;
const SECS_MAX: f64 = 600.0;
const SECS_MIN: f64 = 0.001;

fn parse_record(text: &str) -> Result<usize, String> {
    match parse_size(text)? {
        bytes @ 1..=RECORD_BYTES_MAX => Ok(bytes),
        _ => Err(format!("expected 1 to {RECORD_BYTES_MAX} bytes")),
    }
}

fn parse_log(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        bytes @ 1..=RECOVERED_BYTES_MAX => Ok(bytes),
        _ => Err(format!("expected 1 to {RECOVERED_BYTES_MAX} bytes")),
    }
}

/// A number of threads or of tasks.
fn parse_crowd(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .ok()
        .filter(|tasks: &NonZeroUsize| tasks.get() <= TASKS_MAX)
        .ok_or_else(|| format!("expected a number from 1 to {TASKS_MAX}"))
}

fn parse_window(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .ok()
        .filter(|window: &NonZeroUsize| window.get() <= WINDOW_MAX)
        .ok_or_else(|| format!("expected a number from 1 to {WINDOW_MAX}"))
}

fn parse_secs(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|secs| (SECS_MIN..=SECS_MAX).contains(secs))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("expected seconds from {SECS_MIN} to {SECS_MAX}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    use clap::Parser;

    /// `ringwal bench` without the rest of the command line.
    #[derive(Debug, Parser)]
    struct BenchOnly {
        #[command(flatten)]
        args: BenchArgs,
    }

    pub(crate) fn parse(args: &[&str]) -> BenchArgs {
        BenchOnly::try_parse_from([&["bench"], args].concat()).unwrap().args
    }

    fn cases(args: &[&str]) -> Result<Vec<Case>, Failure> {
        parse(args).cases()
    }

    #[test]
    fn recovery_is_no_case_and_takes_the_sizes_once() {
        let args = parse(&["--mode", "recovery,blocking", "--size", "100,200,100"]);
        assert_eq!(args.recoveries().unwrap(), [100, 200]);
        assert!(args.cases().unwrap().iter().all(|case| case.mode == Mode::Blocking));
        assert!(parse(&["--size", "1"]).recoveries().unwrap().is_empty());
        let many = parse(&["--mode", "recovery", "--size", "1"]).recoveries();
        assert!(matches!(many, Err(Failure::Request(_))), "{many:?}");
    }

    #[test]
    fn every_combination_is_a_case_once() {
        let found =
            cases(&["--threads", "1,2,2", "--size", "100,1KiB", "--mode", "blocking,async"]);
        let found = found.unwrap();
        assert_eq!(found.len(), 8);
        let (think, burst) = (Duration::ZERO, 1);
        let (mode, threads, workers) = (Mode::Async, 2, found[0].workers);
        let (size, window, grow) = (1024, 256, false);
        let last = Case { mode, threads, workers, size, window, think, burst, grow };
        assert_eq!(found.last(), Some(&last));
        assert_eq!((found[0].window, last.outstanding()), (1, 512));
    }

    #[test]
    fn bursts_are_those_of_the_cases_with_time_to_think() {
        let found = cases(&["--threads", "1", "--size", "1", "--think-us", "0,70", "--burst", "8"]);
        let found = found.unwrap();
        let offered: Vec<_> =
            found.iter().map(|case| (case.think.as_micros(), case.burst)).collect();
        assert_eq!(offered, [(0, 1), (70, 8)]);
        let never = cases(&["--burst", "8"]);
        assert!(matches!(never, Err(Failure::Request(_))), "{never:?}");
    }

    #[test]
    fn what_no_machine_holds_is_refused() {
        let huge = cases(&["--mode", "batch", "--threads", "1024", "--size", "1MiB"]);
        assert!(matches!(huge, Err(Failure::Request(_))), "{huge:?}");
    }

    #[test]
    fn a_log_that_grows_follows_the_same_log_prepared() {
        let found = cases(&["--threads", "1,2", "--size", "1", "--grow"]).unwrap();
        let found: Vec<_> = found.iter().map(|case| (case.threads, case.segments())).collect();
        assert_eq!(found, [(1, "prepared"), (1, "growing"), (2, "prepared"), (2, "growing")],);
    }

    #[test]
    fn only_tasks_come_by_the_thousand_and_none_of_them_thinks() {
        let many = ["--threads", "16000", "--size", "100"];
        let tasks = cases(&[&many[..], &["--mode", "tasks", "--workers", "3"]].concat()).unwrap();
        assert_eq!((tasks[0].outstanding(), tasks[0].workers), (16_000, 3));
        for refused in [&["--mode", "blocking"][..], &["--mode", "tasks", "--think-us", "5"]] {
            let refused = cases(&[&many, refused].concat());
            assert!(matches!(refused, Err(Failure::Request(_))), "{refused:?}");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for args in [
            ["--threads", "1,x"],
            ["--threads", "1,,2"],
            ["--threads", "0"],
            ["--threads", "200000"],
            ["--workers", "0"],
            ["--by-hand", "no"],
            ["--size", "0"],
            ["--size", "65MiB"],
            ["--mode", "fast"],
            ["--secs", "0"],
            ["--secs", "nan"],
            ["--think-us", "1,x"],
            ["--think-us", "1000001"],
            ["--burst", "0"],
            ["--floors", "no"],
            ["--rounds", "0"],
            ["--bytes", "0"],
            ["--ages", "0"],
            ["--ages", "1,,4"],
            ["--ages", "2000000"],
        ] {
            let parsed = BenchOnly::try_parse_from([&["bench"], &args[..]].concat());
            assert!(parsed.is_err(), "{args:?}");
        }
    }
}
