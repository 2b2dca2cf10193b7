//! Cuts of the end, and segments from before a cut.

use super::*;
use crate::format::CutHistory;

/// A segment that began after this many cuts.
fn begun(first_seq: u64, cuts: u64) -> SegmentBytes {
    SegmentBytes::new(first_seq, CutHistory::mark(cuts, ((first_seq + 1) << 32) | (cuts << 20)))
}

fn cut_at(cuts: &'static [u64], last_seq: u64) -> impl FnOnce(&mut State) {
    move |state| {
        cuts.iter().for_each(|&seq| state.cuts.add(seq));
        state.last_seq = last_seq;
    }
}

#[test]
fn cut_records_do_not_come_back_when_the_next_segment_is_lost() {
    let (old, next, last) = (begun(1, 0).batch(8), begun(6, 1).batch(5), begun(9, 2).batch(1));
    let whole = [(1, old.bytes), (6, next.bytes), (9, last.bytes)];
    let report = repair(&log(cut_at(&[5, 8], 8), &whole)).report;
    assert_eq!((report.verdict, report.last_seq), (Verdict::Clean, Seq::new(9)));
    let mut damaged = whole[1].clone();
    damaged.1[70] ^= 1;
    let missing = CorruptionKind::SegmentMissing;
    for (segments, kind, witness) in [
        (vec![&whole[0], &whole[2]], missing, Witness::LaterSegment),
        (vec![&whole[0]], missing, Witness::CleanClose),
        (vec![&whole[0], &damaged, &whole[2]], CorruptionKind::Damaged, Witness::LaterSegment),
        (vec![&whole[0], &damaged], CorruptionKind::Damaged, Witness::CleanClose),
    ] {
        let segments: Vec<_> = segments.into_iter().cloned().collect();
        let memory = log(cut_at(&[5, 8], 8), &segments);
        let rule = if witness == Witness::LaterSegment { "R-C1" } else { "R-C4" };
        let found = strict_corruption(&memory, rule);
        assert_eq!((found.0, found.1, found.3, found.4), (kind, witness, 6, 8));
    }
}

#[test]
fn a_copy_of_a_former_segment_proves_nothing_of_the_one_that_was_made_again() {
    let former = begun(6, 0).batch(1).batch(1).batch(1).batch(1).bytes;
    let (unit, first) = (UNIT as usize, begun(6, 1).batch(1).bytes);
    let torn_at_once = [&[0x77; UNIT as usize][..], &former[unit..]].concat();
    let torn_later = [&first, &[0x77; UNIT as usize][..], &former[2 * unit..]].concat();
    // These are no bytes of a record, but batches from before the cut do not count behind it.
    let written_late = former.clone();
    for (bytes, last_seq) in [(torn_at_once, 5), (torn_later, 6), (written_late, 5)] {
        let segments = [(1, begun(1, 0).batch(5).bytes), (6, bytes)];
        let report = repair(&log(cut_at(&[5], 5), &segments)).report;
        assert_eq!((report.verdict, report.last_seq.get()), (Verdict::TornTail, last_seq));
    }
    // Batches of the new segment are still evidence, whether its first batch is valid or not.
    for at in [70, unit + 70] {
        let mut bytes = begun(6, 1).batch(1).batch(1).batch(1).bytes;
        bytes[at] ^= 1;
        let memory = log(cut_at(&[5], 5), &[(1, begun(1, 0).batch(5).bytes), (6, bytes)]);
        assert_eq!(strict_corruption(&memory, "R-C2").1, Witness::LaterBatch);
    }
}

#[test]
fn damage_that_is_tolerated_before_a_cut_ends_the_log_there_and_nowhere_else() {
    let mut damaged = begun(1, 0).batch(3).batch(5).bytes;
    damaged[UNIT as usize + 70] ^= 1;
    let memory = log(cut_at(&[8], 8), &[(1, damaged)]);
    let recovered = tolerate(&memory);
    assert_eq!((recovered.report.rule, recovered.next_seq), ("R-D2", Seq::new(4)));
    let cuts = recovered.state.unwrap().current().cuts.clone();
    assert_eq!((cuts.newest(), cuts.count()), (Some(3), 2));
    // The log continues beyond the position of the old cut.
    let goes_on = begun(4, 2).batch(4).batch(4).bytes;
    memory.put(&segment_filename(ShardId::SINGLE, 4), goes_on);
    let report = repair(&memory).report;
    assert_eq!((report.verdict, report.last_seq), (Verdict::Clean, Seq::new(11)));
}
