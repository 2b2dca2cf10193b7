//! The lines that a run prints.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::output::exit::Failure;
use crate::output::stream::print;

/// Prints a line. If standard output fails, the run continues and fails at its end.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    if let Err(failure) = print(format_args!("{line}\n")) {
        let mut first = OUTPUT_FAILURE.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(failure);
    }
}

/// The first failure of standard output.
static OUTPUT_FAILURE: Mutex<Option<Failure>> = Mutex::new(None);

/// Takes the first failure of standard output, if there was one.
pub(crate) fn output_failure() -> Option<Failure> {
    OUTPUT_FAILURE.lock().unwrap_or_else(PoisonError::into_inner).take()
}
