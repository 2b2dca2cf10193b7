use std::path::Path;

use super::*;
use crate::engine::Log;
use crate::io::{Blocks, SimDisk};
use crate::sync::plain::Mutex;

type Act = Box<dyn FnOnce() + Send>;

/// A disk that runs `act` right before the first read.
struct Hooked {
    disk: SimDisk,
    act: Arc<Mutex<Option<Act>>>,
    seen: Arc<Mutex<Vec<u8>>>,
}

struct HookedFile {
    file: Box<dyn StorageFile>,
    act: Arc<Mutex<Option<Act>>>,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooked")
    }
}

impl fmt::Debug for HookedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookedFile")
    }
}

impl Storage for Hooked {
    fn dir(&self) -> &Path {
        Storage::dir(&self.disk)
    }

    fn list(&self) -> Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str, access: Access) -> Result<Box<dyn StorageFile>> {
        let file = Storage::open(&self.disk, name, access)?;
        let (act, seen) = (Arc::clone(&self.act), Arc::clone(&self.seen));
        Ok(Box::new(HookedFile { file, act, seen }))
    }
}

impl StorageFile for HookedFile {
    fn bytes(&self) -> Result<u64> {
        self.file.bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        if let Some(act) = self.act.lock().take() {
            act();
        }
        // The simulated disk cannot read behind the end of a file; a real one returns no bytes.
        let is_inside = offset < self.file.bytes()?;
        let len = if is_inside { self.file.read_at(buf, offset)? } else { 0 };
        *self.seen.lock() = buf[..len].to_vec();
        Ok(len)
    }
}

fn log(disk: &SimDisk) -> Log {
    Log::builder("sim")
        .segment_bytes(8192)
        .batch_bytes(4096)
        .spare_segments(1)
        .recycle_segments(4)
        .preallocate(Some(Blocks::Written))
        .open_sim(disk)
        .unwrap()
}

fn record(n: u64) -> Vec<u8> {
    format!("record {n:08}").into_bytes()
}

fn append(log: &Log, n: u64) -> RecordRef {
    let commit = log.submit(record(n)).unwrap();
    log.run_until(|| commit.is_done());
    commit.record_ref()
}

/// Reads the record while `act` runs between the look at the list of segments and the read. Returns
/// the outcome, and the bytes that were at its offset.
fn read_while(
    disk: &SimDisk,
    log: &Log,
    record_ref: RecordRef,
    act: Act,
) -> (Result<Record>, Vec<u8>) {
    let (act, seen) = (Arc::new(Mutex::new(Some(act))), Arc::default());
    let hooked = Hooked { disk: disk.clone(), act, seen: Arc::clone(&seen) };
    let files = FileCache::new(Arc::new(hooked), ShardId::SINGLE, Origin::UNKNOWN);
    let read = files.read(&Segments::Live(Arc::clone(&log.inner.shared)), record_ref);
    let seen = seen.lock().clone();
    (read, seen)
}

#[test]
fn a_segment_recycled_during_a_read_gives_no_other_record() {
    let disk = SimDisk::new(1);
    let log = log(&disk);
    let refs: Vec<_> = (1..=10).map(|n| append(&log, n)).collect();
    let writer = log.clone();
    let recycle: Act = Box::new(move || {
        writer.rotate().unwrap();
        writer.truncate_before(writer.durable_seq().next()).unwrap();
        for n in 11..60 {
            append(&writer, n);
        }
    });
    let (read, seen) = read_while(&disk, &log, refs[1], recycle);
    let is_another = is_record(&seen, refs[1].bytes) && !seen.ends_with(&record(2));
    assert!(is_another, "the file was recycled, and has another record there: {seen:?}");
    assert!(matches!(read, Err(Error::Truncated { .. })), "{read:?}");
}

#[test]
fn a_record_cut_off_during_a_read_is_neither_shown_nor_called_damaged() {
    for refill in [0, 20] {
        let disk = SimDisk::new(2);
        let log = log(&disk);
        let refs: Vec<_> = (1..=10).map(|n| append(&log, n)).collect();
        let writer = log.clone();
        let cut: Act = Box::new(move || {
            writer.truncate_after(Seq::new(4)).unwrap();
            for n in 100..100 + refill {
                append(&writer, n);
            }
        });
        let (read, _) = read_while(&disk, &log, refs[6], cut);
        assert!(matches!(read, Err(Error::Truncated { .. })), "{refill}: {read:?}");
        assert_eq!(log.read(refs[3]).unwrap().data(), record(4));
    }
}

#[test]
fn a_reader_beside_a_cut_of_the_end_shows_what_is_left_and_says_truncated() {
    for (read, refill) in [(0, 0), (0, 20), (2, 0), (2, 20), (7, 0), (7, 20)] {
        let disk = SimDisk::new(3);
        let log = log(&disk);
        for n in 1..=10 {
            append(&log, n);
        }
        let mut reader = log.reader().unwrap();
        for n in 1..=read {
            assert_eq!(reader.next().unwrap().unwrap().data(), record(n));
        }
        log.truncate_after(Seq::new(4)).unwrap();
        for n in 100..100 + refill {
            append(&log, n);
        }
        for n in read + 1..=4 {
            assert_eq!(reader.next().unwrap().unwrap().data(), record(n));
        }
        let last = reader.next();
        assert!(matches!(last, Some(Err(Error::Truncated { .. }))), "{read}, {refill}: {last:?}");
        assert!(reader.next().is_none());
        let record_ref = RecordRef { seq: Seq::new(5), ..append(&log, 7) };
        assert!(matches!(reader.read(record_ref), Err(Error::Truncated { .. })));
        assert_eq!(log.reader().unwrap().count() as u64, 4 + refill + 1);
    }
}

#[test]
fn a_ref_kept_across_a_cut_is_truncated_even_if_its_segment_was_made_again() {
    let disk = SimDisk::new(4);
    let log = log(&disk);
    for n in 1..=5 {
        append(&log, n);
    }
    log.rotate().unwrap();
    let refs: Vec<_> = (6..=10).map(|n| append(&log, n)).collect();
    let read: Vec<_> = log.reader().unwrap().map(|it| it.unwrap().record_ref()).collect();
    assert_eq!(read[5..], refs[..]);
    log.truncate_after(Seq::new(5)).unwrap();
    let again: Vec<_> = (106..=109).map(|n| append(&log, n)).collect();
    assert_eq!(again, refs[..4], "other records are at the same offsets");
    for record_ref in refs[..4].iter().chain(&read[5..9]) {
        let read = log.read(*record_ref);
        assert!(matches!(read, Err(Error::Truncated { .. })), "{read:?}");
    }
    for (n, record_ref) in (106..).zip(&again) {
        assert_eq!(log.read(*record_ref).unwrap().data(), record(n));
    }
    let shown: Vec<_> = log.reader().unwrap().map(|it| it.unwrap().record_ref()).collect();
    assert_eq!(log.read(shown[5]).unwrap().data(), record(106));
}

#[test]
fn a_ref_that_the_log_never_gave_out_is_not_called_damage() {
    let disk = SimDisk::new(5);
    let log = log(&disk);
    let refs: Vec<_> = (1..=5).map(|n| append(&log, n)).collect();
    let record_ref = refs[2];
    for (offset, bytes) in
        [(record_ref.offset + 1, record_ref.bytes), (record_ref.offset, 3), (1 << 40, 7)]
    {
        let made_up = RecordRef::new(record_ref.seq, record_ref.segment, offset, bytes);
        let read = log.read(made_up);
        assert!(matches!(read, Err(Error::NotThere { .. })), "{read:?}");
    }
    let kept =
        RecordRef::new(record_ref.seq, record_ref.segment, record_ref.offset, record_ref.bytes);
    assert_eq!(log.read(kept).unwrap().data(), record(3));
    let huge = RecordRef::new(record_ref.seq, record_ref.segment, record_ref.offset, u32::MAX);
    assert!(matches!(log.read(huge), Err(Error::NotThere { .. })));
}
