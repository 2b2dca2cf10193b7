//! The live records alone, in another directory.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::kv::builder::Options;
#[cfg(doc)]
use crate::kv::{DataWal, Stats};
use crate::kv::{Snapshot, sort};
use crate::{Batch, Durability, Error, Log, Result};

/// How many unfinished copies of one name may lie about.
const PARTIALS_MAX: u32 = 1000;

/// What was written by [`DataWal::compact_to`] or [`DataWal::compact`].
///
/// ```
/// use ringwal::kv::DataWal;
///
/// let dir = tempfile::tempdir()?;
/// let store = DataWal::open(dir.path().join("store"))?;
/// store.put("key", "old")?;
/// store.put("key", "new")?;
/// let copied = store.compact_to(dir.path().join("compact"))?;
/// assert_eq!((copied.keys, copied.records), (1, 1));
/// assert_eq!(DataWal::open(dir.path().join("compact"))?.stats().dead_bytes, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Live keys.
    pub keys: u64,
    /// Records; each live key has one.
    pub records: u64,
    /// The bytes of the records, with their heads, as [`Stats::live_bytes`] counts them.
    pub bytes: u64,
}

impl Copied {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.keys += 1;
        self.records += 1;
        self.bytes += bytes;
    }
}

impl Snapshot {
    pub(crate) fn compact_to(&self, dir: &Path, options: &Options) -> Result<Copied> {
        require_empty(dir)?;
        let partial = create_partial_dir(dir)?;
        let copied = options.engine(&partial).open().and_then(|log| self.write_log(log));
        let copied = copied.and_then(|copied| {
            // Not onto what somebody else has put there meanwhile.
            fs::rename(&partial, dir).map_err(|e| Error::io("rename a new store to", dir, e))?;
            sync_parent(dir)?;
            Ok(copied)
        });
        if copied.is_err() {
            // As far as it goes. Nobody else knows the name, so nothing else is in it.
            let _ = fs::remove_dir_all(&partial);
        }
        copied
    }

    /// Writes the records of all keys into a new log, sorted by key, and closes it.
    fn write_log(&self, log: Log) -> Result<Copied> {
        const BATCH_BYTES: u64 = 1 << 20;
        let mut copied = Copied::default();
        let mut batch = Batch::new();
        let mut bytes = 0;
        for slot in sort::by_key(&self.shared)? {
            if bytes > 0 && bytes + slot.record_bytes() > BATCH_BYTES {
                drop(log.append_batch_async_with(&batch, Durability::Queued)?);
                batch.clear();
                bytes = 0;
            }
            batch.push(self.shared.record(&slot)?.data())?;
            bytes += slot.record_bytes();
            copied.add(slot.record_bytes());
        }
        if bytes > 0 {
            drop(log.append_batch_async_with(&batch, Durability::Queued)?);
        }
        // Makes all of it durable.
        log.close()?;
        Ok(copied)
    }
}

/// An error unless `dir` is not there or has nothing in it.
pub(crate) fn require_empty(dir: &Path) -> Result<()> {
    let entry = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next(),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("list", dir, error)),
    };
    match entry {
        None => Ok(()),
        Some(entry) => {
            let found = entry.map_err(|error| Error::io("list", dir, error))?.file_name();
            let found = found.to_string_lossy().into_owned();
            Err(Error::NotEmpty { path: dir.to_path_buf(), found })
        }
    }
}

/// Where a store or a file is made before it gets its name.
fn partial_of(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    // A separator at the end would put it inside.
    if let Some(last) = path.file_name() {
        name = path.with_file_name(last).into_os_string();
    }
    name.push(ending);
    PathBuf::from(name)
}

/// Makes something beside `path` under a name that nobody has, and returns that.
pub(crate) fn create_beside<T>(
    path: &Path,
    mut create: impl FnMut(&Path) -> io::Result<T>,
) -> Result<(T, PathBuf)> {
    let process = std::process::id();
    let mut number = 0;
    loop {
        let partial = partial_of(path, &format!(".{process}-{number}.partial"));
        match create(&partial) {
            Ok(created) => return Ok((created, partial)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && number < PARTIALS_MAX => {
                number += 1;
            }
            Err(error) => return Err(Error::io("create something beside", path, error)),
        }
    }
}

/// A directory beside `dir` that is this attempt's alone.
pub(crate) fn create_partial_dir(dir: &Path) -> Result<PathBuf> {
    if let Some(parent) = dir.parent().filter(|parent| *parent != Path::new("")) {
        fs::create_dir_all(parent).map_err(|error| Error::io("create", parent, error))?;
    }
    create_beside(dir, |partial| fs::create_dir(partial)).map(|((), partial)| partial)
}

/// Makes the name of a file or directory durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let synced = File::open(parent).and_then(|dir| dir.sync_all());
    synced.map_err(|error| Error::io("sync directory", parent, error))
}
