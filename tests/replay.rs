//! Records shown while a log opens, single records by their place, and the memory of records.

#![allow(clippy::unwrap_used, reason = "tests may")]

use ringwal::format::{State, newest};
use ringwal::{BackendKind, Batch, Error, Log, Record, RecordRef, RecoveryPolicy, Seq};

#[path = "common/mod.rs"]
mod common;

/// From the first slot of a `state` file to the second, in bytes; see `ringwal::format::State`.
const SLOT_DISTANCE: usize = 64 << 10;

/// A log of three segments, with its records.
fn make(dir: &std::path::Path) -> Vec<Vec<u8>> {
    let log = Log::builder(dir).recycle_segments(0).open().unwrap();
    for n in 0..30_u8 {
        log.append(vec![n; usize::from(n) * 10]).unwrap();
        if n % 10 == 9 {
            log.rotate().unwrap();
        }
    }
    let contents = common::contents(&log);
    log.close().unwrap();
    contents
}

#[test]
fn opening_shows_every_record_once_in_order_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let contents = make(dir.path());
    let mut shown: Vec<(RecordRef, Vec<u8>)> = Vec::new();
    let log = Log::builder(dir.path())
        .recycle_segments(0)
        .open_replaying(|place, record| {
            shown.push((place, record.to_vec()));
            Ok(())
        })
        .unwrap();
    assert!(shown.iter().map(|(_, record)| record).eq(&contents));
    let expected = log.reader().unwrap().map(|record| record.unwrap().record_ref());
    assert!(shown.iter().map(|(place, _)| *place).eq(expected));
    for (place, record) in &shown {
        let rebuilt = RecordRef::new(place.seq(), place.segment(), place.offset(), place.bytes());
        assert_eq!(log.read(rebuilt).unwrap().data(), record);
    }
    log.truncate_before(Seq::new(11)).unwrap();
    log.close().unwrap();

    let mut seqs = Vec::new();
    let reader = Log::builder(dir.path())
        .read_only_replaying(|place, _| {
            seqs.push(place.seq().get());
            Ok(())
        })
        .unwrap();
    assert_eq!(seqs, (11..=30).collect::<Vec<_>>());
    let gone = reader.read(shown[3].0).unwrap_err();
    assert!(matches!(gone, Error::Truncated { .. }), "{gone}");
    let later = RecordRef::new(Seq::new(31), Seq::new(21), 0, 1);
    assert!(matches!(reader.read(later), Err(Error::OutOfRange { .. })));
}

#[test]
fn records_that_state_says_were_truncated_are_shown_to_nobody() {
    // One segment with all five records, and a `state` that begins in the middle of it.
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path()).unwrap();
    for n in 1..=5_u8 {
        log.append([n]).unwrap();
    }
    log.close().unwrap();
    let slots = std::fs::read(dir.path().join("state")).unwrap();
    let (state, slot) = newest(&slots).unwrap();
    let truncated = State { first_seq: 3, ..state };
    let mut slots = slots;
    let encoded = truncated.encode();
    slots[slot * SLOT_DISTANCE..][..encoded.len()].copy_from_slice(encoded.as_slice());
    std::fs::write(dir.path().join("state"), slots).unwrap();
    let seqs = |reader: ringwal::Reader| reader.map(|record| record.unwrap().seq().get());
    let seen = Log::builder(dir.path()).read_only().unwrap();
    assert_eq!((seen.next_seq(), seqs(seen).collect::<Vec<_>>()), (Seq::new(3), vec![3, 4, 5]));
    let mut shown = Vec::new();
    let log = Log::builder(dir.path())
        .open_replaying(|place, _| {
            shown.push(place.seq().get());
            Ok(())
        })
        .unwrap();
    assert_eq!(shown, [3, 4, 5]);
    assert_eq!((log.first_seq(), log.recovery().records), (Seq::new(3), 3));
    assert_eq!(seqs(log.reader().unwrap()).collect::<Vec<_>>(), shown);
    assert!(matches!(log.reader_from(Seq::new(2)), Err(Error::Truncated { .. })));
}

#[test]
fn an_error_while_records_are_shown_ends_the_opening_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let before = common::snapshot(dir.path());
    let refused = Log::builder(dir.path()).open_replaying(|place, _| match place.seq().get() {
        20 => Err(Error::ReadOnly),
        _ => Ok(()),
    });
    assert!(matches!(refused, Err(Error::ReadOnly)));
    assert_eq!(common::snapshot(dir.path()), before);
}

#[test]
fn a_reader_that_holds_its_segments_reads_what_a_writer_truncates() {
    let dir = tempfile::tempdir().unwrap();
    let contents = make(dir.path());
    let mut places = Vec::new();
    let reader = Log::builder(dir.path())
        .read_only_replaying(|place, _| {
            places.push(place);
            Ok(())
        })
        .unwrap();
    let log = Log::builder(dir.path()).recycle_segments(0).open().unwrap();
    let seen: Vec<_> = places.iter().map(|place| log.read(*place).unwrap().into_data()).collect();
    assert_eq!(seen, contents);
    assert_eq!(log.truncate_before(Seq::new(31)).unwrap().segments, 3);
    assert!(matches!(log.read(places[0]), Err(Error::Truncated { .. })));
    log.append("more").unwrap();
    for (place, record) in places.iter().zip(&contents) {
        assert_eq!(reader.read(*place).unwrap().data(), record);
    }
    assert!(reader.map(|record| record.unwrap().into_data()).eq(contents));
}

#[test]
fn the_records_of_an_atomic_batch_follow_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path()).unwrap();
    let records = ["one", "", "three and more"];
    let mut batch = Batch::new();
    for record in records {
        batch.push(record).unwrap();
    }
    let commit = log.submit(&batch).unwrap();
    commit.wait().unwrap();
    let mut place = commit.record_ref();
    for (at, record) in records.into_iter().enumerate() {
        place = if at == 0 { place } else { place.next(record.len() as u32) };
        assert_eq!(place.seq(), Seq::new(at as u64 + 1));
        assert_eq!(log.read(place).unwrap().data(), record.as_bytes());
    }
}

#[test]
fn segments_are_listed_with_their_bounds_and_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path()).unwrap();
    assert!(log.segments().is_empty());
    log.append("one").unwrap();
    let active = log.segments()[0];
    assert_eq!((active.first_seq, active.last_seq), (Seq::FIRST, None));
    assert!(active.bytes >= 64 + 8 + 3);
    log.rotate().unwrap();
    log.append("two").unwrap();
    let segments = log.segments();
    assert_eq!(segments.len(), 2);
    assert_eq!((segments[0].last_seq, segments[0].bytes), (Some(Seq::FIRST), 64 + 8 + 3));
    assert_eq!((segments[1].first_seq, segments[1].last_seq), (Seq::new(2), None));
}

#[test]
fn what_is_shown_says_when_it_was_written_and_whether_the_checkpoint_covers_it() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let log = Log::open(dir.path()).unwrap();
    log.checkpoint(Seq::new(12), "").unwrap();
    let expected: Vec<_> = log.reader().unwrap().map(Result::unwrap).collect();
    log.close().unwrap();
    let mut shown = Vec::new();
    let log = Log::builder(dir.path())
        .open_replaying_records(|record| {
            let is_covered = record.is_checkpointed();
            assert_eq!(is_covered, record.seq() <= Seq::new(12));
            shown.push((record.record_ref(), record.time_nanos(), record.data().to_vec()));
            Ok(())
        })
        .unwrap();
    let parts =
        |record: &Record| (record.record_ref(), record.time_nanos(), record.data().to_vec());
    assert_eq!(shown, expected.iter().map(parts).collect::<Vec<_>>());
    assert!(log.reader().unwrap().map(Result::unwrap).eq(expected));
}

/// A log of batches of ten records, more of them than a reader has in memory at once.
fn make_large(dir: &std::path::Path) -> Log {
    let log = Log::builder(dir).backend(BackendKind::Std).open().unwrap();
    for n in 0..60_u8 {
        let mut batch = Batch::new();
        for m in 0..10_u8 {
            batch.push(vec![n ^ m; 5_000 + usize::from(m)]).unwrap();
        }
        log.append(&batch).unwrap();
    }
    log
}

#[test]
fn segments_that_are_read_ahead_are_shown_whole_and_a_torn_end_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let record = |n: u64| vec![n as u8; 1000 + (n % 700) as usize * 100];
    let open = || Log::builder(dir.path()).segment_bytes(6 << 20);
    let log = open().open().unwrap();
    let commits: Vec<_> = (1..=400).map(|n| log.submit(record(n)).unwrap()).collect();
    assert!(commits.iter().all(|commit| commit.wait().is_ok()));
    assert!(log.segments().len() >= 2);
    log.close().unwrap();
    let last = common::files(dir.path()).into_iter().rfind(|name| name.ends_with(".seg")).unwrap();
    // Of the last batch only the beginning is there.
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join(last)).unwrap();
    file.set_len(file.metadata().unwrap().len() - 10).unwrap();
    let mut shown = 0;
    let replay = |place: RecordRef, bytes: &[u8]| {
        shown += 1;
        assert_eq!(place.seq(), Seq::new(shown));
        assert!(bytes == record(shown), "record {shown}");
        Ok(())
    };
    let outcome = open().recovery(RecoveryPolicy::TolerateTail).open_replaying(replay);
    let log = outcome.unwrap();
    assert!((300..400).contains(&shown), "{shown}");
    assert_eq!(log.durable_seq(), Seq::new(shown));
}

#[test]
fn the_records_of_a_batch_lie_where_they_were_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = make_large(dir.path());
    let records: Vec<_> = log.reader().unwrap().map(Result::unwrap).collect();
    let at = |record: &Record| record.data().as_ptr() as usize;
    for batch in records.chunks(10) {
        for pair in batch.windows(2) {
            let head = 8;
            assert_eq!(at(&pair[1]), at(&pair[0]) + pair[0].data().len() + head);
        }
        assert_eq!(at(&batch[3].clone()), at(&batch[3]), "a clone shares them");
    }
}

#[test]
fn records_that_are_kept_stay_as_they_are_whatever_becomes_of_reader_and_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = make_large(dir.path());
    let mut reader = log.reader().unwrap();
    // Some of each batch, so that memory is shared, kept and used again by turns.
    let kept: Vec<_> = reader.by_ref().map(Result::unwrap).step_by(7).collect();
    reader.seek(Seq::new(1));
    assert_eq!(reader.by_ref().filter(|record| record.is_ok()).count(), 600);
    drop(reader);
    log.truncate_before(log.durable_seq().next()).unwrap();
    log.close().unwrap();
    drop((log, dir));
    for (n, record) in kept.into_iter().enumerate() {
        let seq = 1 + 7 * n as u64;
        let (batch, m) = ((seq - 1) / 10, (seq - 1) % 10);
        assert_eq!(record.seq().get(), seq);
        let expected = vec![batch as u8 ^ m as u8; 5_000 + m as usize];
        assert_eq!(record.data(), expected);
        let alone = record.into_data();
        assert!(alone == expected && alone.capacity() < 2 * expected.len());
    }
}

#[test]
fn a_record_by_its_place_gives_its_bytes_without_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let log = make_large(dir.path());
    let record = log.reader().unwrap().nth(42).unwrap().unwrap();
    let alone = log.read(record.record_ref()).unwrap();
    assert_eq!((alone.data(), alone.time_nanos()), (record.data(), 0));
    let copy = alone.clone();
    assert_eq!(alone.into_data(), copy.data());
    assert_eq!(copy.into_data(), record.data());
}

#[cfg(feature = "sim")]
#[test]
fn opening_and_reading_take_each_byte_of_a_segment_once_each() {
    use ringwal::SimDisk;

    // With batches of a part of a read window, of most of it, and of several windows.
    for (bytes, batches) in [(30_000_usize, 100_u8), (700_000, 12), (3_500_000, 3)] {
        let builder = || Log::builder("sim").batch_bytes(4 << 20).segment_bytes(6 << 20);
        let disk = SimDisk::new(1);
        let log = builder().open_sim(&disk).unwrap();
        for n in 0..batches {
            let mut batch = Batch::new();
            for _ in 0..100 {
                batch.push(vec![n; bytes / 100]).unwrap();
            }
            log.append(&batch).unwrap();
        }
        log.close().unwrap();
        let disk = disk.fork();
        let names: Vec<_> =
            disk.names().into_iter().filter(|name| name.ends_with(".seg")).collect();
        let log = builder().open_sim(&disk).unwrap();
        let read = || names.iter().map(|name| disk.bytes_read(name)).sum::<u64>();
        let segments: Vec<_> = names.iter().map(|name| disk.content(name).unwrap().len()).collect();
        let total = segments.iter().sum::<usize>() as u64;
        assert_eq!(read(), total, "{segments:?}");
        let records: Vec<_> = log.reader().unwrap().map(Result::unwrap).collect();
        assert_eq!((records.len(), read()), (usize::from(batches) * 100, 2 * total));
    }
}
