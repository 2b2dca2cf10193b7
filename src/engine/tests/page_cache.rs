//! The engine on files written through the page cache.

use crate::engine::Log;
use crate::io::{SimDisk, SimFault, Strategy};

/// The system reports a failed writeback to only one sync of the open file. If two syncs were in
/// flight, the batch of the other one would be acknowledged and lost.
#[test]
fn a_failed_writeback_through_the_page_cache_fails_the_batch_that_it_hit() {
    let mut struck = 0;
    for (seed, strategy) in (0..20).flat_map(|seed| Strategy::ALL.map(|it| (seed, it))) {
        for at in 4..16 {
            let disk = SimDisk::new(seed);
            let builder = Log::builder("sim").segment_bytes(65_536).queue_depth(4);
            let builder = builder.strategy(Some(strategy)).direct_io(false);
            let log = builder.clone().open_sim(&disk).unwrap();
            log.append("one").unwrap();
            disk.fail_at(at, SimFault::Errno(libc::EIO));
            // Steps between them, so that they go in batches of their own.
            let commits: Vec<_> = (0..8)
                .map_while(|_| {
                    log.step();
                    log.submit("more").ok()
                })
                .collect();
            // Runs until they are durable, or the log has failed.
            let flushed = log.flush();
            assert!(flushed.is_err() || commits.iter().all(|commit| commit.is_done()));
            let done = commits.iter().take_while(|commit| commit.is_done());
            let durable = done.map(|commit| commit.seq().get()).max().unwrap_or(1);
            struck += disk.struck().len();
            let after = disk.crash();
            drop(log);
            let log = builder.open_sim(&after).unwrap();
            let left = log.appended_seq().get();
            assert!(left >= durable, "seed {seed}, {strategy}, {at}: {left} of {durable}");
        }
    }
    assert!(struck > 100, "{struck} faults");
}
