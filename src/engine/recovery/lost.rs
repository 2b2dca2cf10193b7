//! Losses: the bytes that tolerated damage took from a log, kept beside it until the user
//! acknowledges them.
//!
//! ```text
//! lost-{first record}-{last record}-{count}.bin    the bytes cut off, not yet acknowledged
//! lost-{first record}-{last record}-{count}.seen   acknowledged; it may be removed
//! ```
//!
//! 1. The file is durable before anything is cut, so a crash in between loses nothing. The next
//!    recovery finds the file and the damage again, and does not keep the bytes twice.
//! 2. The name alone says which records are lost: if a segment was cut short, there are no bytes.
//! 3. No listing takes the name for a segment's.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::{Access, Storage, StorageFile};
use crate::mutation::mutated;
use crate::replication::ShardId;
use crate::segment::name::{LostName, lost_temp_name};
use crate::seq::Seq;

/// How many bytes are copied at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// How many losses of the same records there may be beside a log.
const COUNT_MAX: u32 = 1000;

/// Acknowledged records that [`RecoveryPolicy::TolerateTail`](crate::RecoveryPolicy) cut off, and
/// the file that keeps their bytes. Every opening reports the loss until
/// [`Log::acknowledge_loss`](crate::Log::acknowledge_loss) is called.
///
/// ```
/// use ringwal::{Log, RecoveryPolicy};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("log");
/// let log = Log::open(&path)?;
/// log.append("one")?;
/// log.append("two")?;
/// log.close()?;
/// let segment = path.join("wal-00000000000000000001.seg");
/// let cut = std::fs::read(&segment)?;
/// std::fs::write(&segment, &cut[..cut.len() - 1])?; // the last batch is not whole any more
///
/// let tolerant = || Log::builder(&path).recovery(RecoveryPolicy::TolerateTail).open();
/// drop(tolerant()?);
/// let log = tolerant()?; // it is reported again
/// let loss = &log.recovery().losses[0];
/// assert_eq!((loss.first_seq.get(), loss.last_seq.get()), (2, 2));
/// assert!(loss.path.exists());
/// assert_eq!(log.acknowledge_loss()?, 1);
/// drop(log);
/// assert!(tolerant()?.recovery().losses.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The file with the bytes that were cut off, from the first damaged byte on. It is empty if
    /// there were none.
    pub path: PathBuf,
    /// The first record that is gone.
    pub first_seq: Seq,
    /// The last record that is known to be gone.
    pub last_seq: Seq,
}

impl Loss {
    /// How many records are gone.
    pub fn records(&self) -> u64 {
        self.last_seq.get().saturating_add(1).saturating_sub(self.first_seq.get())
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loss { path, first_seq, last_seq } = self;
        write!(f, "records {first_seq} to {last_seq}; the bytes cut off are in {}", path.display())
    }
}

/// The bytes that a scan wants kept before they are cut off.
#[derive(Debug)]
pub(crate) struct Keep {
    /// The file, and the offsets where the bytes begin and end; `None` if there are no bytes.
    pub(crate) bytes: Option<(String, u64, u64)>,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

/// The losses of a shard that nobody acknowledged, by the names in its directory.
pub(crate) fn losses_among(dir: &Path, shard: ShardId, names: &[String]) -> Vec<Loss> {
    let lost = names.iter().filter_map(|name| LostName::parse(shard, name));
    let mut lost: Vec<_> = lost.filter(|lost| !lost.seen).collect();
    lost.sort_unstable();
    lost.into_iter().map(|lost| loss(dir, shard, lost)).collect()
}

fn loss(dir: &Path, shard: ShardId, lost: LostName) -> Loss {
    let (first_seq, last_seq) = (Seq::new(lost.first_seq), Seq::new(lost.last_seq));
    Loss { path: dir.join(lost.name(shard)), first_seq, last_seq }
}

/// Keeps the bytes that are about to be cut off, durably, unless an attempt before a crash did.
pub(crate) fn keep(storage: &dyn Storage, shard: ShardId, keep: &Keep) -> Result<Loss> {
    let names = storage.list()?;
    let temp = lost_temp_name(shard);
    if names.contains(&temp) {
        storage.remove(&temp)?;
    }
    let (first_seq, last_seq) = (keep.first_seq, keep.last_seq);
    for count in 0..COUNT_MAX {
        let lost = LostName { first_seq, last_seq, count, seen: false };
        let seen = LostName { seen: true, ..lost };
        let is_taken = names.contains(&lost.name(shard));
        if is_taken && is_kept_in(storage, &lost.name(shard), keep)? {
            // The crash may have come before the name was durable.
            storage.sync_dir()?;
            return Ok(loss(storage.dir(), shard, lost));
        }
        if !is_taken && !names.contains(&seen.name(shard)) {
            create(storage, shard, &lost.name(shard), keep)?;
            return Ok(loss(storage.dir(), shard, lost));
        }
    }
    let reason = format!("there are {COUNT_MAX} lost-* files for these records; move them away");
    Err(Error::io("keep the lost bytes in", storage.dir(), io::Error::other(reason)))
}

fn create(storage: &dyn Storage, shard: ShardId, name: &str, keep: &Keep) -> Result<()> {
    if mutated("keep_nothing_lost") {
        return Ok(());
    }
    let temp = lost_temp_name(shard);
    let bytes = keep.bytes.as_ref().map_or(0, |(_, from, to)| to - from);
    let created = (|| {
        let file = storage.open(&temp, Access::Create)?;
        for_each_chunk(storage, keep, |chunk, at| {
            // Leave holes: blocks of zeros need no room here either.
            if chunk.iter().any(|&byte| byte != 0) { file.write_at(chunk, at) } else { Ok(()) }
        })?;
        file.sync()?;
        storage.rename(&temp, name)?;
        storage.sync_dir()
    })();
    created.map_err(|error| {
        // Best effort: the next recovery removes what is left.
        let _removed = storage.remove(&temp);
        error.or_no_space(storage.dir().join(name), bytes)
    })
}

/// Whether the file has the bytes that are to be kept.
fn is_kept_in(storage: &dyn Storage, name: &str, keep: &Keep) -> Result<bool> {
    let file = storage.open(name, Access::Read)?;
    let mut same = true;
    let mut buf = Vec::new();
    for_each_chunk(storage, keep, |chunk, at| {
        buf.clear();
        buf.resize(chunk.len(), 0);
        let len = file.read_at(&mut buf, at)?;
        // Holes behind the end of the file read as zeros.
        buf[len..].fill(0);
        same &= buf == chunk;
        Ok(())
    })?;
    Ok(same)
}

/// Passes the bytes to keep to `on_chunk`, with their offset in the new file. Holes are left out.
fn for_each_chunk(
    storage: &dyn Storage,
    keep: &Keep,
    mut on_chunk: impl FnMut(&[u8], u64) -> Result<()>,
) -> Result<()> {
    let Some((name, from, to)) = &keep.bytes else { return Ok(()) };
    let source: Box<dyn StorageFile> = storage.open(name, Access::Read)?;
    let mut buf = vec![0; CHUNK_BYTES.min((to - from) as usize)];
    let mut at = *from;
    while at < *to {
        // Skip holes: a sparse file may have any length.
        let data = source.next_data(at)?.unwrap_or(*to).clamp(at, *to);
        if data > at {
            at = data;
            continue;
        }
        let len = buf.len().min((to - at) as usize);
        let len = source.read_at(&mut buf[..len], at)?;
        if len == 0 {
            break;
        }
        on_chunk(&buf[..len], at - from)?;
        at += len as u64;
    }
    Ok(())
}
