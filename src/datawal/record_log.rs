//! `RecordLog`: a log of typed records with keys, open to one writer.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use crate::datawal::engine::{self, refuse_unimported};
use crate::datawal::entry;
use crate::datawal::errors::to_anyhow;
use crate::datawal::format::{RecordType, checked_lengths};
use crate::datawal::record::{Cursor, LoggedRecord};
use crate::datawal::{Record, RecordIter, RecordRef, RecoveryReport};
use crate::mutation::mutated;
use crate::{BackendKind, Durability, Error, Log, Reader};

/// A log of typed records with keys, open to one writer: see [the module](crate::datawal).
///
/// A write that fails ends the handle: every later write fails with `datawal: writer poisoned: ...;
/// drop handle and reopen`. The handle can still read. A record that is refused for its length does
/// not end the handle.
///
/// ```
/// use ringwal::datawal::{RecordLog, RecordType};
///
/// let dir = tempfile::tempdir()?;
/// let mut log = RecordLog::open(dir.path())?;
/// let place = log.append(b"raw bytes")?;
/// assert_eq!((place.segment, place.offset, place.len), (1, 0, 28 + 9));
/// log.append_record(RecordType::Put, b"key", b"value")?; // survives the death of the process
/// log.fsync()?; // and now a loss of power
/// let records = log.scan()?;
/// assert_eq!((records[1].txid, &records[1].key[..]), (2, &b"key"[..]));
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct RecordLog {
    dir: PathBuf,
    log: Log,
    backend: BackendKind,
    /// The place of the next record.
    cursor: Cursor,
    report: RecoveryReport,
    poisoned: Option<&'static str>,
    /// Reads from disk after the engine's log has failed.
    fallback: Option<Reader>,
}

impl RecordLog {
    /// Opens the log in a directory, or creates it there.
    ///
    /// # Errors
    ///
    /// If the log is open already, if the directory has files of the crate datawal (then
    /// [`import`](crate::datawal::import) them), if acknowledged records are damaged or missing, or
    /// if files cannot be made or read. The cause is a [`ringwal::Error`](crate::Error).
    pub fn open(dir: &Path) -> Result<Self> {
        RecordLog::open_with_backend(dir, BackendKind::Auto)
    }

    /// [`open`](Self::open) with an I/O backend. The crate datawal has no such function.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with_backend(dir: &Path, backend: BackendKind) -> Result<Self> {
        RecordLog::open_replaying(dir, backend, &mut |_, _| ())
    }

    /// Opens the log and calls `on_record` with every record and its place in the engine.
    pub(crate) fn open_replaying(
        dir: &Path,
        backend: BackendKind,
        on_record: &mut dyn FnMut(crate::RecordRef, LoggedRecord<'_>),
    ) -> Result<RecordLog> {
        engine::refuse_file(dir)?;
        refuse_unimported(dir)?;
        engine::begin_among_other_files(dir, backend)?;
        let mut cursor = Cursor::FIRST;
        let opened = engine::builder(dir, backend).open_replaying(|place, bytes| {
            if let Some(record) = cursor.take(bytes, dir, place.seq())? {
                on_record(place, record);
            }
            Ok(())
        });
        let log = opened.map_err(|error| {
            let what = match &error {
                Error::Locked { .. } => "log directory is already locked",
                _ => "open log directory",
            };
            to_anyhow(error).context(format!("datawal: {what}: {}", dir.display()))
        })?;
        let mut report = RecoveryReport::default();
        report.add_records(cursor);
        report.add_tail(log.recovery());
        let (dir, poisoned, fallback) = (dir.to_path_buf(), None, None);
        Ok(RecordLog { dir, log, backend, cursor, report, poisoned, fallback })
    }

    /// Whether a write has failed, so that the handle can only read.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.is_some()
    }

    #[doc(hidden)]
    pub fn __set_poisoned_for_test(&mut self, reason: &'static str) {
        self.poisoned = Some(reason);
    }

    /// The directory, as it was given.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The segment of the next record.
    pub fn active_segment(&self) -> u32 {
        self.cursor.segment
    }

    /// The report of the opening or the last [`scan`](Self::scan).
    ///
    /// # Errors
    ///
    /// None.
    pub fn recovery_report(&self) -> Result<RecoveryReport> {
        Ok(self.report.clone())
    }

    /// Appends a raw record without a key. When this returns, the record survives the death of the
    /// process; after [`fsync`](Self::fsync), it survives a loss of power.
    ///
    /// # Errors
    ///
    /// As [`append_record`](Self::append_record).
    pub fn append(&mut self, payload: &[u8]) -> Result<RecordRef> {
        self.append_record(RecordType::Raw, b"", payload)
    }

    /// Appends a record; see [`append`](Self::append).
    ///
    /// # Errors
    ///
    /// If the key or the payload is too long; that changes nothing. If the record cannot be
    /// written, also on a full disk; that ends the handle.
    pub fn append_record(
        &mut self,
        record_type: RecordType,
        key: &[u8],
        payload: &[u8],
    ) -> Result<RecordRef> {
        self.append_placed(record_type, key, payload, Durability::Written).map(|(_, place)| place)
    }

    /// Appends a record. Returns its place in the engine, and its place for the caller.
    pub(crate) fn append_placed(
        &mut self,
        record_type: RecordType,
        key: &[u8],
        payload: &[u8],
        durability: Durability,
    ) -> Result<(crate::RecordRef, RecordRef)> {
        self.check_poisoned()?;
        checked_lengths(key, payload)?;
        let bytes = entry::encode(record_type, key, payload);
        let done = self.log.append_noting(bytes, durability, |_| ());
        let commit = self.or_poison(done, "append_record failed")?;
        Ok((commit.record_ref(), self.cursor.advance(key, payload)))
    }

    /// All records, oldest first, all in memory.
    ///
    /// # Errors
    ///
    /// As [`scan_iter`](Self::scan_iter) and its items.
    pub fn scan(&mut self) -> Result<Vec<Record>> {
        let mut records = self.scan_iter()?;
        let found = records.by_ref().collect::<Result<Vec<_>>>()?;
        self.report = records.recovery_report();
        Ok(found)
    }

    /// Iterates over all records, oldest first. Records that are only written become durable first:
    /// the engine's reader shows durable records only.
    ///
    /// # Errors
    ///
    /// If the files cannot be read. Damage is an item of the iterator.
    pub fn scan_iter(&self) -> Result<RecordIter<'_>> {
        let found = Some(self.log.recovery().clone());
        let live = match self.poisoned {
            None => self.log.flush().and_then(|_| self.log.reader()).ok(),
            Some(_) => None,
        };
        let reader = match live {
            Some(reader) => reader,
            None => self.read_only()?,
        };
        Ok(RecordIter::new(self.dir.clone(), Some(reader), u32::MAX, found))
    }

    /// Makes all records durable and begins the next segment. This removes nothing and begins no
    /// file: a segment is a number here.
    ///
    /// # Errors
    ///
    /// If it cannot be written, and as [`fsync`](Self::fsync); that ends the handle.
    pub fn rotate(&mut self) -> Result<()> {
        self.check_poisoned()?;
        let Some(id) = self.cursor.segment.checked_add(1) else {
            bail!("datawal: segment id overflow at {}; no id is left", self.cursor.segment);
        };
        let begun = self.log.at(Durability::Synced).append(entry::encode_new_segment(id));
        let begun = begun.and_then(|_| self.check_place());
        self.or_poison(begun, "rotate failed")?;
        self.cursor.begin_segment(id);
        Ok(())
    }

    /// Blocks until all records so far survive a loss of power.
    ///
    /// # Errors
    ///
    /// If they cannot be made durable, or if the directory was removed or replaced, so that no
    /// program would find them; that ends the handle.
    pub fn fsync(&mut self) -> Result<()> {
        self.check_poisoned()?;
        let flushed = self.log.flush().and_then(|_| self.check_place());
        self.or_poison(flushed, "fsync failed").map(drop)
    }

    /// Makes all records durable and releases the log. Dropping the handle does the same, but
    /// cannot report an error.
    ///
    /// # Errors
    ///
    /// If they cannot be made durable. A handle that has failed before closes without an error.
    pub fn close(self) -> Result<()> {
        match self.log.close() {
            Err(_) if self.is_poisoned() => Ok(()),
            closed => closed
                .map_err(to_anyhow)
                .with_context(|| format!("datawal: close {}", self.dir.display())),
        }
    }

    pub(crate) fn backend(&self) -> BackendKind {
        self.backend
    }

    /// Reads a record by its place in the engine.
    pub(crate) fn read(&mut self, place: crate::RecordRef) -> crate::Result<crate::Record> {
        match self.log.read(place) {
            Err(Error::Poisoned(_)) => {}
            read => return read,
        }
        if self.fallback.is_none() {
            self.fallback = Some(engine::builder(&self.dir, self.backend).read_only()?);
        }
        match &self.fallback {
            Some(reader) => reader.read(place),
            None => Err(Error::Closed),
        }
    }

    fn read_only(&self) -> Result<Reader> {
        let reader = engine::builder(&self.dir, self.backend).read_only();
        reader.map_err(to_anyhow).with_context(|| format!("datawal: read {}", self.dir.display()))
    }

    /// Checks that the log's path still leads to this log.
    fn check_place(&self) -> crate::Result<()> {
        match mutated("datawal_sync_what_nobody_finds") {
            true => Ok(()),
            false => self.log.check_place(),
        }
    }

    fn check_poisoned(&self) -> Result<()> {
        match self.poisoned {
            None => Ok(()),
            Some(reason) => {
                Err(anyhow!("datawal: writer poisoned: {reason}; drop handle and reopen"))
            }
        }
    }

    /// Ends the handle if a write has failed.
    fn or_poison<T>(&mut self, done: crate::Result<T>, reason: &'static str) -> Result<T> {
        done.map_err(|error| {
            // These two errors come before any write.
            if !matches!(error, Error::Forked { .. } | Error::InWaker) {
                self.poisoned = Some(reason);
            }
            let dir = self.dir.display();
            let way = if self.is_poisoned() { "; drop handle and reopen" } else { "" };
            to_anyhow(error).context(format!("datawal: {reason} in {dir}{way}"))
        })
    }
}
