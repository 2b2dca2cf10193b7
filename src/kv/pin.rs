//! A pin keeps the segments that a snapshot may read, while compaction goes on beside it.

use std::fmt;
use std::sync::Arc;

use crate::kv::store::Store;
use crate::{Result, Seq};

/// Keeps the segments that were not retired when it was made, until it is dropped.
pub(crate) struct Pin {
    store: Arc<Store>,
    before: Seq,
}

impl Pin {
    pub(crate) fn new(store: &Arc<Store>) -> Pin {
        let before = store.retired().pin();
        Pin { store: Arc::clone(store), before }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if self.store.log.require_own_process().is_err() {
            // In a forked child, the segments and the locks belong to the parent.
            return;
        }
        let mut retired = self.store.retired();
        retired.unpin(self.before);
        // If this fails, the log is poisoned, and the next call reports that.
        let _: Result<_> = self.store.free(&retired);
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pin").field("before", &self.before).finish_non_exhaustive()
    }
}
