//! Backups: copies a log, which may be in use, as it was at one moment.
//!
//! 1. A snapshot of the directory ([`DirSnapshot`]) needs no lock. Recovery verifies all of it and
//!    finds where each segment ends. Damage is an error: there is no copy with a hole.
//! 2. Each segment is copied up to the end of its last batch. Then its first header is read once
//!    more by its name; its salt differs from that of any other segment. If the header has
//!    changed, the segment was truncated; its copy counts only if the snapshot held its file open
//!    and all batches of the copy are valid. If all segments pass, and `state` has no new cut, the
//!    copy is the log of that moment. Otherwise a new attempt keeps the segments copied so far.
//! 3. The copy's `state` has the log's id, so that its batches count; the same first live record,
//!    cuts and checkpoint; and the last record, as evidence if the end of the copy goes bad.
//! 4. The copy is created under another name, synced, and read back as strictly as opening does.
//!    Only then does it get its name. The log itself is not changed.
//!
//! Threading: any thread; appends go on. If truncations keep interrupting the copy of a log that is
//! open in this process, the copy makes them wait.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::Log;
use crate::engine::options::Builder;
use crate::engine::read::cuts::CutMark;
use crate::engine::recovery::snapshot::{DirSnapshot, changes_all_the_time, is_missing};
use crate::engine::recovery::{
    self, Identity, Loss, Mode, Recovered, RecoveryPolicy, SegmentInfo, known,
};
use crate::engine::state_file::{StateFile, StateOnDisk};
use crate::error::{Corruption, CorruptionKind, Error, Result, Witness};
use crate::format::{HEADER_SIZE, State, state_file};
use crate::io::{Access, StdStorage, Storage};
use crate::mutation::mutated;
use crate::replication::ShardId;
use crate::segment::name::{LostName, parse_segment, state_name};
use crate::segment::reader::{Origin, Scan, SegmentScanner};
use crate::seq::Seq;
use crate::wakers::may_block;

/// How many bytes are copied at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// How many attempts a backup makes beside a writer that truncates all the time.
const TRIES_MAX: u32 = 100;
/// After how many attempts truncations wait for the copy, if the log is open in this process.
const TRIES_FREE: u32 = 3;

/// The content of a backup; see [`Log::backup_to`].
///
/// ```
/// use ringwal::Log;
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path().join("log"))?;
/// log.append("one")?;
/// let backup = log.backup_to(dir.path().join("monday"))?;
/// assert_eq!((backup.records, backup.last_seq.get()), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// The first live record.
    pub first_seq: Seq,
    /// The last record; the one before `first_seq` if there are none.
    pub last_seq: Seq,
    /// How many records.
    pub records: u64,
    /// How many segments.
    pub segments: u64,
    /// The bytes of all segments.
    pub bytes: u64,
    /// Losses of earlier openings that nobody has acknowledged. The copy reports them, too.
    pub losses: Vec<Loss>,
    /// How long the backup took.
    pub elapsed: Duration,
}

impl fmt::Display for BackupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BackupReport { first_seq, last_seq, records, segments, bytes, losses, elapsed } = self;
        if *records == 0 {
            writeln!(f, "records:  none, the next one is {}", last_seq.next())?;
        } else {
            writeln!(f, "records:  {records} ({first_seq} to {last_seq})")?;
        }
        writeln!(f, "segments: {segments}, bytes: {bytes}")?;
        for loss in losses {
            writeln!(f, "lost:     not acknowledged: {loss}")?;
        }
        write!(f, "took:     {:.3} s", elapsed.as_secs_f64())
    }
}

impl Builder {
    /// Copies the log into the new directory `target` without its lock: another process may have
    /// the log open, and appends to it go on. The copy is like one of [`Log::backup_to`], and has
    /// every record that was acknowledged when the call began.
    ///
    /// ```
    /// use ringwal::Log;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let (path, copy) = (dir.path().join("log"), dir.path().join("monday"));
    /// let log = Log::open(&path)?; // in another process, perhaps
    /// log.append("one")?;
    /// Log::builder(&path).backup_to(&copy)?;
    /// let copied = Log::open(&copy)?.reader()?.collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(copied[0].data(), b"one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::NotEmpty`] if `target` exists and is not an empty directory, [`Error::NotALog`],
    ///   [`Error::UnsupportedVersion`].
    /// - [`Error::Corrupt`] if the log is damaged; [`read_only`](Self::read_only) shows the records
    ///   before the damage.
    /// - [`Error::NoSpace`]; [`Error::Io`], also if a writer truncates the log so often that no
    ///   attempt succeeds.
    ///
    /// After an error, the unfinished copy is removed.
    pub fn backup_to(self, target: impl AsRef<Path>) -> Result<BackupReport> {
        self.backup_below(target.as_ref(), None)
    }

    /// Like [`backup_to`](Self::backup_to); the log gets a directory of its own inside `target`.
    pub(crate) fn backup_below(self, target: &Path, inner: Option<&str>) -> Result<BackupReport> {
        let storage = Arc::new(StdStorage::new(&self.options.dir));
        back_up(&BackupSource { storage, shard: self.options.shard, log: None }, target, inner)
    }
}

impl Log {
    /// Copies the log into the new directory `target`, which opens as a log. The copy has every
    /// record up to [`written_seq`](Self::written_seq) at the time of the call, so all durable
    /// ones, with the same sequence numbers, and the last checkpoint. It may have records that are
    /// written meanwhile. All its records are durable in `target`.
    ///
    /// Appends go on. If truncations keep interrupting the copy, they wait for it, and so do
    /// checkpoints and closing.
    ///
    /// The copy appears whole and durable, after it was read back. It takes as much space as the
    /// log's records. The log is read twice. A crash leaves a directory
    /// `target.PROCESS-NUMBER.partial`, which may be removed.
    ///
    /// The copy is the same log a second time: append to one of the two, never to both. See
    /// [`manual::backup`](crate::manual::backup) for other ways.
    ///
    /// ```
    /// use ringwal::Log;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let log = Log::open(dir.path().join("log"))?;
    /// log.append("one")?;
    /// log.backup_to(dir.path().join("monday"))?;
    /// log.append("two")?;
    ///
    /// let monday = Log::open(dir.path().join("monday"))?;
    /// assert_eq!(monday.durable_seq().get(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Builder::backup_to`]; [`Error::Closed`], [`Error::Poisoned`], [`Error::InWaker`].
    pub fn backup_to(&self, target: impl AsRef<Path>) -> Result<BackupReport> {
        self.backup_below(target.as_ref(), None)
    }

    /// Like [`backup_to`](Self::backup_to); the log gets a directory of its own inside `target`.
    pub(crate) fn backup_below(&self, target: &Path, inner: Option<&str>) -> Result<BackupReport> {
        may_block()?;
        self.check()?;
        let (mark, written_seq) = (self.shared().cuts.mark(), self.written_seq());
        let storage = Arc::clone(&self.inner.storage);
        let log = Some((self, mark, written_seq));
        back_up(&BackupSource { storage, shard: self.options().shard, log }, target, inner)
    }
}

/// The log to copy.
struct BackupSource<'a> {
    storage: Arc<dyn Storage>,
    shard: ShardId,
    /// If the log is open in this process: its handle, and the cuts and the written watermark when
    /// the call began.
    log: Option<(&'a Log, CutMark, Seq)>,
}

impl BackupSource<'_> {
    /// The last record that the copy must have.
    fn needed_seq(&self) -> Seq {
        let Some((log, mark, written_seq)) = self.log else { return Seq::NONE };
        let left = log.shared().cuts.left_since(mark).map_or(written_seq, Seq::new);
        left.min(written_seq)
    }

    /// The missing records, if some were written when the call began and recovery did not find
    /// them. On disk they look like a torn tail, but the open log is a witness.
    fn lacks(&self, recovered: &Recovered) -> Option<Corruption> {
        let (last, needed) = (recovered.report.last_seq, self.needed_seq());
        if last >= needed {
            return None;
        }
        let (path, offset) = match recovered.segments.last() {
            Some(segment) => (self.storage.dir().join(&segment.name), segment.bytes),
            None => (self.storage.dir().to_path_buf(), 0),
        };
        let (range, kind) = ((last.next(), needed), CorruptionKind::Damaged);
        Some(Corruption::new(path, offset, range, kind, Witness::Itself))
    }
}

fn verify(storage: &dyn Storage, shard: ShardId) -> Result<Recovered> {
    let (policy, any) = (RecoveryPolicy::Strict, Identity::default());
    recovery::recover(storage, shard, policy, &any, Mode::ReadOnly, &mut |_| Ok(()))
}

/// Creates the copy under another name, and renames it to `target`.
fn back_up(source: &BackupSource<'_>, target: &Path, inner: Option<&str>) -> Result<BackupReport> {
    let start = Instant::now();
    require_log(source)?;
    target_dir::require_outside(&source.storage.real_path("."), target)?;
    target_dir::require_empty(target)?;
    let partial = target_dir::create_partial_dir(target)?;
    let made = (|| {
        let dir = inner.map_or_else(|| partial.clone(), |inner| partial.join(inner));
        if inner.is_some() {
            fs::create_dir(&dir).map_err(|error| Error::io("create", &dir, error))?;
        }
        let copy = StdStorage::new(&dir);
        let report = copy_log(source, &copy)?;
        copy.sync_dir()?;
        StdStorage::new(&partial).sync_dir()?;
        target_dir::keep_mode(&source.storage.real_path("."), &partial)?;
        // This fails if another process has put files there meanwhile.
        fs::rename(&partial, target)
            .map_err(|error| Error::io("rename a new copy to", target, error))?;
        StdStorage::new(target).sync_parent()?;
        Ok(BackupReport { elapsed: start.elapsed(), ..report })
    })();
    if made.is_err() {
        // Best effort. No other process knows the name, so it has no other files.
        let _ = fs::remove_dir_all(&partial);
    }
    made
}

/// Copies a log into an empty directory, and reads it back.
fn copy_log(source: &BackupSource<'_>, copy: &dyn Storage) -> Result<BackupReport> {
    let mut copier = Copier { source, copy, copied: BTreeMap::new(), suspect: None };
    for tries in 0..TRIES_MAX {
        let held = source.log.filter(|_| tries >= TRIES_FREE);
        let _no_truncation = held.map(|(log, ..)| log.inner.state());
        if let Some(recovered) = copier.attempt()? {
            return copier.finish(&recovered);
        }
    }
    Err(changes_all_the_time(source.storage.dir()))
}

struct Copier<'a> {
    source: &'a BackupSource<'a>,
    copy: &'a dyn Storage,
    /// The segments that are in the copy.
    copied: BTreeMap<String, SegmentInfo>,
    /// The damage or missing file that the last look found.
    suspect: Option<Suspect>,
}

/// The file and the offset of possible damage, or a missing file.
type Suspect = (PathBuf, u64, Option<(Seq, CorruptionKind)>);

impl Copier<'_> {
    /// Takes a snapshot of the log and verifies it. Beside a writer, apparent damage may be a write
    /// or a truncation under way: it is an error only if two looks in a row agree.
    fn look(&mut self) -> Result<Option<(DirSnapshot, Recovered)>> {
        let looked = DirSnapshot::of(Arc::clone(&self.source.storage), self.source.shard)
            .and_then(|snapshot| Ok((verify(&snapshot, self.source.shard)?, snapshot)));
        let (suspect, error) = match looked {
            Ok((recovered, snapshot)) => {
                let damage = recovered.report.corruption.clone();
                let Some(damage) = damage.or_else(|| self.source.lacks(&recovered)) else {
                    self.suspect = None;
                    return Ok(Some((snapshot, recovered)));
                };
                let what = Some((damage.first_seq, damage.kind));
                ((damage.path.clone(), damage.offset, what), Error::Corrupt(damage))
            }
            Err(Error::Io { op, path, source }) if source.kind() == ErrorKind::NotFound => {
                ((path.clone(), 0, None), Error::Io { op, path, source })
            }
            Err(error) => return Err(error),
        };
        if self.suspect.as_ref() == Some(&suspect) {
            return Err(error);
        }
        self.suspect = Some(suspect);
        Ok(None)
    }

    /// Copies the segments that are not copied yet. `None` if the log was truncated meanwhile.
    fn attempt(&mut self) -> Result<Option<Recovered>> {
        let Some((snapshot, recovered)) = self.look()? else { return Ok(None) };
        for segment in &recovered.segments {
            if self.has(segment)? {
                continue;
            }
            if !self.copy_file(&snapshot, &segment.name, Some(segment.bytes))? {
                return Ok(None);
            }
            self.copied.insert(segment.name.clone(), segment.clone());
        }
        // The copy reports unacknowledged losses as well.
        let shard = self.source.shard;
        let names = snapshot.list()?;
        let is_lost = |name: &&String| LostName::parse(shard, name).is_some_and(|it| !it.seen);
        for name in names.iter().filter(is_lost) {
            if !self.copy_file(&snapshot, name, None)? {
                return Ok(None);
            }
        }
        self.remove_truncated(&recovered)?;
        Ok(self.is_consistent(&snapshot, &recovered)?.then_some(recovered))
    }

    /// Whether an earlier attempt copied this segment, and its file is not another one by now.
    fn has(&self, segment: &SegmentInfo) -> Result<bool> {
        let is_copied = self.copied.get(&segment.name) == Some(segment);
        Ok(is_copied && self.is_unchanged(&segment.name)?)
    }

    /// Copies a file, up to `bytes` if given. False if the file is gone or shorter.
    fn copy_file(
        &mut self,
        snapshot: &DirSnapshot,
        name: &str,
        bytes: Option<u64>,
    ) -> Result<bool> {
        self.copied.remove(name);
        if self.copy.list()?.iter().any(|found| found == name) {
            self.copy.remove(name)?;
        }
        let from = match snapshot.open(name, Access::Read) {
            Ok(from) => from,
            Err(error) if is_missing(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        let bytes = bytes.map_or_else(|| from.bytes(), Ok)?;
        let no_space = |error: Error| error.or_no_space(self.copy.dir().join(name), bytes);
        let to = self.copy.open(name, Access::Create).map_err(no_space)?;
        let mut buf = vec![0; CHUNK_BYTES.min(usize::try_from(bytes).unwrap_or(CHUNK_BYTES))];
        let mut at = 0;
        while at < bytes {
            let len = (buf.len() as u64).min(bytes - at) as usize;
            let chunk = buf.get_mut(..len).unwrap_or_default();
            if from.read_at(chunk, at)? < len {
                return Ok(false);
            }
            to.write_at(chunk, at).map_err(no_space)?;
            at += len as u64;
        }
        Ok(true)
    }

    /// Removes segments from the copy that were truncated since an earlier attempt copied them.
    fn remove_truncated(&mut self, recovered: &Recovered) -> Result<()> {
        let shard = self.source.shard;
        for name in self.copy.list()? {
            let lives = recovered.segments.iter().any(|segment| segment.name == name);
            if parse_segment(shard, &name).is_some() && !lives {
                self.copy.remove(&name)?;
                self.copied.remove(&name);
            }
        }
        Ok(())
    }

    /// Whether the copy is a whole log although truncations may have run meanwhile.
    fn is_consistent(&self, snapshot: &DirSnapshot, recovered: &Recovered) -> Result<bool> {
        if mutated("back_up_at_first_sight") {
            return Ok(true);
        }
        for segment in &recovered.segments {
            // A truncated segment is safe if the snapshot held its file open, and it was read
            // before it was recycled: otherwise its batches are not valid.
            let is_safe = self.is_unchanged(&segment.name)?
                || snapshot.holds(&segment.name) && self.is_whole(segment, recovered.origin)?;
            if !is_safe {
                return Ok(false);
            }
        }
        let (storage, shard) = (&*self.source.storage, self.source.shard);
        let now = match StateFile::open(storage, shard, &recovery::list(storage)?, false)? {
            StateOnDisk::Valid(file) => Some(file.current().clone()),
            StateOnDisk::Missing | StateOnDisk::Unreadable => None,
        };
        let before = recovered.state.as_ref().map(StateFile::current);
        let cut = |state: &State| (state.log_id, state.cuts.count(), state.cutting);
        Ok(now.as_ref().map(cut) == before.map(cut))
    }

    /// Whether all batches of a copied segment are valid.
    fn is_whole(&self, segment: &SegmentInfo, origin: Origin) -> Result<bool> {
        let file = Arc::from(self.copy.open(&segment.name, Access::Read)?);
        let (shard, first_seq) = (self.source.shard.get(), segment.first_seq.get());
        let mut scanner = SegmentScanner::new(file, shard, origin, first_seq)?;
        while scanner.expected_seq() <= segment.last_seq.get() {
            if let Scan::End(_) = scanner.next_batch()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the segment of this name still begins like its copy; each segment has its own salt.
    fn is_unchanged(&self, name: &str) -> Result<bool> {
        let head = |storage: &dyn Storage| {
            let mut head = [0; HEADER_SIZE];
            let len = storage.open(name, Access::Read)?.read_at(&mut head, 0)?;
            Ok((head, len))
        };
        match head(&*self.source.storage) {
            Ok(found) => Ok(found == head(self.copy)?),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates the copy's `state`, syncs the copy, and reads it back.
    fn finish(&self, recovered: &Recovered) -> Result<BackupReport> {
        let (shard, report) = (self.source.shard, &recovered.report);
        debug_assert_eq!(self.copied.len(), recovered.segments.len(), "every segment is copied");
        if let Some(file) = &recovered.state {
            let last_seq = report.last_seq.get();
            let cutting = false;
            let known = known(file.current());
            let state = State { generation: 1, last_seq, clean: false, cutting, ..known };
            let file = self.copy.open(&state_name(shard), Access::Create)?;
            file.write_at(&state_file(&state, None), 0)?;
        }
        // Sync only now, when no file is copied again.
        for name in self.copy.list()? {
            let file = self.copy.open(&name, Access::Write)?;
            if !mutated("skip_backup_sync") {
                file.sync()
                    .map_err(|e| e.or_no_space(self.copy.dir().join(&name), report.bytes))?;
            }
            // Read it back from the device, not from the page cache.
            file.drop_cache();
        }
        let failed = |what: String| {
            Error::io("read a new copy back", self.copy.dir(), io::Error::other(what))
        };
        let back = verify(self.copy, shard)?.report;
        if let Some(damage) = back.corruption {
            return Err(failed(damage.to_string()));
        }
        let (first_seq, last_seq, records) = (report.first_seq, report.last_seq, report.records);
        if (back.first_seq, back.last_seq, back.records) != (first_seq, last_seq, records) {
            let (first, last) = (back.first_seq, back.last_seq);
            return Err(failed(format!(
                "it has records {first} to {last}, and the log has {first_seq} to {last_seq}"
            )));
        }
        let (segments, bytes) = (back.segments, back.bytes);
        let elapsed = Duration::ZERO;
        let losses = recovered.report.losses.clone();
        Ok(BackupReport { first_seq, last_seq, records, segments, bytes, losses, elapsed })
    }
}

/// An error if the directory holds no log.
fn require_log(source: &BackupSource<'_>) -> Result<()> {
    let (storage, shard) = (&*source.storage, source.shard);
    let names = recovery::list(storage)?;
    let state = state_name(shard);
    if names.iter().any(|name| *name == state || parse_segment(shard, name).is_some()) {
        return Ok(());
    }
    let reason = "it has neither a segment nor a state file".to_owned();
    Err(Error::NotALog { path: storage.dir().to_path_buf(), reason })
}

mod target_dir;
#[cfg(test)]
mod tests;
