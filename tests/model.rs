//! The public API against a plain model: a list of records with a first sequence number.

#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

mod common;

use common::{Variant, contents, variants};
use proptest::prelude::*;
use ringwal::{Batch, Commit, Durability, Log, Seq};

#[derive(Clone, Debug)]
enum Step {
    Append(usize, Durability),
    AppendAsync(usize),
    AppendBatch(Vec<usize>),
    Flush,
    Rotate,
    Checkpoint(u8),
    TruncateBefore(u8),
    TruncateAfter(u8),
    Close,
    Drop,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![8 => 0..200_usize, 3 => 0..6000_usize, 1 => 0..50_000_usize];
    let level =
        prop_oneof![Just(Durability::Synced), Just(Durability::Written), Just(Durability::Queued)];
    prop_oneof![
        8 => (size.clone(), level).prop_map(|(size, level)| Step::Append(size, level)),
        8 => size.clone().prop_map(Step::AppendAsync),
        3 => prop::collection::vec(0..2000_usize, 1..20).prop_map(Step::AppendBatch),
        2 => Just(Step::Flush),
        1 => Just(Step::Rotate),
        2 => any::<u8>().prop_map(Step::Checkpoint),
        2 => any::<u8>().prop_map(Step::TruncateBefore),
        2 => any::<u8>().prop_map(Step::TruncateAfter),
        1 => Just(Step::Close),
        1 => Just(Step::Drop),
    ]
}

/// The expected content of the log.
struct Model {
    first_seq: u64,
    records: Vec<Vec<u8>>,
    checkpoint: Option<(u64, Vec<u8>)>,
    made: u64,
}

impl Model {
    fn last_seq(&self) -> u64 {
        self.first_seq + self.records.len() as u64 - 1
    }

    /// A new record of `size` bytes that no other has.
    fn record(&mut self, size: usize) -> Vec<u8> {
        self.made += 1;
        self.made.to_le_bytes().into_iter().cycle().take(size).collect()
    }

    /// A sequence number at about `share` of 255 between two others.
    fn between(share: u8, from: u64, to: u64) -> u64 {
        from + (to.saturating_sub(from)) * u64::from(share) / 255
    }
}

fn open(variant: Variant, dir: &std::path::Path) -> Log {
    variant.builder(dir).segment_bytes(20_000).batch_bytes(8192).queue_bytes(65_536).open().unwrap()
}

fn run(variant: Variant, steps: &[Step]) {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(variant, dir.path());
    let mut model = Model { first_seq: 1, records: Vec::new(), checkpoint: None, made: 0 };
    let mut tickets: Vec<Commit> = Vec::new();
    for step in steps {
        match step {
            Step::Append(size, level) => {
                let record = model.record(*size);
                let seq = log.at(*level).append(&record).unwrap();
                model.records.push(record);
                assert_eq!(seq.get(), model.last_seq());
            }
            Step::AppendAsync(size) => {
                let record = model.record(*size);
                let commit = log.submit(&record).unwrap();
                model.records.push(record);
                assert_eq!(commit.seq().get(), model.last_seq());
                tickets.push(commit);
            }
            Step::AppendBatch(sizes) => {
                let mut batch = Batch::new();
                for &size in sizes {
                    let record = model.record(size);
                    batch.push(&record).unwrap();
                    model.records.push(record);
                }
                assert_eq!(log.append(&batch).unwrap().get(), model.last_seq());
            }
            Step::Flush => {
                assert_eq!(log.flush().unwrap().get(), model.last_seq());
                assert_eq!(log.durable_seq().get(), model.last_seq());
                assert!(tickets.drain(..).all(|ticket| ticket.is_done()));
            }
            Step::Rotate => log.rotate().unwrap(),
            Step::Checkpoint(_) | Step::TruncateBefore(_) => retain(&log, &mut model, step),
            Step::TruncateAfter(_) => {
                retain(&log, &mut model, step);
                tickets.clear();
            }
            Step::Close | Step::Drop => {
                if matches!(step, Step::Close) {
                    log.close().unwrap();
                }
                drop(log);
                assert!(tickets.drain(..).all(|ticket| ticket.wait().is_ok()));
                log = open(variant, dir.path());
                check(&log, &model);
            }
        }
    }
    log.flush().unwrap();
    check(&log, &model);
    log.close().unwrap();
    check(&open(variant, dir.path()), &model);
}

/// Checkpoints and truncations, of the log and of the model.
fn retain(log: &Log, model: &mut Model, step: &Step) {
    match step {
        Step::Checkpoint(share) => {
            let from = model.checkpoint.as_ref().map_or(0, |last| last.0);
            let to = log.flush().unwrap().get();
            let seq = Model::between(*share, from.min(to), to);
            log.checkpoint(Seq::new(seq), [*share]).unwrap();
            model.checkpoint = Some((seq, vec![*share]));
        }
        Step::TruncateBefore(share) => {
            log.flush().unwrap();
            let seq = Model::between(*share, model.first_seq, model.last_seq() + 1);
            let freed = log.truncate_before(Seq::new(seq)).unwrap();
            let first_seq = freed.first_seq.get();
            assert!(first_seq >= model.first_seq && first_seq <= seq.max(model.first_seq));
            model.records.drain(..(first_seq - model.first_seq) as usize);
            model.first_seq = first_seq;
        }
        Step::TruncateAfter(share) => {
            let checkpoint = model.checkpoint.as_ref().map_or(0, |last| last.0);
            let from = checkpoint.max(model.first_seq - 1);
            let seq = Model::between(*share, from, model.last_seq());
            log.truncate_after(Seq::new(seq)).unwrap();
            model.records.truncate((seq + 1 - model.first_seq) as usize);
        }
        other => panic!("{other:?}"),
    }
}

fn check(log: &Log, model: &Model) {
    assert_eq!(log.appended_seq().get(), model.last_seq());
    assert_eq!(log.durable_seq().get(), model.last_seq());
    assert_eq!(contents(log), model.records);
    if !model.records.is_empty() {
        assert_eq!(log.first_seq().get(), model.first_seq);
    }
    let last = log.last_checkpoint().map(|last| (last.seq.get(), last.payload));
    assert_eq!(last, model.checkpoint);
}

#[test]
fn the_log_behaves_like_a_list() {
    let variants = variants("the_log_behaves_like_a_list");
    // PROPTEST_CASES asks for more or fewer.
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let input = (0..variants.len(), prop::collection::vec(step(), 1..60));
    proptest!(config, |((at, steps) in input)| {
        run(variants[at], &steps);
    });
}
