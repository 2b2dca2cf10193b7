//! Damaged logs on real bytes, one test for each row of the tables and each rule of repair.

mod directory;

use proptest::prelude::*;

use super::table::{DirAction, DirFacts, SegmentsSeen, StateSeen};
use super::*;
use crate::error::{Corruption, CorruptionKind, Witness};
use crate::format::{Checkpoint, SLOT_BYTES, State, encode_stand_alone};
use crate::memory::{Memory, SegmentBytes, record};
use crate::segment::name::{segment_filename, spare_name};

const UNIT: u64 = 4096;

/// A directory with the state that `edit` makes of a new one, and these segments.
fn log(edit: impl FnOnce(&mut State), segments: &[(u64, Vec<u8>)]) -> Memory {
    let memory = Memory::default();
    let mut state = State { generation: 1, ..State::new([7; 16], 0, 1) };
    edit(&mut state);
    memory.put("state", [state.encode().as_slice(), &[0; SLOT_BYTES]].concat());
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

/// Recovers, and returns the records that counted beside the rest.
fn run(memory: &Memory, policy: RecoveryPolicy, mode: Mode) -> Result<(Vec<u64>, Recovered)> {
    let mut seqs = Vec::new();
    let mut visit = |batch: &ScannedBatch<'_>, counts: RangeInclusive<u64>| {
        for view in batch.records().filter(|view| counts.contains(&view.seq)) {
            assert_eq!(view.bytes, record(view.seq));
            seqs.push(view.seq);
        }
        Ok(())
    };
    let recovered = recover(memory, ShardId::SINGLE, policy, mode, &mut visit)?;
    let live: Vec<u64> =
        (recovered.report.first_seq.get()..=recovered.report.last_seq.get()).collect();
    if recovered.report.corruption.is_none() {
        assert_eq!(seqs, live, "the records are those between the bounds");
        assert_eq!(recovered.report.records, seqs.len() as u64);
    }
    Ok((seqs, recovered))
}

fn repair(memory: &Memory) -> Recovered {
    run(memory, RecoveryPolicy::Strict, Mode::Repair).unwrap().1
}

fn tolerate(memory: &Memory) -> Recovered {
    run(memory, RecoveryPolicy::TolerateTail, Mode::Repair).unwrap().1
}

/// The corruption that a strict repair fails with. The directory must be unchanged, and a
/// read-only recovery must report the same.
fn corruption(memory: &Memory, policy: RecoveryPolicy) -> Corruption {
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
    assert_eq!((report.verdict, report.corruption), (Verdict::Corrupt, Some(corruption.clone())));
    corruption
}

fn strict_corruption(memory: &Memory) -> (CorruptionKind, Witness, u64, u64, u64) {
    let corruption = corruption(memory, RecoveryPolicy::Strict);
    let (first, last) = (corruption.first_seq.get(), corruption.last_seq.get());
    (corruption.kind, corruption.witness, corruption.offset, first, last)
}

/// A repaired log is recovered again: clean, with the same records, and nothing is changed.
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

#[test]
fn a_log_that_ends_with_its_last_batch_is_clean_r_a1() {
    let memory =
        log(known_to(6), &[(1, segment(1).batch(3).bytes), (4, segment(4).batch(3).bytes)]);
    let recovered = repair(&memory);
    assert_eq!(recovered.report.verdict, Verdict::Clean);
    assert_eq!(recovered.next_seq, Seq::new(7));
    assert_eq!((recovered.report.segments, recovered.report.batches), (2, 2));
    assert_eq!(recovered.report.bytes_cut, 0);
    is_settled(&memory, 7);
}

#[test]
fn blocks_that_were_never_written_are_trimmed_and_not_counted_r_a2() {
    let memory = log(no_state, &[(1, segment(1).batch(3).bytes(&[0; 9000]).bytes)]);
    let recovered = repair(&memory);
    assert_eq!(recovered.report.verdict, Verdict::Clean);
    assert_eq!((recovered.report.bytes_cut, recovered.report.cut_at), (0, None));
    is_settled(&memory, 4);
}

#[test]
fn records_behind_a_cut_are_void_r_a3() {
    let bytes = segment(1).batch(3).batch(4).batch(1).bytes;
    let memory = log(|state| state.cut = Some(5), &[(1, bytes)]);
    let recovered = repair(&memory);
    assert_eq!(recovered.report.verdict, Verdict::Clean);
    assert_eq!(recovered.segments[0].last_seq, Seq::new(5));
    is_settled(&memory, 6);
}

#[test]
fn leftovers_of_a_recycled_file_are_cut_r_b1() {
    let old = SegmentBytes::new(1, 1).batch(1).batch(1).batch(1).bytes;
    let new = segment(10).batch(2).bytes(&old[UNIT as usize..]).bytes;
    let memory = log(|state| (state.first_seq, state.last_seq) = (10, 11), &[(10, new)]);
    let recovered = repair(&memory);
    assert_eq!(recovered.report.verdict, Verdict::Stale);
    assert_eq!(recovered.report.bytes_cut, 2 * UNIT);
    is_settled(&memory, 12);
}

#[test]
fn a_torn_batch_is_cut_at_the_last_valid_one_r_b2() {
    let mut bytes = segment(1).batch(3).batch(2).bytes;
    bytes[UNIT as usize + 70] ^= 1;
    let memory = log(known_to(3), &[(1, bytes)]);
    let recovered = repair(&memory);
    assert_eq!(recovered.report.verdict, Verdict::TornTail);
    let path = "/memory/wal-00000000000000000001.seg".into();
    assert_eq!(recovered.report.cut_at, Some((path, UNIT)));
    assert_eq!(recovered.report.bytes_cut, UNIT);
    is_settled(&memory, 4);
}

#[test]
fn batches_that_overtook_a_torn_one_are_cut_with_it_r_b3() {
    let segment = segment(1).batch(3).batch(1).durable(3).batch(1).batch(1);
    let mut bytes = segment.bytes;
    bytes[UNIT as usize..2 * UNIT as usize].fill(0);
    for policy in [RecoveryPolicy::Strict, RecoveryPolicy::TolerateTail] {
        let memory = log(known_to(3), &[(1, bytes.clone())]);
        let recovered = run(&memory, policy, Mode::Repair).unwrap().1;
        assert_eq!(recovered.report.verdict, Verdict::TornTail);
        assert_eq!(recovered.report.tolerated, None);
        is_settled(&memory, 4);
    }
}

#[test]
fn damage_before_a_later_segment_is_corruption_r_c1() {
    let mut bytes = segment(1).batch(3).batch(2).bytes;
    bytes[UNIT as usize + 70] ^= 1;
    let memory = log(no_state, &[(1, bytes), (6, segment(6).batch(1).bytes)]);
    let expected = (CorruptionKind::Damaged, Witness::LaterSegment, UNIT, 4, 5);
    assert_eq!(strict_corruption(&memory), expected);
    corruption(&memory, RecoveryPolicy::TolerateTail);
}

#[test]
fn a_sealed_segment_that_is_blank_too_early_is_corruption_r_c1() {
    let bytes = segment(1).batch(3).bytes(&[0; 4096]).bytes;
    let memory = log(no_state, &[(1, bytes), (6, segment(6).batch(1).bytes)]);
    let expected = (CorruptionKind::Missing, Witness::LaterSegment, UNIT, 4, 5);
    assert_eq!(strict_corruption(&memory), expected);
}

#[test]
fn a_segment_missing_in_the_middle_is_corruption_r_c1() {
    let memory = log(no_state, &[(1, segment(1).batch(3).bytes), (6, segment(6).batch(1).bytes)]);
    let expected = (CorruptionKind::SegmentMissing, Witness::LaterSegment, 0, 4, 5);
    assert_eq!(strict_corruption(&memory), expected);
}

#[test]
fn a_missing_first_segment_is_corruption_r_c1() {
    let memory = log(no_state, &[(6, segment(6).batch(1).bytes)]);
    let expected = (CorruptionKind::SegmentMissing, Witness::LaterSegment, 0, 1, 5);
    assert_eq!(strict_corruption(&memory), expected);
    corruption(&memory, RecoveryPolicy::TolerateTail);
}

#[test]
fn a_later_batch_that_was_written_afterwards_makes_damage_corruption_r_c2() {
    let mut bytes = segment(1).batch(3).batch(2).batch(1).bytes;
    bytes[UNIT as usize + 70] ^= 1;
    let memory = log(no_state, &[(1, bytes)]);
    let expected = (CorruptionKind::Damaged, Witness::LaterBatch, UNIT, 4, 5);
    assert_eq!(strict_corruption(&memory), expected);
    corruption(&memory, RecoveryPolicy::TolerateTail);
}

#[test]
fn a_lost_first_batch_is_noticed_although_the_salt_is_unknown_r_c2() {
    let mut bytes = segment(1).batch(3).batch(2).bytes;
    bytes[..UNIT as usize].fill(0);
    let memory = log(no_state, &[(1, bytes)]);
    let expected = (CorruptionKind::Damaged, Witness::LaterBatch, 0, 1, 3);
    assert_eq!(strict_corruption(&memory), expected);
}

#[test]
fn a_checkpoint_makes_damage_corruption_r_c3() {
    let mut bytes = segment(1).batch(3).batch(2).bytes;
    bytes[UNIT as usize + 70] ^= 1;
    let memory = log(checkpoint_at(4), &[(1, bytes)]);
    let expected = (CorruptionKind::Damaged, Witness::Checkpoint, UNIT, 4, 4);
    assert_eq!(strict_corruption(&memory), expected);
}

#[test]
fn a_close_makes_a_file_that_ends_early_corruption_r_c4() {
    let bytes = segment(1).batch(3).bytes;
    for bytes in [bytes.clone(), [&bytes[..], &[0; 4096]].concat()] {
        let memory = log(known_to(5), &[(1, bytes)]);
        let expected = (CorruptionKind::Missing, Witness::CleanClose, UNIT, 4, 5);
        assert_eq!(strict_corruption(&memory), expected);
    }
}

#[test]
fn a_close_makes_missing_files_corruption_r_c4() {
    let expected = (CorruptionKind::SegmentMissing, Witness::CleanClose, 0, 1, 5);
    assert_eq!(strict_corruption(&log(known_to(5), &[])), expected);
    let empty = log(known_to(5), &[(1, Vec::new())]);
    let expected = (CorruptionKind::Missing, Witness::CleanClose, 0, 1, 5);
    assert_eq!(strict_corruption(&empty), expected);
}

#[test]
fn records_lost_behind_a_cut_that_was_continued_are_corruption_r_c4() {
    let edit = |state: &mut State| (state.cut, state.last_seq) = (Some(2), 9);
    let memory = log(edit, &[(1, segment(1).batch(3).bytes)]);
    let expected = (CorruptionKind::SegmentMissing, Witness::CleanClose, 0, 3, 9);
    assert_eq!(strict_corruption(&memory), expected);
}

#[test]
fn valid_batches_behind_damage_are_not_tolerated_away_r_c4() {
    let mut bytes = segment(1).batch(3).batch(1).durable(3).batch(1).bytes;
    bytes[UNIT as usize + 70] ^= 1;
    let memory = log(known_to(5), &[(1, bytes)]);
    corruption(&memory, RecoveryPolicy::TolerateTail);
}

#[test]
fn a_tail_below_the_checkpoint_is_cut_back_if_asked_for_r_d1() {
    let mut bytes = segment(1).batch(3).batch(2).bytes;
    bytes[UNIT as usize + 70] ^= 1;
    let memory = log(checkpoint_at(5), &[(1, bytes)]);
    let recovered = tolerate(&memory);
    let tolerated = recovered.report.tolerated.unwrap();
    assert_eq!((tolerated.first_seq, tolerated.last_seq), (Seq::new(4), Seq::new(5)));
    assert_eq!(recovered.report.bytes_cut, UNIT);
    let state = recovered.state.unwrap();
    assert_eq!(state.current().checkpoint.as_ref().unwrap().seq, 3);
    is_settled(&memory, 4);
}

#[test]
fn a_tail_below_the_close_is_cut_back_if_asked_for_r_d2() {
    let edit = |state: &mut State| (state.last_seq, state.clean) = (5, true);
    let memory = log(edit, &[(1, segment(1).batch(3).bytes)]);
    let recovered = tolerate(&memory);
    assert_eq!(recovered.report.tolerated.unwrap().kind, CorruptionKind::Missing);
    let state = recovered.state.unwrap();
    assert_eq!((state.current().last_seq, state.current().clean), (3, false));
    is_settled(&memory, 4);
}

#[test]
fn all_files_gone_is_tolerated_if_asked_for_r_d2() {
    let memory = log(known_to(5), &[]);
    assert_eq!(tolerate(&memory).next_seq, Seq::FIRST);
    is_settled(&memory, 1);
}

#[test]
fn a_last_segment_without_a_valid_batch_is_removed() {
    for last in [Vec::new(), vec![0; 8192], vec![9; 100]] {
        let memory = log(known_to(3), &[(1, segment(1).batch(3).bytes), (4, last)]);
        assert_eq!(repair(&memory).segments.len(), 1);
        assert_eq!(memory.names(), ["state", "wal-00000000000000000001.seg"]);
        is_settled(&memory, 4);
    }
}

#[test]
fn a_sealed_segment_is_trimmed() {
    let bytes = segment(1).batch(3).bytes(&[0; 4096]).bytes;
    let memory = log(no_state, &[(1, bytes), (4, segment(4).batch(1).bytes)]);
    repair(&memory);
    is_settled(&memory, 5);
}

#[test]
fn a_pending_cut_is_finished_newest_file_first() {
    let edit = |state: &mut State| {
        (state.cut, state.cutting, state.last_seq) = (Some(2), true, 9);
        checkpoint_at(8)(state);
    };
    let segments = [
        (1, segment(1).batch(1).batch(3).batch(1).bytes),
        (6, segment(6).batch(1).bytes),
        (7, vec![3; 10]),
    ];
    let memory = log(edit, &segments);
    let recovered = repair(&memory);
    let changes = memory.changes();
    let removed: Vec<_> = changes.iter().filter(|change| change.starts_with("remove")).collect();
    assert_eq!(
        removed,
        ["remove wal-00000000000000000007.seg", "remove wal-00000000000000000006.seg"]
    );
    let state = recovered.state.unwrap().current().clone();
    assert_eq!((state.cutting, state.cut, state.last_seq), (false, Some(2), 2));
    assert_eq!(state.checkpoint.unwrap().seq, 2);
    is_settled(&memory, 3);
}

#[test]
fn a_cut_of_everything_leaves_a_log_that_begins_where_it_began() {
    let edit = |state: &mut State| {
        (state.first_seq, state.cut, state.cutting, state.last_seq) = (4, Some(3), true, 9);
    };
    let memory = log(edit, &[(4, segment(4).batch(3).bytes)]);
    assert!(repair(&memory).segments.is_empty());
    is_settled(&memory, 4);
}

#[test]
fn a_pending_truncation_of_the_front_is_finished_oldest_file_first() {
    let segments = [
        (1, segment(1).batch(3).bytes),
        (4, segment(4).batch(3).bytes),
        (7, segment(7).batch(3).bytes),
    ];
    let memory = log(|state| (state.first_seq, state.last_seq) = (8, 9), &segments);
    memory.put(&spare_name(ShardId::SINGLE, 3), vec![1; 10]);
    let recovered = repair(&memory);
    assert_eq!(recovered.report.first_seq, Seq::new(8));
    let changes = memory.changes();
    let removed: Vec<_> = changes.iter().filter(|change| change.starts_with("remove")).collect();
    assert_eq!(
        removed,
        [
            "remove spare-00000000000000000003.tmp",
            "remove wal-00000000000000000001.seg",
            "remove wal-00000000000000000004.seg"
        ]
    );
    is_settled(&memory, 10);
}

#[test]
fn damage_to_records_that_were_truncated_away_costs_nothing() {
    let mut bytes = segment(1).batch(3).batch(2).bytes;
    bytes[UNIT as usize + 70] ^= 1;
    let edit = |state: &mut State| (state.first_seq, state.last_seq) = (6, 5);
    let memory = log(edit, &[(1, bytes)]);
    let recovered = repair(&memory);
    assert_eq!(recovered.next_seq, Seq::new(6));
    assert!(recovered.segments.is_empty(), "records after the damage would not continue it");
    is_settled(&memory, 6);
}

#[test]
fn the_last_segment_is_synced_before_it_is_read() {
    let memory = log(no_state, &[(1, segment(1).batch(3).bytes), (4, segment(4).batch(3).bytes)]);
    repair(&memory);
    let changes = memory.changes();
    assert_eq!(changes[..2], ["sync state", "sync wal-00000000000000000004.seg"]);
    assert_eq!(changes[2], "sync .");
}

#[test]
fn reading_only_changes_and_syncs_nothing() {
    for memory in logs_to_repair() {
        let report = run(&memory, RecoveryPolicy::TolerateTail, Mode::ReadOnly).unwrap().1.report;
        assert_eq!(memory.changes(), [""; 0]);
        let repaired = tolerate(&memory).report;
        assert_eq!(report.last_seq, repaired.last_seq);
        assert_eq!((report.verdict, report.bytes_cut), (repaired.verdict, repaired.bytes_cut));
    }
}

#[test]
fn a_repair_that_fails_anywhere_is_finished_by_the_next_one() {
    for memory in logs_to_repair() {
        let whole = memory.copy();
        let expected = tolerate(&whole);
        let steps = whole.changes().len();
        for step in 0..steps {
            let crashed = memory.copy();
            crashed.fail_from(Some(step));
            run(&crashed, RecoveryPolicy::TolerateTail, Mode::Repair).unwrap_err();
            crashed.fail_from(None);
            assert_eq!(tolerate(&crashed).next_seq, expected.next_seq, "failed at step {step}");
            for name in whole.names().iter().filter(|name| *name != "state") {
                assert_eq!(crashed.get(name), whole.get(name), "{name}, failed at step {step}");
            }
            assert_eq!(crashed.names(), whole.names(), "failed at step {step}");
            is_settled(&crashed, expected.next_seq.get());
        }
    }
}

/// Logs whose repair has many steps.
fn logs_to_repair() -> Vec<Memory> {
    let cut = |state: &mut State| {
        (state.first_seq, state.cut, state.cutting, state.last_seq) = (5, Some(8), true, 20);
    };
    let segments = [
        (1, segment(1).batch(3).bytes),
        (4, segment(4).batch(3).bytes(&[0; 4096]).bytes),
        (7, segment(7).batch(1).batch(3).batch(1).bytes),
        (12, segment(12).batch(1).bytes),
        (13, vec![0; 100]),
    ];
    let both_ends = log(cut, &segments);
    both_ends.put(&spare_name(ShardId::SINGLE, 1), Vec::new());

    let torn = segment(4).batch(1).bytes(&[1; 5000]).bytes;
    let lost_tail = log(known_to(9), &[(1, segment(1).batch(3).bytes), (4, torn)]);
    let lost_segment = log(known_to(9), &[(1, segment(1).batch(3).bytes), (4, vec![0; 50])]);

    let adopted = Memory::default();
    adopted.put(&segment_filename(ShardId::SINGLE, 1), segment(1).batch(2).bytes);
    adopted.put("state.tmp", vec![1; 100]);
    vec![both_ends, lost_tail, lost_segment, adopted, Memory::default()]
}

#[test]
fn the_report_reads_well() {
    let memory = log(known_to(5), &[(1, segment(1).batch(3).bytes(&[1; 100]).bytes)]);
    let mut report = tolerate(&memory).report;
    report.elapsed = std::time::Duration::from_millis(12);
    assert_eq!(
        report.to_string(),
        "verdict:  corrupt: acknowledged records are damaged or missing\n\
         records:  3 (1 to 3)\n\
         segments: 1, batches: 1\n\
         bytes:    112, of which padding 0\n\
         cut:      100 bytes from /memory/wal-00000000000000000001.seg at byte 4096\n\
         lost:     records 4 to 5, tolerated as asked: \
         /memory/wal-00000000000000000001.seg at byte 4096\n\
         took:     0.012 s"
    );
}

proptest! {
    #[test]
    fn no_flipped_bit_loses_what_the_state_vouches_for(
        which in 0..2_usize,
        flip in any::<prop::sample::Index>(),
    ) {
        let segments = [
            (1, segment(1).batch(3).batch(1).bytes),
            (5, segment(5).batch(2).batch(2).bytes),
        ];
        let memory = log(known_to(8), &segments);
        let name = segment_filename(ShardId::SINGLE, segments[which].0);
        memory.edit(&name, |bytes| {
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        });
        match run(&memory, RecoveryPolicy::Strict, Mode::Repair) {
            Ok((seqs, _)) => prop_assert_eq!(seqs.len(), 8, "the bit was in the padding"),
            Err(Error::Corrupt(_) | Error::UnsupportedVersion { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_file_cut_at_any_byte_opens_with_a_prefix(cut in 0..=3 * UNIT as usize) {
        let bytes = segment(1).batch(3).batch(1).batch(2).bytes;
        let memory = log(no_state, &[(1, bytes[..cut].to_vec())]);
        let recovered = repair(&memory);
        let next_seq = recovered.next_seq.get();
        prop_assert!([1, 4, 5, 7].contains(&next_seq));
        is_settled(&memory, next_seq);
    }

    #[test]
    fn any_bytes_as_a_segment_are_recovered_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        keep in 0..2 * UNIT as usize,
    ) {
        let kept = &segment(1).batch(3).batch(1).bytes[..keep];
        let memory = log(no_state, &[(1, [kept, &bytes].concat())]);
        let _ = run(&memory, RecoveryPolicy::Strict, Mode::Repair);
    }
}
