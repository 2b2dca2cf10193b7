//! A directory that stands still while a writer is at work in it.
//!
//! 1. The `state` file is read before the names are listed and again after all segments are open.
//!    If it is the same, nothing was truncated in between, so what was listed is a whole log: it
//!    does not lack the end of one whose beginning was truncated because of that end.
//! 2. From then on names, `state` and segments are those of that moment. Segments stay open, so
//!    removing them takes nothing away. The last one may still grow.
//! 3. Nothing can be changed through it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::io::{Access, LockGuard, Storage, StorageFile};
use crate::replication::ShardId;
use crate::segment::name::{segments_among, state_name};

/// How often it is tried beside a writer that truncates all the time.
const TRIES_MAX: u32 = 100;

#[derive(Debug)]
pub(crate) struct Still {
    storage: Arc<dyn Storage>,
    names: Vec<String>,
    files: BTreeMap<String, StillFile>,
}

/// A file of which only reads are let through.
#[derive(Clone, Debug)]
enum StillFile {
    Open(Arc<dyn StorageFile>),
    Content(Arc<[u8]>),
}

impl Still {
    pub(crate) fn of(storage: Arc<dyn Storage>, shard: ShardId) -> Result<Still> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Still::look(&storage, shard) {
                Ok(Some(still)) => return Ok(still),
                Ok(None) if tries < TRIES_MAX => {}
                Ok(None) => {
                    let source = std::io::Error::other("a writer changes it all the time");
                    return Err(Error::io("look at", storage.dir(), source));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// `None` if something was truncated meanwhile.
    fn look(storage: &Arc<dyn Storage>, shard: ShardId) -> Result<Option<Still>> {
        let state = content(&**storage, &state_name(shard))?;
        let names = crate::engine::recovery::list(&**storage)?;
        let mut files = BTreeMap::new();
        for (_, name) in segments_among(shard, names.clone()) {
            match storage.open(&name, Access::Read) {
                Ok(file) => files.insert(name, StillFile::Open(file.into())),
                Err(error) if is_missing(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
        }
        if content(&**storage, &state_name(shard))? != state {
            return Ok(None);
        }
        if let Some(state) = state {
            files.insert(state_name(shard), StillFile::Content(state.into()));
        }
        Ok(Some(Still { storage: Arc::clone(storage), names, files }))
    }
}

/// The bytes of a small file, if it is there.
fn content(storage: &dyn Storage, name: &str) -> Result<Option<Vec<u8>>> {
    const BYTES_MAX: u64 = 1 << 20;
    let file = match storage.open(name, Access::Read) {
        Ok(file) => file,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; file.bytes()?.min(BYTES_MAX) as usize];
    let len = file.read_at(&mut bytes, 0)?;
    bytes.truncate(len);
    Ok(Some(bytes))
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

impl Storage for Still {
    fn dir(&self) -> &Path {
        self.storage.dir()
    }

    fn list(&self) -> Result<Vec<String>> {
        Ok(self.names.clone())
    }

    fn open(&self, name: &str, access: Access) -> Result<Box<dyn StorageFile>> {
        match (self.files.get(name), access) {
            (Some(file), Access::Read) => Ok(Box::new(file.clone())),
            (None, Access::Read) => self.storage.open(name, Access::Read),
            _ => Err(Error::ReadOnly),
        }
    }

    fn rename(&self, _from: &str, _to: &str) -> Result<()> {
        Err(Error::ReadOnly)
    }

    fn remove(&self, _name: &str) -> Result<()> {
        Err(Error::ReadOnly)
    }

    fn sync_dir(&self) -> Result<()> {
        Err(Error::ReadOnly)
    }

    fn lock(&self, _name: &str) -> Result<Box<dyn LockGuard>> {
        Err(Error::ReadOnly)
    }
}

impl StorageFile for StillFile {
    fn bytes(&self) -> Result<u64> {
        match self {
            StillFile::Open(file) => file.bytes(),
            StillFile::Content(content) => Ok(content.len() as u64),
        }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let content = match self {
            StillFile::Open(file) => return file.read_at(buf, offset),
            StillFile::Content(content) => content,
        };
        let from = usize::try_from(offset).ok().and_then(|at| content.get(at..)).unwrap_or(&[]);
        let len = from.len().min(buf.len());
        buf[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::segment::name::segment_filename;

    #[test]
    fn nothing_can_be_changed_through_it() {
        let (memory, shard) = (Memory::default(), ShardId::SINGLE);
        let names = [segment_filename(shard, 1), state_name(shard)];
        names.iter().for_each(|name| memory.put(name, b"content".to_vec()));
        let still = Still::of(Arc::new(memory.clone()), shard).unwrap();
        for name in &names {
            let file = still.open(name, Access::Read).unwrap();
            let mut buf = [0; 8];
            assert_eq!((file.bytes().unwrap(), file.read_at(&mut buf, 3).unwrap()), (7, 4));
            assert_eq!(&buf[..4], b"tent");
            let refused =
                [file.write_at(b"x", 0), file.write_zeros(0, 1), file.set_bytes(0), file.sync()];
            for refused in refused.into_iter().chain([still.rename(name, "x"), still.remove(name)])
            {
                assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
            }
            for access in [Access::Write, Access::Create] {
                assert!(matches!(still.open(name, access), Err(Error::ReadOnly)));
            }
        }
        assert!(matches!(still.sync_dir(), Err(Error::ReadOnly)));
        assert!(matches!(still.lock("lock"), Err(Error::ReadOnly)));
        assert!(memory.changes().is_empty());
    }
}
