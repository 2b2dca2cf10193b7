//! What is made beside its place and gets its name when it is complete: a file, or a directory.
//!
//! 1. A regular file is replaced and keeps its mode. What is a stream is written to. Anything else
//!    is refused before there is any work, with the path that was given.
//! 2. What is made has a name of its own, `NAME.PROCESS-NUMBER.partial`, so that two at once do not
//!    meet. The second to finish finds the place taken.
//! 3. A directory is made inside of one that has a *marker*, locked as long as its maker lives.
//!    What a crash left is removed when its marker says so and nobody has it locked; nothing else
//!    is.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::mutation::mutated;
use crate::{Error, Result};

/// The number of the next one of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);
/// How many names are tried.
const PARTIALS_MAX: u32 = 1000;
const ENDING: &str = ".partial";
/// The file that says what a directory is, and what it has to say.
const MARKER: &str = "ringwal-partial";
const MARKER_TEXT: &[u8] = b"an unfinished copy of a key-value log; it may be removed\n";
/// What becomes the directory, beside the marker.
const CONTENT: &str = "content";

/// Where a file is to be.
pub(crate) enum Target {
    /// A stream, which is open.
    Stream(File),
    /// A file, which is made beside.
    File(PartialFile),
}

pub(crate) struct PartialFile {
    /// As it was given, for errors.
    pub(crate) given: PathBuf,
    pub(crate) file: File,
    place: PathBuf,
    partial: PathBuf,
    has_its_name: bool,
}

impl Target {
    /// An error if there can be no file at `path`.
    pub(crate) fn open(path: &Path) -> Result<Target> {
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
            return Ok(Target::Stream(file));
        }
        let place = match found {
            // A symbolic link stays one.
            Some(_) => fs::canonicalize(path).map_err(failed("find"))?,
            None => path.to_path_buf(),
        };
        let (partial, file) = with_a_name(&place, |partial| {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            if found.is_some() {
                // Nobody reads it who could not read the one that it replaces.
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            }
            options.open(partial)
        })
        .map_err(failed("create a file beside"))?;
        let target =
            PartialFile { given: path.to_path_buf(), file, place, partial, has_its_name: false };
        if let Some(found) = &found {
            target.take_after(found).map_err(failed("keep the mode of"))?;
        }
        Ok(Target::File(target))
    }
}

impl PartialFile {
    #[cfg(unix)]
    fn take_after(&self, found: &Metadata) -> io::Result<()> {
        use std::os::unix::fs::{MetadataExt, fchown};

        let made = self.file.metadata()?;
        if (made.uid(), made.gid()) != (found.uid(), found.gid()) {
            // Only who is privileged may.
            let _ = fchown(&self.file, Some(found.uid()), Some(found.gid()));
        }
        self.file.set_permissions(found.permissions())
    }

    #[cfg(not(unix))]
    fn take_after(&self, _found: &Metadata) -> io::Result<()> {
        Ok(())
    }

    /// Gives the file its name, durably.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.file.sync_all().map_err(|error| Error::io("sync", &self.given, error))?;
        fs::rename(&self.partial, &self.place)
            .map_err(|error| Error::io("replace", &self.given, error))?;
        self.has_its_name = true;
        sync_parent(&self.place)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.has_its_name {
            // As far as it goes: it is in nobody's way.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// A directory on its way.
pub(crate) struct PartialDir {
    given: PathBuf,
    place: PathBuf,
    partial: PathBuf,
    /// Locked.
    marker: File,
}

impl PartialDir {
    /// Makes one beside `dir`, which must be new or an empty directory, and removes what crashes
    /// have left there.
    pub(crate) fn create(dir: &Path) -> Result<PartialDir> {
        let failed = |op| move |error| Error::io(op, dir, error);
        let place = match found(dir).map_err(failed("write"))? {
            Some(found) => {
                let place = fs::canonicalize(dir).map_err(failed("find"))?;
                if is_mount_point(&place, &found) && !mutated("datawal_copy_onto_a_mount_point") {
                    return Err(failed("replace")(mount_point()));
                }
                require_empty(dir)?;
                place
            }
            None => dir.to_path_buf(),
        };
        let parent = parent_of(&place);
        fs::create_dir_all(parent).map_err(failed("create the parent of"))?;
        remove_left(&place);
        let made = with_a_name(&place, |partial| fs::create_dir(partial));
        let (partial, ()) = made.map_err(failed("create a directory beside"))?;
        let marker = marked(&partial).map_err(failed("mark a directory beside"));
        let marker = marker.inspect_err(|_| drop(fs::remove_dir(&partial)))?;
        Ok(PartialDir { given: dir.to_path_buf(), place, partial, marker })
    }

    /// Where what is to be in the directory is to be made.
    pub(crate) fn content(&self) -> PathBuf {
        self.partial.join(CONTENT)
    }

    /// Gives the directory its name, durably.
    pub(crate) fn finish(self) -> Result<()> {
        let given = &self.given;
        let failed = |op| move |error| Error::io(op, given, error);
        if let Some(found) = found(&self.place).map_err(failed("replace"))? {
            require_empty(&self.given)?;
            #[cfg(unix)]
            fs::set_permissions(self.content(), found.permissions())
                .map_err(failed("keep the mode of"))?;
            #[cfg(not(unix))]
            drop(found);
        }
        fs::rename(self.content(), &self.place).map_err(|error| {
            // Somebody else was faster.
            let taken = require_empty(&self.given).err();
            taken.unwrap_or_else(|| {
                // So is a mount of a directory of the same file system, which nothing told before.
                let is_mount = error.kind() == ErrorKind::ResourceBusy;
                failed("replace")(if is_mount { mount_point() } else { error })
            })
        })?;
        sync_parent(&self.place)
    }
}

impl Drop for PartialDir {
    fn drop(&mut self) {
        // As far as it goes; a later attempt removes the rest.
        let _ = remove(&self.partial);
        let _ = self.marker.unlock();
    }
}

/// The marker of a new directory, locked. Without a lock it has no text, and so nobody removes it
/// but who made it.
fn marked(partial: &Path) -> io::Result<File> {
    let mut marker = OpenOptions::new().write(true).create_new(true).open(partial.join(MARKER))?;
    if marker.try_lock().is_ok() {
        marker.write_all(MARKER_TEXT)?;
    }
    Ok(marker)
}

/// Removes what crashes have left beside a place. What cannot be removed stays.
fn remove_left(place: &Path) {
    let Some(name) = place.file_name().and_then(|name| name.to_str()) else { return };
    let Ok(entries) = fs::read_dir(parent_of(place)) else { return };
    for entry in entries.flatten() {
        let is_left = |left: &str| {
            let middle = left.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(ENDING)?;
            let (process, number) = middle.split_once('-')?;
            (process.parse::<u32>().is_ok() && number.parse::<u32>().is_ok()).then_some(())
        };
        if entry.file_name().to_str().and_then(is_left).is_some() {
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

/// Removes what was made in a directory, and the directory if there is nothing else in it.
fn remove(partial: &Path) -> io::Result<()> {
    match fs::remove_dir_all(partial.join(CONTENT)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::remove_file(partial.join(MARKER))?;
    fs::remove_dir(partial)
}

/// What is at a path; an error for a symbolic link that leads nowhere.
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

/// What is mounted there is another file system than what is around it.
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

/// Makes something beside a place under a name that is not taken.
fn with_a_name<T>(place: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(PathBuf, T)> {
    let Some(name) = place.file_name() else {
        let reason = "it has no name that something beside it could have";
        return Err(io::Error::new(ErrorKind::InvalidInput, reason));
    };
    let process = std::process::id();
    let mut tries = 0;
    loop {
        let mut partial = name.to_owned();
        // Never the same twice: who looks at one that is gone by now does not meet another.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        partial.push(format!(".{process}-{number}{ENDING}"));
        let partial = place.with_file_name(partial);
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
