//! `DataWal`: keys and values over a record log.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::datawal::entry::Entry;
use crate::datawal::errors::to_anyhow;
use crate::datawal::format::RecordType;
use crate::datawal::{RecordLog, RecordRef};
use crate::kv::partial::{ExportTarget, PartialDir};
use crate::{BackendKind, Durability, Error};

/// The result of [`DataWal::compact_to`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactionStats {
    /// Live keys.
    pub live_keys: u64,
    /// Records: one for each live key.
    pub records_written: u64,
    /// Their bytes, as [`RecordRef::len`] counts them.
    pub bytes_written: u64,
}

/// Keys and values over a [`RecordLog`], for one writer: see [the module](crate::datawal).
///
/// ```
/// use ringwal::datawal::DataWal;
///
/// let dir = tempfile::tempdir()?;
/// let mut store = DataWal::open(dir.path())?;
/// store.put(b"apple", b"green")?; // survives the death of the process
/// store.put(b"pear", b"yellow")?;
/// store.delete(b"apple")?;
/// store.fsync()?; // now it survives a loss of power
/// assert_eq!(store.keys(), [b"pear"]);
/// assert_eq!(store.get(b"pear")?.as_deref(), Some(&b"yellow"[..]));
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct DataWal {
    log: RecordLog,
    /// The newest put of each live key.
    places: HashMap<Vec<u8>, KeyPlace>,
}

/// The place of a put, for the engine and for the caller.
#[derive(Clone, Copy, Debug)]
struct KeyPlace {
    record: crate::RecordRef,
    public: RecordRef,
}

impl DataWal {
    /// Opens the store in a directory, or creates it there. It ignores raw records.
    ///
    /// # Errors
    ///
    /// As [`RecordLog::open`].
    pub fn open(dir: &Path) -> Result<Self> {
        DataWal::open_with_backend(dir, BackendKind::Auto)
    }

    /// [`open`](Self::open) with an I/O backend. The crate datawal has no such function.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with_backend(dir: &Path, backend: BackendKind) -> Result<Self> {
        let mut places: HashMap<Vec<u8>, KeyPlace> = HashMap::new();
        let log = RecordLog::open_replaying(dir, backend, &mut |record, logged| {
            let place = KeyPlace { record, public: logged.place };
            match logged.record_type {
                RecordType::Raw => {}
                RecordType::Delete => drop(places.remove(logged.key)),
                RecordType::Put => match places.get_mut(logged.key) {
                    Some(older) => *older = place,
                    None => drop(places.insert(logged.key.to_vec(), place)),
                },
            }
        })?;
        Ok(DataWal { log, places })
    }

    /// The directory, as it was given.
    pub fn dir(&self) -> &Path {
        self.log.dir()
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether a key exists. Reads nothing from disk.
    pub fn contains_key(&self, key: &[u8]) -> bool {
        self.places.contains_key(key)
    }

    /// The place of the newest put of a key, if the key exists. Reads nothing from disk.
    pub fn ref_of(&self, key: &[u8]) -> Option<RecordRef> {
        self.places.get(key).map(|place| place.public)
    }

    /// The value under a key. Takes one read, verifies the checksum and compares the key.
    ///
    /// # Errors
    ///
    /// If the value is damaged or cannot be read.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.places.get(key) {
            Some(&place) => self.value(key, place).map(Some),
            None => Ok(None),
        }
    }

    /// All keys, in no order.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.places.keys().cloned().collect()
    }

    /// All keys and values, in no order, all in memory.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn items(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut items = Vec::with_capacity(self.len());
        for key in self.keys() {
            let value = self.live_value(&key)?;
            items.push((key, value));
        }
        Ok(items)
    }

    /// Puts a value under a key and replaces the old value. When this returns, the put survives the
    /// death of the process; after [`fsync`](Self::fsync), it survives a loss of power.
    ///
    /// # Errors
    ///
    /// As [`RecordLog::append_record`].
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let written = self.log.append_placed(RecordType::Put, key, value, Durability::Written);
        let (record, public) = written?;
        self.places.insert(key.to_vec(), KeyPlace { record, public });
        Ok(())
    }

    /// Deletes a key. Writes a record even if the key does not exist.
    ///
    /// # Errors
    ///
    /// As [`RecordLog::append_record`].
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.log.append_record(RecordType::Delete, key, b"")?;
        self.places.remove(key);
        Ok(())
    }

    /// Blocks until everything so far survives a loss of power.
    ///
    /// # Errors
    ///
    /// As [`RecordLog::fsync`].
    pub fn fsync(&mut self) -> Result<()> {
        self.log.fsync()
    }

    /// The record log underneath.
    pub fn log(&self) -> &RecordLog {
        &self.log
    }

    /// Writes the newest put of each live key, sorted by key, into a new store. The directory gets
    /// its name when it is complete and durable. This store does not change.
    ///
    /// # Errors
    ///
    /// If the directory exists and is not empty, if a value is damaged, or if the disk is full.
    /// Then nothing new is left.
    pub fn compact_to(&mut self, out_dir: &Path) -> Result<CompactionStats> {
        require_empty(out_dir)?;
        let failed = || format!("datawal: compact_to target {}", out_dir.display());
        let partial = PartialDir::create(out_dir).map_err(to_anyhow).with_context(failed)?;
        let mut out = RecordLog::open_with_backend(&partial.content(), self.log.backend())?;
        let mut stats = CompactionStats::default();
        for key in self.sorted_keys() {
            let value = self.live_value(&key)?;
            // `fsync` below makes all records durable at once.
            let written = out.append_placed(RecordType::Put, &key, &value, Durability::Queued)?;
            stats.records_written += 1;
            stats.bytes_written += u64::from(written.1.len);
        }
        stats.live_keys = stats.records_written;
        out.fsync()?;
        out.close()?;
        partial.finish().map_err(to_anyhow).with_context(failed)?;
        Ok(stats)
    }

    /// Writes all keys and values to a file, one JSON object a line, sorted by key:
    /// `{"key_b64":"...","value_b64":"..."}`, in standard base64. The file appears, or is replaced,
    /// when it is complete and durable. A replaced file keeps its mode; missing parent directories
    /// are created. A pipe or a device is written directly.
    ///
    /// # Errors
    ///
    /// If a value is damaged or the file cannot be written. Then an existing file stays unchanged.
    pub fn export_jsonl(&mut self, out_path: &Path) -> Result<()> {
        if let Some(parent) = out_path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("datawal: create the directory {}", parent.display()))?;
        }
        let failed = || format!("datawal: export to {}", out_path.display());
        match ExportTarget::open(out_path).map_err(to_anyhow).with_context(failed)? {
            ExportTarget::Stream(stream) => self.write_lines(&stream).with_context(failed),
            ExportTarget::File(target) => {
                self.write_lines(&target.file).with_context(failed)?;
                target.finish().map_err(to_anyhow).with_context(failed)
            }
        }
    }

    fn write_lines(&mut self, out: &File) -> Result<()> {
        let mut out = BufWriter::new(out);
        for key in self.sorted_keys() {
            let (key_b64, value) = (STANDARD.encode(&key), self.live_value(&key)?);
            let value_b64 = STANDARD.encode(value);
            writeln!(out, r#"{{"key_b64":"{key_b64}","value_b64":"{value_b64}"}}"#)?;
        }
        Ok(out.flush()?)
    }

    /// [`dir`](Self::dir) as an owned path.
    pub fn dir_path_buf(&self) -> PathBuf {
        self.dir().to_path_buf()
    }

    fn sorted_keys(&self) -> Vec<Vec<u8>> {
        let mut keys = self.keys();
        keys.sort_unstable();
        keys
    }

    fn live_value(&mut self, key: &[u8]) -> Result<Vec<u8>> {
        self.get(key)?
            .ok_or_else(|| anyhow!("datawal: a key of {} bytes no longer exists", key.len()))
    }

    fn value(&mut self, key: &[u8], place: KeyPlace) -> Result<Vec<u8>> {
        let record = self.log.read(place.record).map_err(|error| {
            let RecordRef { segment, offset, .. } = place.public;
            let what = match &error {
                Error::Corrupt(_) => "CRC mismatch",
                _ => "read",
            };
            let context = format!("datawal: {what} at segment {segment:08} offset {offset}");
            to_anyhow(error).context(context)
        })?;
        match Entry::parse(record.data()) {
            Some(Entry::Record { record_type: RecordType::Put, key: found, payload })
                if found == key =>
            {
                let head = record.data().len() - payload.len();
                Ok(record.into_data_after(head))
            }
            _ => {
                let RecordRef { segment, offset, .. } = place.public;
                bail!(
                    "datawal: decode error at segment {segment:08} offset {offset}: another record \
                     is there"
                )
            }
        }
    }
}

fn require_empty(dir: &Path) -> Result<()> {
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("datawal: list {}", dir.display()));
        }
    };
    if entries.next().is_some() {
        bail!(
            "datawal: compact_to target {} is not empty; refusing to overwrite; name a \
             new or an empty directory",
            dir.display()
        );
    }
    Ok(())
}
