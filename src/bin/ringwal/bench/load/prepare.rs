//! Prepares a new log before it is measured: its first record was appended, and now its segments
//! are waited for.
//!
//! ```text
//! record 0 of thread 0 ─ active segment ─ spare ─ spare ─ ... │ threads start, warm up, ...
//! ```
//!
//! The baselines write to files whose blocks were written before the measurement, so the log gets
//! the same chance: as many segments as it is configured to hold. Further segments it must create
//! while it is measured.
//!
//! 1. The first record is acknowledged and compared like all others, but not measured.
//! 2. A refused spare is not waited for: the log itself reports a full disk.
//! 3. If one record makes a large batch, a log prepares one spare in advance, and only that one is
//!    waited for. With `--preallocate always` it prepares all of them.
//!
//! Threading: this runs on the main thread before any other starts.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use ringwal::{Blocks, Log, Metrics};

use crate::bench::setting::{Setting, stopped};
use crate::output::exit::Failure;

/// The time limit for one segment: 64 GiB at half a GiB per second.
const SEGMENT_WITHIN: Duration = Duration::from_secs(128);

const LOOK_EVERY: Duration = Duration::from_millis(1);

/// After a batch larger than this, a log that may choose prepares one spare in advance.
const LARGE_OVER_BYTES: u64 = 64 << 10;

/// A segment is at most so many times as long as the one before it, as the log's manual says.
const GROWTH: u64 = 16;

/// Waits until a new log in `dir`, which has its first record, has its segments.
pub(crate) fn prepare(setting: &Setting<'_>, (log, dir): (&Log, &Path)) -> Result<(), Failure> {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let metrics = log.metrics();
        if metrics.spares_refused > 0 || metrics.spares_prepared >= held(setting, log, &metrics) {
            return Ok(());
        }
        if metrics.spares_prepared > seen {
            (seen, since) = (metrics.spares_prepared, Instant::now());
        } else if since.elapsed() > SEGMENT_WITHIN {
            // A failed log reports why.
            log.close()?;
            let what = format!(
                "{}: the next one was not prepared within {} s; lower --segment-bytes",
                dir.display(),
                SEGMENT_WITHIN.as_secs()
            );
            let source = io::Error::new(io::ErrorKind::TimedOut, what);
            return Err(Failure::Setup("segments of the log", source));
        }
        if setting.stop.receiver().recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
            return Err(stopped(setting));
        }
    }
}

/// The number of segments that a new log prepares: the active one and its spares.
fn held(setting: &Setting<'_>, log: &Log, metrics: &Metrics) -> u64 {
    let spares = setting.engine.spare_segments() as u64;
    let large = log.backend().blocks.is_none() && metrics.written_bytes > LARGE_OVER_BYTES;
    if large || spares == 0 {
        return 1 + spares.min(1);
    }
    let growing = match log.backend().blocks {
        Some(Blocks::AsTheyCome) => 0,
        _ => growing(setting, metrics.written_bytes),
    };
    1 + growing + spares
}

/// The number of segments between the first one, which is short, and the first full one.
fn growing(setting: &Setting<'_>, first_batch: u64) -> u64 {
    let (mut bytes, full) = setting.engine.segment_lengths();
    bytes = bytes.max(first_batch);
    let mut count = 0;
    while bytes.saturating_mul(GROWTH) < full {
        bytes *= GROWTH;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::bench::args::BenchArgs;
    use crate::bench::args::tests::parse;
    use crate::bench::machine::Device;
    use crate::bench::machine::cache_drop::CacheDrop;
    use crate::util::signal::Stop;

    /// The result with these options, and the number of prepared segments.
    fn prepared(more: &[&str], bytes: usize, stop: &Stop) -> (Result<u64, Failure>, u64) {
        let parent = tempfile::tempdir().unwrap();
        let BenchArgs { engine, secs, .. } = parse(more);
        let device = Device::below(parent.path());
        let (duration, cache_drop) = (secs, CacheDrop::Advised);
        let setting = Setting { engine: &engine, device: &device, stop, duration, cache_drop };
        let dir = parent.path().join("log");
        let log = engine.builder(&dir).open().unwrap();
        let seq = log.append(vec![7; bytes]).unwrap().get();
        let prepared = prepare(&setting, (&log, &dir)).map(|()| seq);
        (prepared, log.metrics().spares_prepared)
    }

    #[test]
    fn a_log_has_all_the_segments_that_it_holds() {
        let small = ["--segment-bytes", "1MiB"];
        let all = [&small[..], &["--preallocate", "always"]].concat();
        for (options, bytes, spares) in [(&small[..], 100, 1), (&small, 100, 0), (&small, 100, 5)]
            .into_iter()
            .chain([(&all[..], 100, 3), (&all, 300_000, 3)])
        {
            let count = spares.to_string();
            let options = [options, &["--spare-segments", &count]].concat();
            let (seq, segments) = prepared(&options, bytes, &Stop::new());
            assert_eq!((seq.unwrap(), segments), (1, 1 + spares), "{options:?}");
        }
        let (seq, segments) = prepared(&small, 100, &Stop::new());
        assert_eq!((seq.unwrap(), segments), (1, 2), "the engine holds one by default");
    }

    #[test]
    fn for_large_records_it_waits_for_no_more_than_the_log_makes() {
        let options = ["--segment-bytes", "1MiB", "--spare-segments", "16"];
        let (seq, segments) = prepared(&options, 300_000, &Stop::new());
        assert!(seq.is_ok() && segments >= 2, "{seq:?}, {segments} segments");
    }

    #[test]
    fn a_signal_ends_the_wait() {
        let stop = Stop::new();
        stop.stop("SIGTERM");
        let options = ["--segment-bytes", "64MiB", "--spare-segments", "16"];
        let (ended, segments) = prepared(&options, 100, &stop);
        assert!(matches!(ended, Err(Failure::Stopped("SIGTERM"))), "{ended:?}");
        assert!(segments < 17);
    }
}
