//! A key-value log as lines of JSON, and back.

use std::fs;
use std::path::Path;

use ringwal::Error;
use ringwal::kv::{DataReader, DataWal};
use serde_json::Value;

fn open(dir: &Path, name: &str) -> DataWal {
    DataWal::open(dir.join(name)).unwrap()
}

/// The names in a directory that are neither a store nor expected.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn an_export_is_sorted_has_the_documented_form_and_imports_to_the_same_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "store");
    let keys: [&[u8]; 7] = [b"b", b"a", b"\0", b"a\0", b"\xff\xff", b"ab", &[b'a'; 65_536]];
    for (n, key) in keys.iter().enumerate() {
        store.put(key, "old").unwrap();
        store.put(key, vec![n as u8; n * 1000]).unwrap();
    }
    store.put("gone", "x").unwrap();
    store.delete("gone").unwrap();
    let path = dir.path().join("out.jsonl");
    assert_eq!(store.export_jsonl(&path).unwrap(), 7);

    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("{\"key_b64\": \"AA==\", \"value_b64\": \"AgIC"), "{}", &text[..60]);
    assert!(text.ends_with("\"}\n"));
    for line in text.lines() {
        let object: Value = serde_json::from_str(line).unwrap();
        let (key, value) = (&object["key_b64"], &object["value_b64"]);
        let exact = format!("{{\"key_b64\": {key}, \"value_b64\": {value}}}");
        assert_eq!(line, exact);
    }
    let other = open(dir.path(), "other");
    other.put("stays", "1").unwrap();
    assert_eq!(other.import_jsonl(&path).unwrap(), 7);
    assert!(other.delete("stays").unwrap());
    assert_eq!(other.items().unwrap(), store.items().unwrap());
    let again = dir.path().join("again.jsonl");
    other.export_jsonl(&again).unwrap();
    assert_eq!(fs::read(&again).unwrap(), text.as_bytes());
    let reader = DataReader::open(dir.path().join("store")).unwrap();
    assert_eq!(reader.export_jsonl(&again).unwrap(), 7);
    assert_eq!(fs::read(&again).unwrap(), text.as_bytes());
    let sorted: Vec<_> = other.items().unwrap().into_iter().map(|(key, _)| key).collect();
    let in_file: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["key_b64"].to_string().len())
        .collect();
    let lengths: Vec<_> = sorted.iter().map(|key| key.len().div_ceil(3) * 4 + 2).collect();
    assert_eq!(in_file, lengths, "in the order of the keys");
}

#[test]
fn an_export_replaces_a_file_only_when_it_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "store");
    store.put("key", "needle").unwrap();
    store.fsync().unwrap();
    let path = dir.path().join("out.jsonl");
    fs::write(&path, "what was there").unwrap();
    damage(&dir.path().join("store"));
    assert!(matches!(store.export_jsonl(&path), Err(Error::Corrupt(_))));
    assert_eq!(fs::read(&path).unwrap(), b"what was there");
    store.put("key", "whole again").unwrap();
    assert_eq!(store.export_jsonl(&path).unwrap(), 1);
    assert!(fs::read_to_string(&path).unwrap().starts_with("{\"key_b64\""));
    assert_eq!(names(dir.path()), ["out.jsonl", "store"], "nothing is left over");
    assert!(store.export_jsonl(dir.path().join("no/such/dir.jsonl")).is_err());
}

fn damage(dir: &Path) {
    for name in names(dir) {
        let mut bytes = fs::read(dir.join(&name)).unwrap();
        if let Some(at) = bytes.windows(6).position(|window| window == b"needle") {
            bytes[at] = b'N';
            fs::write(dir.join(&name), bytes).unwrap();
        }
    }
}

#[test]
fn a_bad_line_is_named_and_nothing_is_imported() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "store");
    store.put("key", "value").unwrap();
    let (before, path) = (store.stats(), dir.path().join("in.jsonl"));
    let good = "{\"key_b64\": \"a2V5\", \"value_b64\": \"bmV3\"}\n";
    let long = format!("{{\"key_b64\": \"{}\", \"value_b64\": \"\"}}\n", "A".repeat(90 << 20));
    for (bad, wrong) in [
        ("{\"key_b64\": \"a2V5\"}\n", "no field value_b64"),
        ("\n", "no '{'"),
        ("{\"key_b64\": \"\", \"value_b64\": \"\"}\n", "a key of 0 bytes"),
        ("{\"key_b64\": \"a2V5\", \"value_b64\": \"bmV3\"", "no '}'"),
        ("not json\n", "no '{'"),
        (&long, "it is longer than"),
    ] {
        for at in 0..3 {
            let mut lines = [good; 3];
            lines[at] = bad;
            if at == 2 && bad == "\n" {
                // Behind the last line a blank one is none.
                continue;
            }
            fs::write(&path, lines.concat()).unwrap();
            match store.import_jsonl(&path).unwrap_err() {
                Error::Line { path: named, line, reason } => {
                    assert_eq!((named, line), (path.clone(), at as u64 + 1));
                    assert!(reason.contains(wrong), "{reason}");
                }
                // Without its newline, a bad line swallows the next one, unless it is the last.
                other => panic!("{other}"),
            }
            assert_eq!(store.stats(), before);
            if bad.len() > 1000 {
                break;
            }
        }
    }
    assert_eq!(store.get("key").unwrap().unwrap(), b"value");
    fs::write(&path, good.trim_end()).unwrap();
    assert_eq!(store.import_jsonl(&path).unwrap(), 1, "the last line needs no newline");
    assert_eq!(store.get("key").unwrap().unwrap(), b"new");
    fs::write(&path, "").unwrap();
    assert_eq!(store.import_jsonl(&path).unwrap(), 0);
    assert!(matches!(store.import_jsonl(dir.path().join("none")), Err(Error::Io { .. })));
}

#[test]
fn an_import_larger_than_its_batches_is_whole_and_durable() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "store");
    for n in 0..500 {
        store.put(format!("{n}"), vec![n as u8; 10_000]).unwrap();
    }
    let path = dir.path().join("out.jsonl");
    store.export_jsonl(&path).unwrap();
    let other = open(dir.path(), "other");
    assert_eq!(other.import_jsonl(&path).unwrap(), 500);
    assert!(other.metrics().separate_syncs > 0);
    assert_eq!(other.items().unwrap(), store.items().unwrap());
}

#[test]
fn a_byte_order_mark_and_blank_lines_at_the_end_are_no_lines() {
    let dir = tempfile::tempdir().unwrap();
    let (store, path) = (open(dir.path(), "store"), dir.path().join("in.jsonl"));
    let line = "{\"key_b64\": \"a2V5\", \"value_b64\": \"bmV3\"}\n";
    fs::write(&path, format!("\u{feff}{line}{line}\n \r\n\n")).unwrap();
    assert_eq!(store.import_jsonl(&path).unwrap(), 2);
    assert_eq!(store.get("key").unwrap().unwrap(), b"new");
    fs::write(&path, format!("{line}\n{line}")).unwrap();
    match store.import_jsonl(&path).unwrap_err() {
        Error::Line { line, .. } => assert_eq!(line, 2),
        other => panic!("{other}"),
    }
}

#[cfg(unix)]
#[test]
fn an_export_replaces_files_alone_and_keeps_their_mode() {
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "store");
    store.put("apple", "green").unwrap();
    let line = b"{\"key_b64\": \"YXBwbGU=\", \"value_b64\": \"Z3JlZW4=\"}\n";

    let path = dir.path().join("secret.jsonl");
    fs::write(&path, "before").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let link = dir.path().join("link.jsonl");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [&path, &link] {
        store.export_jsonl(path).unwrap();
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read(path).unwrap(), line);
    }
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

    let fifo = dir.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let read = std::thread::scope(|scope| {
        let reader = scope.spawn(|| fs::read(&fifo).unwrap());
        store.export_jsonl(&fifo).unwrap();
        reader.join().unwrap()
    });
    assert_eq!(read, line);
    assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());

    assert_eq!(store.export_jsonl("/dev/null").unwrap(), 1);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());

    let refused = store.export_jsonl(dir.path().join("store")).unwrap_err().to_string();
    assert!(refused.contains(dir.path().join("store").to_str().unwrap()), "{refused}");
}
