//! The model of a log: the acknowledged records, and their positions in the files.
//!
//! It is kept while the log is written, and not read from the log afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use ringwal::{BackendKind, Blocks, Builder, Log, Strategy};
use tempfile::TempDir;

pub(crate) const BLOCK: usize = 4096;
pub(crate) const SECTOR: usize = 512;
pub(crate) const SLOT: usize = 4096;
/// Where the second slot of `state` begins.
pub(crate) const SECOND: usize = 64 << 10;
pub(crate) const HEADER: usize = 64;
pub(crate) const HEAD: usize = 8;

/// The files of a directory.
pub(crate) type Files = BTreeMap<String, Arc<Vec<u8>>>;

/// The slots of a `state` file, as far as it has them.
pub(crate) fn slots(state: &[u8]) -> [&[u8]; 2] {
    [0, SECOND].map(|at| &state[at.min(state.len())..(at + SLOT).min(state.len())])
}

/// A batch that was acknowledged as one.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// Its segment, by its first number.
    pub(crate) segment: u64,
    /// Where its frame starts in the file.
    pub(crate) start: usize,
    /// Where its last record ends.
    pub(crate) end: usize,
    /// The records in it that count.
    pub(crate) live: RangeInclusive<u64>,
    /// Where each of its records begins in the file, void ones included, and how long it is.
    pub(crate) records: Vec<(usize, usize)>,
}

/// One write of a slot of `state`.
#[derive(Clone, Debug)]
pub(crate) struct SlotWrite {
    pub(crate) bytes: Vec<u8>,
    pub(crate) generation: u64,
    /// The last record that was acknowledged and told to it.
    pub(crate) known_seq: u64,
}

/// A log: its files and its model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) files: Files,
    pub(crate) units: Vec<Unit>,
    /// The records that were acknowledged and not removed.
    pub(crate) records: BTreeMap<u64, Vec<u8>>,
    /// Every record that ever had this number.
    pub(crate) ever: BTreeMap<u64, Vec<Vec<u8>>>,
    pub(crate) slots: Vec<SlotWrite>,
    /// The `state` file after each step.
    pub(crate) states: Vec<Arc<Vec<u8>>>,
    pub(crate) is_event_log: bool,
}

impl Shape {
    /// The numbers of the segments, ascending.
    pub(crate) fn segments(&self) -> Vec<u64> {
        self.files.keys().filter_map(|name| segment_number(name)).collect()
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.records.keys().next_back().copied().unwrap_or(0)
    }

    /// The write of `state` that counts in these bytes of the file.
    pub(crate) fn counting(&self, state: Option<&Arc<Vec<u8>>>) -> Option<&SlotWrite> {
        let known = |slot: &[u8]| self.slots.iter().find(|write| write.bytes == slot);
        let slots = slots(state?).into_iter().filter_map(known);
        slots.max_by_key(|write| write.generation)
    }
}

pub(crate) fn segment_name(first_seq: u64) -> String {
    format!("wal-{first_seq:020}.seg")
}

pub(crate) fn segment_number(name: &str) -> Option<u64> {
    name.strip_prefix("wal-")?.strip_suffix(".seg")?.parse().ok()
}

/// A directory that is quick to write to, if there is one.
pub(crate) fn scratch() -> TempDir {
    let quick = Path::new("/dev/shm");
    let made = if quick.is_dir() { tempfile::tempdir_in(quick) } else { tempfile::tempdir() };
    made.or_else(|_| tempfile::tempdir()).unwrap()
}

/// A builder that is quick to open and repeats itself.
pub(crate) fn builder(dir: &Path) -> Builder {
    Log::builder(dir)
        .backend(BackendKind::Std)
        .strategy(Some(Strategy::WriteThenSync))
        .preallocate(Some(Blocks::Written))
        .segment_bytes(32 * 1024)
        .spare_segments(0)
}

/// The files of a log that may be open: no spares, which no log needs, and no lock.
pub(crate) fn collect(dir: &Path) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "state" || segment_number(&name).is_some() {
            files.insert(name.clone(), Arc::new(fs::read(dir.join(&name)).unwrap()));
        }
    }
    files
}

/// Writes files into a directory, which afterwards has no others.
pub(crate) fn lay_out(dir: &Path, files: &Files) {
    for entry in fs::read_dir(dir).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes.as_slice()).unwrap();
    }
}
