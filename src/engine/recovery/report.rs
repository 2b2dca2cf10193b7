//! The report of a recovery, for people and programs.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::lost::Loss;
use crate::error::Corruption;
use crate::format::State;
use crate::kind::{Kind, LABEL_BYTES, NO_LABEL, ShowLabel};
use crate::seq::Seq;

/// What recovery does with damage to acknowledged records.
///
/// ```
/// use ringwal::{Log, RecoveryPolicy};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::builder(dir.path().join("log")).recovery(RecoveryPolicy::TolerateTail).open()?;
/// assert!(log.recovery().tolerated.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecoveryPolicy {
    /// Damage is an error that names the lost records, and nothing is changed.
    #[default]
    Strict,
    /// Damage at the very end of the log, with nothing valid behind it, is cut off and reported as
    /// [`Recovery::tolerated`]. The bytes cut off are kept beside the log ([`Recovery::losses`]).
    /// Damage anywhere else is an error.
    TolerateTail,
}

/// How a log ended.
///
/// ```
/// use ringwal::{Log, Verdict};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path().join("log"))?;
/// assert_eq!(log.recovery().verdict, Verdict::Clean);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// It ends with its last batch, or with blocks that were never written.
    #[default]
    Clean,
    /// It ends with bytes of writes that were never acknowledged.
    TornTail,
    /// Acknowledged records are damaged or missing; [`Recovery::corruption`] or
    /// [`Recovery::tolerated`] says where.
    Corrupt,
    /// It ends with leftovers of a recycled file.
    Stale,
}

/// What recovery found and did. `Display` prints it as a few lines.
///
/// ```
/// use ringwal::Log;
///
/// let dir = tempfile::tempdir()?;
/// Log::open(dir.path().join("log"))?.append("one")?;
/// let report = Log::builder(dir.path().join("log")).verify()?;
/// assert_eq!((report.records, report.bytes_cut), (1, 0));
/// println!("{report}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// How the log ended.
    pub verdict: Verdict,
    /// The row of the decision table that led to the verdict, such as `R-A1`; the manual's chapter
    /// [recovery](crate::manual::recovery#the-decision-table) lists the rows.
    pub rule: &'static str,
    /// How many segments the log has now.
    pub segments: u64,
    /// How many batches are in them.
    pub batches: u64,
    /// How many live records there are.
    pub records: u64,
    /// The bytes of all segments up to the end of their last batches.
    pub bytes: u64,
    /// How many of these bytes are padding.
    pub padding_bytes: u64,
    /// The first live record: [`Seq::FIRST`] unless the log was truncated before.
    pub first_seq: Seq,
    /// The last record; the one before `first_seq` if there are none.
    pub last_seq: Seq,
    /// How many bytes behind the last batch were cut off, or would be in a repair. Blocks that were
    /// never written are not counted.
    pub bytes_cut: u64,
    /// The segment and the byte where the cut begins.
    pub cut_at: Option<(PathBuf, u64)>,
    /// The first damage to acknowledged records, if the log was only read. Opening to append fails
    /// with it instead.
    pub corruption: Option<Corruption>,
    /// Damage to acknowledged records that [`RecoveryPolicy::TolerateTail`] let pass.
    pub tolerated: Option<Corruption>,
    /// Losses that were tolerated, now or by an earlier opening, and not acknowledged since
    /// ([`Log::acknowledge_loss`](crate::Log::acknowledge_loss)).
    pub losses: Vec<Loss>,
    /// Whether there were segments, but no `state` file.
    pub state_missing: bool,
    /// Whether one slot of `state` was torn or damaged, so that the other one counted. All records
    /// are there, but the last checkpoint, truncation or clean close may be undone.
    pub state_torn: bool,
    /// The log's kind, if its `state` names one.
    pub kind: Option<Kind>,
    /// The user's label ([`Builder::label`](crate::Builder::label)).
    pub label: Option<[u8; LABEL_BYTES]>,
    /// How long recovery took.
    pub elapsed: Duration,
    /// The backend and the strategy, if the log was opened to append.
    pub backend: Option<String>,
}

impl Recovery {
    /// Takes over the kind and the label from `state`.
    pub(crate) fn set_identity(&mut self, state: &State) {
        self.kind = state.kind;
        self.label = (state.label != NO_LABEL).then_some(state.label);
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Clean => "clean",
            Verdict::TornTail => "torn tail: a write that was never acknowledged",
            Verdict::Corrupt => "corrupt: acknowledged records are damaged or missing",
            Verdict::Stale => "leftovers of a recycled segment at the end",
        };
        writeln!(f, "verdict:  {verdict} ({})", self.rule)?;
        if let Some(kind) = self.kind {
            writeln!(f, "kind:     {kind}")?;
        }
        if let Some(label) = &self.label {
            writeln!(f, "label:    {}", ShowLabel(label))?;
        }
        if self.records == 0 {
            writeln!(f, "records:  none, the next one is {}", self.last_seq.next())?;
        } else {
            writeln!(f, "records:  {} ({} to {})", self.records, self.first_seq, self.last_seq)?;
        }
        writeln!(f, "segments: {}, batches: {}", self.segments, self.batches)?;
        writeln!(f, "bytes:    {}, of which padding {}", self.bytes, self.padding_bytes)?;
        if let Some((path, offset)) = &self.cut_at {
            writeln!(
                f,
                "cut:      {} bytes from {} at byte {offset}",
                self.bytes_cut,
                path.display()
            )?;
        }
        if let Some(corruption) = &self.corruption {
            writeln!(f, "damage:   {corruption}")?;
        }
        if let Some(tolerated) = &self.tolerated {
            writeln!(
                f,
                "lost:     records {} to {}, tolerated as asked: {} at byte {}",
                tolerated.first_seq,
                tolerated.last_seq,
                tolerated.path.display(),
                tolerated.offset
            )?;
        }
        for loss in &self.losses {
            writeln!(f, "lost:     not acknowledged: {loss}")?;
        }
        if self.state_missing {
            writeln!(f, "state:    there was no state file")?;
        }
        if self.state_torn {
            writeln!(f, "state:    one slot was torn or damaged, the other one counts")?;
        }
        if let Some(backend) = &self.backend {
            writeln!(f, "backend:  {backend}")?;
        }
        write!(f, "took:     {:.3} s", self.elapsed.as_secs_f64())
    }
}
