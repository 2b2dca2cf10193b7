//! Writes a log to be damaged, and its model with it.
//!
//! The position of a batch is computed from the documented format, independently; when a log is
//! finished, that is checked against its files.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use ringwal::wal::format::EventRecord;
use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
use ringwal::{BackendKind, Batch, Log, Seq, Strategy};
use tempfile::TempDir;

use crate::model::{
    BLOCK, HEAD, HEADER, Shape, SlotWrite, Unit, builder, collect, lay_out, scratch, segment_name,
    segment_number, slots,
};

/// A log that is being made, and its model.
pub(crate) struct Making {
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
    pub(crate) fn new(name: &'static str, tag: u8, segment_bytes: u64) -> Making {
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

    pub(crate) fn open(&mut self) {
        let log = builder(self.dir.path()).segment_bytes(self.segment_bytes).open().unwrap();
        self.log = Some(log);
        self.note_state();
    }

    /// Appends records of these lengths as one batch, and waits until it is acknowledged.
    pub(crate) fn append(&mut self, lengths: &[usize]) {
        let first_seq = self.shape.last_seq() + 1;
        let mut batch = Batch::new();
        for (seq, len) in (first_seq..).zip(lengths) {
            let record = content(self.tag, self.made, seq, *len);
            batch.push(&record).unwrap();
            self.shape.ever.entry(seq).or_default().push(record.clone());
            self.shape.records.insert(seq, record);
        }
        let last = self.log().append(&batch).unwrap();
        assert_eq!(last.get() + 1 - batch.len() as u64, first_seq, "{}", self.shape.name);
        self.batches.push((first_seq, lengths.to_vec()));
        self.made += 1;
    }

    pub(crate) fn appends(&mut self, count: usize, len: usize) {
        for n in 0..count {
            self.append(&[len + 3 * n]);
        }
    }

    pub(crate) fn rotate(&mut self) {
        self.log().rotate().unwrap();
    }

    pub(crate) fn checkpoint(&mut self, seq: u64) {
        self.log().checkpoint(Seq::new(seq), b"applied").unwrap();
        self.known_seq = self.shape.last_seq();
        self.note_state();
    }

    pub(crate) fn truncate_before(&mut self, seq: u64) {
        let first = self.log().truncate_before(Seq::new(seq)).unwrap().first_seq.get();
        self.shape.records = self.shape.records.split_off(&first);
        self.known_seq = self.shape.last_seq();
        self.note_state();
    }

    pub(crate) fn truncate_after(&mut self, seq: u64) {
        self.log().truncate_after(Seq::new(seq)).unwrap();
        drop(self.shape.records.split_off(&(seq + 1)));
        self.batches.retain(|(first_seq, _)| *first_seq <= seq);
        self.known_seq = seq;
        self.note_state();
    }

    pub(crate) fn close(&mut self) {
        self.log().close().unwrap();
        self.log = None;
        self.known_seq = self.shape.last_seq();
        self.note_state();
    }

    /// Leaves the log as a crash would, with a torn batch behind its end.
    pub(crate) fn crash_torn(&mut self) {
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

    /// Takes over the writes of `state` since the last call.
    fn note_state(&mut self) {
        let Ok(state) = fs::read(self.dir.path().join("state")) else { return };
        for slot in slots(&state) {
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
    pub(crate) fn finish(mut self) -> Shape {
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

fn event(tag: u8, seq: u64) -> SignalEvent {
    SignalEvent { entity_id: seq, signal_type: tag, weight: 1.5, timestamp_nanos: 9000 + seq }
}

/// An event log, made by its own handle.
pub(crate) fn event_log(tag: u8) -> Shape {
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
