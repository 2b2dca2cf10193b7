//! Random events, a random checkpoint and a random crash, against a plain model.

use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;
use ringwal::format::{BatchHeader, Place, decode};
use ringwal::wal::reader::recover;
use ringwal::wal::segment::list_segments;
use ringwal::wal::{WalConfig, WalHandle};
use ringwal::{BackendKind, Error};

use crate::{config, copy_log, event, events};

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    AppendBatch(Vec<u64>),
    Checkpoint(prop::sample::Index),
    Truncate(prop::sample::Index),
    Reopen,
    /// Goes on with a copy made while the log was open.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..40_u64).prop_map(Step::Append),
        4 => prop::collection::vec(0..40_u64, 0..6).prop_map(Step::AppendBatch),
        2 => any::<prop::sample::Index>().prop_map(Step::Checkpoint),
        1 => any::<prop::sample::Index>().prop_map(Step::Truncate),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

/// The expected log: all accepted events in order, and the checkpoint.
#[derive(Default)]
struct Model {
    accepted: Vec<u64>,
    known: BTreeSet<u64>,
    checkpoint: u64,
    /// The first event that is still there.
    first_seq: u64,
}

impl Model {
    /// The number that an event gets, which it then has.
    fn append(&mut self, n: u64) -> u64 {
        if !self.known.insert(n) {
            return 0;
        }
        self.accepted.push(n);
        self.accepted.len() as u64
    }

    fn after_checkpoint(&self) -> Vec<u64> {
        self.accepted[self.checkpoint as usize..].to_vec()
    }

    /// Truncated events are no longer known after a reopen.
    fn forget_truncated(&mut self) {
        let live = &self.accepted[self.first_seq.saturating_sub(1) as usize..];
        self.known = live.iter().copied().collect();
    }
}

fn open(config: &WalConfig, uring: bool) -> (WalHandle, Vec<ringwal::wal::SignalEvent>) {
    let kind = if uring { BackendKind::Auto } else { BackendKind::Std };
    let (wal, events, report) = WalHandle::builder(config.clone()).backend(kind).open().unwrap();
    assert_eq!(report.events_lost, 0);
    (wal, events)
}

fn run(steps: &[Step], segment_size: u64, uring: bool) {
    let mut dir = tempfile::tempdir().unwrap();
    let mut config = WalConfig { segment_size, ..config(dir.path()) };
    let mut model = Model::default();
    let mut wal = Some(open(&config, uring).0);
    for step in steps {
        let log = wal.as_ref().unwrap();
        match step {
            Step::Append(n) => assert_eq!(log.append(event(*n)).unwrap(), model.append(*n)),
            Step::AppendBatch(numbers) => {
                let seqs = log.append_batch(&events(numbers.iter().copied())).unwrap();
                let expected: Vec<u64> = numbers.iter().map(|n| model.append(*n)).collect();
                assert_eq!(seqs, expected);
            }
            Step::Checkpoint(index) => {
                let seq = index.index(model.accepted.len() + 1) as u64;
                let result = log.checkpoint(seq);
                if seq >= model.checkpoint {
                    result.unwrap();
                    model.checkpoint = seq;
                } else {
                    assert!(matches!(result, Err(Error::OutOfRange { .. })));
                }
            }
            Step::Truncate(index) => {
                let seq = index.index(model.accepted.len() + 1) as u64;
                let first_seq = log.truncate_before(seq).unwrap().first_seq.get();
                assert!(first_seq <= model.checkpoint.max(model.first_seq) + 1);
                model.first_seq = first_seq;
            }
            Step::Reopen | Step::Crash => {
                let copy = tempfile::tempdir().unwrap();
                if matches!(step, Step::Crash) {
                    copy_log(&config.dir, copy.path());
                    config.dir = copy.path().to_path_buf();
                }
                drop(wal.take());
                if config.dir == copy.path() {
                    dir = copy;
                }
                let (reopened, replayed) = open(&config, uring);
                assert_eq!(replayed, events(model.after_checkpoint()));
                model.forget_truncated();
                wal = Some(reopened);
            }
        }
    }
    drop(wal);
    let (_wal, replayed) = open(&config, uring);
    assert_eq!(replayed, events(model.after_checkpoint()));
    drop(dir);
}

/// Appends, makes a checkpoint, copies the log while it is open, and cuts the last file of the
/// copy. Of the events appended without waiting, a prefix may be there.
fn crash(acked: u64, queued: u64, checkpoint: u64, cut: f64, uring: bool) {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (wal, _) = open(&config(dir.path()), uring);
    for n in 0..acked {
        wal.append(event(n)).unwrap();
    }
    let whole = list_segments(&dir.path().join("wal")).unwrap();
    let end = whole.last().map_or(0, |(_, path)| end_of(path));
    let checkpoint = checkpoint.min(acked);
    wal.checkpoint(checkpoint).unwrap();
    let tickets: Vec<_> = (0..queued).map(|n| wal.submit(event(1000 + n)).unwrap()).collect();
    copy_log(dir.path(), copy.path());
    // Events that are cut off were not acknowledged when the last of `acked` was.
    if let Some((_, path)) = list_segments(&copy.path().join("wal")).unwrap().last() {
        let len = fs::metadata(path).unwrap().len();
        let is_same = whole.last().is_some_and(|(_, last)| last.file_name() == path.file_name());
        let least = if is_same { end } else { 0 };
        let len = least + ((len.saturating_sub(least)) as f64 * cut) as u64;
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
    }
    for ticket in tickets {
        assert!(ticket.wait().unwrap() > acked);
    }
    let (wal, replayed) = open(&config(copy.path()), uring);
    let more = (replayed.len() as u64).checked_sub(acked - checkpoint).expect("nothing is lost");
    assert!(more <= queued);
    assert_eq!(replayed, events((checkpoint..acked).chain(1000..1000 + more)));
    // Exactly the events that are there are duplicates.
    for n in 0..acked {
        assert_eq!(wal.append(event(n)).unwrap(), 0);
    }
    for n in 0..queued {
        let seq = wal.append(event(1000 + n)).unwrap();
        assert_eq!(seq, if n < more { 0 } else { acked + n + 1 });
    }
    drop(wal);
    let all = recover(&copy.path().join("wal")).unwrap().events;
    assert_eq!(all, events((0..acked).chain(1000..1000 + queued)));
}

/// Where the last batch of a file ends.
fn end_of(path: &std::path::Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    let (mut at, mut end) = (0, 0);
    let segment = BatchHeader::parse(&bytes).map_or(1, |(header, _)| header.first_seq);
    let place = Place { log: None, segment };
    while let Some(rest) = bytes.get(at..) {
        let Ok(batch) = decode(rest, Some(&place)) else { break };
        end = at as u64 + batch.header().end_bytes();
        at += batch.header().frame_bytes() as usize;
    }
    end
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_log_does_what_a_plain_model_does(
        steps in prop::collection::vec(step(), 1..60),
        segment_size in prop_oneof![Just(256), Just(8192), Just(65_536)],
        uring in any::<bool>(),
    ) {
        run(&steps, segment_size, uring);
    }

    #[test]
    fn what_is_replayed_after_a_crash_is_what_was_acknowledged_after_the_checkpoint(
        acked in 0..30_u64,
        queued in 0..30_u64,
        checkpoint in 0..30_u64,
        cut in 0.0..=1.0_f64,
        uring in any::<bool>(),
    ) {
        crash(acked, queued, checkpoint, cut, uring);
    }
}
