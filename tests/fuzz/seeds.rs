//! Where fuzzing begins: the golden corpus, in the form of each target, and inputs that found
//! something once.

use std::fs;
use std::path::{Path, PathBuf};

use ringwal::format::{State, state_file};
use ringwal::wal::format::{EventRecord, encode_batch};

use crate::files::{LOG_ID, SEGMENT, gathered, pack};

/// The inputs to begin with, with their names.
pub(crate) fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let plain = |prefix: &str| {
        let files = golden(prefix).into_iter();
        files.flat_map(|(name, bytes)| [0, 1].map(|how| (name.clone(), how, bytes.clone())))
    };
    let with_how = |prefix: &str| {
        let input = |(name, how, bytes): (String, u8, Vec<u8>)| {
            let bytes = if prefix == "state_" { gathered(&bytes) } else { bytes };
            (format!("{name}-{how}"), [&[how][..], &bytes].concat())
        };
        plain(prefix).map(input).collect()
    };
    match target {
        "batch" => with_how("batch_"),
        "segment" => with_how("segment_"),
        "state" => with_how("state_"),
        "directory" => directories(),
        "events" => event_logs(),
        other => unreachable!("no target {other}"),
    }
}

/// Inputs that broke a promise once, and must not again.
pub(crate) fn kept(target: &str) -> Vec<(String, Vec<u8>)> {
    read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/kept").join(target), "")
}

fn golden(prefix: &str) -> Vec<(String, Vec<u8>)> {
    read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus"), prefix)
}

fn read_all(dir: &Path, prefix: &str) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let named = paths.iter().map(|path| (path.file_name().unwrap().to_str().unwrap(), path));
    let mine = named.filter(|(name, _)| name.starts_with(prefix));
    mine.map(|(name, path)| (name.to_owned(), fs::read(path).unwrap())).collect()
}

/// Each segment of the corpus alone, with the `state` of a new log, and with each of the corpus;
/// and two segments in a row.
fn directories() -> Vec<(String, Vec<u8>)> {
    let mut found = vec![("empty".to_owned(), vec![0])];
    let state = State { generation: 1, ..State::new(LOG_ID, 0, 1) };
    let new = ("new".to_owned(), state_file(&state, None));
    let states: Vec<_> = golden("state_").into_iter().chain([new]).collect();
    let batch = golden("batch_padded").remove(0).1;
    for (name, segment) in golden("segment_") {
        found.push((name.clone(), pack(&[(SEGMENT, &segment)], false)));
        for (state_name, state) in &states {
            let files = [("state", state.as_slice()), (SEGMENT, &segment)];
            found.push((format!("{name}-{state_name}"), pack(&files, false)));
        }
        let mut next = batch.clone();
        next[8] = 7;
        let second = ("wal-00000000000000000007.seg", next.as_slice());
        let files = [("state", states.last().unwrap().1.as_slice()), (SEGMENT, &segment), second];
        found.push((format!("{name}-and-another"), pack(&files, true)));
    }
    found
}

fn event_logs() -> Vec<(String, Vec<u8>)> {
    let event = |n| EventRecord { entity_id: n, signal_type: 3, weight: 0.5, timestamp_nanos: n };
    let first = encode_batch(&[event(1), event(2)], 1, 9).unwrap();
    let second = encode_batch(&[event(3)], 3, 9).unwrap();
    let both = [first.as_slice(), &second].concat();
    let third = encode_batch(&[event(4), event(5)], 4, 9).unwrap();
    let other = "wal-00000000000000000004.seg";
    let state = golden("state_second_slot").remove(0).1;
    let inputs = [
        ("one", pack(&[(SEGMENT, &both)], false)),
        ("torn", pack(&[(SEGMENT, &both[..both.len() - 1])], false)),
        ("two", pack(&[(SEGMENT, &both), (other, &third)], true)),
        ("hole", pack(&[(SEGMENT, &first), (other, &third)], false)),
        ("state", pack(&[("state", &state), (SEGMENT, &both), (other, &third)], true)),
    ];
    let named = inputs.into_iter().map(|(name, input)| (name.to_owned(), input));
    named.chain(directories()).collect()
}
