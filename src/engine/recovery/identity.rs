//! The identity of a log, its kind and label: checks what the caller expects against `state`.
//!
//! 1. A log of another kind or label is refused before any record is shown or any file changed.
//! 2. A log without a kind or a label takes those of the first caller who opens it to write: a new
//!    log, a directory of stand-alone batches, or a `state` that names none.
//! 3. Any kind may be opened to read only as raw records, as tools do.

use std::path::Path;

use crate::error::{Error, Result};
use crate::format::State;
use crate::kind::{Kind, LABEL_BYTES, NO_LABEL};
use crate::mutation::mutated;

/// Whether recovery may change files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Repair the log so that it can be appended to; damage is an error.
    Repair,
    /// Change and sync nothing; damage is in the report.
    ReadOnly,
}

/// The kind and label that a log must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// `None` accepts any kind.
    pub(crate) kind: Option<Kind>,
    /// The user's label; `None` accepts any.
    pub(crate) label: Option<[u8; LABEL_BYTES]>,
}

impl Identity {
    /// An error if the log in `dir` has another kind or label.
    pub(crate) fn check(&self, dir: &Path, state: &State, mode: Mode) -> Result<()> {
        let reads_raw = mode == Mode::ReadOnly && self.kind == Some(Kind::Raw);
        if let (Some(wanted), Some(found), false) = (self.kind, state.kind, reads_raw)
            && wanted != found
            && !mutated("open_any_kind")
        {
            return Err(Error::OtherKind { path: dir.to_path_buf(), found, wanted });
        }
        match self.label {
            Some(wanted) if state.label != NO_LABEL && state.label != wanted => {
                let (path, found) = (dir.to_path_buf(), state.label);
                Err(Error::OtherLabel { path, found, wanted })
            }
            _ => Ok(()),
        }
    }

    /// The state, with this kind and label where it has none. It passed the check before.
    pub(crate) fn completed(&self, state: &State) -> State {
        let mut state = state.clone();
        state.kind = state.kind.or(self.kind);
        if state.label == NO_LABEL {
            state.label = self.label.unwrap_or(NO_LABEL);
        }
        state
    }
}
