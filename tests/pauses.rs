//! A log that pauses: the watermark is noted, and then damage to the very last record is noticed.

#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ringwal::{Durability, Error, Log, Seq, Witness};

mod common;

/// Far more than any case takes: only a thread that waits for ever reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

fn until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "it never comes");
        thread::yield_now();
    }
}

/// A copy of the log as it is now, with a flipped bit in the record `last`.
fn damaged(dir: &Path, last: &[u8]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (name, mut bytes) in common::snapshot(dir) {
        if let Some(at) = bytes.windows(last.len()).position(|window| window == last) {
            bytes[at] ^= 1;
        }
        std::fs::write(copy.path().join(name), bytes).unwrap();
    }
    copy
}

fn is_named(dir: &Path, seq: u64) {
    match Log::open(dir) {
        Err(Error::Corrupt(damage)) => {
            assert_eq!((damage.first_seq, damage.witness), (Seq::new(seq), Witness::CleanClose));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn after_a_pause_damage_to_the_last_record_is_noticed() {
    for variant in common::variants("after_a_pause_damage_to_the_last_record_is_noticed") {
        let dir = tempfile::tempdir().unwrap();
        let pause = Some(Duration::from_millis(10));
        let log = variant.builder(dir.path()).note_after(pause).open().unwrap();
        // Beside a log at rest an appender writes by itself, and the ring thread sleeps.
        for round in 1..=3 {
            let last = format!("the last record of round {round}");
            log.append(&last).unwrap();
            until(|| log.metrics().notes == round);
            is_named(damaged(dir.path(), last.as_bytes()).path(), round);
        }
        log.close().unwrap();
    }
}

#[test]
fn without_notes_the_last_record_of_a_killed_log_has_no_witness() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::builder(dir.path()).note_after(None).open().unwrap();
    log.append("the last record").unwrap();
    let copy = damaged(dir.path(), b"the last record");
    assert_eq!(Log::open(copy.path()).unwrap().durable_seq(), Seq::NONE);
    assert_eq!(log.metrics().notes, 0);
}

#[test]
fn what_was_cut_off_or_is_not_durable_is_not_noted() {
    let dir = tempfile::tempdir().unwrap();
    let pause = Some(Duration::from_millis(10));
    let log = Log::builder(dir.path()).note_after(pause).open().unwrap();
    for _ in 0..4 {
        log.append("x").unwrap();
    }
    until(|| log.metrics().notes == 1);
    log.truncate_after(Seq::new(2)).unwrap();
    log.at(Durability::Written).append("only written").unwrap();
    let notes = log.metrics().notes;
    thread::yield_now();
    let copy = damaged(dir.path(), b"only written");
    let reopened = Log::open(copy.path()).unwrap();
    assert_eq!((reopened.durable_seq(), notes), (Seq::new(2), 1));
}

#[test]
fn a_pause_out_of_bounds_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for pause in [Duration::ZERO, Duration::from_millis(9), Duration::from_secs(3601)] {
        let refused = Log::builder(dir.path().join("log")).note_after(Some(pause)).open();
        assert!(matches!(refused, Err(Error::Option { name: "note_after", .. })));
    }
    assert!(!dir.path().join("log").exists());
}
