//! A store as lines of JSON, and back.
//!
//! ```text
//! {"key_b64": "YXBwbGU=", "value_b64": "Z3JlZW4="}
//! ```
//!
//! 1. An export has one such line for each key, sorted by the bytes of the keys, in standard base64
//!    with padding. It is the store as of the call.
//! 2. A file has its name only when it is complete and durable, and keeps the mode of the one that
//!    it replaces. A pipe or a device is written to as it is.
//! 3. An import reads the file twice: first every line is checked, then they are put. So a bad line
//!    means that nothing was put. A crash in between may leave a part; importing again is right.
//!
//! Memory: the largest line, and what sorting needs.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::kv::copy::{create_beside, sync_parent};
use crate::kv::line::{parse_line, write_line};
use crate::kv::record::{Entry, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::kv::{DataReader, DataWal, Snapshot, WriteBatch, sort};
use crate::{Error, Result};

/// The longest line that is read: the largest key and value, and some room for spaces.
const LINE_BYTES_MAX: usize = (KEY_BYTES_MAX + VALUE_BYTES_MAX) / 3 * 4 + 4096;
/// What some programs begin a text with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How much an import puts in one batch.
const BATCH_BYTES: usize = 1 << 20;

impl DataWal {
    /// Writes all keys and values to a file, one JSON object a line, sorted by key:
    /// `{"key_b64": "...", "value_b64": "..."}`, in standard base64. Returns how many. The file
    /// appears, or is replaced, when it is complete and durable, and keeps its mode; a crash may
    /// leave an unfinished one beside it, whose name ends in `.partial`. A pipe or a device is
    /// not replaced but written to.
    ///
    /// ```
    /// use ringwal::kv::DataWal;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let store = DataWal::open(dir.path().join("store"))?;
    /// store.put("apple", "green")?;
    /// let path = dir.path().join("export.jsonl");
    /// assert_eq!(store.export_jsonl(&path)?, 1);
    /// let line = "{\"key_b64\": \"YXBwbGU=\", \"value_b64\": \"Z3JlZW4=\"}\n";
    /// assert_eq!(std::fs::read_to_string(&path)?, line);
    ///
    /// let other = DataWal::open(dir.path().join("other"))?;
    /// assert_eq!(other.import_jsonl(&path)?, 1);
    /// assert_eq!(other.get("apple")?.as_deref(), Some(&b"green"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] when a value is damaged, [`Error::Io`], [`Error::Closed`] or
    /// [`Error::Poisoned`]. What was under the name of the file stays.
    pub fn export_jsonl(&self, path: impl AsRef<Path>) -> Result<u64> {
        self.snapshot()?.export_jsonl(path)
    }

    /// Puts all keys and values of a file that [`export_jsonl`](Self::export_jsonl) wrote, or that
    /// has its form, and makes them durable. Returns how many lines it had. Keys that are not in
    /// the file stay; of two lines with one key, the later one wins.
    ///
    /// # Errors
    ///
    /// [`Error::Line`] for a line that is not what it should be: nothing was put. Else as
    /// [`put`](Self::put), or [`Error::Io`] that says that the file changed meanwhile: then a
    /// part was put.
    pub fn import_jsonl(&self, path: impl AsRef<Path>) -> Result<u64> {
        let path = path.as_ref();
        let mut file = File::open(path).map_err(|error| Error::io("open", path, error))?;
        let mut digest = blake3::Hasher::new();
        for_each_line(path, &file, &mut digest, |_, _| Ok(()))?;
        let checked = digest.finalize();
        file.rewind().map_err(|error| Error::io("rewind", path, error))?;
        let (mut batch, mut bytes) = (WriteBatch::new(), 0);
        let mut digest = blake3::Hasher::new();
        let lines = for_each_line(path, &file, &mut digest, |key, value| {
            if bytes > 0 && bytes + key.len() + value.len() > BATCH_BYTES {
                self.write(&batch)?;
                batch.clear();
                bytes = 0;
            }
            bytes += key.len() + value.len();
            batch.put(key, value).map(drop)
        });
        let lines = match lines {
            Ok(lines) => lines,
            // It was checked, so it was another file then.
            Err(Error::Line { .. }) => return Err(changed(path)),
            Err(error) => return Err(error),
        };
        self.write(&batch)?;
        self.fsync()?;
        if digest.finalize() != checked {
            return Err(changed(path));
        }
        Ok(lines)
    }
}

impl DataReader {
    /// Writes all keys and values to a file; see [`DataWal::export_jsonl`].
    ///
    /// # Errors
    ///
    /// As [`DataWal::export_jsonl`].
    pub fn export_jsonl(&self, path: impl AsRef<Path>) -> Result<u64> {
        self.snapshot().export_jsonl(path)
    }
}

impl Snapshot {
    /// Writes all keys and values to a file; see [`DataWal::export_jsonl`].
    ///
    /// # Errors
    ///
    /// As [`DataWal::export_jsonl`].
    pub fn export_jsonl(&self, path: impl AsRef<Path>) -> Result<u64> {
        let path = path.as_ref();
        write_to(path, |out| self.write_lines(out, path))?;
        Ok(self.len() as u64)
    }

    fn write_lines(&self, out: &File, path: &Path) -> Result<()> {
        let failed = |error| Error::io("write", path, error);
        let mut out = BufWriter::new(out);
        for slot in sort::by_key(&self.shared)? {
            let record = self.shared.record(&slot)?;
            if let Some(Entry { key, value: Some(value) }) = Entry::parse(record.data()) {
                write_line(&mut out, key, value).map_err(failed)?;
            }
        }
        out.flush().map_err(failed)
    }
}

/// Writes what an export is to a file that gets its name when it is complete, or to a pipe or a
/// device.
pub(crate) fn write_to<E: From<Error>>(
    path: &Path,
    write: impl FnOnce(&File) -> Result<(), E>,
) -> Result<(), E> {
    match Target::of(path)? {
        Target::Stream(stream) => write(&stream),
        Target::File { path: file, permissions } => replace(path, &file, permissions, write),
    }
}

/// Writes to a new file beside `file`, which gets its name when it is complete; errors name the
/// path that was given.
fn replace<E: From<Error>>(
    path: &Path,
    file: &Path,
    permissions: Option<Permissions>,
    write: impl FnOnce(&File) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |op| move |error| Error::io(op, path, error);
    let (out, partial) = create_beside(file, |partial| File::create_new(partial))?;
    let written = (|| {
        if let Some(permissions) = permissions {
            // Before there is anything to be read.
            out.set_permissions(permissions).map_err(failed("set the mode of"))?;
        }
        write(&out)?;
        out.sync_all().map_err(failed("sync"))?;
        fs::rename(&partial, file).map_err(failed("replace"))?;
        Ok(sync_parent(file)?)
    })();
    if written.is_err() {
        // As far as it goes: it is in nobody's way.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// What an export is written to.
enum Target {
    /// A pipe or a device: it cannot be replaced, and takes the lines as they come.
    Stream(File),
    /// A file that is there, with its mode, or that will be.
    File { path: PathBuf, permissions: Option<Permissions> },
}

impl Target {
    /// Looks before any work is done, and through symbolic links: it is the file that is replaced.
    fn of(path: &Path) -> Result<Target> {
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Target::File { path: path.to_path_buf(), permissions: None });
            }
            Err(error) => return Err(Error::io("look at", path, error)),
        };
        if found.is_dir() {
            return Err(Error::io("export to", path, ErrorKind::IsADirectory.into()));
        }
        if found.is_file() {
            let real = fs::canonicalize(path).map_err(|error| Error::io("look at", path, error))?;
            return Ok(Target::File { path: real, permissions: Some(found.permissions()) });
        }
        let stream = File::options().write(true).open(path);
        stream.map(Target::Stream).map_err(|error| Error::io("open", path, error))
    }
}

fn changed(path: &Path) -> Error {
    let what = "the file changed after it was checked, and a part of it was put; import it again";
    Error::io("import", path, std::io::Error::other(what))
}

/// Shows `put` the key and value of each line, and `digest` all bytes. Returns how many lines
/// there were. A byte-order mark before the first one and blank lines behind the last one are no
/// lines.
fn for_each_line(
    path: &Path,
    file: &File,
    digest: &mut blake3::Hasher,
    mut put: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<u64> {
    let mut lines = BufReader::new(file);
    let mut line = Vec::new();
    let mut blank = None;
    for number in 1.. {
        line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let read = lines.by_ref().take(limit).read_until(b'\n', &mut line);
        if read.map_err(|error| Error::io("read", path, error))? == 0 {
            return Ok(blank.unwrap_or(number) - 1);
        }
        digest.update(&line);
        if number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            blank.get_or_insert(number);
            continue;
        }
        let (number, line) = blank.map_or((number, &line[..]), |blank| (blank, b"\n"));
        let parsed = match line.len() > LINE_BYTES_MAX {
            true => Err(format!("it is longer than {LINE_BYTES_MAX} bytes")),
            false => parse_line(line),
        };
        let bad = |reason| Error::Line { path: path.to_path_buf(), line: number, reason };
        let (key, value) = parsed.map_err(bad)?;
        put(&key, &value)?;
    }
    Ok(0)
}
