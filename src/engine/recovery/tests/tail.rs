//! One test for each row of the table of tails.

use super::*;
use crate::format::encode_stand_alone;

#[test]
fn a_log_that_ends_with_its_last_batch_is_clean_r_a1() {
    let memory =
        log(known_to(6), &[(1, segment(1).batch(3).bytes), (4, segment(4).batch(3).bytes)]);
    let recovered = repair(&memory);
    assert_eq!(recovered.report.rule, "R-A1");
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
    assert_eq!(recovered.report.rule, "R-A2");
    assert_eq!(recovered.report.verdict, Verdict::Clean);
    assert_eq!((recovered.report.bytes_cut, recovered.report.cut_at), (0, None));
    is_settled(&memory, 4);
}

#[test]
fn records_behind_a_cut_are_void_r_a3() {
    let bytes = segment(1).batch(3).batch(4).batch(1).bytes;
    let memory = log(|state| state.cuts.add(5), &[(1, bytes)]);
    let recovered = repair(&memory);
    assert_eq!(recovered.report.rule, "R-A3");
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
    assert_eq!(recovered.report.rule, "R-B1");
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
    assert_eq!(recovered.report.rule, "R-B2");
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
        assert_eq!(recovered.report.rule, "R-B3");
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
    assert_eq!(strict_corruption(&memory, "R-C1"), expected);
    corruption(&memory, RecoveryPolicy::TolerateTail, "R-C1");
}

#[test]
fn a_sealed_segment_that_is_blank_too_early_is_corruption_r_c1() {
    let bytes = segment(1).batch(3).bytes(&[0; 4096]).bytes;
    let memory = log(no_state, &[(1, bytes), (6, segment(6).batch(1).bytes)]);
    let expected = (CorruptionKind::Missing, Witness::LaterSegment, UNIT, 4, 5);
    assert_eq!(strict_corruption(&memory, "R-C1"), expected);
}

#[test]
fn a_segment_missing_in_the_middle_is_corruption_r_c1() {
    let memory = log(no_state, &[(1, segment(1).batch(3).bytes), (6, segment(6).batch(1).bytes)]);
    let expected = (CorruptionKind::SegmentMissing, Witness::LaterSegment, 0, 4, 5);
    assert_eq!(strict_corruption(&memory, "R-C1"), expected);
}

#[test]
fn a_missing_first_segment_is_corruption_r_c1() {
    let memory = log(no_state, &[(6, segment(6).batch(1).bytes)]);
    let expected = (CorruptionKind::SegmentMissing, Witness::LaterSegment, 0, 1, 5);
    assert_eq!(strict_corruption(&memory, "R-C1"), expected);
    corruption(&memory, RecoveryPolicy::TolerateTail, "R-C1");
}

#[test]
fn a_later_batch_that_was_written_afterwards_makes_damage_corruption_r_c2() {
    let mut bytes = segment(1).batch(3).batch(2).batch(1).bytes;
    bytes[UNIT as usize + 70] ^= 1;
    let memory = log(no_state, &[(1, bytes)]);
    let expected = (CorruptionKind::Damaged, Witness::LaterBatch, UNIT, 4, 5);
    assert_eq!(strict_corruption(&memory, "R-C2"), expected);
    corruption(&memory, RecoveryPolicy::TolerateTail, "R-C2");
}

#[test]
fn a_lost_first_batch_is_noticed_although_the_salt_is_unknown_r_c2() {
    let mut bytes = segment(1).batch(3).batch(2).bytes;
    bytes[..UNIT as usize].fill(0);
    let memory = log(no_state, &[(1, bytes)]);
    let expected = (CorruptionKind::Damaged, Witness::LaterBatch, 0, 1, 3);
    assert_eq!(strict_corruption(&memory, "R-C2"), expected);
}

#[test]
fn the_name_of_a_segment_without_a_batch_voids_no_records_r_c2() {
    let older = segment(1).batch(3).bytes;
    let last = segment(4).batch(1).batch(3).batch(1).bytes;
    // The number is inside a batch, or where one begins; the file is a copy, empty, or blank.
    for (number, offset) in [(6, 0), (5, 0), (8, 0)] {
        for bytes in [older.clone(), Vec::new(), vec![0; 4096]] {
            let segments = [(1, older.clone()), (4, last.clone()), (number, bytes)];
            let memory = log(no_state, &segments);
            let (kind, witness, at, first, _) = strict_corruption(&memory, "R-C2");
            assert_eq!((witness, at, first), (Witness::LaterBatch, offset, number), "{kind:?}");
            corruption(&memory, RecoveryPolicy::TolerateTail, "R-C2");
        }
    }
}

#[test]
fn a_first_batch_of_another_life_is_noticed_by_those_behind_it_r_c2() {
    let ours = segment(1).batch(3).batch(2).batch(1).bytes;
    let other = SegmentBytes::new(1, 0xbad).batch(3).bytes;
    let bytes = [&other[..], &ours[UNIT as usize..]].concat();
    let memory = log(no_state, &[(1, bytes)]);
    let (_, witness, at, first, _) = strict_corruption(&memory, "R-C2");
    assert_eq!((witness, at, first), (Witness::LaterBatch, UNIT, 4));
    corruption(&memory, RecoveryPolicy::TolerateTail, "R-C2");
}

#[test]
fn a_checkpoint_makes_damage_corruption_r_c3() {
    let mut bytes = segment(1).batch(3).batch(2).bytes;
    bytes[UNIT as usize + 70] ^= 1;
    let memory = log(checkpoint_at(4), &[(1, bytes)]);
    let expected = (CorruptionKind::Damaged, Witness::Checkpoint, UNIT, 4, 4);
    assert_eq!(strict_corruption(&memory, "R-C3"), expected);
}

#[test]
fn a_close_makes_a_file_that_ends_early_corruption_r_c4() {
    let bytes = segment(1).batch(3).bytes;
    for bytes in [bytes.clone(), [&bytes[..], &[0; 4096]].concat()] {
        let memory = log(known_to(5), &[(1, bytes)]);
        let expected = (CorruptionKind::Missing, Witness::CleanClose, UNIT, 4, 5);
        assert_eq!(strict_corruption(&memory, "R-C4"), expected);
    }
}

#[test]
fn a_close_makes_missing_files_corruption_r_c4() {
    let expected = (CorruptionKind::SegmentMissing, Witness::CleanClose, 0, 1, 5);
    assert_eq!(strict_corruption(&log(known_to(5), &[]), "R-C4"), expected);
    let empty = log(known_to(5), &[(1, Vec::new())]);
    let expected = (CorruptionKind::Missing, Witness::CleanClose, 0, 1, 5);
    assert_eq!(strict_corruption(&empty, "R-C4"), expected);
}

#[test]
fn records_lost_behind_a_cut_that_was_continued_are_corruption_r_c4() {
    let edit = |state: &mut State| {
        state.cuts.add(2);
        state.last_seq = 9;
    };
    let memory = log(edit, &[(1, segment(1).batch(3).bytes)]);
    let expected = (CorruptionKind::SegmentMissing, Witness::CleanClose, 0, 3, 9);
    assert_eq!(strict_corruption(&memory, "R-C4"), expected);
}

#[test]
fn valid_batches_behind_damage_are_not_tolerated_away_r_c4() {
    let mut bytes = segment(1).batch(3).batch(1).durable(3).batch(1).bytes;
    bytes[UNIT as usize + 70] ^= 1;
    let memory = log(known_to(5), &[(1, bytes)]);
    corruption(&memory, RecoveryPolicy::TolerateTail, "R-C4");
}

#[test]
fn a_segment_of_another_log_is_never_a_torn_tail_r_c5() {
    let other = |first_seq| SegmentBytes { log_tag: 1, ..segment(first_seq) };
    for policy in [RecoveryPolicy::Strict, RecoveryPolicy::TolerateTail] {
        let memory = log(no_state, &[(1, other(1).batch(3).batch(2).bytes)]);
        let damage = corruption(&memory, policy, "R-C5");
        assert_eq!((damage.kind, damage.witness), (CorruptionKind::OtherLog, Witness::Itself));
        assert_eq!((damage.first_seq, damage.last_seq), (Seq::new(1), Seq::new(3)));
        let segments = [(1, segment(1).batch(3).bytes), (4, other(4).batch(2).bytes)];
        corruption(&log(no_state, &segments), policy, "R-C5");
        corruption(&log(known_to(5), &segments), policy, "R-C4");
    }
}

#[test]
fn batches_that_a_user_made_prove_nothing() {
    // The user knows the segment and every offset, but has to guess the log's tag and the salt.
    let first = segment(1).batch(3);
    let guess = SegmentBytes { log_tag: 1, salt: 5, ..first.clone() }.durable(7).batch(1);
    for first_is_torn in [false, true] {
        for policy in [RecoveryPolicy::Strict, RecoveryPolicy::TolerateTail] {
            let stored = SegmentBytes { next_seq: 8, ..guess.clone() }.batch(2).batch(1).bytes;
            let mut bytes = first.clone().bytes(&[0x77; UNIT as usize]).bytes;
            bytes.extend(&stored[2 * UNIT as usize..]);
            let last_seq = if first_is_torn { 0 } else { 3 };
            bytes[70] ^= u8::from(first_is_torn);
            let report = run(&log(no_state, &[(1, bytes)]), policy, Mode::Repair).unwrap().1.report;
            assert_eq!((report.verdict, report.last_seq.get()), (Verdict::TornTail, last_seq));
        }
    }
}

#[test]
fn bytes_of_a_user_that_look_like_another_log_are_a_torn_tail() {
    let first = segment(1).batch(3);
    let other = SegmentBytes { log_tag: 1, ..first.clone() }.batch(2).bytes;
    let torn = first.bytes(&other[UNIT as usize..]).bytes;
    let report = repair(&log(no_state, &[(1, torn)])).report;
    assert_eq!((report.verdict, report.last_seq), (Verdict::TornTail, Seq::new(3)));
}

#[test]
fn a_tail_below_the_checkpoint_is_cut_back_if_asked_for_r_d1() {
    let mut bytes = segment(1).batch(3).batch(2).bytes;
    bytes[UNIT as usize + 70] ^= 1;
    let memory = log(checkpoint_at(5), &[(1, bytes)]);
    let recovered = tolerate(&memory);
    assert_eq!(recovered.report.rule, "R-D1");
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
    assert_eq!(recovered.report.rule, "R-D2");
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
fn bytes_of_a_user_that_state_a_newer_version_are_a_torn_tail() {
    let mut user = b"RWAL\x09".to_vec();
    user.resize(UNIT as usize, 0x77);
    let memory = log(no_state, &[(1, segment(1).batch(3).bytes(&user).bytes)]);
    let report = repair(&memory).report;
    assert_eq!((report.verdict, report.last_seq), (Verdict::TornTail, Seq::new(3)));
}

#[test]
fn a_stand_alone_batch_in_a_torn_record_proves_nothing() {
    let stored = encode_stand_alone([&b"a value"[..]], 9, 0, 0).unwrap();
    for policy in [RecoveryPolicy::Strict, RecoveryPolicy::TolerateTail] {
        let mut torn = vec![0x77; UNIT as usize];
        torn.extend(&stored);
        torn.resize(2 * UNIT as usize, 0x77);
        let memory = log(no_state, &[(1, segment(1).batch(3).bytes(&torn).bytes)]);
        let report = run(&memory, policy, Mode::Repair).unwrap().1.report;
        assert_eq!((report.verdict, report.last_seq), (Verdict::TornTail, Seq::new(3)));
    }
}

#[test]
fn a_last_segment_without_any_bytes_is_a_failed_copy_and_no_new_segment() {
    let first = segment(1).batch(3).bytes;
    let memory = || log(no_state, &[(1, first.clone()), (4, Vec::new())]);
    let expected = (CorruptionKind::Missing, Witness::Itself, 0, 4, 4);
    assert_eq!(strict_corruption(&memory(), "R-C6"), expected);
    let memory = memory();
    let recovered = tolerate(&memory);
    assert_eq!((recovered.next_seq.get(), recovered.report.rule), (4, "R-D3"));
    assert_eq!(recovered.report.tolerated.unwrap().witness, Witness::Itself);
    is_settled(&memory, 4);
    // A new segment that only has its name has its blocks, too.
    let memory = log(no_state, &[(1, first), (4, vec![0; 512])]);
    assert_eq!(repair(&memory).next_seq.get(), 4);
    is_settled(&memory, 4);
}
