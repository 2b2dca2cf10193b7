//! Atomic replacement, for exports and copies: makes a file or a directory under a temporary name
//! beside its target, and renames it when it is complete.
//!
//! 1. A regular file is replaced and keeps its mode. A stream is written directly. Anything else is
//!    refused before any work is done, with the path that the caller gave.
//! 2. The temporary name is `NAME.PROCESS-NUMBER.partial`, so concurrent attempts do not collide.
//!    The second directory to finish finds its target taken.
//! 3. A directory is made inside a temporary one with a *marker* file, which its process keeps
//!    locked. A later attempt removes a leftover of a crash only if the marker has the right
//!    content and is not locked.
//!
//! A backup has its own, simpler part (`engine/backup/place.rs`): its directory has no marker, so
//! the user removes what a crash left. It also sets another mode and reports other errors. The two
//! share only the form of the name and the check for an empty directory. A common part would be a
//! list of switches.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::mutation::mutated;
use crate::{Error, Result};

/// The number in the next temporary name of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);
/// How many names are tried before giving up.
const PARTIALS_MAX: u32 = 1000;
const ENDING: &str = ".partial";
/// The marker file of a temporary directory, and its content.
const MARKER: &str = "ringwal-partial";
const MARKER_TEXT: &[u8] = b"an unfinished copy of a key-value log; it may be removed\n";
/// The subdirectory that becomes the target; the marker lies beside it.
const CONTENT: &str = "content";

/// The target of an export.
pub(crate) enum ExportTarget {
    /// A pipe or a character device, open to write.
    Stream(File),
    /// A file under a temporary name.
    File(PartialFile),
}

pub(crate) struct PartialFile {
    /// The path as the caller gave it, for errors.
    pub(crate) given: PathBuf,
    pub(crate) file: File,
    target: PathBuf,
    partial: PathBuf,
    is_renamed: bool,
}

impl ExportTarget {
    /// Opens a target; an error if `path` cannot be a file or a stream.
    pub(crate) fn open(path: &Path) -> Result<ExportTarget> {
        let failed = |op| move |error| Error::io(op, path, error);
        let found = found(path).map_err(failed("write"))?;
        if ends_in_separator(path) || found.as_ref().is_some_and(Metadata::is_dir) {
            let reason = "it is a directory; name a file";
            return Err(failed("write")(io::Error::new(ErrorKind::IsADirectory, reason)));
        }
        if let Some(found) = found.as_ref().filter(|found| !found.is_file()) {
            if !is_stream(found) {
                let reason = "it is no regular file, pipe or character device";
                return Err(failed("write")(io::Error::new(ErrorKind::InvalidInput, reason)));
            }
            let file = OpenOptions::new().write(true).open(path).map_err(failed("open"))?;
            return Ok(ExportTarget::Stream(file));
        }
        let target = match found {
            // Replace the file that a symbolic link points to, and keep the link.
            Some(_) => fs::canonicalize(path).map_err(failed("find"))?,
            None => path.to_path_buf(),
        };
        let (partial, file) = with_temporary_name(&target, |partial| {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            if found.is_some() {
                // Closed until it has the mode of the old file: no one else may read it before.
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            }
            options.open(partial)
        })
        .map_err(failed("create a file beside"))?;
        let made =
            PartialFile { given: path.to_path_buf(), file, target, partial, is_renamed: false };
        if let Some(found) = &found {
            made.copy_mode(found).map_err(failed("keep the mode of"))?;
        }
        Ok(ExportTarget::File(made))
    }
}

impl PartialFile {
    #[cfg(unix)]
    fn copy_mode(&self, found: &Metadata) -> io::Result<()> {
        use std::os::unix::fs::{MetadataExt, fchown};

        let made = self.file.metadata()?;
        if (made.uid(), made.gid()) != (found.uid(), found.gid()) {
            // Only a privileged process may do this; others keep their own.
            let _ = fchown(&self.file, Some(found.uid()), Some(found.gid()));
        }
        self.file.set_permissions(found.permissions())
    }

    #[cfg(not(unix))]
    fn copy_mode(&self, _found: &Metadata) -> io::Result<()> {
        Ok(())
    }

    /// Syncs the file and renames it to its target, durably.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.file.sync_all().map_err(|error| Error::io("sync", &self.given, error))?;
        fs::rename(&self.partial, &self.target)
            .map_err(|error| Error::io("replace", &self.given, error))?;
        self.is_renamed = true;
        sync_parent(&self.target)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.is_renamed {
            // Best effort: a leftover does no harm.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// A directory under a temporary name.
pub(crate) struct PartialDir {
    given: PathBuf,
    target: PathBuf,
    partial: PathBuf,
    /// The marker file, locked.
    marker: File,
}

impl PartialDir {
    /// Makes a temporary directory beside `dir`, which must not exist or be empty. Removes what
    /// crashed attempts have left.
    pub(crate) fn create(dir: &Path) -> Result<PartialDir> {
        let failed = |op| move |error| Error::io(op, dir, error);
        let target = match found(dir).map_err(failed("write"))? {
            Some(found) => {
                let target = fs::canonicalize(dir).map_err(failed("find"))?;
                if is_mount_point(&target, &found) && !mutated("datawal_copy_onto_a_mount_point") {
                    return Err(failed("replace")(mount_point()));
                }
                require_empty(dir)?;
                target
            }
            None => dir.to_path_buf(),
        };
        let parent = parent_of(&target);
        fs::create_dir_all(parent).map_err(failed("create the parent of"))?;
        remove_leftovers(&target);
        let made = with_temporary_name(&target, |partial| fs::create_dir(partial));
        let (partial, ()) = made.map_err(failed("create a directory beside"))?;
        let marker = marked(&partial).map_err(failed("mark a directory beside"));
        let marker = marker.inspect_err(|_| drop(fs::remove_dir(&partial)))?;
        Ok(PartialDir { given: dir.to_path_buf(), target, partial, marker })
    }

    /// The path at which the caller makes the directory's content.
    pub(crate) fn content(&self) -> PathBuf {
        self.partial.join(CONTENT)
    }

    /// Renames the directory to its target, durably.
    pub(crate) fn finish(self) -> Result<()> {
        let given = &self.given;
        let failed = |op| move |error| Error::io(op, given, error);
        if let Some(found) = found(&self.target).map_err(failed("replace"))? {
            require_empty(&self.given)?;
            #[cfg(unix)]
            fs::set_permissions(self.content(), found.permissions())
                .map_err(failed("keep the mode of"))?;
            #[cfg(not(unix))]
            drop(found);
        }
        fs::rename(self.content(), &self.target).map_err(|error| {
            // Another attempt may have finished first.
            let taken = require_empty(&self.given).err();
            taken.unwrap_or_else(|| {
                // A bind mount of the same file system passes the check in `create`.
                let is_mount = error.kind() == ErrorKind::ResourceBusy;
                failed("replace")(if is_mount { mount_point() } else { error })
            })
        })?;
        sync_parent(&self.target)
    }
}

impl Drop for PartialDir {
    fn drop(&mut self) {
        // Best effort: a later attempt removes the rest.
        let _ = remove(&self.partial);
        let _ = self.marker.unlock();
    }
}

/// Makes the marker of a new directory and locks it. If it cannot be locked, it stays empty, so
/// that no other attempt removes the directory.
fn marked(partial: &Path) -> io::Result<File> {
    let mut marker = OpenOptions::new().write(true).create_new(true).open(partial.join(MARKER))?;
    if marker.try_lock().is_ok() {
        marker.write_all(MARKER_TEXT)?;
    }
    Ok(marker)
}

/// Removes the temporary directories that crashed attempts have left, as far as possible.
fn remove_leftovers(target: &Path) {
    let Some(name) = target.file_name().and_then(|name| name.to_str()) else { return };
    let Ok(entries) = fs::read_dir(parent_of(target)) else { return };
    for entry in entries.flatten() {
        let is_leftover = |entry: &str| {
            let middle = entry.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(ENDING)?;
            let (process, number) = middle.split_once('-')?;
            (process.parse::<u32>().is_ok() && number.parse::<u32>().is_ok()).then_some(())
        };
        if entry.file_name().to_str().and_then(is_leftover).is_some() {
            let _ = remove_if_marked(&entry.path());
        }
    }
}

fn remove_if_marked(partial: &Path) -> io::Result<()> {
    let marker = OpenOptions::new().read(true).write(true).open(partial.join(MARKER))?;
    if marker.try_lock().is_err() {
        return Ok(());
    }
    let mut text = Vec::new();
    (&marker).take(MARKER_TEXT.len() as u64 + 1).read_to_end(&mut text)?;
    match text == MARKER_TEXT || mutated("kv_remove_unmarked") {
        true => remove(partial),
        false => Ok(()),
    }
}

/// Removes the content and the marker of a temporary directory, and the directory if nothing else
/// is in it.
fn remove(partial: &Path) -> io::Result<()> {
    match fs::remove_dir_all(partial.join(CONTENT)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::remove_file(partial.join(MARKER))?;
    fs::remove_dir(partial)
}

/// The metadata of a path, if it exists; an error for a dangling symbolic link.
fn found(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Err(error) => match fs::symlink_metadata(path) {
            Ok(_) => Err(error),
            Err(_) => Ok(None),
        },
    }
}

fn require_empty(dir: &Path) -> Result<()> {
    let failed = |error| Error::io("list", dir, error);
    match fs::read_dir(dir).map_err(failed)?.next() {
        None => Ok(()),
        Some(entry) => {
            let found = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            Err(Error::NotEmpty { path: dir.to_path_buf(), found })
        }
    }
}

/// Whether another file system is mounted at `place`.
#[cfg(unix)]
fn is_mount_point(place: &Path, found: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(parent_of(place)).is_ok_and(|above| above.dev() != found.dev())
}

#[cfg(not(unix))]
fn is_mount_point(_place: &Path, _found: &Metadata) -> bool {
    false
}

fn mount_point() -> io::Error {
    let reason = "it is a mount point, which cannot be replaced; name a new directory in it";
    io::Error::new(ErrorKind::ResourceBusy, reason)
}

#[cfg(unix)]
fn is_stream(found: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;

    found.file_type().is_fifo() || found.file_type().is_char_device()
}

#[cfg(not(unix))]
fn is_stream(_found: &Metadata) -> bool {
    true
}

fn ends_in_separator(path: &Path) -> bool {
    path.as_os_str()
        .as_encoded_bytes()
        .last()
        .is_none_or(|&last| last == b'/' || (cfg!(windows) && last == b'\\'))
}

/// Makes something beside `target` under a temporary name that is not taken.
fn with_temporary_name<T>(
    target: &Path,
    make: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<(PathBuf, T)> {
    let Some(name) = target.file_name() else {
        let reason = "it does not end in a name";
        return Err(io::Error::new(ErrorKind::InvalidInput, reason));
    };
    let process = std::process::id();
    let mut tries = 0;
    loop {
        let mut partial = name.to_owned();
        // Never the same number twice: another attempt may still be removing an old directory.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        partial.push(format!(".{process}-{number}{ENDING}"));
        let partial = target.with_file_name(partial);
        match make(&partial) {
            Ok(made) => return Ok((partial, made)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < PARTIALS_MAX => {
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Makes the name of a file or directory durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let parent = parent_of(path);
    let synced = File::open(parent).and_then(|dir| dir.sync_all());
    synced.map_err(|error| Error::io("sync directory", parent, error))
}
