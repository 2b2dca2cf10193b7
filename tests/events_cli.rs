//! The command on an event log's directory.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

mod command;

use command::{assert_exit, new_dir, run, stderr};
use ringwal::Log;
use ringwal::kv::DataWal;
use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
use serde_json::{Value, json};

#[test]
fn the_events_of_a_log_are_dumped_from_its_directory_or_the_one_inside() {
    let (_parent, dir) = new_dir();
    let (wal, _, _) =
        WalHandle::open(WalConfig { dir: dir.clone(), ..WalConfig::default() }).unwrap();
    for entity_id in [7, 8] {
        let event = SignalEvent { entity_id, signal_type: 3, weight: 0.25, timestamp_nanos: 9 };
        wal.append(event).unwrap();
    }
    wal.checkpoint(1).unwrap();
    // Beside the open log, and after it.
    for wal in [Some(wal), None] {
        for dir in [&dir, &dir.join("wal")] {
            let dumped = run(&["dump", "--format", "events"], dir);
            assert_exit(&dumped, 0);
            let lines: Vec<Value> = dumped
                .stdout
                .split_inclusive(|&byte| byte == b'\n')
                .map(|line| serde_json::from_slice(line).unwrap())
                .collect();
            let expected = [(1, 7), (2, 8)].map(|(seq, entity_id)| {
                json!({
                    "seq": seq, "entity_id": entity_id, "signal_type": 3, "weight": 0.25,
                    "timestamp_nanos": 9,
                })
            });
            assert_eq!(lines, expected);

            let verified = run(&["verify", "--json"], dir);
            assert_exit(&verified, 0);
            let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
            assert_eq!((&report["verdict"], &report["records"]), (&json!("clean"), &json!(2)));
        }
        drop(wal);
    }
    let recovered = run(&["recover", "--format", "events"], &dir);
    assert_exit(&recovered, 0);
    assert_eq!(recovered.stdout.iter().filter(|&&byte| byte == b'\n').count(), 2);
}

#[test]
fn a_record_that_is_no_event_is_named() {
    let (_parent, dir) = new_dir();
    Log::open(&dir).unwrap().append("no event").unwrap();
    let dumped = run(&["dump", "--format", "events"], &dir);
    assert_exit(&dumped, 2);
    assert!(stderr(&dumped).contains("record 1 has 8 bytes"), "{}", stderr(&dumped));
}

#[test]
fn the_command_appends_to_no_log_that_is_not_raw() {
    let (_parent, dir) = new_dir();
    let (wal, _, _) =
        WalHandle::open(WalConfig { dir: dir.clone(), ..WalConfig::default() }).unwrap();
    wal.shutdown().unwrap();
    let store = dir.join("store");
    DataWal::open(&store).unwrap().put("key", "value").unwrap();
    for (log, name) in [(dir.join("wal"), "an event log"), (store, "a key-value log")] {
        let refused = run(&["append", "--generate", "1"], &log);
        assert_exit(&refused, 2);
        assert!(stderr(&refused).contains(name), "{}", stderr(&refused));
        assert_exit(&run(&["recover"], &log), 0);
        let verified = run(&["verify", "--json"], &log);
        let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert_eq!(report["records"], json!(u64::from(name != "an event log")));
    }
}

#[test]
fn an_event_log_is_dumped_as_events_unless_something_else_is_asked_for() {
    let (_parent, dir) = new_dir();
    let (wal, _, _) =
        WalHandle::open(WalConfig { dir: dir.clone(), ..WalConfig::default() }).unwrap();
    let event = SignalEvent { entity_id: 1, signal_type: 3, weight: 0.25, timestamp_nanos: 9 };
    wal.append(event).unwrap();
    let dump = |flags: &[&str]| run(&[&["dump"], flags].concat(), &dir).stdout;
    assert_eq!(dump(&[]), dump(&["--format", "events"]));
    assert!(String::from_utf8(dump(&[])).unwrap().contains("\"entity_id\":1"));
    assert_eq!(dump(&["--format", "raw"]).len(), 21 + 1);
    assert_eq!(dump(&["--framing", "len32"]).len(), 4 + 21);
}
