use std::collections::BTreeSet;

use super::*;
use crate::io::{
    Access, AlignedBuf, Blocks, FileOp, IoQueue, Op, QueueOptions, Storage, StorageFile, Strategy,
};

const SEEDS: u64 = 300;

/// A durable file of two sectors of ones.
fn disk_with_file(seed: u64) -> (SimDisk, Box<dyn StorageFile>) {
    let disk = SimDisk::new(seed);
    let file = disk.open("a", Access::Create).unwrap();
    file.write_at(&[1; 1024], 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir().unwrap();
    disk.sync_parent().unwrap();
    (disk, file)
}

/// The outcome of each sector: old, new or garbage.
fn fates(content: &[u8]) -> String {
    let fate = |sector: &[u8]| match sector {
        _ if sector.iter().all(|&byte| byte == 1) => 'o',
        _ if sector.iter().all(|&byte| byte == 2) => 'n',
        _ => 'g',
    };
    content.chunks(512).map(fate).collect()
}

#[test]
fn an_unsynced_sector_is_old_new_or_garbage_and_a_synced_one_is_new() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(seed);
        file.write_at(&[2; 1024], 0).unwrap();
        seen.insert(fates(&disk.crash().content("a").unwrap()));

        let (disk, file) = disk_with_file(seed);
        file.write_at(&[2; 1024], 0).unwrap();
        file.sync().unwrap();
        assert_eq!(fates(&disk.crash().content("a").unwrap()), "nn");
    }
    let all: BTreeSet<_> = "ong".chars().flat_map(|a| "ong".chars().map(move |b| (a, b))).collect();
    assert_eq!(seen, all.into_iter().map(|(a, b)| format!("{a}{b}")).collect());
}

#[test]
fn names_and_lengths_come_back_or_not_until_they_are_synced() {
    let (mut names, mut lengths) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(seed);
        file.set_bytes(100).unwrap();
        disk.rename("a", "b").unwrap();
        disk.open("c", Access::Create).unwrap().sync().unwrap();
        let after = disk.crash();
        names.insert(after.list().unwrap().join(" "));
        let content = after.content("a").or(after.content("b")).unwrap();
        lengths.insert(content.len());
        assert!(disk.list().is_err() && file.sync().is_err(), "without power");
    }
    let expected = ["a", "a c", "b", "b c"].map(str::to_owned);
    assert_eq!(names, BTreeSet::from(expected));
    assert_eq!(lengths, BTreeSet::from([100, 1024]));
}

#[test]
fn a_directory_whose_parent_was_not_synced_may_go_as_a_whole() {
    for is_synced in [false, true] {
        let after = (0..SEEDS).map(|seed| {
            let disk = SimDisk::new(seed);
            disk.open("a", Access::Create).unwrap();
            disk.sync_dir().unwrap();
            if is_synced {
                disk.sync_parent().unwrap();
            }
            let after = disk.crash();
            let names = after.names();
            // Content that came back after a crash is durable.
            assert_eq!(after.crash().names(), names);
            names.len()
        });
        let seen: BTreeSet<_> = after.collect();
        assert_eq!(seen, if is_synced { BTreeSet::from([1]) } else { BTreeSet::from([0, 1]) });
    }
}

#[test]
fn what_a_failed_sync_covered_is_unknown_although_a_later_one_succeeds() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(seed);
        file.write_at(&[2; 1024], 0).unwrap();
        disk.fail_at(0, SimFault::Errno(5));
        assert!(file.sync().is_err());
        file.sync().unwrap();
        assert_eq!(fates(&disk.content("a").unwrap()), "nn", "the cache has it");
        seen.insert(fates(&disk.crash().content("a").unwrap()));
    }
    assert!(seen.contains("oo") && seen.contains("nn") && seen.contains("gg"), "{seen:?}");
}

#[test]
fn a_killed_process_leaves_what_the_system_had() {
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(seed);
        file.write_at(&[2; 1024], 0).unwrap();
        let guard = disk.lock("lock").unwrap();
        let after = disk.kill();
        assert_eq!(fates(&after.content("a").unwrap()), "nn");
        assert!(after.lock("lock").is_ok());
        drop(guard);
    }
}

#[test]
fn a_write_by_itself_covers_no_other_and_a_full_disk_takes_no_more() {
    let mut others = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, _) = disk_with_file(seed);
        let (mut queue, _) = SimQueue::new(&disk, &QueueOptions::default());
        let mut done = Vec::new();
        let mut run = |queue: &mut SimQueue, op: Op| {
            queue.submit(7, op);
            while queue.in_flight() > 0 {
                queue.wait(None, &mut done).unwrap();
            }
            done.pop().unwrap().result
        };
        let (name, reuse) = ("a".to_owned(), Some("a".to_owned()));
        run(
            &mut queue,
            FileOp::Prepare {
                file: 1,
                name,
                reuse,
                bytes: 1024,
                blocks: Blocks::AsTheyCome,
                pace: Arc::default(),
            }
            .into(),
        )
        .unwrap();
        let write = |offset, sync| {
            let mut buf = AlignedBuf::zeroed(512);
            buf.fill(2);
            Op::Write { file: 1, offset, buf, len: 512, sync }
        };
        run(&mut queue, write(0, None)).unwrap();
        run(&mut queue, write(512, Some(Strategy::Dsync))).unwrap();
        disk.set_capacity(Some(1024));
        assert!(run(&mut queue, write(1024, None)).unwrap_err().is_shortage());
        let fates = fates(&disk.crash().content("a").unwrap()[..1024]);
        assert_eq!(&fates[1..], "n");
        others.insert(fates[..1].to_owned());
    }
    assert_eq!(others.len(), 3, "{others:?}");
}

/// A queue with the file `a` open as number 1.
fn queue_of(disk: &SimDisk, strategy: Strategy) -> SimQueue {
    let options = QueueOptions { strategy: Some(strategy), ..QueueOptions::default() };
    let (mut queue, _) = SimQueue::new(disk, &options);
    let (name, reuse) = ("a".to_owned(), Some("a".to_owned()));
    run(
        &mut queue,
        FileOp::Prepare {
            file: 1,
            name,
            reuse,
            bytes: 1024,
            blocks: Blocks::AsTheyCome,
            pace: Arc::default(),
        },
    )
    .0
    .unwrap();
    queue
}

fn run(queue: &mut SimQueue, op: impl Into<Op>) -> (Result<()>, Option<AlignedBuf>) {
    let mut done = Vec::new();
    queue.submit(7, op.into());
    while queue.in_flight() > 0 {
        queue.wait(None, &mut done).unwrap();
    }
    let done = done.pop().unwrap();
    (done.result, done.buf)
}

fn write_twos(len: usize, strategy: Strategy) -> Op {
    let mut buf = AlignedBuf::zeroed(len);
    buf.fill(2);
    Op::Write { file: 1, offset: 0, buf, len, sync: Some(strategy) }
}

#[test]
fn a_fault_strikes_the_nth_call_that_it_can_hit_once_or_for_good() {
    for for_good in [false, true] {
        let (disk, file) = disk_with_file(1);
        match for_good {
            true => disk.fail_from(1, SimFault::ShortWrite),
            false => disk.fail_at(1, SimFault::ShortWrite),
        }
        let write = || {
            file.sync().unwrap();
            file.write_at(&[3; 16], 0).is_ok()
        };
        assert_eq!([write(), write(), write()], [true, false, !for_good]);
        assert_eq!(disk.struck().len(), if for_good { 2 } else { 1 }, "{:?}", disk.struck());
        disk.heal();
        assert!(write());
    }
}

#[test]
fn a_short_write_leaves_its_beginning_and_gives_its_buffer_back() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, _) = disk_with_file(seed);
        let mut queue = queue_of(&disk, Strategy::Dsync);
        disk.fail_at(0, SimFault::ShortWrite);
        let (result, buf) = run(&mut queue, write_twos(1024, Strategy::Dsync));
        assert!(result.unwrap_err().to_string().contains("only a part") && buf.is_some());
        seen.insert(fates(&disk.content("a").unwrap()));
    }
    assert_eq!(seen, BTreeSet::from(["oo", "no"].map(str::to_owned)));
}

#[test]
fn a_cancelled_write_never_was_and_a_cut_chain_is_written_and_not_durable() {
    let mut after_cut = BTreeSet::new();
    for seed in 0..SEEDS {
        for (fault, there) in [(SimFault::Cancelled, "oo"), (SimFault::CutChain, "nn")] {
            let (disk, _) = disk_with_file(seed);
            let mut queue = queue_of(&disk, Strategy::LinkedFsync);
            disk.fail_at(0, fault);
            let (result, buf) = run(&mut queue, write_twos(1024, Strategy::LinkedFsync));
            assert!(result.unwrap_err().to_string().contains("cancelled") && buf.is_some());
            assert_eq!(fates(&disk.content("a").unwrap()), there);
            let after = fates(&disk.crash().content("a").unwrap());
            match fault {
                SimFault::Cancelled => assert_eq!(after, "oo"),
                _ => _ = after_cut.insert(after),
            }
        }
    }
    assert!(after_cut.contains("oo") && after_cut.contains("nn"), "{after_cut:?}");
}

#[test]
fn a_busy_kernel_is_survived_and_one_that_stays_busy_ends_the_queue() {
    for (errno, harmless) in [(libc::EAGAIN, true), (libc::EINTR, true), (libc::EBADF, false)] {
        let (disk, _) = disk_with_file(3);
        let mut queue = queue_of(&disk, Strategy::WriteThenSync);
        disk.fail_at(0, SimFault::Enter(errno));
        queue.submit(1, write_twos(512, Strategy::WriteThenSync));
        let mut done = Vec::new();
        let first = queue.wait(None, &mut done);
        assert_eq!(first.is_ok(), harmless, "{first:?}");
        assert!(done.is_empty());
        if harmless {
            disk.fail_from(0, SimFault::Enter(errno));
        }
        let failed = (0..1000).find_map(|_| queue.wait(None, &mut done).err());
        match failed {
            Some(Error::Io { source, .. }) => assert_eq!(source.raw_os_error(), Some(errno)),
            other => panic!("{other:?}"),
        }
        disk.heal();
        assert!(queue.wait(None, &mut done).is_err(), "the first failure stays");
    }
}

#[test]
fn a_read_is_wrong_in_one_sector_once_or_until_it_is_written_again() {
    let reads = [SimFault::RottenRead, SimFault::StaleRead, SimFault::MisdirectedRead];
    for (seed, fault) in (0..SEEDS).flat_map(|seed| reads.map(|fault| (seed, fault))) {
        let (disk, file) = disk_with_file(seed);
        let other = disk.open("b", Access::Create).unwrap();
        other.write_at(&[9; 512], 0).unwrap();
        file.write_at(&[2; 1024], 0).unwrap();
        let read = || {
            let mut bytes = [7; 2000];
            assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 1024);
            bytes[..1024].to_vec()
        };
        let is_wrong = |bytes: &[u8]| bytes.iter().any(|&byte| byte != 2);
        disk.fail_at(1, fault);
        assert!(!is_wrong(&read()));
        let once = read();
        assert!(!is_wrong(&read()), "only once");
        match fault {
            SimFault::StaleRead => assert!(fates(&once).contains('o')),
            SimFault::RottenRead => assert!(fates(&once).contains('g')),
            _ => assert!(fates(&once).matches('n').count() >= 1),
        }

        disk.fail_from(0, fault);
        let first = read();
        assert_eq!(read(), first, "for good");
        assert!(!is_wrong(&disk.content("a").unwrap()), "the disk itself has it");
        file.write_at(&[2; 1024], 0).unwrap();
        assert!(!is_wrong(&read()), "written again");
    }
}

#[test]
fn a_read_behind_the_end_of_a_file_reads_nothing() {
    let (_disk, file) = disk_with_file(1);
    let mut bytes = [7; 100];
    for offset in [1024, 1025, 5000, u64::MAX] {
        assert_eq!(file.read_at(&mut bytes, offset).unwrap(), 0);
    }
    assert_eq!(bytes, [7; 100]);
}

#[test]
fn without_descriptors_what_is_open_goes_on_and_nothing_else_is_opened() {
    let (disk, file) = disk_with_file(1);
    disk.fail_from(0, SimFault::NoDescriptor);
    assert!(disk.open("a", Access::Read).unwrap_err().is_shortage());
    assert!(disk.open("b", Access::Create).is_err() && disk.list().is_err());
    assert!(disk.lock("lock").is_err() && file.lock().is_err());
    file.write_at(&[2; 512], 0).unwrap();
    file.sync().unwrap();
    disk.rename("a", "c").unwrap();
    disk.sync_dir().unwrap();
    disk.heal();
    assert_eq!(disk.names(), ["c"]);
}

#[test]
fn a_fork_goes_its_own_way() {
    let (disk, file) = disk_with_file(1);
    let _guard = disk.lock("lock").unwrap();
    let fork = disk.fork();
    file.write_at(&[2; 1024], 0).unwrap();
    fork.damage("a", 0, &[7]);
    assert_eq!(fates(&fork.content("a").unwrap()), "go");
    assert_eq!(fates(&disk.content("a").unwrap()), "nn");
    assert!(fork.lock("lock").is_ok() && !disk.is_off());
}
