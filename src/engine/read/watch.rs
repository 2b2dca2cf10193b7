//! A watch on `state`, for readers of a log that another process may be changing.
//!
//! Such a reader has the segments as they were when it opened the log. A writer names a truncation
//! in `state` before it touches a file. So a reader that looks at `state` after a read, failed or
//! not, learns whether the records were still there.
//!
//! A look is one read of a small file, which is decoded only if it has changed.
//!
//! Threading: any. The lock is a leaf.

use std::sync::Arc;

use crate::engine::recovery::list;
use crate::error::Result;
use crate::format::{SLOT_BYTES, SLOT_DISTANCE, STATE_BYTES, State, newest};
use crate::io::{Access, Storage, StorageFile};
use crate::replication::ShardId;
use crate::segment::name::state_name;
use crate::seq::Seq;
use crate::sync::plain::Mutex;

/// The `state` of a log that another process may be writing.
pub(crate) struct Watch {
    file: Box<dyn StorageFile>,
    first: State,
    last: Mutex<(Vec<u8>, State)>,
}

impl Watch {
    /// Begins to watch; call it before reading any other file. `None` without a valid `state`.
    pub(crate) fn open(storage: &dyn Storage, shard: ShardId) -> Result<Option<Arc<Watch>>> {
        let name = state_name(shard);
        if !list(storage)?.contains(&name) {
            return Ok(None);
        }
        let file = storage.open(&name, Access::Read)?;
        let slots = read(&*file)?;
        let Ok((first, _)) = newest(&slots) else { return Ok(None) };
        let last = Mutex::new((slots, first.clone()));
        Ok(Some(Arc::new(Watch { file, first, last })))
    }

    /// The truncation that took `seq`, if there was one since.
    pub(crate) fn truncated(&self, seq: Seq) -> Result<Option<Truncation>> {
        let mut last = self.last.lock();
        let (slots, state) = &mut *last;
        let left = self.look(slots, state)?;
        let is_cut = left.is_some_and(|left| seq.get() > left);
        let first_seq = Seq::new(state.first_seq);
        Ok((is_cut || seq < first_seq).then_some(Truncation { first_seq, is_cut }))
    }

    /// The last record that remains after the cuts since; `None` if there were none.
    pub(crate) fn left(&self) -> Result<Option<u64>> {
        let mut last = self.last.lock();
        let (slots, state) = &mut *last;
        self.look(slots, state)
    }

    fn look(&self, slots: &mut [u8], state: &mut State) -> Result<Option<u64>> {
        // A slot that cannot be decoded is being written: the other one counts, or the last state.
        if read_changes(&*self.file, slots)?
            && let Ok((newest, _)) = newest(slots)
        {
            *state = newest;
        }
        let under_way = state.cuts.newest().filter(|_| state.cutting);
        let since = state.cuts.lowest_since(self.first.cuts.count());
        Ok(since.or(under_way))
    }
}

/// A truncation by a writer in another process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truncation {
    /// The first remaining record.
    pub(crate) first_seq: Seq,
    /// Whether the record was cut off at the end.
    pub(crate) is_cut: bool,
}

fn read(file: &dyn StorageFile) -> Result<Vec<u8>> {
    let mut bytes = vec![0; STATE_BYTES];
    let len = file.read_at(&mut bytes, 0)?;
    bytes.truncate(len);
    Ok(bytes)
}

/// Reads both slots, and returns whether one has changed. The bytes between them do not matter.
fn read_changes(file: &dyn StorageFile, known: &mut [u8]) -> Result<bool> {
    let mut has_changed = false;
    for index in 0..2 {
        let mut slot = [0; SLOT_BYTES];
        let at = index * SLOT_DISTANCE;
        let len = file.read_at(&mut slot, at as u64)?;
        if let Some(known) = known.get_mut(at..at + len).filter(|known| **known != slot[..len]) {
            known.copy_from_slice(&slot[..len]);
            has_changed = true;
        }
    }
    Ok(has_changed)
}
