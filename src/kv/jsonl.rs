//! Export and import: a store to and from a file of JSON lines.
//!
//! ```text
//! {"key_b64": "YXBwbGU=", "value_b64": "Z3JlZW4="}
//! ```
//!
//! 1. An export writes one line for each key, sorted by the bytes of the keys, in standard base64
//!    with padding. It shows the store as of the call.
//! 2. The file gets its name only when it is complete and durable. A stream is written directly.
//! 3. An import reads the file twice: it checks every line, then it puts the pairs. So a bad line
//!    means that nothing was put. A crash in the second pass may leave a part; import again then.
//!
//! Memory: the largest line, and the buffers for sorting.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::path::Path;

use crate::kv::line::{parse_line, write_line};
use crate::kv::partial::ExportTarget;
use crate::kv::record::{KEY_BYTES_MAX, KvRecord, VALUE_BYTES_MAX};
use crate::kv::{DataReader, DataWal, Snapshot, WriteBatch, sort};
use crate::mutation::mutated;
use crate::{Error, Result};

/// The longest line of an import in bytes: the largest key and value, and some space characters.
const LINE_BYTES_MAX: usize = (KEY_BYTES_MAX + VALUE_BYTES_MAX) / 3 * 4 + 4096;
/// Some editors write this at the beginning of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The bytes of keys and values that an import puts in one batch.
const BATCH_BYTES: usize = 1 << 20;

impl DataWal {
    /// Writes all keys and values to a file, one JSON object a line, sorted by key:
    /// `{"key_b64": "...", "value_b64": "..."}`, in standard base64. Returns the number of keys.
    ///
    /// The file appears, or is replaced, when it is complete and durable. A crash may leave an
    /// unfinished file beside it, whose name ends in `.partial`. A replaced file keeps its mode. A
    /// pipe or a character device is written directly.
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
    /// [`Error::Poisoned`]. An existing file stays unchanged. A directory, a socket or a block
    /// device is refused.
    pub fn export_jsonl(&self, path: impl AsRef<Path>) -> Result<u64> {
        self.snapshot()?.export_jsonl(path)
    }

    /// Puts all keys and values of a file in the format of [`export_jsonl`](Self::export_jsonl),
    /// and makes them durable. Returns the number of lines. Keys that are not in the file stay. Of
    /// two lines with the same key, the later one wins.
    ///
    /// # Errors
    ///
    /// [`Error::Line`] for a malformed line; then nothing was put. [`Error::Io`] if the path is not
    /// a regular file, or if the file changed between the passes; in the second case a part may
    /// have been put. That also holds for the errors of [`put`](Self::put).
    pub fn import_jsonl(&self, path: impl AsRef<Path>) -> Result<u64> {
        self.import(path.as_ref(), || ())
    }

    /// `checked` is called between the two passes.
    fn import(&self, path: &Path, checked: impl FnOnce()) -> Result<u64> {
        let refused = |why: &str| {
            Error::io("import", path, std::io::Error::new(ErrorKind::InvalidInput, why))
        };
        // Before opening: to open a pipe that has no writer would block.
        let found = fs::metadata(path).map_err(|error| Error::io("open", path, error))?;
        if !found.is_file() {
            return Err(refused("an import reads its file twice, so it must be a regular file"));
        }
        let mut file = File::open(path).map_err(|error| Error::io("open", path, error))?;
        let expected = for_each_line(path, &file, |_, _| Ok(()))?;
        checked();
        file.rewind().map_err(|error| Error::io("rewind", path, error))?;
        let (mut batch, mut bytes) = (WriteBatch::new(), 0);
        let imported = for_each_line(path, &file, |key, value| {
            if bytes > 0 && bytes + key.len() + value.len() > BATCH_BYTES {
                self.write(&batch)?;
                batch.clear();
                bytes = 0;
            }
            bytes += key.len() + value.len();
            batch.put(key, value).map(drop)
        });
        let changed = "the file changed during the import, and a part of it may have been put; \
                       import it again";
        let imported = match imported {
            // The first pass found no malformed line, so the file has changed since.
            Err(Error::Line { .. }) => return Err(refused(changed)),
            imported => imported?,
        };
        self.write(&batch)?;
        self.fsync()?;
        if imported != expected && !mutated("kv_import_what_changed") {
            return Err(refused(changed));
        }
        Ok(imported.lines)
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
        match ExportTarget::open(path)? {
            ExportTarget::Stream(stream) => self.write_lines(stream, path)?,
            ExportTarget::File(target) => {
                self.write_lines(&target.file, path)?;
                target.finish()?;
            }
        }
        Ok(self.len() as u64)
    }

    fn write_lines(&self, file: impl Write, path: &Path) -> Result<()> {
        let failed = |error| Error::io("write", path, error);
        let mut out = BufWriter::new(file);
        for slot in sort::by_key(&self.inner)? {
            let record = self.inner.record(&slot)?;
            if let Some(KvRecord { key, value: Some(value) }) = KvRecord::parse(record.data()) {
                write_line(&mut out, key, value).map_err(failed)?;
            }
        }
        out.flush().map_err(failed)
    }
}

/// A summary of a pass over a file, to compare the two passes of an import.
#[derive(PartialEq, Eq)]
struct Lines {
    lines: u64,
    /// The hash of all keys and values.
    hash: blake3::Hash,
}

/// Calls `put` with the key and value of each line. Skips a byte-order mark before the first line
/// and blank lines after the last one, which editors add.
fn for_each_line(
    path: &Path,
    file: &File,
    mut put: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<Lines> {
    let (mut lines, mut hasher) = (BufReader::new(file), blake3::Hasher::new());
    let (mut line, mut blank_from) = (Vec::new(), None);
    for number in 1.. {
        line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let read = lines.by_ref().take(limit).read_until(b'\n', &mut line);
        if read.map_err(|error| Error::io("read", path, error))? == 0 {
            let lines = blank_from.unwrap_or(number) - 1;
            return Ok(Lines { lines, hash: hasher.finalize() });
        }
        let text = match number {
            1 => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line),
            _ => &line[..],
        };
        if line.len() <= LINE_BYTES_MAX && text.trim_ascii().is_empty() {
            blank_from = blank_from.or(Some(number));
            continue;
        }
        let parsed = match line.len() > LINE_BYTES_MAX {
            true => Err(format!("it is longer than {LINE_BYTES_MAX} bytes")),
            // Blank lines are allowed only at the end.
            false if blank_from.is_some() => parse_line(b""),
            false => parse_line(text),
        };
        let number = blank_from.unwrap_or(number);
        let bad = |reason| Error::Line { path: path.to_path_buf(), line: number, reason };
        let (key, value) = parsed.map_err(bad)?;
        hasher.update(&(key.len() as u64).to_le_bytes()).update(&key);
        hasher.update(&(value.len() as u64).to_le_bytes()).update(&value);
        put(&key, &value)?;
    }
    Ok(Lines { lines: 0, hash: hasher.finalize() })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::kv::handle::tests::store;

    #[test]
    fn an_import_of_a_file_that_changes_meanwhile_says_that_a_part_may_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir.path().join("store"));
        let path = dir.path().join("in.jsonl");
        let line = |key| format!("{{\"key_b64\": \"{key}\", \"value_b64\": \"\"}}\n");
        let two = line("YQ==") + &line("Yg==");
        for after in [line("YQ==") + "no line", line("YQ=="), line("YQ==") + &line("Yw==")] {
            fs::write(&path, &two).unwrap();
            let changed = store.import(&path, || fs::write(&path, &after).unwrap());
            let told = changed.unwrap_err().to_string();
            assert!(
                told.contains(
                    "the file changed during the import, and a part of it may have been put"
                ),
                "{told}"
            );
        }
    }
}
