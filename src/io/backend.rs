//! Which backend is asked for, and the report of what runs and why.

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

/// What `open_queue` is asked for.
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

/// The backend that runs, and why it was chosen.
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
