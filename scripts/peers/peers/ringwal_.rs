//! ringwal, as a user gets it: the default options, but segments prepared beforehand as every other
//! log's here that can (`Opts::expect_bytes`); and its portable backend.

use super::{chunks, peer};
use crate::adapter::{Appender, Kind, Log, Opts, Res, Sink, Spec};
use ringwal::{BackendKind, Batch, Durability};

struct L(ringwal::Log);

impl Log for L {
    fn handle(&self, _: usize) -> Box<dyn Appender + '_> {
        Box::new(move |rec: &[u8]| -> Res<()> {
            self.0.append(rec)?;
            Ok(())
        })
    }
}

fn open_on(o: &Opts, kind: BackendKind) -> Res<Box<dyn Log>> {
    Ok(Box::new(L(ringwal::Log::builder(&o.dir).backend(kind).open()?)))
}

fn open(o: &Opts) -> Res<Box<dyn Log>> {
    open_on(o, BackendKind::Auto)
}

fn open_std(o: &Opts) -> Res<Box<dyn Log>> {
    open_on(o, BackendKind::Std)
}

fn recover(o: &Opts, sink: &mut dyn Sink) -> Res<()> {
    let log = ringwal::Log::open(&o.dir)?;
    sink.opened();
    for r in log.reader()? {
        sink.rec(r?.data());
    }
    Ok(())
}

/// As a service that builds its state while it opens: one pass.
fn recover_replaying(o: &Opts, sink: &mut dyn Sink) -> Res<()> {
    let log = ringwal::Log::builder(&o.dir).open_replaying(|_, data| {
        sink.rec(data);
        Ok(())
    })?;
    sink.opened();
    drop(log);
    Ok(())
}

fn fill(o: &Opts, n: u64, make: &mut dyn FnMut(u64) -> Vec<u8>) -> Res<()> {
    let log = ringwal::Log::builder(&o.dir).durability(Durability::Queued).open()?;
    chunks(n, 256, make, |_, recs| -> Res<()> {
        let mut batch = Batch::new();
        for r in recs {
            batch.push(r)?;
        }
        log.append(&batch)?;
        Ok(())
    })?;
    log.flush()?;
    log.close()?;
    Ok(())
}

/// As a log in its steady state, which recycles: the segment has all its blocks before the run, as
/// the files of `handmade`, `okaywal` and `raft-engine-prefill` have.
fn prepared(o: &Opts, set: impl FnOnce(ringwal::Builder) -> ringwal::Builder) -> Res<Box<dyn Log>> {
    let bytes = (o.expect_bytes * 2).clamp(128 << 20, 1 << 30);
    let log = set(ringwal::Log::builder(&o.dir).first_segment_bytes(bytes).segment_bytes(bytes).spare_segments(1)).open()?;
    log.append([])?; // the first segment is active, and its successor is made now, not in the run
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while log.metrics().spares_prepared < 2 && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Ok(Box::new(L(log)))
}

pub fn specs() -> Vec<Spec> {
    use ringwal::Strategy::*;
    let group = "own group commit";
    let mut v = vec![
        peer("ringwal", "ringwal", "append: as it measures the disk", group, Kind::Peer { open, recover, fill }),
        peer("ringwal-std", "ringwal", "append: pwrite + fdatasync", group, Kind::Peer { open: open_std, recover, fill }),
        peer("ringwal-replaying", "ringwal", "as ringwal; recovery in one pass", group, Kind::Peer { open, recover: recover_replaying, fill }),
        peer("ringwal-prep", "ringwal", "segments prepared before", group, Kind::Peer { open: |o| prepared(o, |b| b), recover, fill }),
        peer("ringwal-prep-std", "ringwal", "prepared, std", group, Kind::Peer { open: |o| prepared(o, |b| b.backend(BackendKind::Std)), recover, fill }),
        peer("ringwal-prep-buffered", "ringwal", "prepared, ring through the page cache", group, Kind::Peer { open: |o| prepared(o, |b| b.direct_io(false)), recover, fill }),
        peer("ringwal-prep-dsync", "ringwal", "prepared, dsync", group, Kind::Peer { open: |o| prepared(o, |b| b.strategy(Some(Dsync))), recover, fill }),
        peer("ringwal-prep-linked", "ringwal", "prepared, linked", group, Kind::Peer { open: |o| prepared(o, |b| b.strategy(Some(LinkedFsync))), recover, fill }),
        peer("ringwal-prep-wts", "ringwal", "prepared, write-then-sync", group, Kind::Peer { open: |o| prepared(o, |b| b.strategy(Some(WriteThenSync))), recover, fill }),
        peer("ringwal-prep-noinline", "ringwal", "prepared, ring thread alone", group, Kind::Peer { open: |o| prepared(o, |b| b.inline(false)), recover, fill }),
    ];
    v.iter_mut().for_each(|s| s.own = true);
    v
}
