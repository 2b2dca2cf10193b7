//! Before the clock: a log gets its first record and, by that, the segments that it holds.
//!
//! ```text
//! record 0 of thread 0 ─ active segment ─ spare ─ spare ─ ... │ threads start, warm up, ...
//! ```
//!
//! The raw limits write to files whose blocks were written before the clock started, so the log
//! gets the same chance: as many segments as it was told to hold. What it needs beyond those, it
//! has to make while it is measured.
//!
//! 1. The record is acknowledged and compared as all others are, and not measured.
//! 2. A spare that was refused is not waited for: the log says by itself what a full disk is.
//! 3. Where one record makes a large batch, a log makes one spare in advance, and so many are
//!    waited for. With `--preallocate always` it makes all of them.
//!
//! Threading: all of it happens on the main thread, before there is another one.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use ringwal::{Log, Metrics};

use crate::bench::setting::{Setting, stopped};
use crate::output::exit::Failure;

/// How long one segment may take: 64 GiB at half a GiB per second.
const SEGMENT_WITHIN: Duration = Duration::from_secs(128);

const LOOK_EVERY: Duration = Duration::from_millis(1);

/// After a batch of more than this a log makes one spare in advance, if it may choose.
const LARGE_OVER_BYTES: u64 = 64 << 10;

/// Appends `record` to a new log in `dir` and waits until the log has its segments. Returns the
/// record's sequence number.
pub(crate) fn prepare(
    setting: &Setting<'_>,
    (log, dir): (&Log, &Path),
    record: &[u8],
) -> Result<u64, Failure> {
    let seq = log.append(record)?.get();
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let metrics = log.metrics();
        if metrics.spares_refused > 0 || metrics.spares_prepared >= held(setting, log, &metrics) {
            return Ok(seq);
        }
        if metrics.spares_prepared > seen {
            (seen, since) = (metrics.spares_prepared, Instant::now());
        } else if since.elapsed() > SEGMENT_WITHIN {
            // One that has failed says why.
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

/// How many segments a new log prepares by itself: the active one and its spares.
fn held(setting: &Setting<'_>, log: &Log, metrics: &Metrics) -> u64 {
    let spares = setting.engine.spare_segments() as u64;
    let large = log.backend().blocks.is_none() && metrics.written_bytes > LARGE_OVER_BYTES;
    1 + if large { spares.min(1) } else { spares }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::bench::args::BenchArgs;
    use crate::bench::args::tests::parse;
    use crate::bench::machine::Device;
    use crate::bench::machine::cache_drop::CacheDrop;
    use crate::util::signal::Stop;

    /// What comes of it with these options, and how many segments are prepared then.
    fn prepared(more: &[&str], bytes: usize, stop: &Stop) -> (Result<u64, Failure>, u64) {
        let parent = tempfile::tempdir().unwrap();
        let BenchArgs { engine, secs, .. } = parse(more);
        let device = Device::below(parent.path());
        let (duration, cache_drop) = (secs, CacheDrop::Advised);
        let setting = Setting { engine: &engine, device: &device, stop, duration, cache_drop };
        let dir = parent.path().join("log");
        let log = engine.builder(&dir).open().unwrap();
        let seq = prepare(&setting, (&log, &dir), &vec![7; bytes]);
        (seq, log.metrics().spares_prepared)
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
