use std::collections::BTreeSet;

use super::*;
use crate::io::{AlignedBuf, IoQueue, Op, QueueOptions, Strategy};

const SEEDS: u64 = 300;

/// A durable file of two sectors of ones.
fn disk_with_file(seed: u64) -> (SimDisk, Box<dyn StorageFile>) {
    let disk = SimDisk::new(seed);
    let file = disk.open("a", Access::Create).unwrap();
    file.write_at(&[1; 1024], 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir().unwrap();
    (disk, file)
}

/// What became of each sector: old, new or garbage.
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
fn what_a_failed_sync_covered_is_unknown_although_a_later_one_succeeds() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(seed);
        file.write_at(&[2; 1024], 0).unwrap();
        disk.fail_at(0, 5, false);
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
        let mut run = |queue: &mut SimQueue, op| {
            queue.submit(7, op);
            while queue.in_flight() > 0 {
                queue.wait(None, &mut done).unwrap();
            }
            done.pop().unwrap().result
        };
        let (name, reuse) = ("a".to_owned(), Some("a".to_owned()));
        run(&mut queue, Op::Prepare { file: 1, name, reuse, bytes: 1024, fill: false }).unwrap();
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
