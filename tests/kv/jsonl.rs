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
        ("{\"key_b64\": \"a2V5\"}\n", "missing field value_b64"),
        ("\n", "expected '{'"),
        ("{\"key_b64\": \"\", \"value_b64\": \"\"}\n", "a key of 0 bytes"),
        ("{\"key_b64\": \"a2V5\", \"value_b64\": \"bmV3\"", "expected '}'"),
        ("not json\n", "expected '{'"),
        (&long, "it is longer than"),
    ] {
        for at in 0..3 {
            let mut lines = [good; 3];
            lines[at] = bad;
            if bad == "\n" && at == 2 {
                // Blank lines at the end are taken for none.
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

#[cfg(unix)]
#[test]
fn an_export_keeps_the_mode_of_the_file_and_the_link_to_it() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "store");
    store.put("k", "v").unwrap();
    let (path, link) = (dir.path().join("out.jsonl"), dir.path().join("link"));
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink("out.jsonl", &link).unwrap();
    for given in [&path, &link] {
        store.put("k", given.to_string_lossy().as_bytes()).unwrap();
        store.export_jsonl(given).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), fs::read(given).unwrap());
        assert_eq!(open(dir.path(), "other").import_jsonl(&path).unwrap(), 1);
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with('{') && text.len() > 50, "{text}");
    assert_eq!(names(dir.path()), ["link", "other", "out.jsonl", "store"]);
}

#[cfg(unix)]
#[test]
fn an_export_to_a_stream_is_written_into_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "store");
    store.put("apple", "green").unwrap();
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let read = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).unwrap()
    });
    assert_eq!(store.export_jsonl(&pipe).unwrap(), 1);
    let line = "{\"key_b64\": \"YXBwbGU=\", \"value_b64\": \"Z3JlZW4=\"}\n";
    assert_eq!(read.join().unwrap(), line);
    assert_eq!(names(dir.path()), ["pipe", "store"]);
    // A device in another place than /dev, which a mistake here would ruin.
    let null = dir.path().join("null");
    std::os::unix::fs::symlink("/dev/null", &null).unwrap();
    assert_eq!(store.export_jsonl(&null).unwrap(), 1);
    assert!(fs::symlink_metadata(&null).unwrap().is_symlink());
    assert!(!fs::metadata(&null).unwrap().is_file());
}

#[test]
fn an_export_to_what_can_be_no_file_is_refused_with_the_path_that_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "store");
    let inside = dir.path().join("none").join("out.jsonl");
    let slash = Path::new(&format!("{}/", dir.path().join("new").display())).to_path_buf();
    for given in [dir.path(), &inside, &slash, Path::new(""), Path::new("..")] {
        match store.export_jsonl(given).unwrap_err() {
            Error::Io { path, .. } => assert_eq!(path, given),
            other => panic!("{other}"),
        }
    }
    assert_eq!(names(dir.path()), ["store"]);
}

#[test]
fn a_byte_order_mark_and_blank_lines_at_the_end_are_no_lines_of_an_import() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "store");
    let path = dir.path().join("in.jsonl");
    let line = "{\"key_b64\": \"a2V5\", \"value_b64\": \"bmV3\"}";
    for (text, lines) in [
        (format!("\u{feff}{line}\n"), 1),
        (format!("{line}\r\n{line}\r\n \r\n\r\n"), 2),
        (format!("{line}\n\n"), 1),
        ("\u{feff}".to_owned(), 0),
        ("\n".to_owned(), 0),
    ] {
        fs::write(&path, &text).unwrap();
        assert_eq!(store.import_jsonl(&path).unwrap(), lines, "{text:?}");
    }
    fs::write(&path, format!("{line}\n\n\n{line}\n")).unwrap();
    assert!(matches!(store.import_jsonl(&path), Err(Error::Line { line: 2, .. })));
    fs::write(&path, format!("{line}\n\u{feff}{line}\n")).unwrap();
    assert!(matches!(store.import_jsonl(&path), Err(Error::Line { line: 2, .. })));
}

#[cfg(unix)]
#[test]
fn an_import_of_what_is_no_file_is_refused_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "store");
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for given in [pipe.as_path(), dir.path(), Path::new("/dev/null")] {
        let error = store.import_jsonl(given).unwrap_err().to_string();
        assert!(error.contains("regular file") && error.contains(given.to_str().unwrap()));
    }
}
