//! `ringwal import` as a process.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

mod command;

use std::fs;
use std::path::Path;
use std::process::Output;

use command::{assert_exit, run, stderr};
use ringwal::datawal::RecordType;
use ringwal::datawal::format::encode_record;

/// A directory of two files with two records each.
fn old_dir(dir: &Path) {
    fs::create_dir(dir).unwrap();
    for id in 1..=2u64 {
        let first = encode_record(RecordType::Put, 2 * id - 1, b"key", &[id as u8]).unwrap();
        let second = encode_record(RecordType::Put, 2 * id, &[id as u8], b"value").unwrap();
        fs::write(dir.join(format!("{id:08}.dwal")), [first, second].concat()).unwrap();
    }
}

fn import(old: &Path, new: &Path, more: &[&str]) -> Output {
    let command = ["import", new.to_str().unwrap(), "--from", "datawal"];
    run(&[&command, more].concat(), old)
}

#[test]
fn an_import_says_what_it_moved_and_what_it_left_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let (old, new) = (scratch.path().join("old"), scratch.path().join("new"));
    old_dir(&old);
    let file = old.join("00000002.dwal");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let output = import(&old, &new, &[]);
    assert_exit(&output, 0);
    assert!(output.stdout.is_empty());
    let said = stderr(&output);
    assert!(said.contains("imported 3 records of 2 files"), "{said}");
    assert!(said.contains("left behind: 33 bytes of") && said.contains("interrupted"), "{said}");
    let store = ringwal::kv::DataWal::open(&new).unwrap();
    assert_eq!(store.get("key").unwrap(), Some(vec![2]));
    assert_eq!(store.len().unwrap(), 2);
    store.close().unwrap();

    // The new directory is not empty any more.
    let output = import(&old, &new, &[]);
    assert_exit(&output, 2);
    assert!(stderr(&output).contains("is not empty"), "{}", stderr(&output));
}

#[test]
fn a_source_that_is_none_is_a_wrong_request() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, new) = (scratch.path().join("dir"), scratch.path().join("new"));
    let refused = |what: &str| {
        let output = import(&dir, &new, &[]);
        assert_exit(&output, 2);
        let said = stderr(&output);
        assert!(said.contains(what) && said.contains(dir.to_str().unwrap()), "{said}");
        assert!(!new.exists());
    };
    refused("os error");
    fs::write(&dir, "a file").unwrap();
    refused("os error");
    fs::remove_file(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    refused("no file of the crate datawal");
    ringwal::Log::open(&dir).unwrap().close().unwrap();
    refused("no file of the crate datawal");
}

#[test]
fn a_damaged_source_is_refused_with_the_option_that_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let (old, new) = (scratch.path().join("old"), scratch.path().join("new"));
    old_dir(&old);
    let file = old.join("00000001.dwal");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let output = import(&old, &new, &[]);
    assert_exit(&output, 1);
    let said = stderr(&output);
    assert!(
        said.contains("byte 32 of") && said.contains("--up-to-damage imports the records"),
        "{said}"
    );
    assert!(!new.exists());
    let output = import(&old, &new, &["--up-to-damage"]);
    assert_exit(&output, 0);
    let said = stderr(&output);
    assert!(
        said.contains("imported 1 record of 2 files") && said.contains("comes after"),
        "{said}"
    );
}
