//! Measures how long a log takes to open, beside a raw read of the same files.
//!
//! 1. Opening verifies every batch of every segment. A log that returns a different number of
//!    records than were appended is an error.
//! 2. Before each read and each opening the files are dropped from the page cache
//!    ([`cache_drop`](crate::bench::machine::cache_drop)).
//! 3. All records are then read and compared; this is the time to the last record.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringwal::Log;

use crate::bench::baseline::files::{RawFile, read_files};
use crate::bench::machine::cache_drop::CacheDrop;
use crate::bench::records::acked::Acked;
use crate::bench::records::check::check;
use crate::bench::records::content::Content;
use crate::bench::setting::{Setting, stopped};
use crate::output::exit::Failure;

/// A log that is recovered repeatedly.
pub(crate) struct Recoverable {
    dir: PathBuf,
    run: u64,
    size: usize,
    acked: [Acked; 1],
}

/// One recovery of the log.
#[derive(Clone, Debug)]
pub(crate) struct Recovered {
    pub(crate) records: u64,
    /// The bytes of its files.
    pub(crate) bytes: u64,
    /// The time of a raw read of its files.
    pub(crate) raw_read: Duration,
    /// Until the log was open and verified.
    pub(crate) opened: Duration,
    /// The recovery time that the log reports; opening also prepares a spare and measures the
    /// strategies.
    pub(crate) reported: Duration,
    /// Until its first record was read.
    pub(crate) first: Duration,
    /// Until all records were read, verified again and compared.
    pub(crate) last: Duration,
    /// Why the raw read was not direct.
    pub(crate) not_direct: Option<String>,
}

/// A figure of a recovery.
pub(crate) type RecoveryFigure = fn(&Recovered) -> f64;

/// All figures, with their names in JSON and in the table.
pub(crate) const RECOVERY_FIGURES: [(RecoveryFigure, &str, &str); 6] = [
    (|it| it.raw_read.as_secs_f64(), "raw_read_seconds", "raw-s"),
    (|it| it.opened.as_secs_f64(), "opened_seconds", "opened-s"),
    (|it| it.reported.as_secs_f64(), "reported_seconds", "reported-s"),
    (|it| it.first.as_secs_f64(), "first_record_seconds", "first-s"),
    (|it| it.last.as_secs_f64(), "last_record_seconds", "last-s"),
    (Recovered::ratio, "ratio_to_raw_read", "x-raw"),
];

impl Recovered {
    /// The speed of opening as a multiple of the raw read.
    pub(crate) fn ratio(&self) -> f64 {
        self.raw_read.as_secs_f64() / self.opened.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Recoverable {
    /// Fills a new log in `dir` with `bytes` of records of `size` bytes.
    pub(crate) fn fill(
        setting: &Setting<'_>,
        dir: &Path,
        run: u64,
        (bytes, size): (u64, usize),
    ) -> Result<Recoverable, Failure> {
        let log = setting.engine.builder(dir).open()?;
        let mut content = Content::new(run, 0, size);
        let mut acked = Acked::default();
        let mut last = None;
        for number in 0..bytes.div_ceil(size as u64) {
            if setting.stop.is_stopped() {
                return Err(stopped(setting));
            }
            let commit = log.submit(content.record(number))?;
            acked.extend(commit.seq().get()..=commit.seq().get());
            last = Some(commit);
        }
        // The last record becomes durable after all records before it.
        last.map_or(Ok(ringwal::Seq::NONE), |commit| commit.wait())?;
        log.close()?;
        Ok(Recoverable { dir: dir.to_path_buf(), run, size, acked: [acked] })
    }

    /// Recovers it once.
    pub(crate) fn measure(&self, setting: &Setting<'_>) -> Result<Recovered, Failure> {
        let (files, not_direct) = self.uncached_files(setting.cache_drop)?;
        let since = Instant::now();
        let read = read_files(&files, setting.stop)?;
        let raw_read = since.elapsed();
        drop(files);

        setting.cache_drop.drop_segments(&self.dir)?;
        let since = Instant::now();
        let log = setting.engine.builder(&self.dir).open()?;
        let opened = since.elapsed();
        self.check_report(&log)?;
        log.reader()?.next().transpose()?;
        let first = since.elapsed();
        let records = check(&log, self.run, self.size, &self.acked)?;
        let last = since.elapsed();
        log.close()?;
        let (bytes, reported) = (read.bytes, log.recovery().elapsed);
        Ok(Recovered { records, bytes, raw_read, opened, reported, first, last, not_direct })
    }

    fn check_report(&self, log: &Log) -> Result<(), Failure> {
        let (found, appended) = (log.recovery().records, self.acked[0].records());
        if found == appended {
            return Ok(());
        }
        Err(Failure::Mismatch(format!("{found} records were recovered of {appended}")))
    }

    /// The log's files, dropped from the cache as far as possible, and why reads are not direct.
    fn uncached_files(
        &self,
        cache_drop: CacheDrop,
    ) -> Result<(Vec<RawFile>, Option<String>), Failure> {
        let names = cache_drop.drop_segments(&self.dir)?;
        let mut files = Vec::with_capacity(names.len());
        let mut not_direct = None;
        for name in names {
            let (file, why) = RawFile::to_read(self.dir.join(name))?;
            files.push(file);
            not_direct = not_direct.or(why);
        }
        Ok((files, not_direct))
    }
}
