use std::fmt;

use super::*;
use crate::io::mem::Memory;
use crate::io::{BackendKind, LockGuard, SimDisk, StorageFile};
use crate::segment::name::segment_filename;
use crate::sync::plain::Mutex;

const SINGLE: ShardId = ShardId::SINGLE;

/// A log of 12 records in segments of four, with a checkpoint at the sixth.
fn log() -> Memory {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 1..=12);
    log.checkpoint(Seq::new(6), "six").unwrap();
    files(&log)
}

fn open(dir: &Path) -> Log {
    Log::builder(dir.join("log")).backend(BackendKind::Std).open().unwrap()
}

/// Appends these numbers, four to a segment.
fn append(log: &Log, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        log.append(n.to_le_bytes()).unwrap();
        if n % 4 == 0 {
            log.rotate().unwrap();
        }
    }
}

fn files(log: &Log) -> Memory {
    let memory = Memory::default();
    for entry in fs::read_dir(log.dir()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.starts_with("spare") {
            memory.put(name, fs::read(&path).unwrap());
        }
    }
    memory
}

/// A directory that runs `act` at a certain opening of a file.
struct Meddled {
    memory: Memory,
    left: Mutex<usize>,
    act: Box<dyn Fn(&Memory) + Send + Sync>,
}

impl fmt::Debug for Meddled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meddled").finish_non_exhaustive()
    }
}

impl Storage for Meddled {
    fn dir(&self) -> &Path {
        self.memory.dir()
    }

    fn list(&self) -> Result<Vec<String>> {
        self.memory.list()
    }

    fn open(&self, name: &str, access: Access) -> Result<Box<dyn StorageFile>> {
        assert_eq!(access, Access::Read);
        let mut left = self.left.lock();
        *left = left.wrapping_sub(1);
        if *left == 0 {
            (self.act)(&self.memory);
        }
        self.memory.open(name, access)
    }

    fn lock(&self, _name: &str) -> Result<Box<dyn LockGuard>> {
        panic!("a backup takes no lock")
    }
}

/// Copies a log while `act` runs at the `at`-th opening of a file. False if the copy opens fewer
/// files.
fn copy_while(
    log: &Memory,
    at: usize,
    act: impl Fn(&Memory) + Send + Sync + 'static,
) -> (bool, Memory, Result<BackupReport>) {
    let (copy, act) = (Memory::default(), Box::new(act));
    let storage = Arc::new(Meddled { memory: log.copy(), left: Mutex::new(at), act });
    let source = BackupSource { storage: storage.clone(), shard: SINGLE, log: None };
    let report = copy_log(&source, &copy);
    let left = *storage.left.lock();
    (left > usize::MAX / 2, copy, report)
}

fn edit_state(memory: &Memory, edit: impl Fn(&mut State)) {
    let (mut state, _) = crate::format::newest(&memory.get("state").unwrap()).unwrap();
    state.generation += 1;
    edit(&mut state);
    memory.put("state", state_file(&state, None));
}

fn records(storage: &dyn Storage) -> Vec<(u64, Vec<u8>)> {
    let mut records = Vec::new();
    let on_batch: &mut recovery::OnBatch<'_> = &mut |batch| {
        let counts = |seq| batch.counts.contains(&seq);
        let of_batch = batch.batch.records().filter(|record| counts(record.seq));
        records.extend(of_batch.map(|record| (record.seq, record.bytes.to_vec())));
        Ok(())
    };
    let (policy, mode) = (RecoveryPolicy::Strict, Mode::Repair);
    recovery::recover(storage, SINGLE, policy, &Identity::default(), mode, on_batch).unwrap();
    records
}

fn expected(range: std::ops::RangeInclusive<u64>) -> Vec<(u64, Vec<u8>)> {
    range.map(|n| (n, n.to_le_bytes().to_vec())).collect()
}

#[test]
fn a_copy_has_the_records_and_what_state_says_of_them() {
    let log = log();
    let (_, copy, report) = copy_while(&log, 0, |_| ());
    let report = report.unwrap();
    assert_eq!((report.records, report.segments, report.last_seq.get()), (12, 3, 12));
    assert_eq!(records(&copy), expected(1..=12));
    let [before, after] =
        [&log, &copy].map(|it| crate::format::newest(&it.get("state").unwrap()).unwrap().0);
    assert_eq!((after.log_id, &after.checkpoint), (before.log_id, &before.checkpoint));
    assert_eq!((after.first_seq, after.last_seq), (1, 12));
}

#[test]
fn a_copy_whose_last_record_goes_bad_says_so() {
    let (_, copy, report) = copy_while(&log(), 0, |_| ());
    assert!(report.is_ok());
    copy.edit(&segment_filename(SINGLE, 9), |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    let damage = verify(&copy, SINGLE).unwrap().report.corruption.unwrap();
    assert_eq!((damage.first_seq.get(), damage.last_seq.get()), (12, 12));
}

#[test]
fn a_truncation_at_any_moment_leaves_a_copy_from_before_it_or_from_after_it() {
    let log = log();
    // The file is recycled: it continues under another name, with other bytes.
    let truncate = |memory: &Memory| {
        edit_state(memory, |state| state.first_seq = 5);
        let name = segment_filename(SINGLE, 1);
        memory.edit(&name, |bytes| bytes.fill(7));
        memory.remove(&name).unwrap();
    };
    let mut seen = [0, 0];
    for at in 1.. {
        let (happened, copy, report) = copy_while(&log, at, truncate);
        let first = report.unwrap().first_seq.get();
        assert_eq!(records(&copy), expected(first..=12), "at {at}");
        if !happened {
            break;
        }
        seen[usize::from(first == 5)] += 1;
    }
    assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
}

#[test]
fn a_cut_at_any_moment_leaves_a_copy_from_before_it_or_from_after_it() {
    let log = log();
    let cut = |memory: &Memory| {
        edit_state(memory, |state| {
            (state.last_seq, state.first_seq) = (8, 1);
            state.cuts.add(8);
        });
        memory.remove(&segment_filename(SINGLE, 9)).unwrap();
    };
    for at in 1.. {
        let (happened, copy, report) = copy_while(&log, at, cut);
        let last = report.unwrap().last_seq.get();
        assert_eq!(last, if happened { 8 } else { 12 });
        assert_eq!(records(&copy), expected(1..=last), "at {at}");
        if !happened {
            break;
        }
    }
}

/// `state` and the sequence numbers are the same before and after.
#[test]
fn removed_records_and_those_that_replace_them_are_never_mixed() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 1..=4);
    let lives = [5..=12, 105..=112].map(|numbers| {
        append(&log, 5..=5);
        log.truncate_after(Seq::new(4)).unwrap();
        append(&log, numbers);
        files(&log)
    });
    let [before, after] = &lives;
    let wanted = lives.each_ref().map(|life| records(&life.copy()));
    assert_ne!(wanted[0], wanted[1]);
    let mut seen = [0, 0];
    for at in 1.. {
        let after = after.clone();
        let (happened, copy, report) = copy_while(before, at, move |memory| {
            memory.names().iter().for_each(|name| memory.remove(name).unwrap());
            after.names().iter().for_each(|name| memory.put(name, after.get(name).unwrap()));
        });
        assert!(report.is_ok(), "{report:?}");
        let copied = wanted.iter().position(|wanted| *wanted == records(&copy));
        seen[copied.expect("one of the two")] += 1;
        if !happened {
            break;
        }
    }
    assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
}

#[test]
fn damage_is_an_error_and_never_a_copy() {
    let log = log();
    log.edit(&segment_filename(SINGLE, 5), |bytes| bytes[64 + 8] ^= 1);
    let (_, _, report) = copy_while(&log, 0, |_| ());
    assert!(matches!(report, Err(Error::Corrupt(damage)) if damage.first_seq == Seq::new(5)));
    log.remove(&segment_filename(SINGLE, 5)).unwrap();
    let (_, _, report) = copy_while(&log, 0, |_| ());
    assert!(matches!(report, Err(Error::Corrupt(_))), "{report:?}");
}

#[test]
fn a_copy_reports_an_unacknowledged_loss() {
    let log = log();
    let lost = LostName { first_seq: 13, last_seq: 14, count: 0, seen: false }.name(SINGLE);
    log.put(&lost, b"what was cut off".to_vec());
    let (_, copy, report) = copy_while(&log, 0, |_| ());
    assert!(report.is_ok());
    assert_eq!(copy.get(&lost), log.get(&lost));
    assert_eq!(verify(&copy, SINGLE).unwrap().report.losses.len(), 1);
}

#[test]
fn a_copy_that_reads_back_otherwise_is_refused() {
    let (log, copy) = (log(), Memory::default());
    let source = BackupSource { storage: Arc::new(log), shard: SINGLE, log: None };
    let mut copier =
        Copier { source: &source, copy: &copy, copied: BTreeMap::new(), suspect: None };
    let recovered = copier.attempt().unwrap().unwrap();
    copy.edit(&segment_filename(SINGLE, 5), |bytes| bytes[64 + 8] ^= 1);
    let refused = copier.finish(&recovered).unwrap_err().to_string();
    assert!(refused.contains("read a new copy back"), "{refused}");
}

#[test]
fn a_copy_that_is_complete_survives_a_loss_of_power() {
    let log = log();
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let source = BackupSource { storage: Arc::new(log.clone()), shard: SINGLE, log: None };
        copy_log(&source, &disk).unwrap();
        // As a copy has it when it gets its name.
        disk.sync_dir().unwrap();
        disk.sync_parent().unwrap();
        assert_eq!(records(&disk.crash()), expected(1..=12), "seed {seed}");
    }
}
