//! Damaged logs on real bytes, one test for each row of the tables and each rule of repair.

use super::*;
use crate::error::{Corruption, CorruptionKind, Witness};
use crate::error::{Error, Result};
use crate::format::{Checkpoint, State, state_file};
use crate::io::Storage;
use crate::io::mem::{LOG_ID, Memory, SegmentBytes, record};
use crate::replication::ShardId;
use crate::segment::name::segment_filename;
use crate::seq::Seq;

mod crash;
mod cuts;
mod directory;
mod repair;
mod tail;

const UNIT: u64 = 4096;

/// A directory with the state that `edit` makes of a new one, and these segments.
fn log(edit: impl FnOnce(&mut State), segments: &[(u64, Vec<u8>)]) -> Memory {
    let memory = Memory::default();
    let mut state = State { generation: 1, ..State::new(LOG_ID, 0, 1) };
    edit(&mut state);
    memory.put("state", state_file(&state, None));
    for (first_seq, bytes) in segments {
        memory.put(&segment_filename(ShardId::SINGLE, *first_seq), bytes.clone());
    }
    memory
}

fn segment(first_seq: u64) -> SegmentBytes {
    SegmentBytes::new(first_seq, 0x5a17 + first_seq)
}

fn no_state(_: &mut State) {}

fn known_to(last_seq: u64) -> impl FnOnce(&mut State) {
    move |state| state.last_seq = last_seq
}

fn checkpoint_at(seq: u64) -> impl FnOnce(&mut State) {
    move |state| state.checkpoint = Some(Checkpoint { seq, time_nanos: 1, payload: vec![1] })
}

/// Recovers, and returns the records that counted as well.
fn run(memory: &Memory, policy: RecoveryPolicy, mode: Mode) -> Result<(Vec<u64>, Recovered)> {
    let mut seqs = Vec::new();
    let mut covered = 0;
    let mut on_batch = |batch: RecoveredBatch<'_>| {
        for view in batch.batch.records().filter(|view| batch.counts.contains(&view.seq)) {
            assert_eq!(view.bytes, record(view.seq));
            seqs.push(view.seq);
            covered += u64::from(view.seq <= batch.checkpoint_seq.get());
        }
        Ok(())
    };
    let recovered =
        recover(memory, ShardId::SINGLE, policy, &Identity::default(), mode, &mut on_batch)?;
    let live: Vec<u64> =
        (recovered.report.first_seq.get()..=recovered.report.last_seq.get()).collect();
    if recovered.report.corruption.is_none() {
        assert_eq!(seqs, live, "the records are those between the bounds");
        assert_eq!(recovered.report.records, seqs.len() as u64);
    }
    if let (Mode::Repair, Some(state)) = (mode, &recovered.state) {
        let checkpoint_seq = state.current().checkpoint.as_ref().map_or(0, |last| last.seq);
        let expected = seqs.iter().filter(|&&seq| seq <= checkpoint_seq).count() as u64;
        assert_eq!(covered, expected, "the checkpoint that is left covers the same records");
    }
    Ok((seqs, recovered))
}

fn repair(memory: &Memory) -> Recovered {
    run(memory, RecoveryPolicy::Strict, Mode::Repair).unwrap().1
}

fn tolerate(memory: &Memory) -> Recovered {
    run(memory, RecoveryPolicy::TolerateTail, Mode::Repair).unwrap().1
}

/// The corruption with which a repair fails. The directory must be unchanged, and a read-only
/// recovery must report the same corruption.
fn corruption(memory: &Memory, policy: RecoveryPolicy, rule: &str) -> Corruption {
    let before = memory.copy();
    let corruption = match run(memory, policy, Mode::Repair) {
        Err(Error::Corrupt(corruption)) => corruption,
        other => panic!("expected corruption, got {other:?}"),
    };
    for name in before.names() {
        assert_eq!(memory.get(&name), before.get(&name), "{name} is as it was");
    }
    assert_eq!(memory.names(), before.names());
    let report = run(memory, policy, Mode::ReadOnly).unwrap().1.report;
    assert_eq!(report.rule, rule);
    assert_eq!((report.verdict, report.corruption), (Verdict::Corrupt, Some(corruption.clone())));
    corruption
}

fn strict_corruption(memory: &Memory, rule: &str) -> (CorruptionKind, Witness, u64, u64, u64) {
    let corruption = corruption(memory, RecoveryPolicy::Strict, rule);
    let (first, last) = (corruption.first_seq.get(), corruption.last_seq.get());
    (corruption.kind, corruption.witness, corruption.offset, first, last)
}

/// Recovers a repaired log again: it must be clean with the same records, and nothing may change.
fn is_settled(memory: &Memory, next_seq: u64) {
    memory.forget_changes();
    let again = repair(memory);
    assert_eq!(again.report.verdict, Verdict::Clean);
    assert_eq!(again.next_seq, Seq::new(next_seq));
    let changes = memory.changes();
    let changed: Vec<_> = changes.iter().filter(|change| !change.starts_with("sync")).collect();
    assert!(changed.is_empty(), "{changed:?}");
    for info in &again.segments {
        let bytes = memory.get(&info.name).unwrap().len() as u64;
        assert_eq!(bytes, info.bytes, "no padding after the last batch of {}", info.name);
    }
}
