//! Bugs that the simulation found, each as a minimal case.

use ringwal::{Builder, Durability, Error, Log, Seq, SimDisk, SimFault};

fn builder() -> Builder {
    Log::builder("sim").segment_bytes(4096).batch_bytes(4096)
}

/// A log with three sealed segments of one record each.
fn three_segments(disk: &SimDisk) -> Log {
    let log = builder().open_sim(disk).unwrap();
    for record in ["one", "two", "three"] {
        log.append(record).unwrap();
        log.rotate().unwrap();
    }
    log
}

#[test]
fn records_whose_truncation_counts_are_not_shown_after_a_power_cut() {
    for at in 0.. {
        let disk = SimDisk::new(at);
        let log = three_segments(&disk);
        disk.fail_at(at, SimFault::PowerCut);
        let truncated = log.truncate_before(Seq::new(4));
        let disk = disk.crash();
        drop(log);
        let mut first = Seq::FIRST;
        for _ in 0..3 {
            let log = builder().open_sim(&disk).unwrap();
            let is_truncated = log.first_seq() == Seq::new(4);
            assert!(is_truncated || log.first_seq() == Seq::FIRST, "at {at}: {log:?}");
            assert!(log.first_seq() >= first, "at {at}: what was gone is there again");
            first = log.first_seq();
            assert_eq!(log.at(Durability::Queued).submit("more").unwrap().seq().get(), 4);
            log.truncate_after(Seq::new(3)).unwrap();
        }
        if truncated.is_ok() {
            return assert!(at > 3, "only {at} calls");
        }
    }
}

#[test]
fn the_first_record_is_the_first_one_although_it_is_on_its_way() {
    let disk = SimDisk::new(1);
    let log = three_segments(&disk);
    let ticket = log.submit("four").unwrap();
    let freed = log.truncate_before(Seq::new(4)).unwrap();
    assert_eq!(freed.first_seq, ticket.seq());
    assert_eq!(log.first_seq(), ticket.seq());
    assert_eq!(log.reader().unwrap().count(), 0);
    assert_eq!(log.reader_from(ticket.seq()).unwrap().count(), 0);
    log.flush().unwrap();
    assert_eq!(log.first_seq(), ticket.seq());
    assert_eq!(log.reader().unwrap().count(), 1);
}

#[test]
fn a_log_whose_queue_failed_closes_although_it_has_a_spare() {
    for at in 0..60 {
        let disk = SimDisk::new(at);
        let log = builder().spare_segments(2).open_sim(&disk).unwrap();
        log.append("one").unwrap();
        while log.step() {}
        disk.fail_at(at % 3, SimFault::Enter(libc::EBADF));
        let failed = log.append("two").and(log.append("three"));
        // It would hang, which the simulated disk reports as a panic.
        let closed = log.close();
        if failed.is_err() {
            assert!(matches!(closed, Err(Error::Poisoned(_))), "{closed:?}");
        }
    }
}
