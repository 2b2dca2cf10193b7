//! Random damage: the state after a crash must never be called corruption, and acknowledged records
//! must never be lost unnoticed.

use proptest::prelude::*;

use super::*;

/// A segment whose last batches were in flight together when the power went away.
#[derive(Clone, Debug)]
struct Crash {
    /// Batches that were acknowledged, by their record counts.
    durable: Vec<u32>,
    /// Batches in flight, and their fates.
    in_flight: Vec<(u32, BatchFate)>,
    /// Whether the file was a retired one.
    recycled: bool,
}

#[derive(Clone, Debug)]
enum BatchFate {
    Landed,
    Lost,
    /// Only these of its sectors landed.
    Torn(Vec<bool>),
}

const SECTOR: usize = 512;

impl Crash {
    fn last_durable(&self) -> u64 {
        FIRST - 1 + self.durable.iter().map(|&count| u64::from(count)).sum::<u64>()
    }

    fn file(&self) -> Vec<u8> {
        let mut segment = segment(FIRST);
        for (index, &count) in self.durable.iter().enumerate() {
            // Each was sealed while up to two before it were in flight.
            let seen: u32 = self.durable[..index.saturating_sub(2)].iter().sum();
            segment = segment.durable(FIRST - 1 + u64::from(seen)).batch(count);
        }
        let start = segment.bytes.len();
        segment = segment.durable(self.last_durable());
        for (count, _) in &self.in_flight {
            segment = segment.batch(*count);
        }
        let mut old = SegmentBytes::new(1, 99);
        while old.bytes.len() < segment.bytes.len() + 8192 {
            old = old.batch(2);
        }
        let mut file = if self.recycled { old.bytes } else { vec![0; segment.bytes.len() + 8192] };
        file[..start].copy_from_slice(&segment.bytes[..start]);
        for (index, (_, fate)) in self.in_flight.iter().enumerate() {
            for sector in 0..UNIT as usize / SECTOR {
                let at = start + index * UNIT as usize + sector * SECTOR;
                let landed = match fate {
                    BatchFate::Landed => true,
                    BatchFate::Lost => false,
                    BatchFate::Torn(sectors) => sectors[sector],
                };
                if landed {
                    file[at..at + SECTOR].copy_from_slice(&segment.bytes[at..at + SECTOR]);
                }
            }
        }
        file
    }
}

/// Above every sequence number in a recycled file.
const FIRST: u64 = 1000;

fn any_crash(durable: std::ops::Range<usize>) -> impl Strategy<Value = Crash> {
    let fate = prop_oneof![
        Just(BatchFate::Landed),
        Just(BatchFate::Lost),
        prop::collection::vec(any::<bool>(), UNIT as usize / SECTOR).prop_map(BatchFate::Torn),
    ];
    let durable = prop::collection::vec(1..90_u32, durable);
    let in_flight = prop::collection::vec((1..90_u32, fate), 0..5);
    (durable, in_flight, any::<bool>()).prop_map(|(durable, in_flight, recycled)| Crash {
        durable,
        in_flight,
        recycled,
    })
}

fn crashed(crash: &Crash) -> Memory {
    let edit = |state: &mut State| (state.first_seq, state.last_seq) = (FIRST, FIRST - 1);
    log(edit, &[(FIRST, crash.file())])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_a_crash_leaves_is_recovered_and_loses_nothing_acknowledged(crash in any_crash(0..5)) {
        let memory = crashed(&crash);
        let recovered = repair(&memory);
        prop_assert!(recovered.report.last_seq.get() >= crash.last_durable());
        prop_assert!(recovered.report.verdict != Verdict::Corrupt);
        is_settled(&memory, recovered.next_seq.get());
    }

    #[test]
    fn an_acknowledged_batch_that_later_ones_saw_is_never_lost_unnoticed(
        crash in any_crash(4..8),
        which in any::<prop::sample::Index>(),
        bit in any::<prop::sample::Index>(),
    ) {
        // The last two may have been acknowledged after everything else was sealed.
        let which = which.index(crash.durable.len() - 3);
        let mut file = crash.file();
        // Within the head of the batch, which every batch fills.
        let bit = bit.index((64 + 8) * 8);
        file[which * UNIT as usize + bit / 8] ^= 1 << (bit % 8);
        let edit = |state: &mut State| (state.first_seq, state.last_seq) = (FIRST, FIRST - 1);
        let memory = log(edit, &[(FIRST, file)]);
        let error = run(&memory, RecoveryPolicy::Strict, Mode::Repair).unwrap_err();
        let noticed = matches!(error, Error::Corrupt(_));
        prop_assert!(noticed, "{}", error);
    }

    #[test]
    fn tolerated_damage_leaves_a_prefix_and_is_reported(
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
        if let Ok((seqs, recovered)) = run(&memory, RecoveryPolicy::TolerateTail, Mode::Repair) {
            prop_assert_eq!(seqs.len() < 8, recovered.report.tolerated.is_some());
        }
    }

    #[test]
    fn no_flipped_bit_loses_records_that_the_state_proves(
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
            Err(Error::Corrupt(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    // Not at the very first: a file without bytes is damage (R-C6), as a test in `tail` shows.
    fn a_file_cut_at_any_byte_opens_with_a_prefix(cut in 1..=3 * UNIT as usize) {
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
