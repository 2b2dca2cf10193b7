//! Programs of the crate datawal: each of its calls behaves the same here, on both backends.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::path::Path;

use ringwal::BackendKind;
use ringwal::datawal::{DataWal, Record, RecordLog, RecordType};

#[path = "common/mod.rs"]
mod common;
#[path = "datawal/directory.rs"]
mod directory;
#[path = "datawal/errors.rs"]
mod errors;
#[path = "datawal/import.rs"]
mod import;
#[path = "datawal/log.rs"]
mod log;
#[path = "datawal/program.rs"]
mod program;
#[path = "datawal/reader.rs"]
mod reader;
#[path = "datawal/store.rs"]
mod store;
#[path = "datawal/surface.rs"]
mod surface;

/// Runs a test on both backends, each time in an empty directory.
fn on_backends(test: &str, run: impl Fn(&Path, BackendKind)) {
    let mut kinds = vec![BackendKind::Std];
    if common::uring_runs(test) {
        kinds.push(BackendKind::Uring);
    }
    for kind in kinds {
        println!("on {kind:?}");
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), kind);
    }
}

fn log_in(dir: &Path, kind: BackendKind) -> RecordLog {
    RecordLog::open_with_backend(dir, kind).unwrap()
}

fn store_in(dir: &Path, kind: BackendKind) -> DataWal {
    DataWal::open_with_backend(dir, kind).unwrap()
}

/// The content of a record, without its position.
fn said(record: &Record) -> (RecordType, &[u8], &[u8]) {
    (record.record_type, &record.key, &record.payload)
}
