//! How a service uses ringwal from tasks, for the comparison with other logs: a log whose blocks
//! are all there before a run, and one that begins with the defaults.
use std::path::Path;

pub fn open(dir: &Path, prepared: bool) -> ringwal::Log {
    if !prepared {
        return ringwal::Log::open(dir).unwrap();
    }
    let log = ringwal::Log::builder(dir)
        .first_segment_bytes(512 << 20)
        .segment_bytes(512 << 20)
        .open()
        .unwrap();
    log.append([]).unwrap(); // the first segment is active, and its successor is made now
    while log.metrics().spares_prepared < 2 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    log
}

/// Appends from a task without blocking its thread; returns when the record is durable.
pub async fn append(log: &ringwal::Log, record: &[u8]) {
    log.append_async(record).await.unwrap();
}
