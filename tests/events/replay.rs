//! Opening rebuilds the event log's state while it verifies the records: the same state as a second
//! pass over them would give.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ringwal::replication::ShardId;
use ringwal::wal::format::{EventRecord, encode_batch};
use ringwal::wal::segment::{list_segments, segment_filename};
use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
use ringwal::{BackendKind, Corruption, Error, Kind, Log, RecoveryPolicy, Result, Seq};

use crate::{config, copy_log, event, events};

/// An event log, read in another way: the engine opens it, then a reader reads it.
#[derive(Debug, PartialEq)]
struct Found {
    checkpoint_seq: u64,
    after_checkpoint: Vec<SignalEvent>,
    /// The numbers of the events that are recognised as duplicates.
    remembered: Vec<u64>,
    last_seq: u64,
}

/// No event of these tests has a higher number.
const NUMBERS: u64 = 40;

fn by_a_second_reading(dir: &Path, window: Duration) -> Result<Found> {
    let log_dir = dir.join("wal");
    // Without a measurement at each opening.
    let engine = Log::builder(&log_dir).kind(None).backend(BackendKind::Std);
    let log = engine.recovery(RecoveryPolicy::TolerateTail).open()?;
    let checkpoint_seq = log.last_checkpoint().map_or(0, |last| last.seq.get());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let since = (now - window).as_nanos() as u64;
    let (mut after_checkpoint, mut remembered) = (Vec::new(), Vec::new());
    for record in log.reader()? {
        let record = record?;
        let event = SignalEvent::from(EventRecord::from_record(&record, &log_dir)?);
        if record.seq().get() > checkpoint_seq {
            after_checkpoint.push(event);
        }
        if record.time_nanos() >= since {
            remembered.push(event.entity_id);
        }
    }
    remembered.sort_unstable();
    let last_seq = log.appended_seq().get();
    Ok(Found { checkpoint_seq, after_checkpoint, remembered, last_seq })
}

fn by_opening(dir: &Path, config: WalConfig) -> Result<Found> {
    let config = WalConfig { dir: dir.to_path_buf(), ..config };
    let builder = WalHandle::builder(config).backend(BackendKind::Std);
    let (wal, after_checkpoint, report) = builder.open()?;
    let last_seq = wal.durable_seq();
    assert_eq!(report.events_replayed, after_checkpoint.len() as u64);
    let count = wal.dedup_entries() as u64;
    assert_eq!(report.events_remembered, count);
    let is_known = |n: &u64| wal.append(event(*n)).unwrap() == 0;
    let remembered: Vec<u64> = (0..NUMBERS).filter(is_known).collect();
    assert_eq!(remembered.len() as u64, count);
    let checkpoint_seq = report.checkpoint_seq;
    Ok(Found { checkpoint_seq, after_checkpoint, remembered, last_seq })
}

/// Compares both ways on copies of the log in `dir` that `edit` changes. Returns the outcome,
/// or `None` if both refuse the log with the same words.
#[track_caller]
fn compare(dir: &Path, config: &WalConfig, edit: impl Fn(&Path)) -> Option<Found> {
    let copies = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for copy in &copies {
        copy_log(dir, copy.path());
        edit(&copy.path().join("wal"));
    }
    let [opened, read] = &copies;
    let opened_as = by_opening(opened.path(), config.clone());
    match (opened_as, by_a_second_reading(read.path(), config.dedup_window)) {
        (Ok(opened), Ok(read)) => {
            assert_eq!(opened, read);
            Some(opened)
        }
        (Err(Error::Corrupt(opened)), Err(Error::Corrupt(read))) => {
            let said = |damage: &Corruption| (damage.kind, damage.offset, damage.first_seq);
            assert_eq!(said(&opened), said(&read), "{opened} / {read}");
            None
        }
        (opened, read) => panic!("opened {opened:?}, read {read:?}"),
    }
}

fn last_segment(log_dir: &Path) -> std::path::PathBuf {
    list_segments(log_dir).unwrap().pop().unwrap().1
}

fn cut(path: &Path, bytes: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

/// A log of several segments with a checkpoint, closed or as a crash leaves it.
fn make(dir: &Path, config: &WalConfig, checkpoint_seq: u64, closed: bool) {
    let whole = tempfile::tempdir().unwrap();
    let config = WalConfig { dir: whole.path().to_path_buf(), ..config.clone() };
    let (wal, _, _) = WalHandle::open(config).unwrap();
    for n in 0..10 {
        wal.append_batch(&events(2 * n..2 * n + 2)).unwrap();
    }
    wal.checkpoint(checkpoint_seq).unwrap();
    if closed {
        wal.shutdown().unwrap();
        copy_log(whole.path(), dir);
    } else {
        copy_log(whole.path(), dir);
        wal.shutdown().unwrap();
    }
    assert!(list_segments(&dir.join("wal")).unwrap().len() > 3);
}

#[test]
fn opening_finds_what_a_second_reading_would_however_the_log_ended() {
    let config = WalConfig { segment_size: 8192, ..config(Path::new("")) };
    for (closed, checkpoint_seq) in [(true, 0), (true, 7), (true, 20), (false, 0), (false, 7)] {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), &config, checkpoint_seq, closed);
        let found = compare(dir.path(), &config, |_| {}).unwrap();
        assert_eq!((found.checkpoint_seq, found.last_seq), (checkpoint_seq, 20));
        assert_eq!(found.after_checkpoint, events(checkpoint_seq..20));
        assert_eq!(found.remembered.len(), 20);

        let len = fs::metadata(last_segment(&dir.path().join("wal"))).unwrap().len();
        let mut lasts = std::collections::BTreeSet::new();
        for bytes in (0..len).step_by(389) {
            let torn = |log_dir: &Path| cut(&last_segment(log_dir), bytes);
            let found = compare(dir.path(), &config, torn).expect("a tail, which is tolerated");
            assert_eq!(found.checkpoint_seq, checkpoint_seq.min(found.last_seq));
            lasts.insert(found.last_seq);
        }
        assert!(lasts.len() > 1, "cut at different batches: {lasts:?}");
    }
}

#[test]
fn opening_finds_what_a_second_reading_would_whatever_is_damaged() {
    let config = WalConfig { segment_size: 8192, ..config(Path::new("")) };
    let (mut opened, mut refused) = (0, 0);
    for (closed, checkpoint_seq) in [(true, 7), (true, 20), (false, 7)] {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), &config, checkpoint_seq, closed);
        let names: Vec<_> = list_segments(&dir.path().join("wal")).unwrap();
        let names = names.iter().map(|(_, path)| path.file_name().unwrap());
        for name in names.chain([std::ffi::OsStr::new("state")]) {
            for at in [3, 70, 4096 + 20, 4096 + 75] {
                let flip = |log_dir: &Path| {
                    let mut bytes = fs::read(log_dir.join(name)).unwrap();
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 0x10;
                    }
                    fs::write(log_dir.join(name), bytes).unwrap();
                };
                match compare(dir.path(), &config, flip) {
                    Some(_) => opened += 1,
                    None => refused += 1,
                }
            }
        }
    }
    assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
}

#[test]
fn what_opening_remembers_goes_by_the_times_of_batches_in_all_segments() {
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("wal");
    fs::create_dir_all(&log_dir).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    // The third hour from now back is over, and a clock may have been ahead.
    let times = [3 * 3600, 2 * 3600, 1800, 60].map(|ago| now - Duration::from_secs(ago));
    let mut times = times.map(|time| time.as_nanos() as u64).to_vec();
    times.push((now + Duration::from_secs(3600)).as_nanos() as u64);
    for (n, time_nanos) in (0..).zip(times) {
        let first = 1 + 3 * n;
        let records: Vec<EventRecord> =
            events(first - 1..first + 2).into_iter().map(Into::into).collect();
        let bytes = encode_batch(&records, first, time_nanos).unwrap();
        fs::write(log_dir.join(segment_filename(ShardId::SINGLE, first)), bytes).unwrap();
    }
    let config = config(Path::new(""));
    let found = compare(dir.path(), &config, |_| {}).unwrap();
    assert_eq!(found.remembered, (6..15).collect::<Vec<_>>());
    assert_eq!(found.after_checkpoint, events(0..15));
    let torn = |log_dir: &Path| cut(&last_segment(log_dir), 100);
    let found = compare(dir.path(), &config, torn).unwrap();
    assert_eq!((found.remembered, found.last_seq), ((6..12).collect(), 12));
}

#[test]
fn what_was_cut_off_inside_of_a_batch_is_neither_returned_nor_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let config = WalConfig { dir: dir.path().to_path_buf(), ..config(Path::new("")) };
    let (wal, _, _) = WalHandle::open(config.clone()).unwrap();
    wal.append_batch(&events(0..10)).unwrap();
    wal.append_batch(&events(10..20)).unwrap();
    wal.checkpoint(3).unwrap();
    wal.shutdown().unwrap();
    let log = Log::builder(dir.path().join("wal")).kind(None).open().unwrap();
    log.truncate_after(Seq::new(15)).unwrap();
    for closed in [false, true] {
        if closed {
            log.close().unwrap();
        }
        let found = compare(dir.path(), &config, |_| {}).unwrap();
        assert_eq!((found.last_seq, found.checkpoint_seq), (15, 3));
        assert_eq!(found.after_checkpoint, events(3..15));
        assert_eq!(found.remembered, (0..15).collect::<Vec<_>>());
    }
}

#[test]
fn a_record_that_is_no_event_is_told_before_anything_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("wal");
    let log = Log::builder(&log_dir).kind(Some(Kind::Events)).open().unwrap();
    log.append("no event").unwrap();
    log.append([0; 21]).unwrap();
    drop(log);
    // The tail would be cut back.
    let path = last_segment(&log_dir);
    let len = fs::metadata(&path).unwrap().len();
    cut(&path, len - 5);
    let before = crate::common::snapshot(&log_dir);
    let refused = WalHandle::open(config(dir.path())).unwrap_err();
    assert!(matches!(refused, Error::NotALog { .. }), "{refused}");
    assert!(refused.to_string().contains("record 1 has 8 bytes"), "{refused}");
    assert_eq!(crate::common::snapshot(&log_dir), before);
}

#[cfg(feature = "sim")]
mod reads {
    use ringwal::SimDisk;
    use ringwal::io::{Access, Storage};

    use super::*;

    /// Opens the log of a disk and says of each segment: its bytes, and how many were read.
    fn read_by_opening(disk: &SimDisk, window: Duration) -> (u64, Vec<(u64, u64)>) {
        let segments = |disk: &SimDisk| {
            disk.names().into_iter().filter(|name| name.ends_with(".seg")).collect::<Vec<_>>()
        };
        let there: Vec<_> =
            segments(disk).into_iter().map(|name| (disk.content(&name), name)).collect();
        let config = WalConfig { dedup_window: window, ..config(Path::new("sim")) };
        let (_wal, events, _) = WalHandle::builder(config).open_sim(disk).unwrap();
        let count = |(content, name): (Option<Vec<u8>>, String)| {
            (content.unwrap().len() as u64, disk.bytes_read(&name))
        };
        (events.len() as u64, there.into_iter().map(count).collect())
    }

    #[test]
    fn opening_reads_each_segment_once() {
        // Batches across the end of a read window, and one that is longer than a window.
        for (segment_size, batch, batches) in
            [(4096, 1, 20), (65_536, 1000, 12), (16 << 20, 20_000, 9), (1 << 20, 90_000, 3)]
        {
            let disk = SimDisk::new(1);
            let batch_size = batch as usize;
            let config = WalConfig { segment_size, batch_size, ..config(Path::new("sim")) };
            let (wal, _, _) = WalHandle::builder(config).open_sim(&disk).unwrap();
            for n in 0..batches {
                wal.append_batch(&events(n * batch..(n + 1) * batch)).unwrap();
            }
            wal.checkpoint(batch).unwrap();
            wal.shutdown().unwrap();
            for window in [Duration::ZERO, Duration::from_secs(3600)] {
                let disk = disk.fork();
                let (replayed, segments) = read_by_opening(&disk, window);
                assert_eq!(replayed, (batches - 1) * batch);
                assert!(segments.iter().all(|(bytes, read)| bytes == read), "{segments:?}");
            }
        }
    }

    #[test]
    fn of_a_torn_tail_only_the_last_segment_is_looked_at_again() {
        let disk = SimDisk::new(1);
        let config = WalConfig { segment_size: 8192, ..config(Path::new("sim")) };
        let (wal, _, _) = WalHandle::builder(config).open_sim(&disk).unwrap();
        for n in 0..50 {
            wal.append(event(n)).unwrap();
        }
        let disk = disk.crash();
        drop(wal);
        let last = disk.names().into_iter().rfind(|name| name.ends_with(".seg")).unwrap();
        let header = disk.content(&last).unwrap()[..64].to_vec();
        let file = disk.open(&last, Access::Write).unwrap();
        file.write_at(&header, 512).unwrap();
        file.sync().unwrap();
        let (_, segments) = read_by_opening(&disk, Duration::from_secs(3600));
        let (last, before) = segments[1..].split_last().unwrap();
        assert!(before.len() > 1 && before.iter().all(|(bytes, read)| bytes == read));
        assert!(last.1 <= 4 * last.0, "{last:?}");
    }
}
