//! Promises that no crash breaks by itself: they are looked at one by one.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use ringwal::format::BatchHeader;
use ringwal::{Blocks, Durability, Log, Seq, SimDisk};

/// Looks at a watermark when it is woken.
struct Looks {
    log: Mutex<Option<Log>>,
    seen: AtomicU64,
}

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        let durable = self.log.lock().unwrap().as_ref().map_or(0, |log| log.durable_seq().get());
        self.seen.fetch_max(durable, Ordering::SeqCst);
    }
}

#[test]
fn whoever_is_woken_finds_the_watermark_published() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let log = Log::builder("sim").segment_bytes(65_536).open_sim(&disk).unwrap();
        for n in 0..10 {
            let mut commit = log.at(Durability::Synced).submit([7; 100]).unwrap();
            let looks = Arc::new(Looks { log: Mutex::new(Some(log.clone())), seen: 0.into() });
            let waker = Waker::from(looks.clone());
            let pending = Pin::new(&mut commit).poll(&mut Context::from_waker(&waker));
            assert!(pending.is_pending());
            log.run_until(|| commit.is_done());
            assert_eq!(looks.seen.load(Ordering::SeqCst), n + 1, "seed {seed}");
            *looks.log.lock().unwrap() = None;
        }
    }
}

#[test]
fn every_life_of_a_segment_has_a_salt_of_its_own() {
    let mut disk = SimDisk::new(1);
    let mut salts = BTreeSet::new();
    let mut segments = 0;
    for _ in 0..5 {
        let log = Log::builder("sim")
            .segment_bytes(4096)
            .recycle_segments(4)
            .preallocate(Some(Blocks::Written))
            .open_sim(&disk)
            .unwrap();
        for _ in 0..20 {
            log.append([7; 1000]).unwrap();
            // Those before it become spares.
            for name in disk.names().into_iter().filter(|name| name.ends_with(".seg")) {
                let content = disk.content(&name).unwrap();
                if let Ok((header, _)) = BatchHeader::parse(&content) {
                    salts.insert((name, header.salt));
                }
            }
            log.truncate_before(log.durable_seq()).unwrap();
        }
        segments += log.metrics().rotations;
        assert!(log.metrics().spares_recycled > 0, "{:?}", log.metrics());
        assert!(log.first_seq() > Seq::FIRST);
        let after = disk.crash();
        drop(log);
        disk = after;
    }
    let different: BTreeSet<u64> = salts.iter().map(|(_, salt)| *salt).collect();
    assert!(!different.contains(&0), "a stand-alone batch");
    assert_eq!(different.len(), salts.len(), "{salts:?}");
    assert!(salts.len() as u64 >= segments && segments > 10, "{segments} segments");
}

#[test]
fn what_a_log_has_shown_after_a_kill_survives_the_next_power_cut() {
    let open = |disk: &SimDisk| {
        let builder = Log::builder("sim").segment_bytes(8192).preallocate(Some(Blocks::AsTheyCome));
        builder.open_sim(disk).unwrap()
    };
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let log = open(&disk);
        for n in 0..3 {
            // It ends with its block, so there is nothing to trim, which would be synced.
            log.at(Durability::Written).append([n; 440]).unwrap();
        }
        let killed = disk.kill();
        drop(log);
        let log = open(&killed);
        let shown = log.durable_seq();
        assert_eq!(shown, Seq::new(3), "the system had them");
        let disk = killed.crash();
        drop(log);
        assert_eq!(open(&disk).durable_seq(), shown, "seed {seed}");
    }
}
