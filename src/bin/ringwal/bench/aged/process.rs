//! The process that owns an aged log: it handles requests of its parent, one per line.
//!
//! 1. One thread appends records with a window outstanding, and truncates the log after each
//!    segment. Both are part of the append time.
//! 2. It holds a window of tickets and a few numbers, however much it appends.
//! 3. It closes the log and ends when its standard input ends.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use ringwal::{Builder, Commit, Log, Seq};

use crate::bench::aged::check::{check_live, mismatch};
use crate::bench::aged::plan::Plan;
use crate::bench::aged::protocol::{Appended, Opened, Request, Usage, answer};
use crate::bench::args::BenchArgs;
use crate::bench::machine::cache_drop::CacheDrop;
use crate::bench::machine::{Device, Mark};
use crate::bench::records::content::Content;
use crate::output::exit::Failure;
use crate::output::stream::{stdin, stdout};
use crate::util::process::{descriptors, resident_kib};

/// After a truncation, fewer than this many times the kept records remain: the excess is part of
/// one segment, and a quarter of the live records spans at least two.
const KEPT_MAX: u64 = 2;

/// Runs `ringwal bench --life DIR`.
pub(crate) fn run(args: &BenchArgs, dir: &Path) -> Result<ExitCode, Failure> {
    let mut aged_log = None;
    // Unbuffered: a buffer would hold back answers.
    let mut output = stdout();
    for line in BufReader::new(stdin()).lines() {
        let answered = line.map_err(Failure::Input).and_then(|line| {
            let ask = line.parse()?;
            handle(args, dir, &mut aged_log, ask)
        });
        let line = answer(answered.as_ref().map(String::clone));
        writeln!(output, "{line}").and_then(|()| output.flush()).map_err(Failure::Output)?;
        if let Err(failure) = answered {
            // The parent prints the message.
            return Ok(ExitCode::from(failure.code()));
        }
    }
    if let Some(aged_log) = aged_log {
        aged_log.log.close()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn handle(
    args: &BenchArgs,
    dir: &Path,
    aged_log: &mut Option<AgedLog>,
    ask: Request,
) -> Result<String, Failure> {
    match (ask, aged_log) {
        (Request::Begin { run, size }, aged_log) => {
            let plan = Plan::new(args, size)?;
            let builder = args.engine.builder(dir).segment_bytes(plan.segment_bytes);
            *aged_log = Some(AgedLog::begin(builder, dir, plan, run)?);
            Ok(String::new())
        }
        (Request::Append(records), Some(aged_log)) => Ok(aged_log.append(records)?.to_string()),
        (Request::Usage, Some(aged_log)) => Ok(aged_log.usage()?.to_string()),
        (Request::Keep(records), Some(aged_log)) => aged_log.keep(records).map(|()| String::new()),
        (Request::Reopen, Some(aged_log)) => {
            Ok(aged_log.reopen(CacheDrop::best(args.drop_caches))?.to_string())
        }
        (ask, None) => Err(Failure::Invariant(format!("{ask}: there is no log yet"))),
    }
}

/// A log and what its caller knows about it.
struct AgedLog {
    builder: Builder,
    dir: PathBuf,
    device: Device,
    plan: Plan,
    log: Log,
    content: Content,
    /// The number of appended records, which is the number of the last one.
    appended: u64,
    /// The record number at which the log is truncated next.
    truncate_at: u64,
}

impl AgedLog {
    fn begin(builder: Builder, dir: &Path, plan: Plan, run: u64) -> Result<AgedLog, Failure> {
        let log = builder.clone().open()?;
        let content = Content::new(run, 0, plan.size);
        let truncate_at = plan.live_records() + plan.segment_records();
        let (dir, device) = (dir.to_path_buf(), Device::below(dir));
        Ok(AgedLog { builder, dir, device, plan, log, content, appended: 0, truncate_at })
    }

    /// Appends records and waits for all of them.
    ///
    /// The system accounts a thread's CPU time at its ticks and when it yields, so the thread
    /// yields before the counters are read.
    fn append(&mut self, records: u64) -> Result<Appended, Failure> {
        thread::yield_now();
        let mark = Mark::now(&self.device);
        let mut pending: VecDeque<Commit> = VecDeque::with_capacity(self.plan.window);
        for _ in 0..records {
            if pending.len() == self.plan.window {
                pending.pop_front().map_or(Ok(Seq::NONE), |oldest| oldest.wait())?;
            }
            let commit = self.log.submit(self.content.record(self.appended))?;
            self.appended += 1;
            if commit.seq().get() != self.appended {
                let seq = commit.seq();
                return mismatch(format!("record {} got the number {seq}", self.appended));
            }
            pending.push_back(commit);
            if self.appended == self.truncate_at {
                self.keep(self.plan.live_records())?;
                self.truncate_at += self.plan.segment_records();
            }
        }
        for commit in pending {
            commit.wait()?;
        }
        let elapsed = mark.elapsed();
        thread::yield_now();
        let spent = mark.spent(&self.device, elapsed);
        let cpu_seconds = spent.cpu.map(|cpu| cpu.as_secs_f64());
        Ok(Appended { records, seconds: elapsed.as_secs_f64(), cpu_seconds })
    }

    /// Truncates to the last `records` or a few more: only whole segments are removed.
    fn keep(&mut self, records: u64) -> Result<(), Failure> {
        let wanted = (self.appended + 1).saturating_sub(records).max(1);
        let first = self.log.truncate_before(Seq::new(wanted))?.first_seq.get();
        if first > wanted {
            return mismatch(format!("record {wanted} was to be kept, but {first} is the first"));
        }
        let kept = self.appended + 1 - first;
        if kept > records.saturating_mul(KEPT_MAX) {
            return mismatch(format!("{kept} records are left, but {records} were to be kept"));
        }
        Ok(())
    }

    /// The live records: from the first not truncated to the last.
    fn live(&self) -> RangeInclusive<u64> {
        self.log.first_seq().get()..=self.appended
    }

    fn usage(&self) -> Result<Usage, Failure> {
        let failed = |error| Failure::Raw(self.dir.clone(), error);
        let files = std::fs::read_dir(&self.dir).map_err(failed)?.count() as u64;
        let strategy = self.log.metrics().strategy.unwrap_or(self.log.backend().strategy);
        Ok(Usage {
            resident_kib: resident_kib("self"),
            descriptors: descriptors("self"),
            files,
            strategy: strategy.name().to_owned(),
        })
    }

    /// Closes the log, reopens it with a cold cache, as far as the system allows, and compares it.
    fn reopen(&mut self, cache_drop: CacheDrop) -> Result<Opened, Failure> {
        let live = self.live();
        self.log.close()?;
        let names = cache_drop.drop_segments(&self.dir)?;
        let mut file_bytes = 0;
        for name in &names {
            let path = self.dir.join(name);
            let found = std::fs::metadata(&path).map_err(|error| Failure::Raw(path, error))?;
            file_bytes += found.len();
        }
        let since = Instant::now();
        self.log = self.builder.clone().open()?;
        let opened = since.elapsed();
        self.log.reader()?.next().transpose()?;
        let first = since.elapsed();
        let records = check_live(&self.log, &live, &mut self.content)?;
        let last = since.elapsed();
        let segments = self.log.segments().len() as u64;
        if segments != names.len() as u64 {
            return mismatch(format!(
                "{segments} segments are live, but there are {} files",
                names.len()
            ));
        }
        Ok(Opened {
            records,
            file_bytes,
            segments,
            opened: opened.as_secs_f64(),
            recovered: self.log.recovery().elapsed.as_secs_f64(),
            first: first.as_secs_f64(),
            last: last.as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::args::tests::parse;

    /// A log of 512 live records of 64 bytes in segments of 56 at most.
    fn young() -> (tempfile::TempDir, AgedLog) {
        with_segments(4 << 10)
    }

    /// The same with segments of the given size.
    fn with_segments(bytes: u64) -> (tempfile::TempDir, AgedLog) {
        let parent = tempfile::tempdir().unwrap();
        let args = ["--mode", "age", "--size", "64", "--bytes", "32KiB"];
        let args = parse(&[&args[..], &["--segment-bytes", "4KiB", "--window", "8"]].concat());
        let dir = parent.path().join("log");
        let plan = Plan::new(&args, 64).unwrap();
        let builder = args.engine.builder(&dir).segment_bytes(bytes);
        let aged_log = AgedLog::begin(builder, &dir, plan, 3).unwrap();
        (parent, aged_log)
    }

    #[test]
    fn what_is_live_stays_bounded_and_is_found_again() {
        let (_parent, mut aged_log) = young();
        for age in 1..=6 {
            let appended = aged_log.append(512).unwrap();
            assert_eq!(appended.records, 512);
            let live = aged_log.appended + 1 - aged_log.live().start();
            assert!((512..1024).contains(&live), "{live} at {age}");
        }
        assert!(*aged_log.live().start() > 4 * 512, "{:?}", aged_log.live());
        assert!(aged_log.usage().unwrap().files > 8);
        let live = aged_log.appended + 1 - aged_log.live().start();
        assert_eq!(aged_log.reopen(CacheDrop::Advised).unwrap().records, live);
        aged_log.append(100).unwrap();
        assert_eq!(
            aged_log.reopen(CacheDrop::Advised).unwrap().records,
            aged_log.appended + 1 - aged_log.live().start()
        );
    }

    #[test]
    fn a_quarter_is_a_quarter_on_disk_too() {
        let (_parent, mut aged_log) = young();
        aged_log.append(1024).unwrap();
        let whole = aged_log.reopen(CacheDrop::Advised).unwrap();
        aged_log.keep(128).unwrap();
        let quarter = aged_log.reopen(CacheDrop::Advised).unwrap();
        assert!(quarter.records < whole.records / 2, "{quarter:?} of {whole:?}");
        assert!(quarter.segments < whole.segments, "{quarter:?} of {whole:?}");
        assert!(quarter.file_bytes < whole.file_bytes, "{quarter:?} of {whole:?}");
    }

    #[test]
    fn other_bytes_than_were_appended_are_noticed() {
        let (_parent, mut aged_log) = young();
        aged_log.append(1024).unwrap();
        aged_log.reopen(CacheDrop::Advised).unwrap();
        aged_log.content = Content::new(4, 0, 64);
        let failure = aged_log.reopen(CacheDrop::Advised).unwrap_err();
        assert!(failure.is_evidence() && failure.to_string().contains("bytes"), "{failure}");
    }

    #[test]
    fn more_than_the_caller_keeps_is_noticed() {
        // All of it is in the active segment, however small the batches are.
        let (_parent, mut aged_log) = with_segments(16 << 20);
        aged_log.append(512).unwrap();
        let failure = aged_log.keep(64).unwrap_err();
        assert!(failure.to_string().contains("were to be kept"), "{failure}");
    }

    #[test]
    fn nothing_is_done_before_there_is_a_log() {
        let args = parse(&["--mode", "age"]);
        let refused = handle(&args, Path::new("nowhere"), &mut None, Request::Usage);
        assert!(refused.unwrap_err().to_string().contains("usage"));
    }
}
