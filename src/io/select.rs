//! Chooses the backend by trying it where the log is, and reports what it found.
//!
//! A kernel that has io_uring may still refuse it to this process, and a file system may refuse
//! direct I/O at the first write only. So nothing is concluded from versions: the ring is set up,
//! asked for its operations, and writes to a small file in the log's directory. Every refusal is
//! kept, with what to do about it, and never weakens the promise: the std backend makes the same.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::io::{Blocks, IoQueue, StdQueue, Storage, Strategy};
use crate::sys;

/// Which backend to run.
///
/// ```
/// use ringwal::{BackendKind, Log};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::builder(dir.path().join("log")).backend(BackendKind::Std).open()?;
/// assert_eq!(log.backend().kind, BackendKind::Std);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendKind {
    /// io_uring where it works, else std.
    #[default]
    Auto,
    /// io_uring; opening the log fails where it is refused.
    Uring,
    /// Blocking calls of the standard library.
    Std,
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BackendKind::Auto => "auto",
            BackendKind::Uring => "io_uring",
            BackendKind::Std => "std",
        })
    }
}

/// What [`open_queue`] is asked for.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// Which backend.
    pub kind: BackendKind,
    /// How batches become durable; `None` chooses by measuring.
    pub strategy: Option<Strategy>,
    /// Whether to go around the page cache where that works.
    pub direct_io: bool,
    /// How many writes will be in flight at once.
    pub depth: usize,
    /// What segments are to have before they are written to; `None` leaves it to the size of
    /// batches, unless the file system copies on write.
    pub blocks: Option<Blocks>,
}

impl Default for QueueOptions {
    fn default() -> QueueOptions {
        QueueOptions {
            kind: BackendKind::Auto,
            strategy: None,
            direct_io: true,
            depth: 2,
            blocks: None,
        }
    }
}

impl QueueOptions {
    /// What segments are to have on such a file system.
    pub(crate) fn blocks_on(&self, copy_on_write: bool) -> Option<Blocks> {
        self.blocks.or(copy_on_write.then_some(Blocks::AsTheyCome))
    }
}

/// Whether segments with these have their room before they are written to.
pub(crate) fn fills(blocks: Option<Blocks>) -> bool {
    blocks != Some(Blocks::AsTheyCome)
}

/// What runs, and why: the answer of [`open_queue`].
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let log = ringwal::Log::open(dir.path().join("log"))?;
/// let backend = log.backend();
/// assert!(backend.unit_bytes >= 4096);
/// println!("{backend}"); // what runs, why, what was measured and what was refused
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Backend {
    /// What runs; never [`BackendKind::Auto`].
    pub kind: BackendKind,
    /// How batches become durable.
    pub strategy: Strategy,
    /// Whether writes go around the page cache.
    pub direct_io: bool,
    /// Writes start at multiples of this and are multiples of it.
    pub unit_bytes: u64,
    /// What a segment has before the first batch is written to it. `None`: its blocks written, or
    /// its room reserved while batches are large.
    pub blocks: Option<Blocks>,
    /// Whether that is anything: false with [`Blocks::AsTheyCome`] alone.
    pub fill: bool,
    /// The file system's name.
    pub filesystem: String,
    /// The flags of the ring in words; empty without one.
    pub ring_flags: String,
    /// What was tried and refused.
    pub refused: Vec<Refusal>,
    /// The median time of one small durable write by each strategy, where that was measured.
    pub measured: Vec<(Strategy, Duration)>,
    /// Why this strategy.
    pub reason: String,
}

/// Something that was tried and refused.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let log = ringwal::Log::open(dir.path().join("log"))?;
/// for refusal in &log.backend().refused {
///     println!("{} ({:?}): {}", refusal.step, refusal.errno, refusal.advice);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// What was tried.
    pub step: String,
    /// The operating system's number for its answer.
    pub errno: Option<i32>,
    /// The answer in words.
    pub message: String,
    /// What to do about it.
    pub advice: String,
}

impl Refusal {
    pub(crate) fn new(step: impl Into<String>, answer: &io::Error, advice: String) -> Refusal {
        let (step, message) = (step.into(), answer.to_string());
        Refusal { step, errno: answer.raw_os_error(), message, advice }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was refused: {}", self.step, self.message)?;
        if !self.advice.is_empty() {
            write!(f, "; {}", self.advice)?;
        }
        Ok(())
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backend: {}", self.kind)?;
        if !self.ring_flags.is_empty() {
            write!(f, " ({})", self.ring_flags)?;
        }
        write!(f, "\nstrategy: {}, {}", self.strategy, self.reason)?;
        for (strategy, median) in &self.measured {
            write!(f, "\n  measured {strategy}: {:.0} us", median.as_secs_f64() * 1e6)?;
        }
        let direct = if self.direct_io { "yes" } else { "no, through the page cache" };
        write!(f, "\ndirect I/O: {direct}; unit {} bytes", self.unit_bytes)?;
        let blocks = match self.blocks {
            None => "the blocks of segments are written beforehand, or reserved for large batches",
            Some(Blocks::Written) => "the blocks of segments are written beforehand",
            Some(Blocks::Reserved) => "the blocks of segments are reserved, not written beforehand",
            Some(Blocks::AsTheyCome) => "segments get their blocks as they are written",
        };
        write!(f, "\nfile system: {}; {blocks}", self.filesystem)?;
        for refusal in &self.refused {
            write!(f, "\n{refusal}")?;
        }
        Ok(())
    }
}

/// Opens the queue that `options` ask for on `storage`.
///
/// To try io_uring it makes a small file of the name `spare_name` and removes it again; a file of
/// that name is taken for the leftover of a crash.
///
/// # Errors
///
/// [`Error::BackendRefused`] when io_uring was asked for and is refused; otherwise what the
/// storage fails with.
pub fn open_queue(
    storage: Arc<dyn Storage>,
    options: &QueueOptions,
    spare_name: &str,
) -> Result<(Box<dyn IoQueue>, Backend)> {
    let filesystem = sys::filesystem(storage.dir());
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
        reason: "the only one of the std backend".to_owned(),
    };
    Ok((Box::new(queue), backend))
}

/// Fails where io_uring is asked for and no ring can be set up, before anything is made on disk.
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
use crate::io::trial::{set_up_refusal, uring};

#[cfg(not(all(target_os = "linux", feature = "uring")))]
fn uring(
    _storage: &Arc<dyn Storage>,
    _options: &QueueOptions,
    _found: (&sys::Filesystem, Option<Blocks>),
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
        ("this build leaves it out", "build with the feature `uring`")
    } else {
        ("it exists on Linux only", "")
    };
    let answer = io::Error::new(io::ErrorKind::Unsupported, why);
    Refusal::new("io_uring", &answer, advice.to_owned())
}

/// Where a test can have the ring refused.
#[cfg(all(target_os = "linux", feature = "uring"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefuseAt {
    Setup,
    Opcode,
    DirectWrite,
    TestWrite,
}

#[cfg(all(test, target_os = "linux", feature = "uring"))]
thread_local! {
    /// What is refused on this thread, with which errno.
    pub(crate) static REFUSE: std::cell::Cell<Option<(RefuseAt, i32)>> =
        const { std::cell::Cell::new(None) };
}

/// The error that a test asked for at this point.
#[cfg(all(target_os = "linux", feature = "uring"))]
pub(crate) fn refused_by_test(at: RefuseAt) -> Option<io::Error> {
    #[cfg(test)]
    if let Some((asked, errno)) = REFUSE.get()
        && asked == at
    {
        return Some(io::Error::from_raw_os_error(errno));
    }
    let _ = at;
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::StdStorage;

    #[test]
    fn std_is_chosen_on_request_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let options = QueueOptions { kind: BackendKind::Std, ..Default::default() };
        let (_queue, backend) =
            open_queue(Arc::new(StdStorage::new(dir.path())), &options, "spare-trial.tmp").unwrap();
        assert_eq!((backend.kind, backend.strategy), (BackendKind::Std, Strategy::WriteThenSync));
        assert!(backend.refused.is_empty());
        assert_eq!(backend.unit_bytes, sys::filesystem(dir.path()).cached_unit());
        let text = backend.to_string();
        for part in ["backend: std", "strategy: write-then-sync", "file system: "] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn what_segments_have_is_as_asked_for_or_by_the_file_system_and_said() {
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
    fn a_directory_that_is_not_there_is_an_error_and_not_a_refusal() {
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
