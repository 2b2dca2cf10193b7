//! The steps of a repair, and that a crash between any two of them is harmless.

use super::*;
use crate::segment::name::spare_name;

#[test]
fn a_last_segment_without_a_valid_batch_is_removed() {
    for last in [vec![0; 512], vec![0; 8192], vec![9; 100]] {
        let memory = log(known_to(3), &[(1, segment(1).batch(3).bytes), (4, last)]);
        assert_eq!(repair(&memory).segments.len(), 1);
        assert_eq!(memory.names(), ["state", "wal-00000000000000000001.seg"]);
        is_settled(&memory, 4);
    }
}

#[test]
fn a_truncation_that_was_decided_and_not_finished_is_finished() {
    let edit = |state: &mut State| (state.first_seq, state.last_seq) = (4, 3);
    // A segment's last record is known from the next one's name; the last segment has to be read.
    for segments in [vec![(1, 3)], vec![(1, 2), (3, 1)]] {
        let files: Vec<_> = segments
            .iter()
            .map(|&(first, count)| (first, segment(first).batch(count).bytes))
            .collect();
        let memory = log(edit, &files);
        let recovered = repair(&memory);
        assert!(recovered.segments.is_empty(), "{:?}", recovered.segments);
        assert_eq!(memory.names(), ["state"]);
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
        state.cuts.add(2);
        (state.cutting, state.last_seq) = (true, 9);
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
    assert_eq!((state.cutting, state.cuts.newest(), state.last_seq), (false, Some(2), 2));
    assert_eq!(state.checkpoint.unwrap().seq, 2);
    is_settled(&memory, 3);
}

#[test]
fn a_reader_does_not_see_what_a_pending_cut_voids() {
    let edit = |state: &mut State| {
        state.cuts.add(2);
        (state.cutting, state.last_seq) = (true, 9);
    };
    let segments = [(1, segment(1).batch(1).batch(3).bytes), (5, segment(5).batch(1).bytes)];
    let memory = log(edit, &segments);
    let (seqs, recovered) = run(&memory, RecoveryPolicy::Strict, Mode::ReadOnly).unwrap();
    assert_eq!(seqs, [1, 2]);
    assert!(recovered.state.unwrap().current().cutting, "the file is as it was");
    assert_eq!(memory.changes(), [""; 0]);
}

#[test]
fn damage_behind_a_pending_cut_is_void_with_it() {
    let edit = |state: &mut State| {
        state.cuts.add(2);
        state.cutting = true;
    };
    let mut bytes = segment(1).batch(2).batch(3).batch(1).bytes;
    bytes[UNIT as usize + 70] ^= 1;
    let memory = log(edit, &[(1, bytes)]);
    assert_eq!(repair(&memory).report.verdict, Verdict::Clean);
    is_settled(&memory, 3);
}

#[test]
fn damage_before_a_pending_cut_is_still_corruption() {
    let edit = |state: &mut State| {
        state.cuts.add(4);
        (state.cutting, state.last_seq) = (true, 4);
    };
    let mut bytes = segment(1).batch(2).batch(3).batch(1).bytes;
    bytes[UNIT as usize + 70] ^= 1;
    let memory = log(edit, &[(1, bytes), (7, segment(7).batch(1).bytes)]);
    let error = run(&memory, RecoveryPolicy::Strict, Mode::Repair).unwrap_err();
    let Error::Corrupt(corruption) = error else { panic!("{error}") };
    assert_eq!((corruption.first_seq, corruption.last_seq), (Seq::new(3), Seq::new(4)));
    assert_eq!(memory.names().len(), 3, "nothing was removed yet");
}

#[test]
fn a_callback_that_fails_stops_the_recovery_before_anything_is_changed() {
    let memory = log(no_state, &[(1, segment(1).batch(3).bytes(&[1; 50]).bytes)]);
    let before = memory.get(&segment_filename(ShardId::SINGLE, 1));
    let mut on_batch = |_: RecoveredBatch<'_>| Err(Error::ReadOnly);
    let (strict, single) = (RecoveryPolicy::Strict, ShardId::SINGLE);
    let error = recover(&memory, single, strict, &Identity::default(), Mode::Repair, &mut on_batch)
        .unwrap_err();
    assert!(matches!(error, Error::ReadOnly));
    assert_eq!(memory.get(&segment_filename(ShardId::SINGLE, 1)), before);
}

#[test]
fn a_cut_of_everything_leaves_a_log_that_begins_where_it_began() {
    let edit = |state: &mut State| {
        state.cuts.add(3);
        (state.first_seq, state.cutting, state.last_seq) = (4, true, 9);
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
fn the_last_segment_is_synced_before_it_is_read_and_before_it_is_shown() {
    let memory = log(no_state, &[(1, segment(1).batch(3).bytes), (4, segment(4).batch(3).bytes)]);
    repair(&memory);
    let changes = memory.changes();
    let last = "sync wal-00000000000000000004.seg";
    assert_eq!(changes[..3], ["sync state", last, last]);
    assert_eq!(changes[3], "sync .");
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
        state.cuts.add(8);
        (state.first_seq, state.cutting, state.last_seq) = (5, true, 20);
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
        "verdict:  corrupt: acknowledged records are damaged or missing (R-D2)\n\
         records:  3 (1 to 3)\n\
         segments: 1, batches: 1\n\
         bytes:    112, of which padding 0\n\
         cut:      100 bytes from /memory/wal-00000000000000000001.seg at byte 4096\n\
         lost:     records 4 to 5, tolerated as asked: \
         /memory/wal-00000000000000000001.seg at byte 4096\n\
         lost:     not acknowledged: records 4 to 5; the bytes cut off are in \
         /memory/lost-00000000000000000004-00000000000000000005-000.bin\n\
         took:     0.012 s"
    );
}
