//! Logs of several shapes, each with a model of what was acknowledged and of what lies where.
//!
//! The model is kept beside the log while it is made: which records were acknowledged, in which
//! batch each was, and what each write of `state` was told. Where a batch lies follows from the
//! documented format by arithmetic of its own; building a shape checks that against the files.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringwal::wal::format::EventRecord;
use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
use ringwal::{BackendKind, Batch, Builder, Log, Seq, Strategy};
use tempfile::TempDir;

pub(crate) const BLOCK: usize = 4096;
pub(crate) const SECTOR: usize = 512;
pub(crate) const SLOT: usize = 4096;
pub(crate) const HEADER: usize = 64;
pub(crate) const HEAD: usize = 8;

/// The files of a directory.
pub(crate) type Files = BTreeMap<String, Arc<Vec<u8>>>;

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

/// A log, as its files, and what is known of it.
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
        let slots = state?.chunks(SLOT).take(2).filter_map(known);
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
        .preallocate(Some(true))
        .segment_bytes(32 * 1024)
        .spare_segments(0)
}

/// A log that is being made, and its model.
struct Making {
    dir: TempDir,
    log: Option<Log>,
    segment_bytes: u64,
    /// Tells the records of two logs apart that are made in the same way.
    tag: u8,
    /// For each batch: first number, lengths of all its records.
    batches: Vec<(u64, Vec<usize>)>,
    /// How many batches were made, those included that were removed again.
    made: usize,
    known_seq: u64,
    shape: Shape,
}

impl Making {
    fn new(name: &'static str, tag: u8, segment_bytes: u64) -> Making {
        let shape = Shape { name, ..Shape::default() };
        let dir = scratch();
        let (log, batches) = (None, Vec::new());
        let mut making =
            Making { dir, log, segment_bytes, tag, batches, made: 0, known_seq: 0, shape };
        making.open();
        making
    }

    fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    fn open(&mut self) {
        let log = builder(self.dir.path()).segment_bytes(self.segment_bytes).open().unwrap();
        self.log = Some(log);
        self.note_state();
    }

    /// Appends records of these lengths as one batch, and waits until it is acknowledged.
    fn append(&mut self, lengths: &[usize]) {
        let first_seq = self.shape.last_seq() + 1;
        let mut batch = Batch::new();
        for (seq, len) in (first_seq..).zip(lengths) {
            let record = content(self.tag, self.made, seq, *len);
            batch.push(&record).unwrap();
            self.shape.ever.entry(seq).or_default().push(record.clone());
            self.shape.records.insert(seq, record);
        }
        let seqs = self.log().append_batch(&batch).unwrap();
        assert_eq!(seqs.start().get(), first_seq, "{}", self.shape.name);
        self.batches.push((first_seq, lengths.to_vec()));
        self.made += 1;
    }

    fn appends(&mut self, count: usize, len: usize) {
        for n in 0..count {
            self.append(&[len + 3 * n]);
        }
    }

    fn rotate(&mut self) {
        self.log().rotate().unwrap();
    }

    fn checkpoint(&mut self, seq: u64) {
        self.log().checkpoint(Seq::new(seq), b"applied").unwrap();
        self.known_seq = self.shape.last_seq();
        self.note_state();
    }

    fn truncate_before(&mut self, seq: u64) {
        let first = self.log().truncate_before(Seq::new(seq)).unwrap().first_seq.get();
        self.shape.records = self.shape.records.split_off(&first);
        self.known_seq = self.shape.last_seq();
        self.note_state();
    }

    fn truncate_after(&mut self, seq: u64) {
        self.log().truncate_after(Seq::new(seq)).unwrap();
        drop(self.shape.records.split_off(&(seq + 1)));
        self.batches.retain(|(first_seq, _)| *first_seq <= seq);
        self.known_seq = seq;
        self.note_state();
    }

    fn close(&mut self) {
        self.log().close().unwrap();
        self.log = None;
        self.known_seq = self.shape.last_seq();
        self.note_state();
    }

    /// Leaves the log as a crash would, with a torn batch behind its end.
    fn crash_torn(&mut self) {
        let files = collect(self.dir.path());
        self.log().close().unwrap();
        let old = std::mem::replace(&mut self.dir, scratch());
        drop(old);
        lay_out(self.dir.path(), &files);
        let last = files.keys().rfind(|name| segment_number(name).is_some()).unwrap();
        let mut bytes = files[last].to_vec();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let torn = end.next_multiple_of(BLOCK);
        bytes.resize(bytes.len().max(torn + BLOCK), 0);
        bytes[torn..torn + 100].fill(0x77);
        fs::write(self.dir.path().join(last), bytes).unwrap();
        self.log = None;
    }

    /// Learns what was written to `state` since the last call.
    fn note_state(&mut self) {
        let Ok(state) = fs::read(self.dir.path().join("state")) else { return };
        for slot in state.chunks(SLOT) {
            let is_known = self.shape.slots.iter().any(|write| write.bytes == slot);
            if !is_known && slot.iter().any(|&byte| byte != 0) {
                let generation = u64::from_le_bytes(slot[8..16].try_into().unwrap());
                let known_seq = self.known_seq;
                self.shape.slots.push(SlotWrite { bytes: slot.to_vec(), generation, known_seq });
            }
        }
        self.shape.states.push(Arc::new(state));
    }

    /// The files as they are now, closed or as a crash would leave them, and the model.
    fn finish(mut self) -> Shape {
        self.shape.files = collect(self.dir.path());
        self.shape.states.pop();
        self.place_units();
        self.check_places();
        self.shape
    }

    fn place_units(&mut self) {
        let segments = self.shape.segments();
        let mut ends: BTreeMap<u64, usize> = BTreeMap::new();
        for (index, (first_seq, lengths)) in self.batches.iter().enumerate() {
            let Some(&segment) = segments.iter().rfind(|first| *first <= first_seq) else {
                // It was truncated away, with its file.
                continue;
            };
            let end = ends.entry(segment).or_default();
            let start = end.next_multiple_of(BLOCK);
            let mut records = Vec::new();
            let mut at = start + HEADER;
            for len in lengths {
                records.push((at, *len));
                at += HEAD + len;
            }
            *end = at;
            let next = self.batches.get(index + 1).map_or(u64::MAX, |(first, _)| *first);
            let last = (first_seq + lengths.len() as u64 - 1).min(next - 1);
            let live = *first_seq..=last.min(self.shape.last_seq());
            self.shape.units.push(Unit { segment, start, end: at, live, records });
        }
    }

    fn check_places(&self) {
        let name = self.shape.name;
        let counted: u64 = self.shape.units.iter().map(|u| u.live.clone().count() as u64).sum();
        assert_eq!(counted, self.shape.records.len() as u64, "{name}");
        for unit in &self.shape.units {
            let bytes = &self.shape.files[&segment_name(unit.segment)];
            assert_eq!(&bytes[unit.start..unit.start + 4], b"RWAL", "{name}: {unit:?}");
            for (seq, (at, len)) in (*unit.live.start()..).zip(&unit.records) {
                let stored = &bytes[at + HEAD..at + HEAD + len];
                assert!(self.shape.ever[&seq].iter().any(|r| r == stored), "{name}: {seq}");
            }
        }
    }
}

/// A record of this length that no other log, batch or number has.
fn content(tag: u8, batch: usize, seq: u64, len: usize) -> Vec<u8> {
    let text = format!("{}{seq}/{batch}.", char::from(tag));
    text.into_bytes().into_iter().cycle().take(len).collect()
}

const EVENT: usize = 21;

fn event_bytes(tag: u8, seq: u64) -> Vec<u8> {
    EventRecord::from(event(tag, seq)).to_bytes().to_vec()
}

pub(crate) fn event(tag: u8, seq: u64) -> SignalEvent {
    SignalEvent { entity_id: seq, signal_type: tag, weight: 1.5, timestamp_nanos: 9000 + seq }
}

/// The files of a log that may be open: no spares, which no log needs, and no lock.
fn collect(dir: &Path) -> Files {
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

/// All shapes. Two calls with other tags give logs of the same making with other records.
pub(crate) fn all(tag: u8) -> Vec<Shape> {
    let plain = |name, segment_bytes| Making::new(name, tag, segment_bytes);
    let mut shapes = Vec::new();

    let mut log = plain("one segment, crashed", 32 * 1024);
    log.appends(5, 40);
    shapes.push(log.finish());

    let mut log = plain("one segment, closed", 32 * 1024);
    log.appends(5, 40);
    log.close();
    shapes.push(log.finish());

    let mut log = plain("tiny segments, crashed", 128);
    log.appends(6, 30);
    shapes.push(log.finish());

    let mut log = plain("tiny segments, closed", 128);
    log.appends(6, 30);
    log.close();
    shapes.push(log.finish());

    let mut log = plain("big batches, crashed", 32 * 1024);
    for lengths in [&[3000, 2000, 700][..], &[40; 60], &[5000], &[9, 8, 7, 4000]] {
        log.append(lengths);
    }
    shapes.push(log.finish());

    let mut log = plain("several segments, crashed", 32 * 1024);
    for _ in 0..3 {
        log.appends(3, 50);
        log.rotate();
    }
    log.appends(3, 50);
    shapes.push(log.finish());

    shapes.extend(truncated(tag));

    let mut log = plain("checkpoint, crashed", 32 * 1024);
    log.appends(2, 60);
    log.checkpoint(1);
    log.appends(2, 60);
    log.checkpoint(4);
    log.appends(2, 60);
    shapes.push(log.finish());

    let mut log = plain("after a torn tail", 32 * 1024);
    log.appends(3, 60);
    log.crash_torn();
    log.open();
    log.appends(3, 60);
    shapes.push(log.finish());

    let mut log = plain("many lives, closed", 32 * 1024);
    for _ in 0..3 {
        log.appends(2, 60);
        log.close();
        log.open();
    }
    log.append(&[30; 3]);
    log.close();
    shapes.push(log.finish());

    shapes.push(event_log(tag));
    shapes
}

fn truncated(tag: u8) -> Vec<Shape> {
    let mut before = Making::new("after truncate_before", tag, 32 * 1024);
    for _ in 0..3 {
        before.appends(3, 50);
        before.rotate();
    }
    before.truncate_before(7);
    before.appends(3, 50);

    let mut cut = Making::new("after truncate_after", tag, 32 * 1024);
    cut.appends(2, 50);
    cut.append(&[50; 4]);
    cut.truncate_after(4);

    let mut cut_on = Making::new("cut and continued", tag, 32 * 1024);
    cut_on.appends(2, 50);
    cut_on.append(&[50; 4]);
    cut_on.truncate_after(4);
    cut_on.appends(4, 50);

    let mut cut_twice = Making::new("cut twice, closed", tag, 32 * 1024);
    cut_twice.append(&[50; 4]);
    cut_twice.truncate_after(2);
    cut_twice.append(&[50; 4]);
    cut_twice.truncate_after(5);
    cut_twice.appends(2, 50);
    cut_twice.close();
    [before, cut, cut_on, cut_twice].into_iter().map(Making::finish).collect()
}

/// An event log, made by its own handle.
fn event_log(tag: u8) -> Shape {
    let dir = scratch();
    let config = WalConfig {
        dir: dir.path().to_path_buf(),
        segment_size: 8192,
        dedup_window: Duration::from_secs(3600),
        ..WalConfig::default()
    };
    let (wal, ..) = WalHandle::builder(config)
        .backend(BackendKind::Std)
        .strategy(Some(Strategy::WriteThenSync))
        .spare_segments(0)
        .open()
        .unwrap();
    let inner = TempDir::new().unwrap();
    let shape = Shape { name: "event log, crashed", is_event_log: true, ..Shape::default() };
    let (log, batches) = (None, Vec::new());
    let mut making =
        Making { dir: inner, log, segment_bytes: 0, tag, batches, made: 0, known_seq: 0, shape };
    let copy_state = |making: &Making| {
        fs::copy(dir.path().join("wal/state"), making.dir.path().join("state")).unwrap();
    };
    copy_state(&making);
    making.note_state();
    for seq in 1..=7 {
        assert_eq!(wal.append(event(tag, seq)).unwrap(), seq);
        let record = event_bytes(tag, seq);
        making.shape.ever.entry(seq).or_default().push(record.clone());
        making.shape.records.insert(seq, record);
        making.batches.push((seq, vec![EVENT]));
        if seq == 4 {
            wal.checkpoint(2).unwrap();
            making.known_seq = 4;
            copy_state(&making);
            making.note_state();
        }
    }
    lay_out(making.dir.path(), &collect(&dir.path().join("wal")));
    making.finish()
}
