//! A program as its users write it, with nothing changed but the name of the crate.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use ringwal::datawal;

use anyhow::{Context, Result};
use datawal::{
    CompactionStats, DataWal, MAX_KEY_LEN, MAX_PAYLOAD_LEN, Record, RecordIter, RecordLog,
    RecordLogReader, RecordRef, RecordType, RecoveryReport, WIRE_VERSION,
};

/// A program may move an open store to a thread, share it, and catch a panic with it.
const _: () = {
    const fn travels<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    travels::<DataWal>();
    travels::<RecordLog>();
    travels::<RecordLogReader>();
};

/// Every type and every receiver is the one of datawal, and errors are those of `anyhow`.
fn life(dir: &Path) -> Result<CompactionStats> {
    let opened: anyhow::Result<DataWal> = DataWal::open(dir);
    let mut store = opened.context("open")?;
    store.put(b"k", b"v")?;
    let place: Option<RecordRef> = store.ref_of(b"k");
    anyhow::ensure!(place.is_some_and(|place| place.segment == 1));
    let value: Option<Vec<u8>> = store.get(b"k")?;
    anyhow::ensure!(value.as_deref() == Some(&b"v"[..]));
    let keys: Vec<Vec<u8>> = store.keys();
    let items: Vec<(Vec<u8>, Vec<u8>)> = store.items()?;
    anyhow::ensure!(keys.len() == store.len() && items.len() == keys.len() && !store.is_empty());
    store.delete(b"missing")?;
    store.fsync()?;
    let path: PathBuf = store.dir_path_buf();
    let log: &RecordLog = store.log();
    let report: RecoveryReport = log.recovery_report()?;
    anyhow::ensure!(report == RecoveryReport { files_scanned: 1, ..Default::default() });
    store.export_jsonl(&path.with_extension("jsonl"))?;
    store.compact_to(&path.with_extension("compact"))
}

fn log(dir: &Path) -> Result<Vec<Record>> {
    let mut log = RecordLog::open(dir)?;
    let mut places = HashSet::new();
    places.insert(log.append(b"raw")?);
    places.insert(log.append_record(RecordType::from_byte(1)?, b"k", b"v")?);
    log.rotate()?;
    log.fsync()?;
    anyhow::ensure!(places.len() == 2 && log.active_segment() == 2 && !log.is_poisoned());
    let eager: Vec<Record> = log.scan()?;
    let iter: RecordIter<'_> = log.scan_iter()?;
    let lazy = iter.collect::<Result<Vec<Record>, _>>()?;
    anyhow::ensure!(eager == lazy);
    log.close()?;
    let reader = RecordLogReader::open(dir)?;
    anyhow::ensure!(reader.segments() == [1, 2] && reader.dir() == dir);
    reader.scan_iter()?.collect()
}

fn send_and_sync<T: Send + Sync>(value: T) -> T {
    value
}

#[test]
fn a_program_of_datawal_compiles_and_runs_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let stats = life(&dir.path().join("store")).unwrap();
    assert_eq!((stats.live_keys, stats.records_written, stats.bytes_written), (1, 1, 30));
    assert_eq!(log(&dir.path().join("log")).unwrap().len(), 2);
    assert_eq!((WIRE_VERSION, MAX_KEY_LEN, MAX_PAYLOAD_LEN), (1, 64 << 10, 64 << 20));
    assert_eq!(RecordType::Delete.as_byte(), 2);
    let store = send_and_sync(DataWal::open(&dir.path().join("store")).unwrap());
    let records: RecordIter<'_> = send_and_sync(store.log().scan_iter().unwrap());
    assert_eq!(records.count(), 2);
    let log: RecordLog = send_and_sync(RecordLog::open(&dir.path().join("log")).unwrap());
    send_and_sync(RecordLogReader::open(log.dir()).unwrap());
}

#[test]
fn boxed_errors_and_threads_take_what_they_took() {
    fn boxed(dir: &Path) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
        let store = DataWal::open(dir)?;
        Ok(std::thread::spawn(move || store.len()).join().map_err(|_| "panicked")?)
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(boxed(dir.path()).unwrap(), 0);
    std::fs::write(dir.path().join("00000001.dwal"), "").unwrap();
    assert!(boxed(dir.path()).unwrap_err().to_string().contains("ringwal import"));
}
