//! Baselines with several durable writes in flight, through the ring of `ringwal::io`.
//!
//! There is one queue per strategy. Both live as long as the run, on the thread that created them.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ringwal::io::{
    AlignedBuf, Blocks, Completion, FileOp, IoQueue, Op, QueueOptions, StdStorage, Strategy,
    open_queue,
};
use ringwal::{BackendKind, Error};

use crate::bench::baseline::raw::padded;
use crate::bench::machine::Mark;
use crate::bench::records::content::fill;
use crate::bench::sample::{Latencies, Sample};
use crate::bench::setting::{Setting, stopped};
use crate::output::exit::Failure;

/// A queue with an open, filled file.
pub(crate) struct Ring {
    queue: Box<dyn IoQueue>,
    strategy: Strategy,
    unit_bytes: usize,
    file_bytes: u64,
    next: u64,
}

const FILE: u64 = 1;
const FILE_BYTES_MIN: usize = 16 << 20;

impl Ring {
    /// A ring for up to `depth` concurrent durable writes of `size` bytes, or why it is
    /// unavailable.
    pub(crate) fn new(
        dir: &Path,
        strategy: Strategy,
        depth: usize,
        size: usize,
    ) -> Result<Result<Ring, String>, Failure> {
        let options = QueueOptions {
            kind: BackendKind::Uring,
            strategy: Some(strategy),
            direct_io: true,
            depth,
            blocks: Some(Blocks::Written),
        };
        let storage = Arc::new(StdStorage::new(dir));
        let name = format!("raw-{strategy}");
        let (queue, backend) = match open_queue(storage, &options, &name) {
            Ok(opened) => opened,
            Err(Error::BackendRefused { reason }) => return Ok(Err(reason)),
            Err(error) => return Err(error.into()),
        };
        if backend.strategy != strategy || !backend.direct_io {
            let refused: Vec<String> = backend.refused.iter().map(|it| it.to_string()).collect();
            return Ok(Err(refused.join("; ")));
        }
        let unit_bytes = backend.unit_bytes as usize;
        let block = padded(size).next_multiple_of(unit_bytes);
        let file_bytes = (2 * depth * block).max(FILE_BYTES_MIN) as u64;
        let mut ring = Ring { queue, strategy, unit_bytes, file_bytes, next: 0 };
        let prepare = FileOp::Prepare {
            file: FILE,
            name,
            reuse: None,
            bytes: file_bytes,
            blocks: Blocks::Written,
            pace: Arc::default(),
        };
        ring.queue.submit(0, prepare.into());
        let mut done = Vec::new();
        while done.is_empty() {
            ring.queue.wait(None, &mut done)?;
        }
        done.into_iter().try_for_each(|completion| completion.result)?;
        Ok(Ok(ring))
    }

    /// Keeps `depth` durable writes of `size` bytes in flight.
    pub(crate) fn measure(
        &mut self,
        setting: &Setting<'_>,
        depth: usize,
        size: usize,
    ) -> Result<Sample, Failure> {
        let len = padded(size).next_multiple_of(self.unit_bytes);
        let mut latencies = Latencies::new();
        let mut since = Vec::with_capacity(depth);
        let bufs: Vec<AlignedBuf> = (0..depth).map(|slot| noise(len, slot)).collect();
        let mark = Mark::now(setting.device);
        for (slot, buf) in bufs.into_iter().enumerate() {
            since.push(Instant::now());
            self.write(slot, buf, len);
        }
        let (mut ops, mut done) = (0, Vec::new());
        let mut elapsed = mark.elapsed();
        while (ops == 0 || elapsed < setting.duration) && !setting.stop.is_stopped() {
            self.queue.wait(None, &mut done)?;
            for Completion { token, result, buf } in done.drain(..) {
                result?;
                ops += 1;
                let slot = token as usize;
                latencies.note(since[slot]);
                since[slot] = Instant::now();
                // The queue returns the buffer of every successful write.
                self.write(slot, buf.unwrap_or_else(|| noise(len, slot)), len);
            }
            elapsed = mark.elapsed();
        }
        let spent = mark.spent(setting.device, elapsed);
        while self.queue.in_flight() > 0 {
            self.queue.wait(None, &mut done)?;
            done.drain(..).try_for_each(|completion| completion.result)?;
        }
        if setting.stop.is_stopped() {
            return Err(stopped(setting));
        }
        Ok(Sample {
            records: ops,
            latencies,
            spent,
            moved_bytes: ops * len as u64,
            padding_bytes: ops * (len - size) as u64,
            moved_records: ops,
            writes: ops,
        })
    }

    fn write(&mut self, slot: usize, buf: AlignedBuf, len: usize) {
        if self.next + len as u64 > self.file_bytes {
            self.next = 0;
        }
        let (offset, sync) = (self.next, Some(self.strategy));
        self.next += len as u64;
        self.queue.submit(slot as u64, Op::Write { file: FILE, offset, buf, len, sync });
    }
}

fn noise(len: usize, slot: usize) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(len);
    fill(&mut buf, slot as u64);
    buf
}
