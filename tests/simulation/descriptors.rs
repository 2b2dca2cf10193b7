//! A process that has no descriptor left for a while.

use ringwal::{Blocks, Error, Log, SimDisk, SimFault};

#[test]
fn without_descriptors_a_log_goes_on_as_far_as_it_is_prepared_and_heals() {
    let (mut appended, mut refused) = (0, 0);
    for seed in 0..60 {
        let mut disk = SimDisk::new(seed);
        let builder = || {
            Log::builder("sim").segment_bytes(4096).spare_segments(2).preallocate(Some(
                [Blocks::Written, Blocks::Reserved, Blocks::AsTheyCome][seed as usize % 3],
            ))
        };
        let log = builder().open_sim(&disk).unwrap();
        log.append([7; 1000]).unwrap();
        while log.step() {}
        disk.fail_from(0, SimFault::NoDescriptor);
        let mut durable = 1;
        for _ in 0..30 {
            match log.append([7; 1000]) {
                Ok(seq) => durable = seq.get(),
                Err(Error::NoSpace { source, .. }) => {
                    assert_eq!(source.raw_os_error(), Some(libc::EMFILE));
                    refused += 1;
                }
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        appended += durable - 1;
        log.rotate().unwrap();
        disk.heal();
        assert_eq!(log.append("all is well again").unwrap().get(), durable + 1, "seed {seed}");
        disk = disk.crash();
        drop(log);
        assert_eq!(builder().open_sim(&disk).unwrap().durable_seq().get(), durable + 1);
    }
    assert!(appended > 60 * 4 && refused > 0, "{appended} appended, {refused} refused");
}
