//! `ringwal verify`: reads everything, changes nothing, reports the state of the log.
//!
//! Exit codes: 0 for a clean log or a torn tail, 1 for a corrupt log or a failing disk, 2 for a
//! path that is not a log or cannot be read. `--json` prints an object in each case.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringwal::replication::ShardId;
use ringwal::{Corruption, Error, Kind, Log, Loss, Recovery, Verdict};
use serde_json::json;

use crate::options::log_dir::{log_dir, require_log};
use crate::output::exit::{FAILED, Failure};
use crate::output::json::exact;
use crate::output::stream::{print, say_also};

/// `ringwal verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The log's directory, or that of an event log, which keeps its log in `wal/`.
    pub(crate) dir: PathBuf,
    /// Print the report as one JSON object on standard output; if there is no report, the object
    /// gives the reason.
    #[arg(long)]
    pub(crate) json: bool,
    /// Which log in the directory.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) shard: u16,
}

/// Runs the command.
pub(crate) fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let dir = log_dir(&args.dir);
    let shard = ShardId::new(args.shard);
    let looked = require_log(&dir, shard).and_then(|()| Log::builder(&dir).shard(shard).verify());
    let report = match looked {
        Ok(report) => report,
        Err(error) => {
            let failure = Failure::from(error);
            if args.json {
                let printed = print(format_args!("{}\n", refusal_to_json(&dir, &failure)));
                if let Err(unprinted) = printed {
                    say_also(format_args!("ringwal: {unprinted}"));
                }
            }
            return Err(failure);
        }
    };
    match args.json {
        true => print(format_args!("{}\n", exact(to_json(&report))))?,
        false => print(format_args!("{report}\n"))?,
    }
    Ok(match report.verdict {
        Verdict::Corrupt => ExitCode::from(FAILED),
        _ => ExitCode::SUCCESS,
    })
}

/// The reason why there is no report.
fn refusal_to_json(dir: &Path, failure: &Failure) -> serde_json::Value {
    let verdict = match failure {
        Failure::Log(Error::NotALog { .. }) => "not-a-log",
        Failure::Log(Error::UnsupportedVersion { .. }) => "unsupported-version",
        Failure::Log(Error::Corrupt(_)) => "corrupt",
        _ => "unreadable",
    };
    json!({ "verdict": verdict, "path": show(dir), "message": failure.to_string() })
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
        "kind": report.kind.and_then(name_of),
        "label": report.label.map(|label| label.escape_ascii().to_string()),
        "rule": report.rule,
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
        "losses": report.losses.iter().map(loss_to_json).collect::<Vec<_>>(),
        "state_missing": report.state_missing,
        "state_torn": report.state_torn,
        "elapsed_seconds": report.elapsed.as_secs_f64(),
    })
}

/// The name of a kind.
fn name_of(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Raw => Some("raw"),
        Kind::Events => Some("events"),
        Kind::Kv => Some("kv"),
        _ => None,
    }
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

/// Unacknowledged records that earlier recoveries cut off.
fn loss_to_json(loss: &Loss) -> serde_json::Value {
    json!({
        "path": show(&loss.path),
        "first_seq": loss.first_seq.get(),
        "last_seq": loss.last_seq.get(),
    })
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
