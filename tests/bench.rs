//! `ringwal bench` as a process: it measures, checks what it measured, shows all of it and leaves
//! nothing behind. How fast anything is, is not tested.

#![cfg(feature = "cli")]
// Helpers of tests may unwrap, too; clippy.toml reaches only the tests themselves.
#![allow(clippy::unwrap_used)]

mod command;

use std::fs;
use std::path::Path;
use std::process::Command;

#[cfg(unix)]
use command::Writer;
use command::{BACKENDS, assert_exit, run, stderr};
use serde_json::Value;

/// A run that is as short as one can be.
const TINY: [&str; 7] = ["bench", "--secs", "0.05", "--threads", "1,2", "--size", "100"];

/// Runs one round with more options; gives the table and the JSON.
fn bench(more: &[&str]) -> (String, Value) {
    bench_rounds("1", more)
}

fn bench_rounds(rounds: &str, more: &[&str]) -> (String, Value) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("measured");
    fs::create_dir(&dir).unwrap();
    let json = parent.path().join("results.json");
    let args = [&TINY, more, &["--rounds", rounds, "--json", json.to_str().unwrap()]].concat();
    let output = run(&args, &dir);
    assert_exit(&output, 0);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "something was left behind");
    let results = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    (String::from_utf8(output.stdout).unwrap(), results)
}

/// The rows below a heading that begins with `first`, by the names in the heading.
fn rows(table: &str, first: &str) -> Vec<Vec<(String, String)>> {
    let mut lines = table.lines().skip_while(|line| !line.starts_with(first));
    let heading: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let cells = |line: &str| -> Vec<(String, String)> {
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(cells.len(), heading.len(), "{line}");
        heading.iter().zip(cells).map(|(name, cell)| ((*name).into(), cell.into())).collect()
    };
    lines.take_while(|line| !line.is_empty() && !line.contains(": ")).map(cells).collect()
}

#[track_caller]
fn assert_keys(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.get(key).is_some(), "no {key} in {value}");
    }
}

const FIGURES: [&str; 12] = [
    "acked_per_second",
    "p50_micros",
    "p99_micros",
    "p99_9_micros",
    "max_micros",
    "cpu_micros_per_append",
    "device_flushes_per_append",
    "bytes_per_append",
    "device_bytes_per_append",
    "padding_share",
    "mib_per_second",
    "records_per_batch",
];

#[test]
fn a_run_prints_a_table_and_writes_all_of_it_as_json() {
    let (table, results) = bench(&[]);
    let cases = rows(&table, "mode ");
    assert_eq!(cases.len(), 2, "{table}");
    for (row, threads) in cases.iter().zip(["1", "2"]) {
        let expected = [("mode", "blocking"), ("threads", threads), ("size", "100")];
        for (name, value) in expected {
            assert!(row.contains(&(name.into(), value.into())), "{row:?}");
        }
    }
    assert!(rows(&table, "floor ").len() >= 5, "{table}");

    assert_keys(
        &results,
        &["version", "command", "seconds", "rounds", "hogs", "synced", "processors"],
    );
    assert_keys(
        &results,
        &["filesystem", "device", "direct_io_of_floors", "left_out", "recoveries"],
    );
    assert_keys(
        &results["device"],
        &["name", "unknown_because", "write_cache", "counts_every_flush"],
    );
    for case in results["cases"].as_array().unwrap() {
        assert_keys(case, &["mode", "threads", "size", "window", "outstanding", "unexplained"]);
        assert_keys(&case["medians"], &FIGURES);
        assert_keys(&case["medians"], &["ratio_to_floor", "ratio_to_ideal"]);
        let round = &case["rounds"][0];
        assert_keys(round, &FIGURES);
        assert_keys(round, &["backend", "strategy", "records", "elapsed_seconds"]);
        assert_keys(round, &["backend_report", "engine_since_open"]);
        assert_keys(round, &["device_flushes", "ratio_to_floor", "ratio_to_ideal"]);
    }
    for floor in results["floors"].as_array().unwrap() {
        assert_keys(floor, &["floor", "at_once", "size", "unexplained", "rounds"]);
        assert_keys(&floor["medians"], &FIGURES);
    }
}

#[test]
fn every_record_that_counts_was_compared() {
    for backend in BACKENDS {
        for mode in ["blocking", "async", "batch"] {
            let (_, results) = bench(&["--mode", mode, "--window", "8", "--backend", backend]);
            for case in results["cases"].as_array().unwrap() {
                let counted = case["rounds"][0]["records"].as_u64().unwrap();
                let compared = case["records_compared"].as_u64().unwrap();
                assert!(compared > 0 && compared >= counted, "{backend} {mode}: {case}");
                let window = if mode == "blocking" { 1 } else { 8 };
                assert_eq!(case["window"], window, "{backend} {mode}");
            }
        }
    }
}

#[test]
fn each_floor_is_measured_once_a_round_or_left_out_by_name() {
    let (table, results) = bench_rounds("2", &[]);
    let floors = results["floors"].as_array().unwrap();
    let count = |name| floors.iter().filter(|floor| floor["floor"] == name).count();
    assert_eq!((count("pwrite+fdatasync"), count("ideal-batch")), (1, 2), "{table}");
    assert_eq!((count("sequential-write"), count("sequential-read")), (1, 1), "{table}");
    assert!(floors.iter().all(|floor| floor["rounds"].as_array().unwrap().len() == 2));
    for name in ["rwf-dsync", "linked-pair"] {
        let left_out = results["left_out"].as_array().unwrap();
        let reason = left_out.iter().find(|it| it["floor"] == name);
        assert_eq!(count(name) == 2, reason.is_none(), "{table}");
        assert_eq!(reason.is_some(), table.contains(&format!("left out: {name}: ")), "{table}");
    }
}

#[test]
fn recovery_is_shown_beside_a_raw_read() {
    let (table, results) =
        bench(&["--mode", "recovery", "--bytes", "64KiB", "--segment-bytes", "16KiB"]);
    let found = rows(&table, "recovery ");
    assert_eq!(found.len(), 1, "{table}");
    assert!(found[0].contains(&("records".into(), "656".into())), "{table}");
    assert!(!table.contains("mode "), "{table}");
    let recovery = &results["recoveries"][0];
    let figures = [
        "raw_read_seconds",
        "opened_seconds",
        "reported_seconds",
        "first_record_seconds",
        "last_record_seconds",
        "ratio_to_raw_read",
    ];
    assert_keys(&recovery["medians"], &figures);
    assert_keys(&recovery["rounds"][0], &figures);
    assert_eq!(recovery["rounds"][0]["records"], 656);
    assert!(recovery["rounds"][0]["bytes"].as_u64().unwrap() > 64 << 10);
}

#[test]
fn busy_loops_run_beside_it() {
    let (table, results) = bench(&["--hogs", "1"]);
    assert!(table.contains("1 busy loops"), "{table}");
    assert_eq!(results["hogs"], 1);
}

#[test]
fn without_a_directory_it_measures_the_current_one() {
    let parent = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwal"));
    command.args(TINY).args(["--rounds", "1"]).current_dir(parent.path());
    assert_exit(&command.output().unwrap(), 0);
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_early_and_leaves_nothing_behind() {
    let parent = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(&["bench", "--secs", "600"], parent.path());
    let scratch = parent.path().join(format!("ringwal-bench-{}", writer.child.id()));
    while !scratch.join("raw-direct").exists() {
        assert_eq!(writer.child.try_wait().unwrap(), None, "it ended by itself");
        std::thread::yield_now();
    }
    writer.signal(libc::SIGINT);
    assert_eq!(writer.end().code(), Some(1));
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn a_wrong_list_is_named() {
    for (args, named) in [
        (["bench", "--threads", "1,x"], "'x'"),
        (["bench", "--size", "100,,200"], "--size"),
        (["bench", "--mode", "blocking,fast"], "'fast'"),
    ] {
        let output = run(&args, Path::new("."));
        assert_exit(&output, 2);
        assert!(stderr(&output).contains(named), "{}", stderr(&output));
    }
}

#[test]
fn what_does_not_go_together_and_a_missing_directory_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let args = ["bench", "--mode", "batch", "--size", "1MiB", "--threads", "512"];
    let output = run(&args, parent.path());
    assert_exit(&output, 2);
    assert!(stderr(&output).contains("outstanding"), "{}", stderr(&output));
    let missing = parent.path().join("missing");
    let output = run(&TINY, &missing);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("missing"), "{}", stderr(&output));
    assert!(!missing.exists());
}

#[test]
fn an_option_that_the_engine_refuses_leaves_nothing_behind() {
    let parent = tempfile::tempdir().unwrap();
    let output = run(&[&TINY[..], &["--depth", "0"]].concat(), parent.path());
    assert_exit(&output, 2);
    assert!(stderr(&output).contains("--depth"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}
