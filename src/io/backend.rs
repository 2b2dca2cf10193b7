//! The options that choose a backend, and the report of the backend that runs.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::io::{Blocks, Strategy};

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
    /// io_uring if it works here, else std.
    #[default]
    Auto,
    /// io_uring; opening the log fails if it is refused.
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

/// The options of `open_queue`.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// Which backend.
    pub kind: BackendKind,
    /// How batches become durable; `None` chooses by measurement.
    pub strategy: Option<Strategy>,
    /// Whether to write around the page cache where that works.
    pub direct_io: bool,
    /// The most writes in flight at once.
    pub depth: usize,
    /// How the blocks of spares are allocated. `None` decides by the size of batches, or
    /// [`Blocks::AsTheyCome`] if the file system copies on write.
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
    /// How blocks are allocated on a file system that does or does not copy on write.
    pub(crate) fn blocks_on(&self, copy_on_write: bool) -> Option<Blocks> {
        self.blocks.or(copy_on_write.then_some(Blocks::AsTheyCome))
    }
}

/// Whether segments have their room before they are written to.
pub(crate) fn fills(blocks: Option<Blocks>) -> bool {
    blocks != Some(Blocks::AsTheyCome)
}

/// The backend that runs, and why it was chosen.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let log = ringwal::Log::open(dir.path().join("log"))?;
/// let backend = log.backend();
/// assert!(backend.unit_bytes >= 4096);
/// println!("{backend}"); // the backend, the reason, the measurements and the refusals
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Backend {
    /// The kind that runs; never [`BackendKind::Auto`].
    pub kind: BackendKind,
    /// How batches become durable.
    pub strategy: Strategy,
    /// Whether writes go around the page cache.
    pub direct_io: bool,
    /// The offset and the length of every write are multiples of this, in bytes.
    pub unit_bytes: u64,
    /// How the blocks of a segment are allocated before the first batch is written to it. `None`:
    /// written, or reserved while batches are large.
    pub blocks: Option<Blocks>,
    /// Whether they are allocated beforehand at all: false only for [`Blocks::AsTheyCome`].
    pub fill: bool,
    /// The file system's name.
    pub filesystem: String,
    /// The flags of the ring, in words; empty without a ring.
    pub ring_flags: String,
    /// Everything that was tried and refused.
    pub refused: Vec<Refusal>,
    /// The median time of one small durable write by each strategy that was measured.
    pub measured: Vec<(Strategy, Duration)>,
    /// Why this strategy was chosen.
    pub reason: String,
}

/// Something that the operating system refused.
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
    /// The step that was tried.
    pub step: String,
    /// The errno of the answer, if it had one.
    pub errno: Option<i32>,
    /// The answer in words.
    pub message: String,
    /// What the user can do about it; may be empty.
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
