//! The command's answer to each verdict: every subcommand that meets damage reports it, a foreign
//! directory is never called clean, and no record is acknowledged that was not written.

#![cfg(feature = "cli")]
// Helpers of tests may unwrap, too; clippy.toml reaches only the tests themselves.
#![allow(clippy::unwrap_used)]

mod command;

use std::fs;
use std::path::Path;
use std::process::Output;

use command::{assert_exit, damage_the_middle, new_dir, ringwal, run, run_with, segments, stderr};
use ringwal::kv::DataWal;
use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
use ringwal::{BackendKind, Durability};
use serde_json::Value;

fn lines(output: &Output) -> usize {
    output.stdout.iter().filter(|&&byte| byte == b'\n').count()
}

/// A log of 64 records, the one in the middle damaged; gives how many are before it.
fn damaged_log(dir: &Path) -> usize {
    let args = ["append", "--generate", "64", "--window", "1", "--backend", "std"];
    assert_exit(&run(&args, dir), 0);
    damage_the_middle(dir) as usize
}

#[track_caller]
fn assert_told(output: &Output, shown: usize) {
    assert_exit(output, 1);
    assert_eq!(lines(output), shown);
    let said = stderr(output);
    assert!(said.contains("records are damaged") && said.contains(".seg at byte "), "{said}");
    assert_eq!(said.matches("are damaged").count(), 1, "it is told once: {said}");
}

#[test]
fn a_dump_of_a_damaged_log_prints_what_is_before_the_damage_and_tells_it() {
    let (_parent, dir) = new_dir();
    let before = damaged_log(&dir);
    for format in ["raw", "jsonl", "digest"] {
        assert_told(&run(&["dump", "--format", format], &dir), before);
    }
    // Also if the requested range ends before the damage, or begins behind it.
    for (limit, shown) in [("0", 0), ("1", 1), ("31", before), ("64", before)] {
        assert_told(&run(&["dump", "--limit", limit], &dir), shown);
    }
    assert_told(&run(&["dump", "--from", "30"], &dir), before - 29);
    assert_told(&run(&["dump", "--from", "40", "--limit", "3"], &dir), 0);
}

#[test]
fn a_dump_of_a_damaged_store_or_event_log_tells_it_as_well() {
    let (_parent, dir) = new_dir();
    let store = DataWal::builder(&dir).backend(BackendKind::Std).durability(Durability::Synced);
    let store = store.open().unwrap();
    for key in 0..64_u8 {
        store.put([key], "value").unwrap();
    }
    store.close().unwrap();
    drop(store);
    let before = damage_the_middle(&dir) as usize;
    assert_told(&run(&["dump", "--format", "digest"], &dir), before);
    assert_told(&run(&["dump", "--format", "digest", "--limit", "2"], &dir), 2);

    let (_parent, dir) = new_dir();
    let config = WalConfig { dir: dir.clone(), ..WalConfig::default() };
    let (wal, _, _) = WalHandle::open(config).unwrap();
    for entity_id in 0..64 {
        let event = SignalEvent { entity_id, signal_type: 1, weight: 1.0, timestamp_nanos: 1 };
        wal.append(event).unwrap();
    }
    wal.shutdown().unwrap();
    let before = damage_the_middle(&dir.join("wal")) as usize;
    assert_told(&run(&["dump", "--format", "events"], &dir), before);
    assert_told(&run(&["dump", "--format", "events", "--limit", "2"], &dir), 2);
}

#[test]
fn an_append_that_tolerates_damage_tells_what_it_cut_off() {
    let (_parent, dir) = new_dir();
    assert_exit(&run_with(&["append", "--backend", "std"], &dir, b"one\n"), 0);
    assert_exit(&run_with(&["append", "--backend", "std"], &dir, b"two\n"), 0);
    let last = segments(&dir).remove(1);
    let mut bytes = fs::read(&last).unwrap();
    bytes[64 + 8 + 1] ^= 1;
    fs::write(&last, &bytes).unwrap();
    assert_exit(&run_with(&["append", "--backend", "std"], &dir, b"three\n"), 1);
    let args = ["append", "--backend", "std", "--recovery", "tolerate-tail"];
    let appended = run_with(&args, &dir, b"three\n");
    assert_exit(&appended, 0);
    assert!(stderr(&appended).contains("lost:     records 2 to 2"), "{}", stderr(&appended));
    // Damage is cut off once, and reported until it is acknowledged.
    let appended = run_with(&args, &dir, b"four\n");
    assert!(!stderr(&appended).contains("tolerated as asked"), "{}", stderr(&appended));
    let json: serde_json::Value =
        serde_json::from_slice(&run(&["verify", "--json"], &dir).stdout).unwrap();
    let loss = &json["losses"][0];
    assert_eq!((&json["verdict"], &loss["first_seq"]), (&"clean".into(), &2.into()), "{json}");
    assert!(Path::new(loss["path"].as_str().unwrap()).exists(), "{json}");
}

#[test]
fn every_command_tells_a_tolerated_loss_until_recover_acknowledges_it() {
    let (parent, dir) = new_dir();
    for line in ["one\n", "two\n"] {
        assert_exit(&run_with(&["append", "--backend", "std"], &dir, line.as_bytes()), 0);
    }
    let last = segments(&dir).remove(1);
    let mut bytes = fs::read(&last).unwrap();
    bytes[64 + 8 + 1] ^= 1;
    fs::write(&last, &bytes).unwrap();
    let tolerate = &["recover", "--backend", "std", "--recovery", "tolerate-tail"];
    assert_exit(&run(tolerate, &dir), 0);

    let tell = |round: &str| {
        let copy = parent.path().join(format!("copy {round}"));
        let commands: [&[&str]; 6] = [
            &["append", "--backend", "std"],
            &["append", "--backend", "std", "--recovery", "tolerate-tail"],
            &["dump"],
            &["recover", "--backend", "std"],
            &["verify"],
            &["verify", "--json"],
        ];
        let mut told: Vec<_> = commands.map(|args| run(args, &dir)).into();
        let mut backup = ringwal(&["backup"], &dir);
        told.push(backup.arg(&copy).output().unwrap());
        told.push(run(&["dump"], &copy));
        told.iter()
            .inspect(|output| assert_exit(output, 0))
            .map(|output| {
                let all = format!("{}{}", stderr(output), String::from_utf8_lossy(&output.stdout));
                all.contains("lost-")
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(tell("before"), [true; 8]);
    let recovered = run(&["recover", "--backend", "std"], &dir);
    assert!(stderr(&recovered).contains("--acknowledge-loss"), "{}", stderr(&recovered));
    let acknowledged = run(&["recover", "--backend", "std", "--acknowledge-loss"], &dir);
    assert_exit(&acknowledged, 0);
    assert!(stderr(&acknowledged).contains("acknowledged: 1"), "{}", stderr(&acknowledged));
    assert_eq!(tell("after"), [false; 8]);
}

#[test]
fn a_log_that_is_not_there_is_never_called_clean() {
    let (parent, dir) = new_dir();
    assert_exit(&run_with(&["append", "--shard", "3", "--backend", "std"], &dir, b"one\n"), 0);
    let only_lock = parent.path().join("only-lock");
    fs::create_dir(&only_lock).unwrap();
    fs::write(only_lock.join("lock"), "1\n").unwrap();
    let empty = parent.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let absent = parent.path().join("absent");
    for (path, args, reason) in [
        (&dir, &["--shard", "7"][..], "it has no shard 7, but shard 3 (--shard)"),
        (&dir, &[], "it has no shard 0, but shard 3 (--shard)"),
        (&only_lock, &[], "it has no segment, only \"lock\""),
        (&empty, &[], "the directory is empty"),
        (&file, &[], "it is not a directory"),
        (&absent, &[], "there is no such directory"),
    ] {
        for command in [&["dump"][..], &["verify"], &["verify", "--json"]] {
            let output = run(&[command, args].concat(), path);
            assert_exit(&output, 2);
            assert!(stderr(&output).contains(reason), "{}", stderr(&output));
            if command.contains(&"--json") {
                let report: Value = serde_json::from_slice(&output.stdout).unwrap();
                assert_eq!(report["verdict"], "not-a-log");
                assert_eq!(report["path"], path.to_str().unwrap());
                assert!(report["message"].as_str().unwrap().contains(reason), "{report}");
            } else {
                assert!(output.stdout.is_empty());
            }
        }
    }
    assert_exit(&run(&["verify", "--shard", "3"], &dir), 0);
}

#[test]
fn a_path_that_leads_to_no_log_is_a_wrong_request_for_every_command() {
    let (parent, _) = new_dir();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let mut paths = vec![file.join("log"), parent.path().join("x".repeat(300))];
    #[cfg(unix)]
    {
        let circle = parent.path().join("circle");
        std::os::unix::fs::symlink(&circle, &circle).unwrap();
        paths.push(circle);
    }
    for path in paths {
        let commands = ["append", "dump", "recover", "verify", "bench"];
        for command in commands {
            let output = run(&[command], &path);
            assert_exit(&output, 2);
            assert!(stderr(&output).contains(path.to_str().unwrap()), "{}", stderr(&output));
        }
    }
}

#[test]
fn a_newer_version_is_told_in_json_as_well() {
    let (_parent, dir) = new_dir();
    assert_exit(&run_with(&["append", "--backend", "std"], &dir, b"one\n"), 0);
    let segment = segments(&dir).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[4] = 9;
    bytes[48] ^= 1; // a newer version need not keep our digest
    fs::write(&segment, &bytes).unwrap();
    let output = run(&["verify", "--json"], &dir);
    assert_exit(&output, 2);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "unsupported-version");
}

#[test]
fn nothing_is_acknowledged_that_nothing_has_written() {
    let (_parent, dir) = new_dir();
    let queued = ["append", "--durability", "queued", "--backend", "std"];
    let refused = run_with(&[&queued[..], &["--acks"]].concat(), &dir, b"one\n");
    assert_exit(&refused, 2);
    assert!(refused.stdout.is_empty() && !dir.exists());
    let said = stderr(&refused);
    assert!(said.contains("--acks") && said.contains("--durability written"), "{said}");
    let appended = run_with(&queued, &dir, b"one\n");
    assert_exit(&appended, 0);
    assert!(stderr(&appended).contains("records:  1 queued"), "{}", stderr(&appended));
    let acks = ["append", "--acks", "--durability", "written", "--backend", "std"];
    let appended = run_with(&acks, &dir, b"two\n");
    assert_exit(&appended, 0);
    assert!(appended.stdout.starts_with(b"2 "));
}

#[test]
fn a_message_names_the_option_that_the_command_has() {
    let (_parent, dir) = new_dir();
    let args = ["append", "--record-bytes-max", "4", "--backend", "std"];
    let output = run_with(&args, &dir, b"longer\n");
    assert_exit(&output, 1);
    let said = stderr(&output);
    assert!(said.contains("raise --record-bytes-max"), "{said}");
    assert!(!said.contains("record_bytes_max"), "{said}");
}

#[test]
fn an_environment_variable_is_named_where_its_value_is_refused() {
    let refused = |name: &str, value: &str, args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringwal"));
        let output = command.arg("soak").args(args).env(name, value).output().unwrap();
        assert_exit(&output, 2);
        stderr(&output)
    };
    for name in ["SEED", "DURATION", "WORK_DIR", "KILL", "MODE", "SEGMENT_BYTES"] {
        let name = format!("RINGWAL_SOAK_{name}");
        let said = refused(&name, "", &[]);
        assert_eq!(
            said,
            format!(
                "ringwal: the environment variable {name} is empty: give it a value, or unset it\n"
            )
        );
    }
    let said = refused("RINGWAL_SOAK_DURATION", "soon", &[]);
    assert!(said.contains("environment variable RINGWAL_SOAK_DURATION, which is \"soon\""));
    // An option on the command line overrides the variable.
    let said = refused("RINGWAL_SOAK_DURATION", "1m", &["--duration", "soon"]);
    assert!(said.contains("--duration") && !said.contains("variable"), "{said}");
}

#[test]
fn events_come_out_of_json_exactly_also_where_all_numbers_are_floating_point() {
    let (_parent, dir) = new_dir();
    let config = WalConfig { dir: dir.clone(), ..WalConfig::default() };
    let (wal, _, _) = WalHandle::open(config).unwrap();
    let weights = [-0.0, 0.1, f32::MAX, f32::MIN_POSITIVE, f32::NEG_INFINITY];
    let weights = weights.into_iter().chain([f32::NAN, f32::from_bits(0xffc0_0001)]);
    let ids = [1, (1 << 53) - 1, 1 << 53, (1 << 53) + 1, u64::MAX].into_iter().cycle();
    let events: Vec<_> = ids
        .zip(weights)
        .map(|(entity_id, weight)| SignalEvent {
            entity_id,
            signal_type: 1,
            weight,
            timestamp_nanos: 1_700_000_000_000_000_000 + entity_id % 1000,
        })
        .collect();
    for event in &events {
        wal.append(*event).unwrap();
    }
    wal.shutdown().unwrap();
    let dumped = run(&["dump", "--format", "events"], &dir);
    assert_exit(&dumped, 0);
    let integer = |value: &Value| match value {
        Value::String(digits) => digits.parse().unwrap(),
        number => number.as_f64().unwrap() as u64,
    };
    let weight = |value: &Value| match value {
        Value::String(name) => match name.strip_prefix("NaN:0x") {
            Some(bits) => f32::from_bits(u32::from_str_radix(bits, 16).unwrap()),
            None => name.parse().unwrap(),
        },
        number => number.as_f64().unwrap() as f32,
    };
    let text = String::from_utf8(dumped.stdout).unwrap();
    let read: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read.len(), events.len());
    for (line, event) in read.iter().zip(&events) {
        assert_eq!(integer(&line["entity_id"]), event.entity_id, "{line}");
        assert_eq!(integer(&line["timestamp_nanos"]), event.timestamp_nanos, "{line}");
        assert_eq!(weight(&line["weight"]).to_bits(), event.weight.to_bits(), "{line}");
    }
    assert!(text.contains("\"weight\":-0.0,") && text.contains("\"weight\":0.1,"), "{text}");
}

#[test]
fn a_backup_tells_damage_and_refuses_what_it_cannot_make() {
    let (parent, dir) = new_dir();
    assert_exit(&run_with(&["append", "--backend", "std"], &dir, b"one\ntwo\n"), 0);
    let path = |name: &str| parent.path().join(name);
    let back_up = |from: &Path, to: &Path| run(&["backup", to.to_str().unwrap()], from);
    let done = back_up(&dir, &path("copy"));
    assert_exit(&done, 0);
    assert!(stderr(&done).contains("records:  2 (1 to 2)") && done.stdout.is_empty());
    assert_eq!(run(&["dump"], &path("copy")).stdout, b"one\ntwo\n");
    fs::write(path("file"), "1").unwrap();
    for (from, to, code, reason) in [
        (&dir, path("copy"), 2, "is not empty"),
        (&dir, path("file"), 2, "file"),
        (&dir, path("absent/copy"), 2, "absent"),
        (&dir, dir.join("copy"), 2, "inside the log"),
        (&path("absent"), path("new"), 2, "there is no such directory"),
    ] {
        let output = back_up(from, &to);
        assert_exit(&output, code);
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
    let damaged = path("damaged");
    damaged_log(&damaged);
    let output = back_up(&damaged, &path("new"));
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("records are damaged"), "{}", stderr(&output));
    assert!(!path("new").exists());

    let events = path("events");
    let config = WalConfig { dir: events.clone(), ..WalConfig::default() };
    let (wal, _, _) = WalHandle::open(config).unwrap();
    let event = SignalEvent { entity_id: 1, signal_type: 1, weight: 1.0, timestamp_nanos: 1 };
    wal.append(event).unwrap();
    assert_exit(&back_up(&events, &path("new")), 0);
    let config = WalConfig { dir: path("new"), ..WalConfig::default() };
    assert_eq!(WalHandle::open(config).unwrap().1, [event]);
}
