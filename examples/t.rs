#![allow(missing_docs, clippy::unwrap_used)]
use std::sync::atomic::*;
fn main() {
    let t: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let dir = tempfile::tempdir_in("/tmp/x").unwrap();
    let log = ringwal::Log::builder(dir.path().join("l")).strategy(Some(match std::env::var("S").as_deref() { Ok("l") => ringwal::Strategy::LinkedFsync, Ok("d") => ringwal::Strategy::Dsync, _ => ringwal::Strategy::WriteThenSync })).queue_depth(std::env::var("D").map_or(2, |d| d.parse().unwrap())).open().unwrap();
    let log = &log; let stop = AtomicBool::new(false);
    let n = AtomicU64::new(0);
    std::thread::scope(|s| {
        for _ in 0..t { s.spawn(|| { let mut k = 0u64; while !stop.load(Ordering::Relaxed) { log.append([7u8; 100]).unwrap(); k += 1; } n.fetch_add(k, Ordering::Relaxed); }); }
        std::thread::sleep(std::time::Duration::from_millis(400));
        stop.store(true, Ordering::Relaxed);
    });
    let m = log.metrics(); println!("{} /s; batch {:.1} batches {} inline {} queue {:.0} commit {:.0} wake {:.0}", n.load(Ordering::Relaxed) * 10 / 4, m.batch_records.mean(), m.batches, m.inline_batches, m.queue_micros.mean(), m.commit_micros.mean(), m.wake_micros.mean());
}
