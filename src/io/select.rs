//! Chooses the backend by trying it in the log's directory, and reports what was found.
//!
//! A kernel with io_uring may refuse it to this process, and a file system may refuse direct I/O
//! only at the first write. So versions decide nothing: the ring is set up, asked for its
//! operations, and writes to a small file in the log's directory. Every refusal is reported with
//! advice. A refusal never weakens the guarantee: the std backend gives the same.

#[cfg(not(all(target_os = "linux", feature = "uring")))]
use std::io;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::filesystem::Filesystem;
#[cfg(not(all(target_os = "linux", feature = "uring")))]
use crate::io::Blocks;
use crate::io::backend::fills;
use crate::io::{
    Backend, BackendKind, IoQueue, QueueOptions, Refusal, StdQueue, Storage, Strategy,
};

/// Opens the queue that `options` ask for on `storage`.
///
/// The probe of io_uring makes a small file called `spare_name` and removes it. A file of that name
/// that exists already counts as the leftover of a crash.
///
/// # Errors
///
/// [`Error::BackendRefused`] if io_uring was asked for and is refused; otherwise the storage's
/// error.
pub fn open_queue(
    storage: Arc<dyn Storage>,
    options: &QueueOptions,
    spare_name: &str,
) -> Result<(Box<dyn IoQueue>, Backend)> {
    let filesystem = Filesystem::of(storage.dir());
    let blocks = options.blocks_on(filesystem.copy_on_write);
    let mut refused = Vec::new();
    if options.kind != BackendKind::Std {
        match uring(&storage, options, (&filesystem, blocks), spare_name, &mut refused)? {
            Some((queue, mut backend)) => {
                backend.refused = refused;
                return Ok((queue, backend));
            }
            None if options.kind == BackendKind::Uring => {
                return Err(cannot_run(&refused));
            }
            None => {}
        }
    }
    let queue = StdQueue::new(storage)?;
    let backend = Backend {
        kind: BackendKind::Std,
        strategy: Strategy::WriteThenSync,
        direct_io: false,
        unit_bytes: filesystem.cached_unit(),
        blocks,
        fill: fills(blocks),
        filesystem: filesystem.name,
        ring_flags: String::new(),
        refused,
        measured: Vec::new(),
        reason: "the only one that the std backend has".to_owned(),
    };
    Ok((Box::new(queue), backend))
}

/// Fails if io_uring is asked for and no ring can be set up, before anything is created on disk.
///
/// # Errors
///
/// [`Error::BackendRefused`].
pub(crate) fn require_set_up(storage: &Arc<dyn Storage>, kind: BackendKind) -> Result<()> {
    match kind {
        BackendKind::Uring => set_up_refusal(storage).map_or(Ok(()), |it| Err(cannot_run(&[it]))),
        _ => Ok(()),
    }
}

fn cannot_run(refused: &[Refusal]) -> Error {
    let lines: Vec<String> = refused.iter().map(Refusal::to_string).collect();
    let reason = format!("the io_uring backend cannot run: {}", lines.join("; "));
    Error::BackendRefused { reason }
}

#[cfg(all(target_os = "linux", feature = "uring"))]
use crate::io::probe::{set_up_refusal, uring};

#[cfg(not(all(target_os = "linux", feature = "uring")))]
fn uring(
    _storage: &Arc<dyn Storage>,
    _options: &QueueOptions,
    _found: (&Filesystem, Option<Blocks>),
    _name: &str,
    refused: &mut Vec<Refusal>,
) -> Result<Option<(Box<dyn IoQueue>, Backend)>> {
    refused.push(left_out());
    Ok(None)
}

#[cfg(not(all(target_os = "linux", feature = "uring")))]
fn set_up_refusal(_storage: &Arc<dyn Storage>) -> Option<Refusal> {
    Some(left_out())
}

#[cfg(not(all(target_os = "linux", feature = "uring")))]
fn left_out() -> Refusal {
    let (why, advice) = if cfg!(target_os = "linux") {
        ("this build does not include it", "build with the feature `uring`")
    } else {
        ("it exists on Linux only", "")
    };
    let answer = io::Error::new(io::ErrorKind::Unsupported, why);
    Refusal::new("io_uring", &answer, advice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Blocks, StdStorage};

    #[test]
    fn std_is_chosen_on_request_and_reported() {
        let dir = tempfile::tempdir().unwrap();
        let options = QueueOptions { kind: BackendKind::Std, ..Default::default() };
        let (_queue, backend) =
            open_queue(Arc::new(StdStorage::new(dir.path())), &options, "spare-trial.tmp").unwrap();
        assert_eq!((backend.kind, backend.strategy), (BackendKind::Std, Strategy::WriteThenSync));
        assert!(backend.refused.is_empty());
        assert_eq!(backend.unit_bytes, Filesystem::of(dir.path()).cached_unit());
        let text = backend.to_string();
        for part in ["backend: std", "strategy: write-then-sync", "file system: "] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn blocks_follow_the_option_or_the_file_system_and_are_reported() {
        let open = |kind, blocks| {
            let dir = tempfile::tempdir().unwrap();
            let options = QueueOptions { kind, blocks, ..Default::default() };
            let storage = Arc::new(StdStorage::new(dir.path()));
            let (_queue, backend) = open_queue(storage, &options, "spare-trial.tmp").unwrap();
            backend
        };
        let says = |backend: &Backend, words: &str| {
            let text = backend.to_string();
            let line = text.lines().find(|line| line.starts_with("file system: ")).unwrap();
            assert!(line.ends_with(words), "{text}");
        };
        let automatic = "; the blocks of segments are written beforehand, or reserved for large \
                         batches";
        for kind in [BackendKind::Auto, BackendKind::Std] {
            for (asked, fill, words) in [
                (Blocks::Written, true, "; the blocks of segments are written beforehand"),
                (Blocks::Reserved, true, "segments are reserved, not written beforehand"),
                (Blocks::AsTheyCome, false, "; segments get their blocks as they are written"),
            ] {
                let backend = open(kind, Some(asked));
                assert_eq!((backend.blocks, backend.fill), (Some(asked), fill));
                says(&backend, words);
                says(&Backend { blocks: None, ..backend }, automatic);
            }
            let found = open(kind, None).blocks;
            assert!(matches!(found, None | Some(Blocks::AsTheyCome)), "{found:?}");
        }
        let options = QueueOptions::default();
        assert_eq!(options.blocks_on(false), None);
        assert_eq!(options.blocks_on(true), Some(Blocks::AsTheyCome));
    }

    #[test]
    fn a_missing_directory_is_an_error_and_not_a_refusal() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Arc::new(StdStorage::new(dir.path().join("missing")));
        let opened = open_queue(storage, &QueueOptions::default(), "spare-trial.tmp");
        if cfg!(all(target_os = "linux", feature = "uring")) {
            assert!(matches!(opened, Err(Error::Io { op: "create", .. })));
        }
    }

    #[cfg(not(all(target_os = "linux", feature = "uring")))]
    #[test]
    fn a_build_without_io_uring_refuses_it_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let options = QueueOptions { kind: BackendKind::Uring, ..Default::default() };
        let storage = Arc::new(StdStorage::new(dir.path()));
        match open_queue(storage, &options, "spare-trial.tmp") {
            Err(Error::BackendRefused { reason }) => assert!(reason.contains("io_uring")),
            other => panic!("{:?}", other.map(|(_, backend)| backend)),
        }
    }
}
