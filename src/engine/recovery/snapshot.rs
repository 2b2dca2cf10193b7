//! A read-only snapshot of a log directory, for readers and backups beside a live writer.
//!
//! 1. `state` is read before the names are listed, and again after the segments are open. If both
//!    are the same, nothing was truncated in between, so the listed segments are a whole log. If
//!    only the front was truncated meanwhile, they still are, as long as the old front was listed
//!    and is open: segments are removed oldest first, so all that the first `state` names are
//!    there, and that `state` counts. After a cut at the end, the snapshot is taken again.
//! 2. From then on the names, `state` and the segments are those of that moment. The oldest
//!    segments, which are removed first, stay open, up to a part of the descriptors that the
//!    process may have ([`HELD_PART`]), so that a reader keeps them. The others are opened when
//!    they are read; a segment that was removed by then is an error. The last one may still grow.
//! 3. Nothing can be changed through it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Corruption, Error, Result};
use crate::format::newest;
use crate::io::{Access, Storage, StorageFile};
use crate::mutation::mutated;
use crate::replication::ShardId;
use crate::segment::name::{segments_among, state_name};
use crate::sys;

/// How many attempts a reader makes beside a writer that truncates all the time.
const TRIES_MAX: u32 = 100;

/// One in this many of the process's descriptors may hold a segment open: a quarter of them.
const HELD_PART: u64 = 4;
/// How many segments are held open if the limit on descriptors is unknown.
const HELD_DEFAULT: usize = 128;

/// How many segments are held open at most.
fn held_max() -> usize {
    let part = sys::descriptors_max().map(|most| most / HELD_PART);
    part.map_or(HELD_DEFAULT, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

/// Calls `look`, which reads a log without its lock, and calls it again before it reports damage or
/// a missing file: a live writer may be writing a batch that is being read, or remove a file that
/// was just listed. Damage is real if two looks in a row find it at the same place.
///
/// `look` returns what it found, and the damage in it.
///
/// # Errors
///
/// The error of `look`; for a missing file, only if two looks in a row miss the same one. If no two
/// looks agree, an error that a writer changes the log all the time.
pub(crate) fn look_again<T>(
    dir: &Path,
    mut look: impl FnMut() -> Result<(T, Option<Corruption>)>,
) -> Result<T> {
    let mut before = None;
    for _ in 0..TRIES_MAX {
        let (seen, found) = match look() {
            Ok((found, None)) => return Ok(found),
            Ok((found, Some(damage))) => {
                let place = (damage.path, damage.offset, Some((damage.first_seq, damage.kind)));
                (place, Ok(found))
            }
            Err(error) if is_missing(&error) => {
                let path = if let Error::Io { path, .. } = &error { path } else { dir };
                ((path.to_path_buf(), 0, None), Err(error))
            }
            Err(error) => return Err(error),
        };
        if before.as_ref() == Some(&seen) || mutated("tell_at_first_sight") {
            return found;
        }
        before = Some(seen);
    }
    Err(changes_all_the_time(dir))
}

/// The error if no two looks at the log agreed.
pub(crate) fn changes_all_the_time(dir: &Path) -> Error {
    let source = std::io::Error::other("a writer changes it all the time; try again");
    Error::io("look at", dir, source)
}

fn removed_meanwhile(dir: &Path, name: &str) -> Error {
    let what = "a writer removed it after this reader began, and the log has too many segments to \
                hold all of them open; open the log again";
    Error::io("open", dir.join(name), std::io::Error::new(ErrorKind::NotFound, what))
}

/// A log directory as it was at one moment.
#[derive(Debug)]
pub(crate) struct DirSnapshot {
    storage: Arc<dyn Storage>,
    names: Vec<String>,
    files: BTreeMap<String, SnapshotFile>,
}

/// A file that can only be read.
#[derive(Clone, Debug)]
enum SnapshotFile {
    Open(Arc<dyn StorageFile>),
    Content(Arc<[u8]>),
}

impl DirSnapshot {
    pub(crate) fn of(storage: Arc<dyn Storage>, shard: ShardId) -> Result<DirSnapshot> {
        let mut tries = 0;
        loop {
            tries += 1;
            match DirSnapshot::look(&storage, shard, held_max()) {
                Ok(Some(snapshot)) => return Ok(snapshot),
                Ok(None) if tries < TRIES_MAX => {}
                Ok(None) => return Err(changes_all_the_time(storage.dir())),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the file is held open since that moment, so that its removal does not matter.
    pub(crate) fn holds(&self, name: &str) -> bool {
        matches!(self.files.get(name), Some(SnapshotFile::Open(_)))
    }

    /// `None` if records were truncated meanwhile.
    fn look(
        storage: &Arc<dyn Storage>,
        shard: ShardId,
        held_max: usize,
    ) -> Result<Option<DirSnapshot>> {
        let state = content(&**storage, &state_name(shard))?;
        let names = crate::engine::recovery::list(&**storage)?;
        let mut files = BTreeMap::new();
        let segments = segments_among(shard, names.clone());
        let begins_at = segments.first().map(|(first_seq, _)| *first_seq);
        for (_, name) in segments.into_iter().take(held_max) {
            match storage.open(&name, Access::Read) {
                Ok(file) => files.insert(name, SnapshotFile::Open(file.into())),
                Err(error) if is_missing(&error) => return Ok(None),
                Err(error) if error.is_shortage() && !files.is_empty() => {
                    // Give half of them back, for the reader and the rest of the process.
                    for _ in 0..files.len().div_ceil(2) {
                        files.pop_last();
                    }
                    break;
                }
                Err(error) => return Err(error),
            };
        }
        let since = content(&**storage, &state_name(shard))?;
        if since != state && !is_whole(begins_at, state.as_deref(), since.as_deref()) {
            return Ok(None);
        }
        if let Some(state) = state {
            files.insert(state_name(shard), SnapshotFile::Content(state.into()));
        }
        Ok(Some(DirSnapshot { storage: Arc::clone(storage), names, files }))
    }
}

/// Whether segments from `begins_at` on are all that the first `state` names, although by now the
/// file has changed.
fn is_whole(begins_at: Option<u64>, state: Option<&[u8]>, since: Option<&[u8]>) -> bool {
    let decode = |slots: Option<&[u8]>| newest(slots?).ok().map(|(state, _)| state);
    let (Some(state), Some(since)) = (decode(state), decode(since)) else { return false };
    state.log_id == since.log_id
        && state.cuts.count() == since.cuts.count()
        && !(state.cutting || since.cutting)
        && begins_at.is_some_and(|first| first <= state.first_seq)
        && !mutated("ask_for_the_same_state")
}

/// The bytes of a small file, if it exists.
fn content(storage: &dyn Storage, name: &str) -> Result<Option<Vec<u8>>> {
    const BYTES_MAX: u64 = 1 << 20;
    let file = match storage.open(name, Access::Read) {
        Ok(file) => file,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; file.bytes()?.min(BYTES_MAX) as usize];
    let len = file.read_at(&mut bytes, 0)?;
    bytes.truncate(len);
    Ok(Some(bytes))
}

pub(crate) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

impl Storage for DirSnapshot {
    fn dir(&self) -> &Path {
        self.storage.dir()
    }

    fn list(&self) -> Result<Vec<String>> {
        Ok(self.names.clone())
    }

    fn open(&self, name: &str, access: Access) -> Result<Box<dyn StorageFile>> {
        match (self.files.get(name), access) {
            (Some(file), Access::Read) => Ok(Box::new(file.clone())),
            (None, Access::Read) => self.storage.open(name, Access::Read).map_err(|error| {
                let was_there = is_missing(&error) && self.names.iter().any(|was| was == name);
                if was_there { removed_meanwhile(self.storage.dir(), name) } else { error }
            }),
            _ => Err(Error::ReadOnly),
        }
    }
}

impl StorageFile for SnapshotFile {
    fn bytes(&self) -> Result<u64> {
        match self {
            SnapshotFile::Open(file) => file.bytes(),
            SnapshotFile::Content(content) => Ok(content.len() as u64),
        }
    }

    fn next_data(&self, from: u64) -> Result<Option<u64>> {
        match self {
            SnapshotFile::Open(file) => file.next_data(from),
            SnapshotFile::Content(_) => Ok(Some(from)),
        }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let content = match self {
            SnapshotFile::Open(file) => return file.read_at(buf, offset),
            SnapshotFile::Content(content) => content,
        };
        let from = usize::try_from(offset).ok().and_then(|at| content.get(at..)).unwrap_or(&[]);
        let len = from.len().min(buf.len());
        buf[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }

    fn is_renamed(&self) -> Result<bool> {
        match self {
            SnapshotFile::Open(file) => file.is_renamed(),
            SnapshotFile::Content(_) => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{CorruptionKind, Witness};
    use crate::format::{STATE_BYTES, State, state_file};
    use crate::io::mem::Memory;
    use crate::segment::name::segment_filename;
    use crate::seq::Seq;

    fn damage(offset: u64) -> Corruption {
        let (kind, witness) = (CorruptionKind::Damaged, Witness::LaterBatch);
        Corruption::new("wal", offset, (Seq::FIRST, Seq::FIRST), kind, witness)
    }

    fn missing(name: &str) -> Error {
        Error::io("open", name, ErrorKind::NotFound.into())
    }

    #[test]
    fn damage_and_missing_files_are_reported_if_two_looks_in_a_row_agree() {
        let dir = Path::new("log");
        let run = |looks: Vec<Result<(u8, Option<Corruption>)>>| {
            let mut looks = looks.into_iter();
            let told = look_again(dir, || looks.next().unwrap());
            (told.map_err(|error| error.to_string()), looks.len())
        };
        assert_eq!(run(vec![Ok((1, None))]), (Ok(1), 0));
        let other_places = vec![Ok((1, Some(damage(1)))), Ok((2, Some(damage(2)))), Ok((3, None))];
        assert_eq!(run(other_places), (Ok(3), 0));
        let same = vec![Ok((1, Some(damage(1)))), Ok((2, Some(damage(1)))), Ok((3, None))];
        assert_eq!(run(same), (Ok(2), 1));
        let gone = |names: [&str; 2]| names.map(|name| Err(missing(name))).into_iter();
        let truncated = gone(["a", "b"]).chain([Ok((3, None))]).collect();
        assert_eq!(run(truncated), (Ok(3), 0));
        assert!(run(gone(["a", "a"]).collect()).0.unwrap_err().contains("open failed on a"));
        let mut offset = 0;
        let never = look_again(dir, || {
            offset += 1;
            Ok(((), Some(damage(offset))))
        });
        assert!(never.unwrap_err().to_string().contains("all the time"));
    }

    #[test]
    fn the_oldest_segments_stay_readable_and_another_missing_one_is_named() {
        let (memory, shard) = (Memory::default(), ShardId::SINGLE);
        let names: Vec<_> = (1..=1200).map(|first| segment_filename(shard, first)).collect();
        names.iter().for_each(|name| memory.put(name, name.clone().into_bytes()));
        let storage: Arc<dyn Storage> = Arc::new(memory.clone());
        let snapshot = DirSnapshot::look(&storage, shard, HELD_DEFAULT).unwrap().unwrap();
        assert_eq!(snapshot.files.len(), HELD_DEFAULT);
        assert_eq!(snapshot.list().unwrap().len(), names.len());
        let read = |name: &str| {
            let mut bytes = vec![0; name.len()];
            snapshot.open(name, Access::Read)?.read_at(&mut bytes, 0)?;
            Ok::<_, Error>(bytes)
        };
        assert!(names.iter().all(|name| read(name).unwrap() == name.as_bytes()));
        let (held, other) = (&names[HELD_DEFAULT - 1], &names[HELD_DEFAULT]);
        [held, other].into_iter().for_each(|name| memory.remove(name).unwrap());
        assert_eq!(read(held).unwrap(), held.as_bytes());
        let told = read(other).unwrap_err().to_string();
        assert!(told.contains(other.as_str()) && told.contains("open the log again"), "{told}");
        let absent = snapshot.open("absent", Access::Read).unwrap_err().to_string();
        assert!(!absent.contains("open the log again"), "{absent}");
    }

    /// A log whose writer compacts beside its readers: at every look at its files it has one more
    /// segment at the end and one fewer at the beginning.
    #[derive(Debug)]
    struct CompactedLog {
        memory: Memory,
        /// Also at the listing of names, so that the segments that were listed are gone.
        at_listings: bool,
    }

    impl CompactedLog {
        const SEGMENTS: u64 = 20;

        fn new(at_listings: bool) -> CompactedLog {
            let compacted = CompactedLog { memory: Memory::default(), at_listings };
            (1..=Self::SEGMENTS).for_each(|first| compacted.put(first));
            compacted.note(1, 1);
            compacted
        }

        fn put(&self, first: u64) {
            self.memory.put(&segment_filename(ShardId::SINGLE, first), vec![1]);
        }

        fn note(&self, generation: u64, first_seq: u64) {
            let state = State { generation, ..State::new([7; 16], 0, first_seq) };
            self.memory.put("state", state_file(&state, None));
        }

        /// Compacts one more segment.
        fn compact_one(&self) {
            let first = segments_among(ShardId::SINGLE, self.memory.names())[0].0;
            self.put(first + Self::SEGMENTS);
            self.note(first + 1, first + 1);
            self.memory.remove(&segment_filename(ShardId::SINGLE, first)).unwrap();
        }
    }

    impl Storage for CompactedLog {
        fn dir(&self) -> &Path {
            self.memory.dir()
        }

        fn list(&self) -> Result<Vec<String>> {
            if self.at_listings {
                self.compact_one();
            }
            self.memory.list()
        }

        fn open(&self, name: &str, access: Access) -> Result<Box<dyn StorageFile>> {
            let opened = self.memory.open(name, access);
            if name != "state" {
                self.compact_one();
            }
            opened
        }
    }

    #[test]
    fn a_writer_that_compacts_all_the_time_keeps_no_reader_from_a_whole_log() {
        let storage: Arc<dyn Storage> = Arc::new(CompactedLog::new(false));
        let snapshot = DirSnapshot::of(Arc::clone(&storage), ShardId::SINGLE).unwrap();
        let listed = segments_among(ShardId::SINGLE, snapshot.list().unwrap());
        assert_eq!(listed.len() as u64, CompactedLog::SEGMENTS);
        let mut state = vec![0; STATE_BYTES];
        snapshot.open("state", Access::Read).unwrap().read_at(&mut state, 0).unwrap();
        assert_eq!(newest(&state).unwrap().0.first_seq, listed[0].0, "of the same moment");
        for (_, name) in &listed {
            snapshot.open(name, Access::Read).unwrap();
        }
    }

    #[test]
    fn a_log_whose_front_was_removed_before_the_listing_is_not_taken_for_a_whole_one() {
        let storage: Arc<dyn Storage> = Arc::new(CompactedLog::new(true));
        let told = DirSnapshot::of(storage, ShardId::SINGLE).unwrap_err().to_string();
        assert!(told.contains("all the time; try again"), "{told}");
    }

    #[test]
    fn nothing_can_be_changed_through_a_snapshot() {
        let (memory, shard) = (Memory::default(), ShardId::SINGLE);
        let names = [segment_filename(shard, 1), state_name(shard)];
        names.iter().for_each(|name| memory.put(name, b"content".to_vec()));
        let snapshot = DirSnapshot::of(Arc::new(memory.clone()), shard).unwrap();
        for name in &names {
            let file = snapshot.open(name, Access::Read).unwrap();
            let mut buf = [0; 8];
            assert_eq!((file.bytes().unwrap(), file.read_at(&mut buf, 3).unwrap()), (7, 4));
            assert_eq!(&buf[..4], b"tent");
            let refused =
                [file.write_at(b"x", 0), file.write_zeros(0, 1), file.set_bytes(0), file.sync()];
            for refused in
                refused.into_iter().chain([snapshot.rename(name, "x"), snapshot.remove(name)])
            {
                assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
            }
            for access in [Access::Write, Access::Create] {
                assert!(matches!(snapshot.open(name, access), Err(Error::ReadOnly)));
            }
        }
        assert!(matches!(snapshot.sync_dir(), Err(Error::ReadOnly)));
        assert!(matches!(snapshot.lock("lock"), Err(Error::ReadOnly)));
        assert!(memory.changes().is_empty());
    }
}
