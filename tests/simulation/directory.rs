//! The directory that a log is in: its own name has to survive as well.

use ringwal::io::Storage;
use ringwal::{Log, SimDisk};

#[test]
fn a_power_cut_takes_no_log_along_with_the_name_of_its_directory() {
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let builder = || Log::builder("sim").segment_bytes(65_536);
        let log = builder().open_sim(&disk).unwrap();
        log.append("acknowledged").unwrap();
        let after = disk.crash();
        drop(log);
        let log = builder().open_sim(&after).unwrap();
        assert_eq!(log.durable_seq().get(), 1, "seed {seed}");
    }
}

#[test]
fn a_log_that_only_lost_its_lock_file_is_still_had_by_one() {
    let disk = SimDisk::new(1);
    let builder = || Log::builder("sim").segment_bytes(65_536);
    let log = builder().open_sim(&disk).unwrap();
    disk.remove("lock").unwrap();
    let refused = builder().open_sim(&disk);
    assert!(matches!(refused, Err(ringwal::Error::Locked { .. })), "{refused:?}");
    log.append("one").unwrap();
    log.close().unwrap();
    drop(log);
    assert_eq!(builder().open_sim(&disk).unwrap().durable_seq().get(), 1);
}
