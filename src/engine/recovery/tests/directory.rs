//! What a directory as a whole is taken for: rows S and files that do not belong.

use super::*;

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
    let (kind, witness, ..) = strict_corruption(&memory);
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
    is_settled(&memory, 5);
}

#[test]
fn an_unreadable_state_is_corruption_under_both_policies_s_2() {
    let memory = log(no_state, &[(1, segment(1).batch(2).bytes)]);
    memory.edit("state", |bytes| bytes[100] ^= 1);
    for policy in [RecoveryPolicy::Strict, RecoveryPolicy::TolerateTail] {
        assert_eq!(corruption(&memory, policy).kind, CorruptionKind::StateUnreadable);
    }
    let facts = DirFacts {
        state: StateSeen::Unreadable,
        segments: SegmentsSeen::Salted,
        foreign: false,
        policy: RecoveryPolicy::TolerateTail,
    };
    assert_eq!(facts.judge(), ("S-2", DirAction::Refuse));
}

#[test]
fn files_of_a_newer_version_are_refused_by_name() {
    let state = log(no_state, &[]);
    state.edit("state", |bytes| bytes[4] = 2);
    let mut bytes = segment(1).batch(1).batch(1).bytes;
    bytes[UNIT as usize + 4] = 3;
    let batch = log(no_state, &[(1, bytes)]);
    for (memory, file, expected) in [(state, "state", 2), (batch, ".seg", 3)] {
        for mode in [Mode::Repair, Mode::ReadOnly] {
            match run(&memory, RecoveryPolicy::TolerateTail, mode) {
                Err(Error::UnsupportedVersion { path, version, newest: 1 }) => {
                    assert!(path.to_str().unwrap().ends_with(file));
                    assert_eq!(version, expected);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
