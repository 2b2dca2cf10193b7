//! What whoever opens a log says that it is, against what `state` says.
//!
//! 1. A log of another kind or label is refused before anything of it is shown or changed.
//! 2. What says nothing is adopted by who opens it first to write: a directory of stand-alone
//!    batches, a new log, or a `state` without a kind or a label.
//! 3. To read only, as raw records, any kind will do: that is what tools do.

use std::path::Path;

use crate::error::{Error, Result};
use crate::format::State;
use crate::kind::{Kind, LABEL_BYTES, NO_LABEL};
use crate::mutation::mutated;

/// Whether recovery may change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It leaves a log that can be appended to; damage is an error.
    Repair,
    /// It changes and syncs nothing; damage is in the report.
    ReadOnly,
}

/// What a log is, or has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its kind; `None` is for any.
    pub(crate) kind: Option<Kind>,
    /// The user's label; `None` is for any.
    pub(crate) label: Option<[u8; LABEL_BYTES]>,
}

impl Identity {
    /// An error if the log in `dir` is something else.
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

    /// The state with what it does not say yet; it passed the check.
    pub(crate) fn completed(&self, state: &State) -> State {
        let mut state = state.clone();
        state.kind = state.kind.or(self.kind);
        if state.label == NO_LABEL {
            state.label = self.label.unwrap_or(NO_LABEL);
        }
        state
    }
}
