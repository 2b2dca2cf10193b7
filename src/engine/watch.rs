//! An eye on `state`, for those who read a log that another process may be changing.
//!
//! They have the segments as they were when they looked. A writer tells in `state` what it
//! truncates before it touches a file, so whoever looks at `state` after a read, or after a read
//! that failed, learns whether what he read was still there.
//!
//! A look is one read of a small file; it is only decoded when it has changed.
//!
//! Threading: any. The lock is a leaf.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::format::{SLOT_BYTES, State, newest};
use crate::io::{Access, Storage, StorageFile};
use crate::replication::ShardId;
use crate::segment::name::state_name;
use crate::seq::Seq;

/// The `state` of a log that somebody else may be writing.
pub(crate) struct Watch {
    file: Box<dyn StorageFile>,
    first: State,
    last: Mutex<(Vec<u8>, State)>,
}

impl Watch {
    /// Begins to watch, before anything else is looked at. `None` without a valid `state`.
    pub(crate) fn open(storage: &dyn Storage, shard: ShardId) -> Result<Option<Arc<Watch>>> {
        let file = match storage.open(&state_name(shard), Access::Read) {
            Ok(file) => file,
            // Whether it is a log at all is for whoever looks at it next.
            Err(Error::Io { source, .. })
                if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let bytes = read(&*file)?;
        let Ok((first, _)) = newest(&bytes) else { return Ok(None) };
        let last = Mutex::new((bytes, first.clone()));
        Ok(Some(Arc::new(Watch { file, first, last })))
    }

    /// If `seq` was truncated since, the first record that is left. `after_error` says that it
    /// could not be read.
    pub(crate) fn truncated(&self, seq: Seq, after_error: bool) -> Result<Option<Truncation>> {
        let bytes = read(&*self.file)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != bytes {
            // What cannot be read is being written, and there is another look.
            if let Ok((state, _)) = newest(&bytes) {
                *last = (bytes, state);
            }
        }
        let state = &last.1;
        let is_new_cut = state.cut != self.first.cut
            || state.cutting
            || after_error && state.generation != self.first.generation;
        let is_cut = is_new_cut && state.cut.is_some_and(|cut| seq.get() > cut);
        let first_seq = Seq::new(state.first_seq);
        Ok((is_cut || seq < first_seq).then_some(Truncation { first_seq, is_cut }))
    }
}

/// What a writer truncated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truncation {
    /// The first record that is left.
    pub(crate) first_seq: Seq,
    /// It was cut off at the end.
    pub(crate) is_cut: bool,
}

fn read(file: &dyn StorageFile) -> Result<Vec<u8>> {
    let mut bytes = vec![0; 2 * SLOT_BYTES];
    let len = file.read_at(&mut bytes, 0)?;
    bytes.truncate(len);
    Ok(bytes)
}
