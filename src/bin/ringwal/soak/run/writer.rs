//! Executes operations on the store in this process.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use ringwal::kv::{Compacted, DataWal};

use crate::output::exit::Failure;
use crate::soak::args::StoreArgs;
use crate::soak::workload::Op;
use crate::soak::workload::oracle::ValueDigest;

/// The reply to an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The value that a get found.
    pub(crate) value: Option<ValueDigest>,
    /// Whether the deleted key existed.
    pub(crate) was_there: bool,
    /// The duration of the call to the store.
    pub(crate) nanos: u64,
    pub(crate) totals: Totals,
}

/// The totals of a store since it was opened, as of its last flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) rotations: u64,
    pub(crate) compactions: u64,
    pub(crate) written_bytes: u64,
}

impl Totals {
    pub(crate) fn plus(self, other: Totals) -> Totals {
        Totals {
            rotations: self.rotations + other.rotations,
            compactions: self.compactions + other.compactions,
            written_bytes: self.written_bytes + other.written_bytes,
        }
    }
}

/// Opens the store with the options of a run.
pub(crate) fn open_store(dir: &Path, args: &StoreArgs) -> ringwal::Result<DataWal> {
    let builder = DataWal::builder(dir).backend(args.backend.kind());
    builder.segment_bytes(args.segment_bytes).open()
}

/// Turns an error of the store into a violated invariant.
pub(crate) fn broken(what: impl fmt::Display) -> impl FnOnce(ringwal::Error) -> Failure {
    move |error| Failure::Invariant(format!("{what}: {}", Failure::Log(error)))
}

/// An open store that executes operations in order, with a compaction beside them at times.
pub(crate) struct Writer {
    store: Arc<DataWal>,
    compaction: Option<JoinHandle<ringwal::Result<Compacted>>>,
    totals: Totals,
    replies: VecDeque<Reply>,
}

impl Writer {
    pub(crate) fn new(store: DataWal) -> Writer {
        let (compaction, totals) = (None, Totals::default());
        Writer { store: Arc::new(store), compaction, totals, replies: VecDeque::new() }
    }

    /// Executes an operation; [`reply`](Self::reply) returns its reply.
    pub(crate) fn send(&mut self, op: &Op) -> Result<(), Failure> {
        let reply = self.execute(op)?;
        self.replies.push_back(reply);
        Ok(())
    }

    pub(crate) fn reply(&mut self) -> Option<Reply> {
        self.replies.pop_front()
    }

    /// Executes an operation.
    pub(crate) fn execute(&mut self, op: &Op) -> Result<Reply, Failure> {
        let mut reply = Reply::default();
        let start = Instant::now();
        match op {
            Op::Put { key, value } => {
                self.store.put(key, value).map_err(broken(format_args!("put {}", Shown(key))))?;
            }
            Op::Delete { key } => {
                let done = self.store.delete(key);
                reply.was_there = done.map_err(broken(format_args!("delete {}", Shown(key))))?;
            }
            Op::Get { key } => {
                let found = self.store.get(key);
                let found = found.map_err(broken(format_args!("get {}", Shown(key))))?;
                reply.value = found.as_deref().map(ValueDigest::of);
            }
            Op::Fsync => self.store.fsync().map_err(broken("fsync"))?,
            Op::Compact => {
                self.finish_compaction()?;
                let store = Arc::clone(&self.store);
                let thread = Builder::new().name("compact".into()).spawn(move || store.compact());
                let failed = |error| Failure::Setup("thread to compact", error);
                self.compaction = Some(thread.map_err(failed)?);
            }
        }
        reply.nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if *op == Op::Fsync {
            if self.compaction.as_ref().is_some_and(JoinHandle::is_finished) {
                self.finish_compaction()?;
            }
            self.read_metrics();
        }
        reply.totals = self.totals;
        Ok(reply)
    }

    /// Waits for a running compaction and closes the store.
    pub(crate) fn close(mut self) -> Result<Totals, Failure> {
        self.finish_compaction()?;
        self.store.close().map_err(broken("close"))?;
        self.read_metrics();
        Ok(self.totals)
    }

    fn read_metrics(&mut self) {
        let metrics = self.store.metrics();
        self.totals.rotations = metrics.rotations;
        self.totals.written_bytes = metrics.written_bytes;
    }

    fn finish_compaction(&mut self) -> Result<(), Failure> {
        let Some(thread) = self.compaction.take() else { return Ok(()) };
        match thread.join() {
            Ok(done) => done.map_err(broken("compact"))?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        self.totals.compactions += 1;
        Ok(())
    }
}

/// A key in printable form, shortened if it is long.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BYTES_MAX: usize = 64;
        let head = &self.0[..self.0.len().min(BYTES_MAX)];
        write!(f, "\"{}\"", head.escape_ascii())?;
        if head.len() < self.0.len() {
            write!(f, " and {} bytes more", self.0.len() - head.len())?;
        }
        Ok(())
    }
}
