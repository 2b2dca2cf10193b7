//! Imports a directory of the crate datawal into a new log of this crate.
//!
//! 1. Every record of the source that is valid in its format becomes one record here, in the same
//!    order, including raw records, deletes and overwritten puts. Rotations are dropped: a
//!    key-value log cannot represent them.
//! 2. A torn record, or one whose checksum does not match, ends the last file, as in the crate
//!    datawal. In any other file it is damage, and so are bytes that are no record at all: the
//!    crate datawal refuses to open such a directory.
//! 3. The report lists the bytes that are left behind: file, offset, length, whole records, reason.
//! 4. The source does not change. The import holds its lock meanwhile, if it has one.
//! 5. The new directory gets its name only when it is complete and durable.
//!
//! Memory: the largest record.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::datawal::format::{CRC_LEN, HEADER_LEN, Header, RecordType, crc_holds};
use crate::datawal::leftover::whole_records;
use crate::datawal::{engine, entry, segment};
use crate::kv::partial::PartialDir;
use crate::mutation::mutated;
use crate::{BackendKind, Durability, Error, Log, Result};

/// The lock file of the crate datawal.
const THEIR_LOCK: &str = ".lock";
/// The bytes of one read.
const BUFFER_BYTES: usize = 1 << 20;

/// The report of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// The files of the source.
    pub files: u64,
    /// The imported records; the next three count parts of them.
    pub records: u64,
    /// Puts.
    pub puts: u64,
    /// Deletes.
    pub deletes: u64,
    /// Raw records, which belong to no key.
    pub raws: u64,
    /// Imported records that a key-value log cannot represent: raw ones, those of the empty key,
    /// and deletes with a payload. If there are none, [`kv::DataWal`](crate::kv::DataWal) opens the
    /// new directory, too.
    pub records_not_for_kv: u64,
    /// Numbers up to the last record that no record has, because files of the source were removed.
    pub records_missing: u64,
    /// The parts of the source that were not imported, in order.
    pub left_behind: Vec<LeftBehind>,
}

/// A part of a file of the source that was not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftBehind {
    /// The file.
    pub path: PathBuf,
    /// The offset of the first byte that was not imported.
    pub offset: u64,
    /// The bytes from there to the end of the file.
    pub bytes: u64,
    /// The whole records in these bytes. A torn tail has none, unless the crate datawal has
    /// appended to it since; the crate datawal does not show those records, either.
    pub records: u64,
    /// The reason.
    pub reason: String,
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Imported { files, records, puts, deletes, raws, .. } = *self;
        let (records, files) = (counted(records, "record"), counted(files, "file"));
        let (puts, deletes) = (counted(puts, "put"), counted(deletes, "delete"));
        write!(f, "imported {records} of {files}: {puts}, {deletes}, {raws} raw")?;
        if self.records_not_for_kv > 0 {
            let records = counted(self.records_not_for_kv, "record");
            write!(f, "\nnot for a key-value log: {records}; it opens with ringwal::datawal only")?;
        }
        if self.records_missing > 0 {
            let records = counted(self.records_missing, "record");
            write!(f, "\nmissing: {records}; files of the source were removed before")?;
        }
        self.left_behind.iter().try_for_each(|part| write!(f, "\n{part}"))
    }
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LeftBehind { path, offset, bytes, records, reason } = self;
        write!(f, "left behind: {bytes} bytes of {}, from byte {offset} on", path.display())?;
        if *records > 0 {
            write!(f, ", with {}", counted(*records, "whole record"))?;
        }
        write!(f, ": {reason}")
    }
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// Imports a directory of the crate datawal, version 0.1, into the directory `to`, which must not
/// exist or be empty. The new log is made in a temporary directory beside `to` whose name ends in
/// `.partial`, and renamed when it is complete. The next import removes what a killed one has left.
///
/// ```
/// use ringwal::datawal::format::encode_record;
/// use ringwal::datawal::{RecordType, import};
///
/// # let dir = tempfile::tempdir()?;
/// # let (old, new) = (dir.path().join("old"), dir.path().join("new"));
/// # std::fs::create_dir(&old)?;
/// # std::fs::write(old.join("00000001.dwal"), encode_record(RecordType::Put, 1, b"k", b"v")?)?;
/// let imported = import(&old, &new)?;
/// assert_eq!((imported.records, imported.left_behind.len()), (1, 0));
/// let store = ringwal::kv::DataWal::open(&new)?;
/// assert_eq!(store.get("k")?.as_deref(), Some(&b"v"[..]));
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Import`] if the source is damaged so that the crate datawal does not open it, either;
/// [`Error::NotALog`] if it has no files of that crate; [`Error::Locked`] if a program has it open;
/// [`Error::NotEmpty`]; and as [`Log::open`]. Then nothing is imported.
pub fn import(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Imported> {
    run(from.as_ref(), to.as_ref(), OnDamage::Refuse)
}

/// Like [`import`], but imports the records before the first damage and reports the rest.
///
/// # Errors
///
/// As [`import`], without [`Error::Import`].
pub fn import_up_to_damage(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Imported> {
    run(from.as_ref(), to.as_ref(), OnDamage::Stop)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OnDamage {
    Refuse,
    Stop,
}

fn run(from: &Path, to: &Path, on_damage: OnDamage) -> Result<Imported> {
    let ids = segment::list(from)?;
    if ids.is_empty() {
        let reason = "it has no file of the crate datawal, such as 00000001.dwal".to_owned();
        return Err(Error::NotALog { path: from.to_path_buf(), reason });
    }
    require_outside(from, to)?;
    let _lock = lock(from)?;
    let partial = PartialDir::create(to)?;
    let imported = copy(from, &ids, &partial.content(), on_damage)?;
    partial.finish()?;
    Ok(imported)
}

/// An error if the new directory would lie in the source, which must not change.
fn require_outside(from: &Path, to: &Path) -> Result<()> {
    let inside = to.ancestors().skip(1).any(|above| {
        let above = if above == Path::new("") { Path::new(".") } else { above };
        let [Ok(above), Ok(from)] = [above, from].map(std::fs::canonicalize) else { return false };
        above == from
    });
    match inside && !mutated("datawal_import_into_the_source") {
        true => {
            let source = std::io::Error::new(
                ErrorKind::InvalidInput,
                "it is inside the directory that is imported; name another place",
            );
            Err(Error::io("make a log in", to, source))
        }
        false => Ok(()),
    }
}

/// Takes the lock of the crate datawal, without writing to its file.
fn lock(from: &Path) -> Result<Option<File>> {
    let path = from.join(THEIR_LOCK);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path, error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // The number only helps the message.
            let _ = file.read_to_string(&mut pid);
            Err(Error::Locked { path, pid: pid.trim().parse().ok() })
        }
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path, error)),
    }
}

fn copy(from: &Path, ids: &[u32], to: &Path, on_damage: OnDamage) -> Result<Imported> {
    let builder = engine::builder(to, BackendKind::Auto);
    let log = builder.segment_bytes(engine::BULK_SEGMENT_BYTES).open()?;
    let mut imported = Imported { files: ids.len() as u64, ..Imported::default() };
    let mut last_txid = 0;
    let mut damaged = None;
    for &id in ids {
        let mut file = SourceFile::open(segment::segment_path(from, id))?;
        if let Some(first) = &damaged {
            imported.left_behind.push(file.rest(format!("it comes after the damage in {first}"))?);
            continue;
        }
        let stop = loop {
            match file.next()? {
                SourceItem::End => break None,
                SourceItem::Stop(stop) => break Some(stop),
                SourceItem::Record(header) => {
                    append(&log, &mut imported, header.record_type, file.body(header))?;
                    let next = u64::saturating_add(last_txid, 1);
                    imported.records_missing += header.txid.saturating_sub(next);
                    last_txid = last_txid.max(header.txid);
                }
            }
        };
        let Some(SourceStop { is_torn, reason }) = stop else { continue };
        let is_last = Some(&id) == ids.last() || mutated("datawal_tears_anywhere");
        if is_torn && is_last {
            let reason = format!("{reason}, as after an interrupted write");
            imported.left_behind.push(file.rest(reason)?);
        } else if on_damage == OnDamage::Stop {
            imported.left_behind.push(file.rest(reason)?);
            damaged = Some(file.path.display().to_string());
        } else {
            let reason = format!("{reason}; records before it: {}", imported.records);
            return Err(Error::Import { path: file.path, offset: file.offset, reason });
        }
    }
    // Closing makes all records durable at once.
    log.close()?;
    Ok(imported)
}

fn append(
    log: &Log,
    imported: &mut Imported,
    record_type: RecordType,
    (key, payload): (&[u8], &[u8]),
) -> Result<()> {
    let bytes = entry::encode(record_type, key, payload);
    log.at(Durability::Queued).append(bytes)?;
    imported.records += 1;
    imported.records_not_for_kv += u64::from(!entry::fits_kv(record_type, key, payload));
    *match record_type {
        RecordType::Put => &mut imported.puts,
        RecordType::Delete => &mut imported.deletes,
        RecordType::Raw => &mut imported.raws,
    } += 1;
    Ok(())
}

/// A file of the source.
struct SourceFile {
    path: PathBuf,
    file: BufReader<File>,
    /// Its length when it was opened.
    bytes: u64,
    /// The offset at which the next record is expected.
    offset: u64,
    /// The last record, or as much of it as the file has.
    record: Vec<u8>,
}

/// The content of the file at an offset.
enum SourceItem {
    Record(Header),
    End,
    Stop(SourceStop),
}

/// The reason why there is no record.
struct SourceStop {
    /// Whether an interrupted write may have left these bytes.
    is_torn: bool,
    reason: String,
}

impl SourceFile {
    fn open(path: PathBuf) -> Result<SourceFile> {
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = opened.map_err(|error| Error::io("open", &path, error))?;
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(SourceFile { path, file, bytes, offset: 0, record: Vec::new() })
    }

    fn next(&mut self) -> Result<SourceItem> {
        let torn = |reason: &str| {
            SourceItem::Stop(SourceStop { is_torn: true, reason: reason.to_owned() })
        };
        self.record.clear();
        self.read_up_to(HEADER_LEN)?;
        let Some(head) = self.record.first_chunk::<HEADER_LEN>() else {
            return Ok(if self.record.is_empty() {
                SourceItem::End
            } else {
                torn("a record ends early")
            });
        };
        let header = match Header::parse(head) {
            Ok(header) => header,
            Err(error) => {
                let reason = error.to_string().replacen("datawal: ", "", 1);
                return Ok(SourceItem::Stop(SourceStop { is_torn: false, reason }));
            }
        };
        let len = header.record_len() as usize;
        self.read_up_to(len)?;
        if self.record.len() < len {
            return Ok(torn("a record ends early"));
        }
        if !crc_holds(&self.record) && !mutated("datawal_import_anything") {
            return Ok(torn("the checksum of a record does not match"));
        }
        self.offset += u64::from(header.record_len());
        Ok(SourceItem::Record(header))
    }

    /// Reads on until the record has `len` bytes, or the file ends.
    fn read_up_to(&mut self, len: usize) -> Result<()> {
        let missing = len.saturating_sub(self.record.len()) as u64;
        let read = self.file.by_ref().take(missing).read_to_end(&mut self.record);
        read.map_err(|error| Error::io("read", &self.path, error)).map(drop)
    }

    /// The key and the payload of the record that was read last.
    fn body(&self, header: Header) -> (&[u8], &[u8]) {
        let body = &self.record[HEADER_LEN..self.record.len() - CRC_LEN];
        body.split_at(header.key_len as usize)
    }

    /// Reports the bytes from the current offset on as left behind.
    fn rest(&self, reason: String) -> Result<LeftBehind> {
        let (path, offset) = (self.path.clone(), self.offset);
        let records = whole_records(&path, offset, self.bytes)?;
        let bytes = self.bytes.saturating_sub(offset);
        Ok(LeftBehind { path, offset, bytes, records, reason })
    }
}
