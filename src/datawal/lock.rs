//! `DirLock`: holds the lock of a log's directory without opening the log.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

/// The name of the lock file in a log's directory: the engine's. That of the crate datawal begins
/// with a dot.
pub const LOCK_FILENAME: &str = "lock";

/// Holds a directory's lock until it is dropped. Meanwhile no log opens there.
///
/// ```
/// use ringwal::datawal::RecordLog;
/// use ringwal::datawal::lock::DirLock;
///
/// let dir = tempfile::tempdir()?;
/// let lock = DirLock::acquire(dir.path())?;
/// assert!(RecordLog::open(dir.path()).is_err());
/// drop(lock);
/// RecordLog::open(dir.path())?;
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct DirLock {
    path: PathBuf,
    _file: File,
}

impl DirLock {
    /// Takes the lock of a directory without waiting. Creates the directory if it is missing.
    ///
    /// # Errors
    ///
    /// If a log is open there, if the lock is held, or if the lock file cannot be made.
    pub fn acquire(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)
            .with_context(|| format!("datawal: create the directory {}", dir.display()))?;
        let path = dir.join(LOCK_FILENAME);
        let mut options = OpenOptions::new();
        let options = options.create(true).read(true).write(true).truncate(false);
        let mut file = options
            .open(&path)
            .with_context(|| format!("datawal: open the lock file {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(anyhow!(
                    "datawal: log directory is already locked: {}; close it there first",
                    path.display()
                ));
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("datawal: lock {}", path.display()));
            }
        }
        require_lock(&path, &file)?;
        // Best effort: the process number is only for error messages.
        let _ = file.set_len(0).and_then(|()| file.rewind());
        let _ = writeln!(file, "{}", std::process::id());
        Ok(DirLock { path, _file: file })
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether a log may have made this file: it is empty or holds a process number.
pub(crate) fn is_lock(file: &File) -> std::io::Result<bool> {
    const BYTES_MAX: u64 = 16;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes.len() as u64 <= BYTES_MAX
        && bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b'\n'))
}

/// An error unless a log may have made this file.
fn require_lock(path: &Path, file: &File) -> Result<()> {
    let is_lock = is_lock(file);
    if !is_lock.with_context(|| format!("datawal: read the lock file {}", path.display()))? {
        bail!("datawal: {} is not the lock of a log; nothing was changed", path.display());
    }
    Ok(())
}
