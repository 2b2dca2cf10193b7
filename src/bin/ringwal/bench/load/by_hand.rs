//! Measures the log by hand with the load of a case, and compares its records afterwards.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::bench::args::{Case, Mode};
use crate::bench::baseline::by_hand::channel::{Channel, Ticket};
use crate::bench::baseline::by_hand::file::{HandFile, read};
use crate::bench::baseline::by_hand::group::{Frames, Group};
use crate::bench::load::appender::{Measured, run_threads};
use crate::bench::load::phase::Counts;
use crate::bench::load::tasks::{AppendAsync, run_tasks};
use crate::bench::records::acked::Acked;
use crate::bench::records::check::Checker;
use crate::bench::sample::Sample;
use crate::bench::setting::Setting;
use crate::output::exit::Failure;

/// One measurement of the log by hand.
pub(crate) struct HandResult {
    pub(crate) sample: Sample,
    /// Records compared after the file was read back: all that were acknowledged.
    pub(crate) compared: u64,
}

/// Measures `case` with a new file at `path`, which is left there. It has as many bytes of zeros as
/// the segments of the log beside it, or none if the case grows.
pub(crate) fn measure(
    setting: &Setting<'_>,
    case: &Case,
    (path, run): (&Path, u64),
) -> Result<HandResult, Failure> {
    let prepared = if case.grow { 0 } else { setting.engine.prepared_bytes() };
    let file = HandFile::create(path, prepared, setting.engine.is_synced())?;
    let (sample, acked) = run_load(setting, case, file, run)?;
    let compared = compare(path, run, case.size, &acked)?;
    Ok(HandResult { sample, compared })
}

/// Compares the records of a file with what was acknowledged to its threads.
fn compare(path: &Path, run: u64, size: usize, acked: &[Acked]) -> Result<u64, Failure> {
    let mut checker = Checker::new(run, size, acked)?;
    let mut seq = 0;
    let compared = read(path, |record| {
        seq += 1;
        checker.record(seq, record)
    });
    compared.and_then(|()| checker.finish()).map_err(|failure| match failure {
        Failure::Mismatch(what) => Failure::Mismatch(format!("the log by hand: {what}")),
        other => other,
    })
}

fn run_load(
    setting: &Setting<'_>,
    case: &Case,
    file: HandFile,
    run: u64,
) -> Result<Measured, Failure> {
    let written = file.written();
    let counts = || Counts {
        bytes: written.bytes.load(Ordering::Relaxed),
        padding: 0,
        records: written.records.load(Ordering::Relaxed),
        batches: written.batches.load(Ordering::Relaxed),
    };
    let run = (run, None);
    match case.mode {
        Mode::Tasks => {
            let channel = Arc::new(Channel::start(file)?);
            run_tasks(setting, case, run, &counts, channel)
        }
        Mode::Async => {
            let channel = Channel::start(file)?;
            let wait = |ticket: Ticket| channel.wait(ticket);
            run_threads(setting, case, run, &counts, |it| {
                it.append_window(|record| channel.submit(record), wait)
            })
        }
        Mode::Blocking => {
            let group = Group::new(file);
            run_threads(setting, case, run, &counts, |it| {
                it.append_each(|record| group.append(record))
            })
        }
        Mode::Batch => {
            let group = Group::new(file);
            let push = |frames: &mut Frames, record: &[u8]| group.push(frames, record);
            let append = |frames: &mut Frames| {
                let last = group.append_all(frames)?;
                frames.clear();
                Ok(last)
            };
            run_threads(setting, case, run, &counts, |it| {
                it.append_batches(Frames::default(), push, append)
            })
        }
    }
}

impl AppendAsync for Arc<Channel> {
    async fn append_async(&self, record: &[u8]) -> Result<u64, Failure> {
        Channel::append_async(self, record).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::bench::records::content::Content;

    #[test]
    fn a_record_that_was_acknowledged_and_is_not_in_the_file_is_a_mismatch() {
        const SIZE: usize = 40;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hand");
        let group = Group::new(HandFile::create(&path, 200, true).unwrap());
        let mut content = Content::new(7, 0, SIZE);
        let mut acked: Vec<u64> =
            (0..3).map(|number| group.append(content.record(number)).unwrap()).collect();
        let compared = |run, acked: &[u64]| {
            compare(&path, run, SIZE, &[acked.iter().copied().collect::<Acked>()])
        };
        assert_eq!(compared(7, &acked).unwrap(), 3);
        assert!(compared(8, &acked).is_err(), "other bytes");
        acked.push(4);
        match compared(7, &acked) {
            Err(Failure::Mismatch(what)) => assert!(
                what.starts_with("the log by hand: 1 acknowledged records after 3"),
                "{what}"
            ),
            other => panic!("{other:?}"),
        }
    }
}
