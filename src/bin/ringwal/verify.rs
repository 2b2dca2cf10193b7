//! `ringwal verify`: read everything, change nothing, say how the log stands.
//!
//! Exit codes: 0 for a clean log or a torn tail, 1 for a corrupt one, 2 for what is no log or
//! cannot be read.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringwal::replication::ShardId;
use ringwal::{Corruption, Error, Log, Recovery, Verdict};
use serde_json::json;

use crate::args::VerifyArgs;
use crate::exit::{FAILED, Failure, USAGE};

/// Runs it.
pub(crate) fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let dir = log_dir(&args.dir);
    refuse_empty_dir(&dir)?;
    let report = match Log::builder(&dir).shard(ShardId::new(args.shard)).verify() {
        Ok(report) => report,
        Err(error @ Error::Corrupt(_)) => return Err(error.into()),
        Err(error) => {
            eprintln!("ringwal: {error}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    let mut out = io::stdout().lock();
    let printed =
        if args.json { writeln!(out, "{}", to_json(&report)) } else { writeln!(out, "{report}") };
    printed.map_err(Failure::Output)?;
    Ok(match report.verdict {
        Verdict::Corrupt => ExitCode::from(FAILED),
        _ => ExitCode::SUCCESS,
    })
}

/// Where the log is that `dir` means: an event log has it in `wal/`. A log with segments has no
/// directories of its own, so the two cannot be confused.
pub(crate) fn log_dir(dir: &Path) -> PathBuf {
    let inner = dir.join("wal");
    let is_segment = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "seg"))
    };
    let is_log = fs::read_dir(dir).is_ok_and(|mut entries| entries.any(is_segment));
    if inner.is_dir() && !is_log { inner } else { dir.to_path_buf() }
}

/// An empty directory would do for a new log, but someone who asks to see a log has probably named
/// another directory than they meant, or one where nothing is mounted.
pub(crate) fn refuse_empty_dir(dir: &Path) -> Result<(), Error> {
    // What cannot be listed is the engine's to report.
    let is_empty = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty {
        let reason = "the directory is empty".to_owned();
        return Err(Error::NotALog { path: dir.to_path_buf(), reason });
    }
    Ok(())
}

fn to_json(report: &Recovery) -> serde_json::Value {
    let verdict = match report.verdict {
        Verdict::Clean => "clean",
        Verdict::TornTail => "torn-tail",
        Verdict::Corrupt => "corrupt",
        Verdict::Stale => "stale",
        _ => "unknown",
    };
    let cut_at = report.cut_at.as_ref();
    json!({
        "verdict": verdict,
        "segments": report.segments,
        "batches": report.batches,
        "records": report.records,
        "bytes": report.bytes,
        "padding_bytes": report.padding_bytes,
        "first_seq": report.first_seq.get(),
        "last_seq": report.last_seq.get(),
        "bytes_cut": report.bytes_cut,
        "cut_at": cut_at.map(|(path, offset)| json!({ "path": show(path), "offset": offset })),
        "corruption": report.corruption.as_ref().map(damage_to_json),
        "state_missing": report.state_missing,
        "elapsed_seconds": report.elapsed.as_secs_f64(),
    })
}

fn damage_to_json(damage: &Corruption) -> serde_json::Value {
    json!({
        "path": show(&damage.path),
        "offset": damage.offset,
        "first_seq": damage.first_seq.get(),
        "last_seq": damage.last_seq.get(),
        "message": damage.to_string(),
    })
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
