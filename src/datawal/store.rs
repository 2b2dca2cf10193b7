//! Keys and values.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::datawal::entry::Entry;
use crate::datawal::format::RecordType;
use crate::datawal::told::told;
use crate::datawal::{RecordLog, RecordRef};
use crate::kv::partial::{ExportTarget, PartialDir};
use crate::{BackendKind, Durability, Error};

/// What [`DataWal::compact_to`] wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactionStats {
    /// Live keys.
    pub live_keys: u64,
    /// Records; each live key has one.
    pub records_written: u64,
    /// Their bytes, in the measure of [`RecordRef::len`].
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
/// store.fsync()?; // and now a loss of power
/// assert_eq!(store.keys(), [b"pear"]);
/// assert_eq!(store.get(b"pear")?.as_deref(), Some(&b"yellow"[..]));
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct DataWal {
    log: RecordLog,
    /// The newest put of each live key.
    places: HashMap<Vec<u8>, Place>,
}

/// Where a record lies, for the engine and for the caller.
#[derive(Clone, Copy, Debug)]
struct Place {
    record: crate::RecordRef,
    shown: RecordRef,
}

impl DataWal {
    /// Opens the store in a directory, or creates it there. Raw records are not part of it.
    ///
    /// # Errors
    ///
    /// As [`RecordLog::open`].
    pub fn open(dir: &Path) -> Result<Self> {
        DataWal::open_with_backend(dir, BackendKind::Auto)
    }

    /// [`open`](Self::open) that says what executes I/O. The crate datawal has nothing like it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with_backend(dir: &Path, backend: BackendKind) -> Result<Self> {
        let mut places: HashMap<Vec<u8>, Place> = HashMap::new();
        let log = RecordLog::open_showing(dir, backend, &mut |record, placed| {
            let place = Place { record, shown: placed.place };
            match placed.record_type {
                RecordType::Raw => {}
                RecordType::Delete => drop(places.remove(placed.key)),
                RecordType::Put => match places.get_mut(placed.key) {
                    Some(older) => *older = place,
                    None => drop(places.insert(placed.key.to_vec(), place)),
                },
            }
        })?;
        Ok(DataWal { log, places })
    }

    /// The directory, as it was given.
    pub fn dir(&self) -> &Path {
        self.log.dir()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether a key is there. Reads nothing from disk.
    pub fn contains_key(&self, key: &[u8]) -> bool {
        self.places.contains_key(key)
    }

    /// Where the newest put of a key lies, if the key is there. Reads nothing from disk.
    pub fn ref_of(&self, key: &[u8]) -> Option<RecordRef> {
        self.places.get(key).map(|place| place.shown)
    }

    /// The value under a key, in one read; its checksum is verified and its key compared.
    ///
    /// # Errors
    ///
    /// When the value is damaged or cannot be read.
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

    /// All keys and values, in no order, all of them in memory.
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

    /// Puts a value under a key, in place of what is there. When it returns, the put survives the
    /// death of the process, and after [`fsync`](Self::fsync) a loss of power.
    ///
    /// # Errors
    ///
    /// As [`RecordLog::append_record`].
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let written = self.log.append_placed(RecordType::Put, key, value, Durability::Written);
        let (record, shown) = written?;
        self.places.insert(key.to_vec(), Place { record, shown });
        Ok(())
    }

    /// Deletes a key. A record says so even if the key is not there.
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

    /// The log underneath, to look at.
    pub fn log(&self) -> &RecordLog {
        &self.log
    }

    /// Writes the newest put of each live key, sorted by key, into a new store, which has its name
    /// when it is complete and durable. This one does not change.
    ///
    /// # Errors
    ///
    /// When the directory is there and is not empty, when a value is damaged, and when there is no
    /// room: nothing is there then that was not there before.
    pub fn compact_to(&mut self, out_dir: &Path) -> Result<CompactionStats> {
        require_empty(out_dir)?;
        let failed = || format!("datawal: compact_to target {}", out_dir.display());
        let partial = PartialDir::create(out_dir).map_err(told).with_context(failed)?;
        let mut out = RecordLog::open_with_backend(&partial.content(), self.log.backend())?;
        let mut stats = CompactionStats::default();
        for key in self.sorted_keys() {
            let value = self.live_value(&key)?;
            // Closing makes all of it durable at once.
            let written = out.append_placed(RecordType::Put, &key, &value, Durability::Queued)?;
            stats.records_written += 1;
            stats.bytes_written += u64::from(written.1.len);
        }
        stats.live_keys = stats.records_written;
        out.fsync()?;
        out.close()?;
        partial.finish().map_err(told).with_context(failed)?;
        Ok(stats)
    }

    /// Writes all keys and values to a file, one JSON object a line, sorted by key:
    /// `{"key_b64":"...","value_b64":"..."}`, in standard base64. The file appears, or is replaced,
    /// when it is complete and durable, and keeps its mode; directories above it are made. A pipe
    /// or a device is not replaced but written to.
    ///
    /// # Errors
    ///
    /// When a value is damaged, or the file cannot be written: what was under its name stays.
    pub fn export_jsonl(&mut self, out_path: &Path) -> Result<()> {
        if let Some(parent) = out_path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("datawal: create the directory {}", parent.display()))?;
        }
        let failed = || format!("datawal: export to {}", out_path.display());
        match ExportTarget::open(out_path).map_err(told).with_context(failed)? {
            ExportTarget::Stream(stream) => self.write_lines(&stream).with_context(failed),
            ExportTarget::File(target) => {
                self.write_lines(&target.file).with_context(failed)?;
                target.finish().map_err(told).with_context(failed)
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

    /// [`dir`](Self::dir), as a value of its own.
    pub fn dir_path_buf(&self) -> PathBuf {
        self.dir().to_path_buf()
    }

    fn sorted_keys(&self) -> Vec<Vec<u8>> {
        let mut keys = self.keys();
        keys.sort_unstable();
        keys
    }

    fn live_value(&mut self, key: &[u8]) -> Result<Vec<u8>> {
        self.get(key)?.ok_or_else(|| anyhow!("datawal: a key of {} bytes is gone", key.len()))
    }

    fn value(&mut self, key: &[u8], place: Place) -> Result<Vec<u8>> {
        let record = self.log.read(place.record).map_err(|error| {
            let RecordRef { segment, offset, .. } = place.shown;
            let what = match &error {
                Error::Corrupt(_) => "CRC mismatch",
                _ => "read",
            };
            let context = format!("datawal: {what} at segment {segment:08} offset {offset}");
            told(error).context(context)
        })?;
        match Entry::parse(record.data()) {
            Some(Entry::Record { record_type: RecordType::Put, key: found, payload })
                if found == key =>
            {
                let head = record.data().len() - payload.len();
                Ok(record.into_data_after(head))
            }
            _ => {
                let RecordRef { segment, offset, .. } = place.shown;
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
