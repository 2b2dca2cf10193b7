//! Records shown while a log opens, and single records by their place.

#![allow(clippy::unwrap_used, reason = "tests may")]

use ringwal::{Batch, Error, Log, RecordRef, Seq};

#[path = "common/mod.rs"]
mod common;

/// A log of three segments, with what is in it.
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
    let commit = log.append_batch_async(&batch).unwrap();
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
