//! A store as lines of JSON, and back.
//!
//! ```text
//! {"key_b64": "YXBwbGU=", "value_b64": "Z3JlZW4="}
//! ```
//!
//! 1. An export has one such line for each key, sorted by the bytes of the keys, in standard base64
//!    with padding. It is the store as of the call.
//! 2. The file has its name only when it is complete and durable. A stream has it as it comes.
//! 3. An import reads the file twice: first every line is checked, then they are put. So a bad line
//!    means that nothing was put. A crash in between may leave a part; importing again is right.
//!
//! Memory: the largest line, and what sorting needs.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use crate::kv::beside::Target;
use crate::kv::line::{parse_line, write_line};
use crate::kv::record::{Entry, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::kv::{DataReader, DataWal, Snapshot, WriteBatch, sort};
use crate::{Error, Result};

/// The longest line that is read: the largest key and value, and some room for spaces.
const LINE_BYTES_MAX: usize = (KEY_BYTES_MAX + VALUE_BYTES_MAX) / 3 * 4 + 4096;
/// How much an import puts in one batch.
const BATCH_BYTES: usize = 1 << 20;

impl DataWal {
    /// Writes all keys and values to a file, one JSON object a line, sorted by key:
    /// `{"key_b64": "...", "value_b64": "..."}`, in standard base64. Returns how many. The file
    /// appears, or is replaced, when it is complete and durable; a crash may leave an unfinished
    /// one beside it, whose name ends in `.partial`. One that is replaced keeps its mode. A pipe
    /// or a character device is written to as it is.
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
    /// [`Error::Poisoned`]. What was under the name of the file stays. A directory, a socket or a
    /// block device is refused.
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
    /// [`put`](Self::put): then a part was put.
    pub fn import_jsonl(&self, path: impl AsRef<Path>) -> Result<u64> {
        let path = path.as_ref();
        let mut file = File::open(path).map_err(|error| Error::io("open", path, error))?;
        for_each_line(path, &file, |_, _| Ok(()))?;
        file.rewind().map_err(|error| Error::io("rewind", path, error))?;
        let (mut batch, mut bytes) = (WriteBatch::new(), 0);
        let lines = for_each_line(path, &file, |key, value| {
            if bytes > 0 && bytes + key.len() + value.len() > BATCH_BYTES {
                self.write(&batch)?;
                batch.clear();
                bytes = 0;
            }
            bytes += key.len() + value.len();
            batch.put(key, value).map(drop)
        })?;
        self.write(&batch)?;
        self.fsync()?;
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
        match Target::open(path)? {
            Target::Stream(stream) => self.write_lines(stream, path)?,
            Target::File(target) => {
                self.write_lines(&target.file, path)?;
                target.finish()?;
            }
        }
        Ok(self.len() as u64)
    }

    fn write_lines(&self, file: impl Write, path: &Path) -> Result<()> {
        let failed = |error| Error::io("write", path, error);
        let mut out = BufWriter::new(file);
        for slot in sort::by_key(&self.shared)? {
            let record = self.shared.record(&slot)?;
            if let Some(Entry { key, value: Some(value) }) = Entry::parse(record.data()) {
                write_line(&mut out, key, value).map_err(failed)?;
            }
        }
        out.flush().map_err(failed)
    }
}

/// Shows `put` the key and value of each line. Returns how many there were.
fn for_each_line(
    path: &Path,
    file: &File,
    mut put: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<u64> {
    let mut lines = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let read = lines.by_ref().take(limit).read_until(b'\n', &mut line);
        if read.map_err(|error| Error::io("read", path, error))? == 0 {
            return Ok(number - 1);
        }
        let parsed = match line.len() > LINE_BYTES_MAX {
            true => Err(format!("it is longer than {LINE_BYTES_MAX} bytes")),
            false => parse_line(&line),
        };
        let bad = |reason| Error::Line { path: path.to_path_buf(), line: number, reason };
        let (key, value) = parsed.map_err(bad)?;
        put(&key, &value)?;
    }
    Ok(0)
}
