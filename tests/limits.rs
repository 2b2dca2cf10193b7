//! Limits of the operating system: space, descriptors, names, a lost disk. Each time the
//! error names the path, the operation and the cause, no acknowledged record is lost, and the log
//! continues as soon as possible: at once, or when it is opened again.
//!
//! Each case runs in a process of its own, which is this program again with the one ignored test:
//! a limit would hit the other tests as well. Disks need root and a mount namespace.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::uring_runs;
use descriptors::{
    no_descriptors_at_open, no_descriptors_at_rotation, no_descriptors_to_cut_the_end,
};
use full_store::full_store;
use many::many_segments;
use place::{directory_replaced, working_directory_changed};
use resource::{Limit, ignore_file_size_signal, shut_down};
use ringwal::{BackendKind, Blocks, Builder, CorruptionKind, Error, Log, Seq};

mod common;
#[path = "limits/descriptors.rs"]
mod descriptors;
#[path = "limits/full_store.rs"]
mod full_store;
#[path = "limits/many.rs"]
mod many;
#[path = "limits/place.rs"]
mod place;
#[path = "limits/resource.rs"]
mod resource;

const SEGMENT_BYTES: u64 = 256 << 10;
const RECORD_BYTES: usize = 10_000;

type Case = fn(&Path, BackendKind);

const CASES: [(&str, Case); 20] = [
    ("no_room_for_a_note", no_room_for_a_note),
    ("short_write", short_write),
    ("no_long_files", no_long_files),
    ("no_descriptors_at_open", no_descriptors_at_open),
    ("no_descriptors_at_rotation", no_descriptors_at_rotation),
    ("no_descriptors_to_cut_the_end", no_descriptors_to_cut_the_end),
    ("directory_removed", directory_removed),
    ("directory_renamed", directory_renamed),
    ("directory_replaced", directory_replaced),
    ("working_directory_changed", working_directory_changed),
    ("sealed_segment_removed", sealed_segment_removed),
    ("active_segment_removed", active_segment_removed),
    ("lock_removed", lock_removed),
    ("full_disk", full_disk),
    ("full_disk_with_reserved_segments", full_disk_with_reserved_segments),
    ("full_disk_without_preallocation", full_disk_without_preallocation),
    ("open_on_a_full_disk", open_on_a_full_disk),
    ("full_store", full_store),
    ("disk_gone", disk_gone),
    ("many_segments", many_segments),
];

// Starting a case.

/// Runs a case on all backends, each in a process of its own; `disk` gives it a small ext4.
fn run_case(test: &str, name: &str, disk: bool) {
    assert!(CASES.iter().any(|(case, _)| *case == name), "there is no case {name}");
    let mut backends = vec!["std"];
    if uring_runs(test) {
        backends.push("uring");
    }
    for backend in backends {
        let parent = tempfile::tempdir().unwrap();
        let program = std::env::current_exe().unwrap();
        let script = "mkfs.ext4 -q \"$IMAGE\" 20M && mkdir \"$DISK\" || exit 98
            mount -o loop \"$IMAGE\" \"$DISK\" || exit 98
            exec \"$@\"";
        let mut command = match disk {
            true => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
                command.arg(program);
                command
            }
            false => Command::new(program),
        };
        command.args(["a_limited_process", "--exact", "--ignored", "--nocapture"]);
        command.env("RINGWAL_LIMITED", name).env("RINGWAL_LIMITED_BACKEND", backend);
        command.env("IMAGE", parent.path().join("image")).env("DISK", parent.path().join("disk"));
        let place = if disk { "disk/log" } else { "log" };
        command.env("RINGWAL_LIMITED_DIR", parent.path().join(place));
        let output = match command.output() {
            Ok(output) => output,
            Err(error) => return println!("SKIPPED {test}: no unshare: {error}"),
        };
        let said = said(&output);
        if disk && (output.status.code() == Some(98) || said.starts_with("unshare:")) {
            return println!("SKIPPED {test}: no small disk: {said}");
        }
        assert!(output.status.success(), "{name}, {backend}: {said}");
        assert!(said.contains("1 passed"), "{name}, {backend}: {said}");
    }
}

fn said(output: &Output) -> String {
    let [err, out] = [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{err}{out}")
}

#[test]
#[ignore = "a process that the other tests start"]
fn a_limited_process() {
    let Ok(name) = std::env::var("RINGWAL_LIMITED") else { return };
    let dir = PathBuf::from(std::env::var("RINGWAL_LIMITED_DIR").unwrap());
    let backend = match std::env::var("RINGWAL_LIMITED_BACKEND").unwrap().as_str() {
        "std" => BackendKind::Std,
        _ => BackendKind::Uring,
    };
    let (_, case) = CASES.iter().find(|(case, _)| *case == name).unwrap();
    case(&dir, backend);
    assert!(dir.parent().unwrap().exists());
}

// Parts of the cases.

fn builder(dir: &Path, backend: BackendKind) -> Builder {
    Log::builder(dir).backend(backend).segment_bytes(SEGMENT_BYTES).spare_segments(1)
}

/// A record with content that depends on its number.
fn record(seq: u64) -> Vec<u8> {
    seq.to_le_bytes().into_iter().cycle().take(RECORD_BYTES).collect()
}

/// Appends until it fails.
fn append_until_refused(log: &Log) -> Error {
    for _ in 0..10_000 {
        let next = log.appended_seq().get() + 1;
        match log.append(record(next)) {
            Ok(seq) => assert_eq!(seq.get(), next),
            Err(error) => return error,
        }
    }
    panic!("nothing was refused");
}

/// Appends this many records.
fn append(log: &Log, count: u64) {
    for _ in 0..count {
        log.append(record(log.appended_seq().get() + 1)).unwrap();
    }
}

/// Asserts that the message names the path and the cause.
#[track_caller]
fn assert_names(error: &Error, path: &Path, cause: &str) {
    let message = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    assert!(message.contains(path.to_str().unwrap()), "no path: {message}");
    assert!(message.contains(cause), "no {cause:?}: {message}");
}

/// Asserts that the log has the records up to `acked` at least, and takes new ones.
#[track_caller]
fn assert_goes_on(dir: &Path, backend: BackendKind, acked: Seq) {
    let log = builder(dir, backend).open().unwrap();
    assert_content(&log, acked);
    append(&log, 40);
    let last = log.appended_seq();
    log.close().unwrap();
    assert_content(&builder(dir, backend).open().unwrap(), last);
}

#[track_caller]
fn assert_content(log: &Log, acked: Seq) {
    let records = common::contents(log);
    assert!(records.len() as u64 >= acked.get(), "{} of {acked} records", records.len());
    for (content, seq) in records.iter().zip(1..) {
        assert_eq!(*content, record(seq), "record {seq}");
    }
}

/// Asserts that every later call fails in the same way, and that the log can still be closed.
#[track_caller]
fn assert_failed_for_good(log: &Log, cause: &str) {
    for error in [log.append("more").unwrap_err(), log.rotate().unwrap_err()] {
        assert!(matches!(error, Error::Poisoned(_)), "{error}");
        assert!(error.to_string().contains(cause), "no {cause:?}: {error}");
    }
    log.close().unwrap_err();
}

// Space.

#[test]
fn a_write_that_is_cut_short_ends_the_log_and_loses_nothing() {
    run_case("a_write_that_is_cut_short_ends_the_log_and_loses_nothing", "short_write", false);
}

fn short_write(dir: &Path, backend: BackendKind) {
    ignore_file_size_signal();
    let log = builder(dir, backend).preallocate(Some(Blocks::AsTheyCome)).open().unwrap();
    append(&log, 3);
    // Inside the sixth batch, which is three blocks long.
    Limit::FileBytes.set(Some(16 * 4096));
    let error = append_until_refused(&log);
    Limit::FileBytes.set(None);
    assert_eq!(log.durable_seq(), Seq::new(5));
    assert_names(&error, dir, "wal-");
    let message = error.to_string();
    let causes = ["bytes were written", "too large"];
    let cause = causes.into_iter().find(|cause| message.contains(cause)).expect(&message);
    assert_failed_for_good(&log, cause);
    assert_goes_on(dir, backend, Seq::new(5));
}

#[test]
fn without_long_files_appends_are_refused_until_the_limit_is_lifted() {
    let test = "without_long_files_appends_are_refused_until_the_limit_is_lifted";
    run_case(test, "no_long_files", false);
}

fn no_long_files(dir: &Path, backend: BackendKind) {
    ignore_file_size_signal();
    append(&builder(dir, backend).open().unwrap(), 3);
    Limit::FileBytes.set(Some(SEGMENT_BYTES / 2));
    let log = builder(dir, backend).preallocate(Some(Blocks::Written)).open().unwrap();
    let error = append_until_refused(&log);
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert_names(&error, dir, "too large");
    assert_eq!(log.appended_seq(), Seq::new(3));
    Limit::FileBytes.set(None);
    append(&log, 40);
    let last = log.appended_seq();
    log.close().unwrap();
    assert_goes_on(dir, backend, last);
}

#[test]
fn a_note_for_which_there_is_no_room_ends_nothing_and_is_tried_again() {
    let test = "a_note_for_which_there_is_no_room_ends_nothing_and_is_tried_again";
    run_case(test, "no_room_for_a_note", false);
}

fn no_room_for_a_note(dir: &Path, backend: BackendKind) {
    ignore_file_size_signal();
    let pause = Some(Duration::from_millis(10));
    let log = builder(dir, backend).segment_bytes(32 << 10).note_after(pause).open().unwrap();
    append(&log, 1);
    // One of the two slots of `state` lies beyond the limit, and no segment does.
    Limit::FileBytes.set(Some(48 << 10));
    let start = Instant::now();
    let until = |what: &dyn Fn() -> bool| {
        while !what() {
            assert!(start.elapsed() < Duration::from_secs(60), "it never comes");
            std::thread::yield_now();
        }
    };
    for _ in 0..3 {
        let tried = || log.metrics().notes + log.metrics().notes_refused;
        let before = tried();
        append(&log, 1);
        until(&|| tried() > before);
    }
    assert!(log.metrics().notes_refused > 0);
    append(&log, 10);
    Limit::FileBytes.set(None);
    let noted = log.metrics().notes;
    until(&|| log.metrics().notes > noted);
    append(&log, 10);
    let last = log.appended_seq();
    drop(log);
    assert_goes_on(dir, backend, last);
}

// Names.

#[test]
fn a_directory_removed_underneath_is_told_and_a_new_log_can_be_made_there() {
    let test = "a_directory_removed_underneath_is_told_and_a_new_log_can_be_made_there";
    run_case(test, "directory_removed", false);
}

fn directory_removed(dir: &Path, backend: BackendKind) {
    let log = builder(dir, backend).open().unwrap();
    append(&log, 3);
    remove_dir(dir);
    let error = append_until_refused(&log);
    assert_names(&error, dir, "No such file or directory");
    assert_failed_for_good(&log, "No such file or directory");
    drop(log);
    assert_goes_on(dir, backend, Seq::NONE);
}

/// Removes a directory in which files are still being created.
fn remove_dir(dir: &Path) {
    while let Err(error) = fs::remove_dir_all(dir) {
        assert_eq!(error.kind(), std::io::ErrorKind::DirectoryNotEmpty, "{error}");
    }
}

#[test]
fn a_directory_renamed_underneath_is_told_and_has_everything_when_it_is_back() {
    let test = "a_directory_renamed_underneath_is_told_and_has_everything_when_it_is_back";
    run_case(test, "directory_renamed", false);
}

fn directory_renamed(dir: &Path, backend: BackendKind) {
    let log = builder(dir, backend).open().unwrap();
    append(&log, 3);
    let away = dir.with_extension("away");
    fs::rename(dir, &away).unwrap();
    let error = append_until_refused(&log);
    assert_names(&error, dir, "No such file or directory");
    let acked = log.durable_seq();
    assert_failed_for_good(&log, "No such file or directory");
    drop(log);
    let found = Log::builder(&away).verify().unwrap();
    assert!(found.last_seq >= acked, "{found}");
    fs::rename(&away, dir).unwrap();
    assert_goes_on(dir, backend, acked);
}

/// The paths of the segments, in order.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let names = common::files(dir).into_iter().filter(|name| name.starts_with("wal-"));
    names.map(|name| dir.join(name)).collect()
}

#[test]
fn a_sealed_segment_removed_underneath_is_told_by_who_reads_it_and_by_opening() {
    let test = "a_sealed_segment_removed_underneath_is_told_by_who_reads_it_and_by_opening";
    run_case(test, "sealed_segment_removed", false);
}

fn sealed_segment_removed(dir: &Path, backend: BackendKind) {
    let log = builder(dir, backend).open().unwrap();
    append(&log, 60);
    let gone = segments(dir).remove(1);
    let away = dir.with_extension("away");
    fs::rename(&gone, &away).unwrap();
    let error = log.reader().unwrap().find_map(Result::err).expect("an error");
    assert_names(&error, &gone, "No such file or directory");
    // Appends are not affected.
    append(&log, 5);
    log.close().unwrap();
    drop(log);
    match builder(dir, backend).open() {
        Err(Error::Corrupt(damage)) => {
            assert_eq!(damage.kind, CorruptionKind::SegmentMissing, "{damage}");
            assert!(damage.to_string().contains(dir.to_str().unwrap()), "{damage}");
        }
        other => panic!("{other:?}"),
    }
    fs::rename(&away, &gone).unwrap();
    assert_goes_on(dir, backend, Seq::new(65));
}

#[test]
fn the_active_segment_removed_underneath_is_told_by_close() {
    let test = "the_active_segment_removed_underneath_is_told_by_close";
    run_case(test, "active_segment_removed", false);
}

fn active_segment_removed(dir: &Path, backend: BackendKind) {
    let log = builder(dir, backend).open().unwrap();
    append(&log, 30);
    let active = segments(dir).pop().unwrap();
    let away = dir.with_extension("away");
    fs::rename(&active, &away).unwrap();
    append(&log, 1);
    let error = log.close().unwrap_err();
    assert_names(&error, &active, "No such file or directory");
    drop(log);
    fs::rename(&away, &active).unwrap();
    assert_goes_on(dir, backend, Seq::new(31));
}

#[test]
fn without_its_lock_file_a_log_goes_on() {
    run_case("without_its_lock_file_a_log_goes_on", "lock_removed", false);
}

fn lock_removed(dir: &Path, backend: BackendKind) {
    let log = builder(dir, backend).open().unwrap();
    append(&log, 3);
    fs::remove_file(dir.join("lock")).unwrap();
    append(&log, 60);
    log.close().unwrap();
    drop(log);
    assert_goes_on(dir, backend, Seq::new(63));
    assert!(dir.join("lock").exists());
}

// Disks.

#[test]
fn a_full_ext4_refuses_and_the_same_log_goes_on_when_there_is_room() {
    let test = "a_full_ext4_refuses_and_the_same_log_goes_on_when_there_is_room";
    run_case(test, "full_disk", true);
}

fn full_disk(dir: &Path, backend: BackendKind) {
    fill_the_disk_and_go_on(dir, backend, Blocks::Written);
}

#[test]
fn on_a_full_ext4_what_is_reserved_can_be_written_and_the_rest_is_refused() {
    let test = "on_a_full_ext4_what_is_reserved_can_be_written_and_the_rest_is_refused";
    run_case(test, "full_disk_with_reserved_segments", true);
}

fn full_disk_with_reserved_segments(dir: &Path, backend: BackendKind) {
    fill_the_disk_and_go_on(dir, backend, Blocks::Reserved);
}

fn fill_the_disk_and_go_on(dir: &Path, backend: BackendKind, blocks: Blocks) {
    let log = builder(dir, backend).preallocate(Some(blocks)).open().unwrap();
    append(&log, 3);
    assert_eq!(log.metrics().spares_reserved > 0, blocks == Blocks::Reserved);
    let filler = fill(dir);
    let error = append_until_refused(&log);
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert_names(&error, dir, "No space left");
    make_room(&filler);
    append(&log, 40);
    let last = log.appended_seq();
    log.close().unwrap();
    drop(log);
    assert_goes_on(dir, backend, last);
}

#[test]
fn on_a_full_disk_a_log_opens_reads_truncates_and_appends_when_there_is_room() {
    let test = "on_a_full_disk_a_log_opens_reads_truncates_and_appends_when_there_is_room";
    run_case(test, "open_on_a_full_disk", true);
}

fn open_on_a_full_disk(dir: &Path, backend: BackendKind) {
    let log = builder(dir, backend).open().unwrap();
    append(&log, 60);
    drop(log);
    let filler = fill(dir);
    match builder(&dir.with_extension("new"), backend).open() {
        Err(error @ Error::NoSpace { .. }) => {
            assert_names(&error, dir.parent().unwrap(), "No space")
        }
        other => panic!("{other:?}"),
    }
    for truncates in [false, true] {
        let log = builder(dir, backend).open().unwrap();
        assert_content(&log, Seq::new(60));
        let refusal = log.backend().refused.iter().find(|it| it.errno == Some(libc::ENOSPC));
        assert_eq!(refusal.is_some(), backend == BackendKind::Uring, "{}", log.backend());
        let error = log.append(record(61)).unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }), "{error}");
        if truncates {
            log.truncate_before(Seq::new(50)).unwrap();
            assert!(log.first_seq() > Seq::new(1));
            make_room(&filler);
            append(&log, 40);
            assert_eq!(log.durable_seq(), Seq::new(100));
        }
        log.close().unwrap();
    }
    let log = builder(dir, BackendKind::Auto).open().unwrap();
    assert_eq!(log.durable_seq(), Seq::new(100));
    append(&log, 1);
}

/// Fills the disk with a file beside the log.
fn fill(dir: &Path) -> PathBuf {
    let filler = dir.with_extension("filler");
    let mut file = fs::File::create(&filler).unwrap();
    let full = std::io::copy(&mut std::io::repeat(1), &mut file).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    filler
}

/// Removes the filler. ext4 gives its blocks back when the removal is committed.
fn make_room(filler: &Path) {
    fs::remove_file(filler).unwrap();
    fs::File::open(filler.parent().unwrap()).unwrap().sync_all().unwrap();
}

#[test]
fn a_full_ext4_without_preallocation_ends_the_log_and_loses_nothing() {
    let test = "a_full_ext4_without_preallocation_ends_the_log_and_loses_nothing";
    run_case(test, "full_disk_without_preallocation", true);
}

fn full_disk_without_preallocation(dir: &Path, backend: BackendKind) {
    let log = builder(dir, backend).preallocate(Some(Blocks::AsTheyCome)).open().unwrap();
    append(&log, 3);
    let filler = fill(dir);
    let error = append_until_refused(&log);
    let acked = log.durable_seq();
    make_room(&filler);
    if matches!(error, Error::NoSpace { .. }) {
        append(&log, 40);
        log.close().unwrap();
    } else {
        assert_names(&error, dir, "");
        let _poisoned = log.close();
    }
    drop(log);
    assert_goes_on(dir, backend, acked);
}

#[test]
fn a_disk_that_goes_away_is_told_and_has_everything_when_it_is_back() {
    let test = "a_disk_that_goes_away_is_told_and_has_everything_when_it_is_back";
    run_case(test, "disk_gone", true);
}

fn disk_gone(dir: &Path, backend: BackendKind) {
    let log = builder(dir, backend).open().unwrap();
    append(&log, 40);
    shut_down(dir).unwrap();
    let error = append_until_refused(&log);
    assert_names(&error, dir, "Input/output error");
    assert_failed_for_good(&log, "Input/output error");
    drop(log);
    // Records acknowledged before are on the device.
    let disk = dir.parent().unwrap();
    let image = disk.with_file_name("image");
    remount(disk, &image);
    assert_goes_on(dir, backend, Seq::new(40));
}

fn remount(disk: &Path, image: &Path) {
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    };
    run(Command::new("umount").arg(disk));
    run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(disk));
}
