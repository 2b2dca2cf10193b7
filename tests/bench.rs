//! `ringwal bench` as a process: it measures, checks the results, shows all of them and leaves
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

/// A run that is as short as one can be, and slows nothing else down.
const TINY: [&str; 9] =
    ["bench", "--secs", "0.05", "--threads", "1,2", "--size", "100", "--drop-caches", "false"];

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
        assert_keys(&case["medians"], &["ratio_to_by_hand", "ratio_of_p99_to_by_hand"]);
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
fn every_mode_stands_beside_the_log_that_one_would_write_by_hand() {
    let modes = ["blocking", "async", "batch", "tasks"];
    let options = ["--mode", "blocking,async,batch,tasks", "--window", "8", "--workers", "2"];
    let (table, results) = bench_rounds("2", &[&options[..], &["--floors", "false"]].concat());
    let by_hand = rows(&table, "by-hand ");
    let cases = results["cases"].as_array().unwrap();
    assert_eq!((by_hand.len(), cases.len()), (8, 8), "{table}");
    for (row, case) in by_hand.iter().zip(cases) {
        let mode = case["mode"].as_str().unwrap();
        assert!(modes.contains(&mode) && row.contains(&("mode".into(), mode.into())), "{table}");
        let threads_wait = ["blocking", "batch"].contains(&mode);
        let way = if threads_wait { "group-commit" } else { "writer-thread" };
        assert!(row.contains(&("by-hand".into(), way.into())), "{table}");
        assert_eq!(case["by_hand_way"], way);
        assert_keys(&case["by_hand_medians"], &FIGURES);
        assert!(case["medians"]["ratio_to_by_hand"].as_f64().unwrap() > 0.0, "{case}");
        let mut compared = 0;
        for round in case["rounds"].as_array().unwrap() {
            let by_hand = &round["by_hand"];
            assert_keys(by_hand, &FIGURES);
            let found = by_hand["records_compared"].as_u64().unwrap();
            assert!(found > 0 && found >= by_hand["records"].as_u64().unwrap(), "{mode}: {round}");
            assert!(round["ratio_to_by_hand"].as_f64().unwrap() > 0.0, "{round}");
            compared += found;
        }
        assert!(row.contains(&("compared".into(), compared.to_string())), "{table}");
    }
    let (table, results) = bench(&["--by-hand", "false"]);
    assert!(!table.contains("by-hand") && results["with_by_hand"] == false, "{table}");
    assert!(results["cases"][0]["rounds"][0]["by_hand"].is_null());
}

#[test]
fn tasks_by_the_thousand_are_all_acknowledged_and_compared() {
    for backend in BACKENDS {
        let tasks = ["--mode", "tasks", "--threads", "2000", "--workers", "2"];
        let (table, results) = bench(&[&tasks[..], &["--backend", backend]].concat());
        let case = results["cases"].as_array().unwrap().last().unwrap();
        assert_eq!((&case["threads"], &case["workers"]), (&2000.into(), &2.into()), "{table}");
        let compared = case["records_compared"].as_u64().unwrap();
        assert!(compared >= 2000, "each task appends at least one: {case}");
        let by_hand = case["rounds"][0]["by_hand"]["records_compared"].as_u64().unwrap();
        assert!(by_hand >= 2000, "{case}");
        let floors = results["floors"].as_array().unwrap();
        assert!(floors.iter().all(|floor| floor["floor"] != "linked-pair"), "{table}");
    }
}

#[test]
fn a_log_that_grows_is_told_from_the_same_log_prepared() {
    let (table, results) = bench(&["--mode", "blocking,tasks", "--grow"]);
    let cases = results["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 8, "{table}");
    let (logs, by_hand) = (rows(&table, "mode "), rows(&table, "by-hand "));
    for (at, case) in cases.iter().enumerate() {
        let grows = at % 2 == 1;
        let word = if grows { "growing" } else { "prepared" };
        assert_eq!(case["segments"], word);
        for row in [&logs[at], &by_hand[at]] {
            assert!(row.contains(&("segments".into(), word.into())), "{table}");
        }
        let medians = &case["medians"];
        assert_eq!(medians["ratio_to_prepared"].is_null(), !grows, "{case}");
        assert_eq!(medians["first_append_in_flushes"].is_null(), grows, "{case}");
    }
}

#[test]
fn a_log_is_shown_beside_itself_on_the_std_backend() {
    let (_, results) = bench(&["--beside-std"]);
    for case in results["cases"].as_array().unwrap() {
        for ratio in ["ratio_to_std", "ratio_of_std_to_by_hand"] {
            assert!(case["medians"][ratio].as_f64().unwrap() > 0.0, "{case}");
        }
        assert_keys(&case["rounds"][0]["on_std"], &FIGURES);
    }
}

#[test]
fn threads_that_think_append_in_bursts() {
    let modes = ["--mode", "blocking,async,batch", "--window", "8"];
    let pace = ["--think-us", "0,100", "--burst", "3", "--floors", "false"];
    let (table, results) = bench(&[&modes[..], &pace].concat());
    let cases = results["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 12, "{table}");
    for (row, case) in rows(&table, "mode ").iter().zip(cases) {
        let thinks = case["think_micros"] == 100;
        let pace = if thinks { ("100", "3") } else { ("0", "1") };
        assert_eq!(case["burst"], pace.1.parse::<u64>().unwrap());
        assert!(row.contains(&("think".into(), pace.0.into())), "{table}");
        assert!(row.contains(&("burst".into(), pace.1.into())), "{table}");
        assert!(row.contains(&("x-ideal".into(), "-".into())), "nothing to compare with: {table}");
        let compared = case["records_compared"].as_u64().unwrap();
        assert!(compared >= case["rounds"][0]["records"].as_u64().unwrap() && compared > 1);
    }
    assert!(results["floors"].as_array().unwrap().is_empty() && !table.contains("\nfloor "));
}

#[test]
fn a_log_has_its_segments_before_its_time_starts() {
    let parent = tempfile::tempdir().unwrap();
    let json = parent.path().join("results.json");
    // A run that is much too short to prepare so many beside it.
    let args = ["bench", "--secs", "0.001", "--rounds", "1", "--threads", "2", "--size", "100"];
    let modes = ["--mode", "blocking,async,batch", "--window", "8"];
    let spares = ["--spare-segments", "16", "--segment-bytes", "1MiB"];
    let json_file = ["--json", json.to_str().unwrap()];
    let args = [&args[..], &modes, &spares, &json_file].concat();
    assert_exit(&run(&args, parent.path()), 0);
    let results: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let cases = results["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let round = &case["rounds"][0];
        let prepared = round["engine_since_open"]["spares_prepared"].as_u64().unwrap();
        assert!(prepared >= 17, "{case}");
        // The first record is compared, and not measured.
        let (counted, compared) = (&round["records"], &case["records_compared"]);
        assert!(compared.as_u64().unwrap() > counted.as_u64().unwrap(), "{case}");
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
fn what_made_an_opening_cold_is_told() {
    let parent = tempfile::tempdir().unwrap();
    let json = parent.path().join("results.json");
    let dropped = fs::File::options().write(true).open("/proc/sys/vm/drop_caches").is_ok();
    for (allowed, dropped) in [("true", dropped), ("false", false)] {
        let mode = ["bench", "--mode", "recovery", "--bytes", "64KiB", "--size", "100"];
        let short = ["--secs", "0.01", "--rounds", "1", "--drop-caches", allowed];
        let output =
            run(&[&mode[..], &short, &["--json", json.to_str().unwrap()]].concat(), parent.path());
        assert_exit(&output, 0);
        let table = String::from_utf8(output.stdout).unwrap();
        let results: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
        let (name, words) = match dropped {
            true => ("drop_caches", "before each opening: the caches of the whole system were"),
            false => ("posix_fadvise", "before each opening: the system was asked to forget"),
        };
        assert!(results["cold_by"] == name && table.contains(words), "{table}");
    }
}

/// A run with logs that age, as short as one can be.
const TINY_AGE: [&str; 8] =
    ["--mode", "age", "--bytes", "64KiB", "--segment-bytes", "8KiB", "--window", "64"];

#[test]
fn an_old_log_is_shown_beside_a_young_one() {
    for backend in BACKENDS {
        let (table, results) =
            bench(&[&TINY_AGE[..], &["--ages", "1,3", "--backend", backend]].concat());
        let has = |row: &[(String, String)], name: &str, value: &str| {
            row.contains(&(name.to_owned(), value.to_owned()))
        };
        let ages = rows(&table, "age ");
        assert_eq!(ages.len(), 2, "{table}");
        assert!(has(&ages[0], "age", "1") && has(&ages[1], "age", "3"), "{table}");
        assert!(has(&ages[1], "live", "65536") && has(&ages[1], "segment", "8192"), "{table}");
        let live = rows(&table, "live ");
        let shares: Vec<&str> = live.iter().map(|row| &*row[0].1).collect();
        assert_eq!(shares, ["1", "1", "1/2", "1/4"], "{table}");
        assert!(!table.contains("mode "), "{table}");

        let of_size = &results["ages"][0];
        assert_keys(of_size, &["size", "live_bytes", "segment_bytes", "window", "ages"]);
        let oldest = &of_size["ages"][1];
        assert_eq!(oldest["age"], 3);
        let ratios = [
            "ratio_of_cpu",
            "ratio_of_rate",
            "ratio_of_memory",
            "ratio_of_open_per_record",
            "ratio_of_recovery_per_record",
            "ratio_of_open_per_record_to_smallest_part",
            "ratio_of_recovery_per_record_to_smallest_part",
        ];
        assert_keys(&oldest["medians"], &ratios);
        let round = &oldest["rounds"][0];
        assert_keys(round, &ratios);
        for log in ["old", "young"] {
            let figures = ["acked_per_second", "cpu_micros_per_append", "resident_kib"];
            assert_keys(&round[log], &figures);
            assert_keys(&round[log], &["descriptors", "files", "strategy", "turns"]);
        }
        assert_eq!(round["parts"].as_array().unwrap().len(), 2);
        assert!(results["ages"][0]["ages"][0]["rounds"][0]["parts"].as_array().unwrap().is_empty());
    }
}

#[test]
fn what_is_live_in_an_old_log_is_compared_and_bounded() {
    let (table, results) = bench(&[&TINY_AGE[..], &["--ages", "5"]].concat());
    let oldest = &results["ages"][0]["ages"][0];
    let round = &oldest["rounds"][0];
    // The segments that the caller keeps, and at most a few more.
    let records = |opened: &Value| opened["records"].as_u64().unwrap();
    let mut compared = 0;
    for (log, keeps) in [("old", 655), ("young", 655)] {
        for opened in round[log]["openings"].as_array().unwrap() {
            assert!((keeps..keeps * 3 / 2).contains(&records(opened)), "{log}: {opened}\n{table}");
            compared += records(opened);
        }
    }
    for part in round["parts"].as_array().unwrap() {
        let keeps = 655 / part["share"].as_u64().unwrap();
        for opened in part["openings"].as_array().unwrap() {
            assert!((keeps..keeps * 2).contains(&records(opened)), "{part}\n{table}");
            compared += records(opened);
        }
    }
    assert_eq!(oldest["records_compared"], compared);
}

#[test]
fn what_the_process_of_a_log_refuses_is_told_as_if_there_were_none() {
    let parent = tempfile::tempdir().unwrap();
    let tiny = [&TINY[..], &TINY_AGE].concat();
    let output = run(&[&tiny[..], &["--depth", "0"]].concat(), parent.path());
    assert_exit(&output, 2);
    assert!(stderr(&output).contains("--depth"), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    let tiny = [&TINY[..], &["--mode", "age", "--bytes", "64KiB"]].concat();
    let output = run(&tiny, parent.path());
    assert_exit(&output, 2);
    assert!(stderr(&output).contains("--window"), "{}", stderr(&output));
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

/// Interrupts a run as soon as there is `file` in its directory.
#[cfg(unix)]
#[track_caller]
fn assert_interrupted(more: &[&str], file: &str) {
    let parent = tempfile::tempdir().unwrap();
    let args = [&["bench", "--secs", "600"], more].concat();
    let mut writer = Writer::start(&args, parent.path());
    let scratch = parent.path().join(format!("ringwal-bench-{}", writer.child.id()));
    while !scratch.join(file).exists() {
        assert_eq!(writer.child.try_wait().unwrap(), None, "it ended by itself");
        std::thread::yield_now();
    }
    writer.signal(libc::SIGINT);
    assert_eq!(writer.end().code(), Some(1));
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_early_and_leaves_nothing_behind() {
    assert_interrupted(&[], "raw-direct");
    assert_interrupted(&["--mode", "age", "--size", "100", "--ages", "9999"], "old");
}

#[test]
fn a_wrong_list_is_named() {
    for (args, named) in [
        (["bench", "--threads", "1,x"], "'x'"),
        (["bench", "--threads", "2000"], "--mode tasks"),
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
    assert_exit(&output, 2);
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
