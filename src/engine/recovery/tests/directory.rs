//! One test for each row of the table of directories.

use super::*;
use std::io;

use crate::engine::recovery::scan::DirScan;
use crate::engine::recovery::table::{DirAction, DirFacts, SegmentsSeen, StateSeen};
use crate::format::encode_stand_alone;
use crate::io::mem::LOG_TAG;

#[test]
fn a_log_begins_in_an_empty_directory_s_3() {
    let memory = Memory::default();
    memory.put("lock", Vec::new());
    memory.put("s00004-state", vec![1]);
    memory.put("state.tmp", vec![1]);
    let recovered = repair(&memory);
    assert_eq!(recovered.next_seq, Seq::FIRST);
    assert!(!recovered.report.state_missing);
    assert_eq!(recovered.state.unwrap().current().first_seq, 1);
    assert_eq!(memory.names(), ["lock", "s00004-state", "state"]);
    is_settled(&memory, 1);
}

#[test]
fn nothing_begins_where_other_files_are_s_4() {
    let memory = Memory::default();
    memory.put("thesis.tex", vec![1]);
    for mode in [Mode::Repair, Mode::ReadOnly] {
        let error = run(&memory, RecoveryPolicy::TolerateTail, mode).unwrap_err();
        assert!(matches!(error, Error::NotALog { .. }), "{error}");
        assert!(error.to_string().contains("thesis.tex"));
    }
    assert_eq!(memory.changes(), [""; 0]);
}

#[test]
fn segments_that_another_writer_adds_before_the_lock_is_taken_count() {
    let memory = log(no_state, &[(1, segment(1).batch(3).bytes)]);
    let names = list(&memory).unwrap();
    memory.put(&segment_filename(ShardId::SINGLE, 4), segment(4).batch(2).bytes);
    let identity = Identity::default();
    let policy = RecoveryPolicy::Strict;
    let scan =
        DirScan::new(&memory, ShardId::SINGLE, policy, &identity, Mode::Repair, names).unwrap();
    let (_, recovered) = scan.run(&mut |_| Ok(())).unwrap();
    assert_eq!(recovered.next_seq, Seq::new(6));
}

#[test]
fn a_path_that_is_no_directory_is_no_log() {
    for kind in [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory] {
        let memory = Memory::default();
        memory.fail_list(kind);
        let error = run(&memory, RecoveryPolicy::Strict, Mode::ReadOnly).unwrap_err();
        assert!(matches!(error, Error::NotALog { .. }), "{error}");
    }
    let memory = Memory::default();
    memory.fail_list(io::ErrorKind::PermissionDenied);
    let error = run(&memory, RecoveryPolicy::Strict, Mode::ReadOnly).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn stand_alone_segments_need_no_state_s_5() {
    let memory = Memory::default();
    let mut bytes = Vec::new();
    for seq in 5..8 {
        bytes.extend(encode_stand_alone([record(seq).as_slice()], seq, 0, 0).unwrap());
    }
    memory.put(&segment_filename(ShardId::SINGLE, 5), bytes);
    let recovered = repair(&memory);
    assert!(recovered.report.state_missing && recovered.report.tolerated.is_none());
    assert_eq!(recovered.report.first_seq, Seq::new(5));
    is_settled(&memory, 8);
}

#[test]
fn segments_of_an_engine_without_their_state_are_corruption_s_6() {
    let memory = log(no_state, &[(3, segment(3).batch(2).bytes)]);
    memory.remove("state").unwrap();
    memory.forget_changes();
    let (kind, witness, ..) = strict_corruption(&memory, "S-6");
    assert_eq!((kind, witness), (CorruptionKind::StateUnreadable, Witness::Itself));
    assert_eq!(run(&memory, RecoveryPolicy::Strict, Mode::ReadOnly).unwrap().0, [3, 4]);
}

#[test]
fn segments_of_an_engine_without_their_state_are_adopted_if_asked_for_s_7() {
    let memory = log(no_state, &[(3, segment(3).batch(2).bytes)]);
    memory.remove("state").unwrap();
    let recovered = tolerate(&memory);
    assert_eq!(recovered.report.tolerated.unwrap().kind, CorruptionKind::StateUnreadable);
    assert_eq!(recovered.report.first_seq, Seq::new(3));
    assert_eq!(recovered.state.unwrap().current().log_tag(), LOG_TAG, "it stays the same log");
    is_settled(&memory, 5);
}

#[test]
fn segments_of_two_logs_are_not_adopted_as_one_s_7() {
    let other = SegmentBytes { log_tag: 1, ..segment(5) }.batch(1).bytes;
    let memory = log(no_state, &[(3, segment(3).batch(2).bytes), (5, other)]);
    memory.remove("state").unwrap();
    memory.forget_changes();
    let damage = corruption(&memory, RecoveryPolicy::TolerateTail, "R-C5");
    assert_eq!((damage.kind, damage.first_seq), (CorruptionKind::OtherLog, Seq::new(5)));
}

#[test]
fn an_unreadable_state_is_corruption_under_both_policies_s_2() {
    let memory = log(no_state, &[(1, segment(1).batch(2).bytes)]);
    memory.edit("state", |bytes| bytes[100] ^= 1);
    for policy in [RecoveryPolicy::Strict, RecoveryPolicy::TolerateTail] {
        assert_eq!(corruption(&memory, policy, "S-2").kind, CorruptionKind::StateUnreadable);
    }
    let facts = DirFacts {
        state: StateSeen::Unreadable,
        segments: SegmentsSeen::Salted,
        foreign: false,
        policy: RecoveryPolicy::TolerateTail,
    };
    assert_eq!(facts.classify(), ("S-2", DirAction::Refuse));
}

#[test]
fn a_stand_alone_file_cut_at_any_byte_is_read_up_to_there() {
    let mut bytes = Vec::new();
    for seq in [1, 3, 5] {
        let records = [record(seq), record(seq + 1)];
        bytes.extend(encode_stand_alone(records.iter().map(Vec::as_slice), seq, 0, 0).unwrap());
    }
    for cut in 0..=bytes.len() {
        let memory = Memory::default();
        memory.put(&segment_filename(ShardId::SINGLE, 1), bytes[..cut].to_vec());
        let (seqs, recovered) = run(&memory, RecoveryPolicy::Strict, Mode::ReadOnly).unwrap();
        assert_eq!(seqs.len(), cut * 3 / bytes.len() * 2, "cut at {cut}");
        assert_ne!(recovered.report.verdict, Verdict::Corrupt);
    }
}

#[test]
fn files_of_another_version_are_refused_by_name() {
    let state = log(no_state, &[]);
    state.edit("state", |bytes| (bytes[4], bytes[88]) = (1, !bytes[88]));
    let mut bytes = segment(1).batch(1).batch(1).bytes;
    (bytes[4], bytes[60]) = (3, !bytes[60]);
    let batch = log(no_state, &[(1, bytes)]);
    for (memory, file, expected) in [(state, "state", 1), (batch, ".seg", 3)] {
        for mode in [Mode::Repair, Mode::ReadOnly] {
            match run(&memory, RecoveryPolicy::TolerateTail, mode) {
                Err(Error::UnsupportedVersion { path, version, newest: 2 }) => {
                    assert!(path.to_str().unwrap().ends_with(file));
                    assert_eq!(version, expected);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_newer_version_behind_damage_does_not_hide_the_damage() {
    let mut bytes = segment(6).batch(1).batch(1).bytes;
    (bytes[UNIT as usize + 4], bytes[UNIT as usize + 60]) = (3, 0);
    let memory = log(no_state, &[(6, bytes)]);
    let seen = run(&memory, RecoveryPolicy::Strict, Mode::ReadOnly).unwrap().1.report;
    match run(&memory, RecoveryPolicy::Strict, Mode::Repair) {
        Err(Error::Corrupt(found)) => assert_eq!(seen.corruption, Some(found)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_of_another_kind_is_refused_before_anything_is_changed() {
    use crate::kind::Kind;
    let memory = log(|state| state.kind = Some(Kind::Kv), &[(1, segment(1).batch(3).bytes)]);
    memory.put("spare-0", vec![1]);
    let run_as = |kind, mode| {
        let identity = Identity { kind: Some(kind), label: None };
        let shown = &mut |_: RecoveredBatch<'_>| Ok(());
        recover(&memory, ShardId::SINGLE, RecoveryPolicy::Strict, &identity, mode, shown)
    };
    for (kind, mode) in
        [(Kind::Raw, Mode::Repair), (Kind::Events, Mode::Repair), (Kind::Events, Mode::ReadOnly)]
    {
        let refused = run_as(kind, mode).unwrap_err();
        assert!(matches!(refused, Error::OtherKind { found: Kind::Kv, .. }), "{refused}");
    }
    run_as(Kind::Raw, Mode::ReadOnly).unwrap();
    assert!(memory.changes().iter().all(|change| change == "sync state"));
    run_as(Kind::Kv, Mode::Repair).unwrap();
}
