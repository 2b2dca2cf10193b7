//! Logs of state machines: checkpoints, what they free, and numbers that jump.

use crate::engine::Log;
use crate::engine::options::Durability;
use crate::engine::read::replay::Restore;
use crate::error::{Error, Result};
use crate::io::{BackendKind, SimDisk};
use crate::seq::Seq;

fn open(dir: &tempfile::TempDir) -> Log {
    Log::builder(dir.path()).backend(BackendKind::Std).segment_bytes(8192).open().unwrap()
}

/// A number, and the payload of a checkpoint.
type Step = (u64, Option<Vec<u8>>);

/// What opening shows: the checkpoint, and the numbers of records.
fn restored(dir: &tempfile::TempDir) -> (Log, Vec<Step>) {
    let mut steps = Vec::new();
    let builder = Log::builder(dir.path()).backend(BackendKind::Std).segment_bytes(8192);
    let log = builder.open_restoring(|step| {
        steps.push(match step {
            Restore::Checkpoint(last) => (last.seq.get(), Some(last.payload.clone())),
            Restore::Record(record) => (record.seq().get(), None),
        });
        Ok(())
    });
    (log.unwrap(), steps)
}

#[test]
fn opening_shows_the_checkpoint_first_and_then_what_it_does_not_cover() {
    let dir = tempfile::tempdir().unwrap();
    let (log, steps) = restored(&dir);
    assert_eq!(steps, []);
    for n in 1..=5_u8 {
        log.append([n]).unwrap();
    }
    log.close().unwrap();
    let (log, steps) = restored(&dir);
    assert_eq!(steps, (1..=5).map(|seq| (seq, None)).collect::<Vec<_>>());
    log.checkpoint(Seq::new(3), "at 3").unwrap();
    log.close().unwrap();
    let (log, steps) = restored(&dir);
    assert_eq!(steps, [(3, Some(b"at 3".to_vec())), (4, None), (5, None)]);
    log.checkpoint(Seq::new(5), "at 5").unwrap();
    log.close().unwrap();
    let (_, steps) = restored(&dir);
    assert_eq!(steps, [(5, Some(b"at 5".to_vec()))], "also without a record behind it");
}

#[test]
fn an_error_about_the_checkpoint_ends_the_opening_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir);
    log.append("one").unwrap();
    log.checkpoint(Seq::FIRST, "unknown format").unwrap();
    log.close().unwrap();
    let refuse = |_: Restore<'_>| -> Result<()> { Err(Error::QueueFull) };
    let opened = Log::builder(dir.path()).open_restoring(refuse);
    assert!(matches!(opened, Err(Error::QueueFull)));
    assert_eq!(restored(&dir).1.len(), 1);
}

#[test]
fn a_checkpoint_that_truncates_begins_no_segment_and_is_one_note() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir);
    for _ in 0..20 {
        log.append([7; 2000]).unwrap();
    }
    let (segments, rotations) = (log.segments().len(), log.metrics().rotations);
    let generation = || log.inner.state().current().generation;
    let before = generation();
    let freed = log.checkpoint_and_truncate(Seq::new(12), "at 12").unwrap();
    assert!(freed.segments > 0 && freed.first_seq <= Seq::new(13));
    assert_eq!(log.segments().len(), segments - freed.segments);
    assert_eq!((log.metrics().rotations, generation()), (rotations, before + 1));
    assert_eq!(log.last_checkpoint().unwrap().payload, b"at 12");
    let again = log.checkpoint_and_truncate(Seq::new(12), "once more").unwrap();
    assert_eq!((again.segments, log.last_checkpoint().unwrap().payload), (0, b"once more".into()));
    for seq in [11, 21] {
        let refused = log.checkpoint_and_truncate(Seq::new(seq), "");
        assert!(matches!(refused, Err(Error::OutOfRange { .. })), "{seq}");
    }
    log.close().unwrap();
    let (_, steps) = restored(&dir);
    assert_eq!(steps[0], (12, Some(b"once more".to_vec())));
    assert_eq!(steps.last().unwrap().0, 20);
}

#[test]
fn a_log_that_restarted_goes_on_at_its_number_whether_it_was_closed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir);
    let first = log.submit([1; 3000]).unwrap();
    for _ in 0..4 {
        log.at(Durability::Queued).append([1; 3000]).unwrap();
    }
    for seq in [0, 1, 5, u64::MAX] {
        let refused = log.restart_at(Seq::new(seq), "");
        assert!(matches!(refused, Err(Error::OutOfRange { .. })), "{seq}");
    }
    log.restart_at(Seq::new(100), "snapshot").unwrap();
    assert_eq!((log.first_seq(), log.durable_seq()), (Seq::new(100), Seq::new(99)));
    assert!(log.segments().is_empty() && log.reader().unwrap().next().is_none());
    assert!(matches!(log.read(first.record_ref()), Err(Error::Truncated { .. })));
    log.wait_durable(Seq::new(50)).unwrap();
    // Again, without a record in between.
    log.restart_at(Seq::new(200), "later").unwrap();
    log.close().unwrap();
    let (log, steps) = restored(&dir);
    assert_eq!(steps, [(199, Some(b"later".to_vec()))]);
    assert_eq!(log.append("two hundred").unwrap(), Seq::new(200));
    drop(log);
    let (log, steps) = restored(&dir);
    assert_eq!(steps, [(199, Some(b"later".to_vec())), (200, None)]);
    log.restart_at(Seq::new(u64::MAX - 1), "the end").unwrap();
    assert_eq!(log.append("last").unwrap(), Seq::new(u64::MAX - 1));
    assert!(matches!(log.append("none is left"), Err(Error::SeqsUsedUp { .. })));
}

#[test]
fn who_waits_for_a_record_that_a_restart_skips_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| log.wait_durable(Seq::new(7)));
        while log.shared().watermarks.waiting() == 0 {
            std::thread::yield_now();
        }
        log.restart_at(Seq::new(8), "").unwrap();
        waits.join().unwrap().unwrap();
    });
}

#[test]
fn a_reader_that_begins_anywhere_yields_the_same_also_after_cuts_and_reopening() {
    let disk = SimDisk::new(7);
    let builder = || Log::builder("sim").segment_bytes(65_536);
    let mut log = builder().open_sim(&disk).unwrap();
    let data = |log: &Log, count: u8| {
        for n in 0..count {
            log.append(vec![n; 10 + usize::from(n) * 7]).unwrap();
        }
    };
    let check = |log: &Log| {
        let all: Vec<_> = log.reader().unwrap().map(Result::unwrap).collect();
        for (skipped, record) in all.iter().enumerate() {
            let mut reader = log.reader_from(record.seq()).unwrap();
            let found = reader.next().unwrap().unwrap();
            assert_eq!((found.seq(), found.data()), (record.seq(), record.data()));
            assert_eq!(reader.count() + 1 + skipped, all.len());
        }
        all.len()
    };
    data(&log, 200);
    let is_noted = |log: &Log| {
        let (segment, last) = (log.segments().last().unwrap().first_seq, log.durable_seq());
        log.shared().places.before(segment.get(), last.get()).is_some()
    };
    assert!(is_noted(&log));
    assert_eq!(check(&log), 200);
    log.truncate_after(Seq::new(150)).unwrap();
    data(&log, 100);
    assert_eq!(check(&log), 250);
    log.close().unwrap();
    log = builder().open_sim(&disk).unwrap();
    assert!(is_noted(&log));
    assert_eq!(check(&log), 250);
}
