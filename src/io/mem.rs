//! A directory in memory, for unit tests, which lists the changes that were made to it.
//!
//! Unlike the simulated disk it leaves nothing to chance: a test puts files there byte by byte, and
//! a change that fails has no effect at all. So a test can name exactly the bytes and the steps
//! that it expects. [`SimDisk`](crate::io::SimDisk) is for properties that hold whatever a crash
//! does.

use crate::sync::plain::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::io::{Access, LockGuard, Storage, StorageFile};

/// The directory. A clone is the same directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    inner: Arc<Mutex<MemoryInner>>,
}

#[derive(Debug, Default)]
struct MemoryInner {
    files: BTreeMap<String, Arc<Mutex<Vec<u8>>>>,
    changes: Vec<String>,
    /// How many further changes succeed; every change after them fails.
    fail_at: Option<usize>,
    /// The error of every listing.
    list_fails: Option<io::ErrorKind>,
}

impl Memory {
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        self.inner().files.insert(name.to_owned(), Arc::new(Mutex::new(bytes)));
    }

    pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.inner().files.get(name).map(|file| file.lock().clone())
    }

    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let file = Arc::clone(&self.inner().files[name]);
        edit(&mut file.lock());
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.inner().files.keys().cloned().collect()
    }

    /// The changes and syncs in order, as `operation name`.
    pub(crate) fn changes(&self) -> Vec<String> {
        self.inner().changes.clone()
    }

    pub(crate) fn forget_changes(&self) {
        self.inner().changes.clear();
    }

    /// Lets the change number `index`, counted from now, and all after it fail without an effect.
    pub(crate) fn fail_from(&self, index: Option<usize>) {
        self.inner().fail_at = index;
    }

    /// Lets every listing fail.
    pub(crate) fn fail_list(&self, kind: io::ErrorKind) {
        self.inner().list_fails = Some(kind);
    }

    /// A separate directory with the same content.
    pub(crate) fn copy(&self) -> Memory {
        let copy = Memory::default();
        for name in self.names() {
            copy.put(&name, self.get(&name).unwrap());
        }
        copy
    }

    fn inner(&self) -> MutexGuard<'_, MemoryInner> {
        self.inner.lock()
    }

    fn change(&self, op: &'static str, name: &str) -> Result<()> {
        let mut inner = self.inner();
        match &mut inner.fail_at {
            Some(0) => return Err(Error::io(op, path(name), io::Error::other("asked to fail"))),
            Some(left) => *left -= 1,
            None => {}
        }
        inner.changes.push(format!("{op} {name}"));
        Ok(())
    }
}

impl Storage for Memory {
    fn dir(&self) -> &Path {
        Path::new("/memory")
    }

    fn list(&self) -> Result<Vec<String>> {
        if let Some(kind) = self.inner().list_fails {
            return Err(Error::io("list", self.dir(), kind.into()));
        }
        Ok(self.names())
    }

    fn open(&self, name: &str, access: Access) -> Result<Box<dyn StorageFile>> {
        if access == Access::Create {
            self.change("create", name)?;
            self.put(name, Vec::new());
        }
        let bytes = self.inner().files.get(name).cloned();
        let bytes = bytes.ok_or_else(|| missing("open", name))?;
        Ok(Box::new(MemoryFile { name: name.to_owned(), bytes, dir: self.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.change("rename", to)?;
        let mut inner = self.inner();
        let file = inner.files.remove(from).ok_or_else(|| missing("rename", from))?;
        inner.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.change("remove", name)?;
        self.inner().files.remove(name).map(drop).ok_or_else(|| missing("remove", name))
    }

    fn sync_dir(&self) -> Result<()> {
        self.change("sync", ".")
    }

    fn lock(&self, _name: &str) -> Result<Box<dyn LockGuard>> {
        Ok(Box::new(NoLock))
    }
}

#[derive(Debug)]
struct NoLock;

impl LockGuard for NoLock {}

#[derive(Debug)]
struct MemoryFile {
    name: String,
    bytes: Arc<Mutex<Vec<u8>>>,
    dir: Memory,
}

impl StorageFile for MemoryFile {
    fn bytes(&self) -> Result<u64> {
        Ok(self.bytes.lock().len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let bytes = self.bytes.lock();
        let from = bytes.get(offset as usize..).unwrap_or(&[]);
        let len = from.len().min(buf.len());
        buf[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        self.dir.change("write", &self.name)?;
        let mut bytes = self.bytes.lock();
        let end = offset as usize + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(data);
        Ok(())
    }

    fn write_zeros(&self, from: u64, to: u64) -> Result<()> {
        self.write_at(&vec![0; (to - from) as usize], from)
    }

    fn set_bytes(&self, bytes: u64) -> Result<()> {
        self.dir.change("cut", &self.name)?;
        self.bytes.lock().resize(bytes as usize, 0);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.dir.change("sync", &self.name)
    }
}

fn missing(op: &'static str, name: &str) -> Error {
    Error::io(op, path(name), io::ErrorKind::NotFound.into())
}

fn path(name: &str) -> PathBuf {
    Path::new("/memory").join(name)
}

/// The id of the log that the segments belong to, and its tag.
pub(crate) const LOG_ID: [u8; 16] = [7; 16];
pub(crate) const LOG_TAG: u64 = u64::from_le_bytes([7; 8]);

/// Segments as bytes, batch by batch.
#[derive(Clone, Debug)]
pub(crate) struct SegmentBytes {
    pub(crate) bytes: Vec<u8>,
    /// The number in the segment's name.
    pub(crate) first_seq: u64,
    pub(crate) log_tag: u64,
    pub(crate) unit_log2: u8,
    pub(crate) salt: u64,
    pub(crate) next_seq: u64,
    /// The watermark that batches state; `None` for "everything before this batch".
    pub(crate) durable_seq: Option<u64>,
}

impl SegmentBytes {
    pub(crate) fn new(first_seq: u64, salt: u64) -> SegmentBytes {
        let bytes = Vec::new();
        let next_seq = first_seq;
        let (log_tag, unit_log2) = (LOG_TAG, 12);
        SegmentBytes { bytes, first_seq, log_tag, unit_log2, salt, next_seq, durable_seq: None }
    }

    /// Adds a batch of `count` records, each of which holds its number.
    pub(crate) fn batch(mut self, count: u32) -> SegmentBytes {
        use crate::format::{BatchHeader, HEADER_SIZE, Place, RecordHead, push_record, seal};
        let first_seq = self.next_seq;
        let records: Vec<_> = (0..u64::from(count)).map(|i| record(first_seq + i)).collect();
        let payload_bytes = records.iter().map(|bytes| 8 + bytes.len() as u32).sum();
        let header = BatchHeader {
            unit_log2: self.unit_log2,
            shard: 0,
            first_seq,
            time_nanos: 1,
            salt: self.salt,
            durable_seq: self.durable_seq.unwrap_or(first_seq - 1),
            records: count,
            payload_bytes,
        };
        let mut frame = vec![0; header.frame_bytes() as usize];
        let (mut at, mut heads) = (HEADER_SIZE, Vec::new());
        for bytes in &records {
            let head = RecordHead::of(bytes);
            heads.extend(head.to_bytes());
            at = push_record(&mut frame, at, head, bytes);
        }
        let place = Place { log: Some(self.log_tag), segment: self.first_seq };
        seal(&mut frame, Some(&place), &header, &heads);
        self.bytes.extend(frame);
        self.next_seq += u64::from(count);
        self
    }

    /// Lets further batches state this watermark.
    pub(crate) fn durable(mut self, seq: u64) -> SegmentBytes {
        self.durable_seq = Some(seq);
        self
    }

    /// Adds arbitrary bytes.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> SegmentBytes {
        self.bytes.extend(bytes);
        self
    }
}

/// The bytes of the record with this number.
pub(crate) fn record(seq: u64) -> Vec<u8> {
    format!("record {seq}").into_bytes()
}
