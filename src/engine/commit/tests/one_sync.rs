//! Through the page cache, one operation that syncs a file at a time.

use super::*;

/// Whatever is submitted, in whatever order it ends, no file has two syncs in flight, and what is
/// wanted becomes durable.
#[test]
fn through_the_page_cache_no_two_syncs_of_a_file_are_in_flight() {
    let mut overlaps = 0;
    for seed in 1..400u64 {
        let mut state = seed;
        let mut roll = move |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % bound
        };
        let mut pipeline = Pipeline::new(4, 0).one_sync(true);
        let strategies = [None, LINKED, Some(Strategy::Dsync), Some(Strategy::WriteThenSync)];
        let (mut file, mut seq) = (1, 0);
        let (mut writes, mut syncs) = (Vec::new(), Vec::new());
        for _ in 0..60 {
            let strategy = strategies[roll(4) as usize];
            match roll(3) {
                0 if pipeline.has_slot() && (strategy.is_none() || pipeline.may_sync(file)) => {
                    seq += 1;
                    writes.push((submit(&mut pipeline, seq, file, strategy), file, strategy));
                }
                1 if !writes.is_empty() => {
                    let (id, ..) = writes.swap_remove(roll(writes.len() as u64) as usize);
                    pipeline.write_done(id);
                }
                2 if !syncs.is_empty() => {
                    let (file, since) = syncs.swap_remove(0);
                    pipeline.sync_done(file, since);
                }
                _ if roll(8) == 0 => file += u64::from(seq > 0 && writes.is_empty()),
                _ if roll(4) == 0 => pipeline.want_durable(seq),
                _ => {}
            }
            acknowledged(&mut pipeline);
            while let Some(action) = pipeline.next_action() {
                match action {
                    Action::Sync { file, since } => syncs.push((file, since)),
                    Action::Install { file, .. } => pipeline.installed(file),
                    Action::Seal { .. } => {}
                }
            }
            for at in 1..=file {
                let of_writes = writes.iter().filter(|write| write.1 == at && write.2.is_some());
                let count = of_writes.count() + syncs.iter().filter(|sync| sync.0 == at).count();
                assert!(count <= 1, "seed {seed}: {count} syncs of file {at} in flight");
                overlaps += usize::from(count == 1 && writes.len() > 1);
            }
        }
        writes.drain(..).for_each(|(id, ..)| pipeline.write_done(id));
        pipeline.want_durable(seq);
        while pipeline.durable_seq() < seq {
            syncs.drain(..).for_each(|(file, since)| pipeline.sync_done(file, since));
            acknowledged(&mut pipeline);
            match pipeline.next_action() {
                Some(Action::Sync { file, since }) => syncs.push((file, since)),
                Some(Action::Install { file, .. }) => pipeline.installed(file),
                Some(Action::Seal { .. }) => {}
                None => assert_eq!(pipeline.durable_seq(), seq, "seed {seed}: it stands still"),
            }
        }
    }
    assert!(overlaps > 100, "writes that sync nothing go on beside a sync");
}
