//! Converts errors to the `anyhow::Error` that programs of the crate datawal expect.

use std::error::Error as _;
use std::io;

use crate::Error;

/// An error of the engine with the operating system's error below it: `downcast_ref` finds both the
/// [`Error`] and the `io::Error`. The crate datawal has only the latter.
pub(crate) fn to_anyhow(error: Error) -> anyhow::Error {
    match io_cause(&error) {
        Some(cause) => anyhow::Error::new(cause).context(error),
        None => anyhow::Error::new(error),
    }
}

/// A copy of the operating system's error; an `io::Error` cannot be cloned.
fn io_cause(error: &Error) -> Option<io::Error> {
    let mut cause = error.source()?;
    loop {
        if let Some(found) = cause.downcast_ref::<io::Error>() {
            return Some(match found.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(found.kind(), found.to_string()),
            });
        }
        cause = cause.source()?;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn both_errors_are_found_below_any_context_and_each_is_shown_once() {
        // A full disk: programs look for the error's kind or its number.
        let full = || io::Error::from_raw_os_error(28);
        let path = Path::new("log");
        let io = Error::io("write", path, full());
        let no_space = Error::NoSpace { path: path.into(), bytes: 1, source: Arc::new(full()) };
        let poisoned = Error::Poisoned(Arc::new(Error::io("sync", path, full())));
        for error in [io, no_space, poisoned] {
            let error = to_anyhow(error).context("datawal: append_record failed").context("above");
            let cause = error.downcast_ref::<io::Error>().unwrap();
            assert_eq!(cause.raw_os_error(), Some(28));
            assert_eq!(
                error.root_cause().downcast_ref::<io::Error>().unwrap().kind(),
                cause.kind()
            );
            assert!(error.downcast_ref::<Error>().is_some());
            let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
            assert_eq!(chain.len(), 4, "{chain:?}");
        }
        let other = io::Error::new(io::ErrorKind::IsADirectory, "name a file");
        let error = to_anyhow(Error::io("write", path, other));
        let cause = error.downcast_ref::<io::Error>().unwrap();
        assert_eq!(
            (cause.kind(), cause.to_string()),
            (io::ErrorKind::IsADirectory, "name a file".into())
        );
        let error = to_anyhow(Error::Closed);
        assert!(error.downcast_ref::<io::Error>().is_none());
        assert!(matches!(error.downcast_ref(), Some(Error::Closed)));
    }
}
