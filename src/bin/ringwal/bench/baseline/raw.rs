//! Baselines of plain files: what the file system does for a program that only writes or reads a
//! file.
//!
//! 1. The files were filled with zeros and synced before, so every measured write overwrites a
//!    written block and allocates nothing. Writes wrap around in the file, except for bandwidths: a
//!    burst of gigabytes would slow down the next measurement.
//! 2. The data is noise. Direct writes start at a block boundary and are padded to blocks.
//! 3. An unavailable baseline is left out with a reason, never estimated.

use std::path::Path;
use std::time::Instant;

use ringwal::io::{AlignedBuf, BUF_ALIGN};

use crate::bench::baseline::files::{PIECE_BYTES, READERS, RawFile, read_files, write_all_at};
use crate::bench::machine::Mark;
use crate::bench::records::content::fill;
use crate::bench::sample::{Latencies, Sample};
use crate::bench::setting::{Setting, stopped};
use crate::output::exit::Failure;

/// A raw measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Baseline {
    /// One `pwrite` through the page cache and one fdatasync at a time.
    Pwrite { size: usize },
    /// One direct write of this many records and one fdatasync at a time.
    BatchBound { records: usize, size: usize },
    /// Direct writes of a record with `RWF_DSYNC`, with this many in flight.
    Dsync { depth: usize, size: usize },
    /// Direct writes of a record, each linked to an fdatasync, with this many in flight.
    Linked { depth: usize, size: usize },
    /// Direct writes of large pieces, one at a time, over the file once, and an fdatasync at the
    /// end.
    SequentialWrite,
    /// Direct reads of large pieces by several threads, over the file once.
    SequentialRead,
}

impl Baseline {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Baseline::Pwrite { .. } => "pwrite+fdatasync",
            Baseline::BatchBound { .. } => "ideal-batch",
            Baseline::Dsync { .. } => "rwf-dsync",
            Baseline::Linked { .. } => "linked-pair",
            Baseline::SequentialWrite => "sequential-write",
            Baseline::SequentialRead => "sequential-read",
        }
    }

    /// The number of concurrent records or reads.
    pub(crate) fn outstanding(&self) -> usize {
        match *self {
            Baseline::Pwrite { .. } | Baseline::SequentialWrite => 1,
            Baseline::BatchBound { records, .. } => records,
            Baseline::Dsync { depth, .. } | Baseline::Linked { depth, .. } => depth,
            Baseline::SequentialRead => READERS,
        }
    }

    /// The size of a record or piece.
    pub(crate) fn size(&self) -> usize {
        match *self {
            Baseline::Pwrite { size } | Baseline::BatchBound { size, .. } => size,
            Baseline::Dsync { size, .. } | Baseline::Linked { size, .. } => size,
            Baseline::SequentialWrite | Baseline::SequentialRead => PIECE_BYTES,
        }
    }

    /// Whether each operation is durable when it ends.
    pub(crate) fn is_synced(&self) -> bool {
        !matches!(self, Baseline::SequentialWrite | Baseline::SequentialRead)
    }
}

const FILE_BYTES_MIN: u64 = 64 << 20;
const BUFFERED_BYTES_MIN: u64 = 16 << 20;

/// The prepared files.
pub(crate) struct RawFiles {
    buffered: RawFile,
    direct: RawFile,
    /// Why direct I/O is unavailable and writes use the page cache.
    pub(crate) not_direct: Option<String>,
}

impl RawFiles {
    /// Prepares the files in `dir`, for single writes of up to `write_bytes`.
    pub(crate) fn new(dir: &Path, write_bytes: usize) -> Result<RawFiles, Failure> {
        let twice = 2 * padded(write_bytes) as u64;
        let buffered = RawFile::filled(dir.join("raw-buffered"), twice.max(BUFFERED_BYTES_MIN))?;
        let mut direct = RawFile::filled(dir.join("raw-direct"), twice.max(FILE_BYTES_MIN))?;
        let not_direct = match direct.reopened_direct() {
            Ok(file) => {
                direct.file = file;
                None
            }
            Err(error) => Some(error.to_string()),
        };
        Ok(RawFiles { buffered, direct, not_direct })
    }

    /// Measures a baseline that needs no ring.
    pub(crate) fn measure(
        &self,
        setting: &Setting<'_>,
        baseline: &Baseline,
    ) -> Result<Sample, Failure> {
        match *baseline {
            Baseline::Pwrite { size } => {
                let writes = Writes { len: size, records: 1, payload: size, sync_each: true };
                self.buffered.write(setting, &writes)
            }
            Baseline::BatchBound { records, size } => {
                let payload = records * size;
                let len = padded(payload);
                let writes = Writes { len, records: records as u64, payload, sync_each: true };
                self.direct.write(setting, &writes)
            }
            Baseline::SequentialWrite => {
                let (len, payload) = (PIECE_BYTES, PIECE_BYTES);
                let writes = Writes { len, records: 1, payload, sync_each: false };
                self.direct.write(setting, &writes)
            }
            Baseline::SequentialRead => self.direct.read(setting),
            Baseline::Dsync { .. } | Baseline::Linked { .. } => {
                Err(Failure::Request(format!("{} needs a ring", baseline.name())))
            }
        }
    }
}

/// The write that is repeated.
struct Writes {
    len: usize,
    /// Records per write.
    records: u64,
    /// Bytes of records per write.
    payload: usize,
    sync_each: bool,
}

impl RawFile {
    fn write(&self, setting: &Setting<'_>, writes: &Writes) -> Result<Sample, Failure> {
        let failed = |error| Failure::Raw(self.path.clone(), error);
        let mut buf = AlignedBuf::zeroed(writes.len);
        fill(&mut buf, writes.len as u64);
        let mut latencies = Latencies::new();
        let (mut ops, mut at) = (0, 0);
        let mark = Mark::now(setting.device);
        let ops_max = if writes.sync_each { u64::MAX } else { self.bytes / writes.len as u64 };
        while ops == 0 || (ops < ops_max && mark.elapsed() < setting.duration) {
            if setting.stop.is_stopped() {
                return Err(stopped(setting));
            }
            if at + writes.len as u64 > self.bytes {
                at = 0;
            }
            let since = Instant::now();
            write_all_at(&self.file, &buf[..writes.len], at).map_err(failed)?;
            if writes.sync_each {
                self.file.sync_data().map_err(failed)?;
            }
            latencies.note(since);
            at += writes.len as u64;
            ops += 1;
        }
        if !writes.sync_each {
            self.file.sync_data().map_err(failed)?;
        }
        let spent = mark.spent(setting.device, mark.elapsed());
        Ok(Sample {
            records: ops * writes.records,
            latencies,
            spent,
            moved_bytes: ops * writes.len as u64,
            padding_bytes: ops * (writes.len - writes.payload) as u64,
            moved_records: ops * writes.records,
            writes: ops,
        })
    }

    fn read(&self, setting: &Setting<'_>) -> Result<Sample, Failure> {
        let mark = Mark::now(setting.device);
        let read = read_files(std::slice::from_ref(self), setting.stop)?;
        let mut spent = mark.spent(setting.device, mark.elapsed());
        // The readers have ended, and their CPU time is lost.
        spent.cpu = None;
        Ok(Sample {
            records: read.pieces,
            latencies: read.latencies,
            spent,
            moved_bytes: read.bytes,
            padding_bytes: 0,
            moved_records: read.pieces,
            writes: read.pieces,
        })
    }
}

/// Rounds up to the alignment of direct writes.
pub(crate) fn padded(bytes: usize) -> usize {
    bytes.max(1).next_multiple_of(BUF_ALIGN)
}
