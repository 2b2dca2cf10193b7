//! The backend probe: sets a ring up, writes a small file in the log's directory through it, and
//! measures the strategies against each other.
//!
//! The file is filled with zeros first, as segments are, so the measurement is that of overwriting
//! written blocks. The file is removed whatever the outcome.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use advice::advice;
use strategies::{choose, median, wanted};

use crate::error::{Error, Result};
use crate::filesystem::Filesystem;
use crate::io::backend::{Refusal, fills};
use crate::io::refuse::{RefuseAt, refused_by_test};
use crate::io::uring::{SetupRefused, UringQueue, open_for_commits};
use crate::io::{
    Access, AlignedBuf, BUF_ALIGN, Backend, BackendKind, Blocks, FileId, IoQueue, Op, QueueOptions,
    Storage, Strategy,
};
use crate::mutation::mutated;
use crate::sys;

mod advice;
mod strategies;

/// A queue on a ring and its report, or `None` with the reasons in `refused`.
///
/// # Errors
///
/// The storage's error if the probe file cannot be made.
pub(super) fn uring(
    storage: &Arc<dyn Storage>,
    options: &QueueOptions,
    (filesystem, blocks): (&Filesystem, Option<Blocks>),
    name: &str,
    refused: &mut Vec<Refusal>,
) -> Result<Option<(Box<dyn IoQueue>, Backend)>> {
    let fill = fills(blocks);
    let wanted = wanted(options.strategy, filesystem, fill, refused);
    let file = match ProbeFile::new(storage, name) {
        Ok(file) => file,
        // The probe only helps to choose, so a shortage during it does not fail the open.
        Err(error) if error.is_shortage() && !mutated("fail_open_for_the_trial") => {
            let advice = "open the log again once there is room, to have it tried".to_owned();
            refused.push(Refusal::new("the test file for io_uring", &answer_of(error), advice));
            return Ok(untried(storage, options, (filesystem, blocks), refused));
        }
        Err(error) => return Err(error),
    };
    let mut unit = None;
    if options.direct_io {
        match direct_unit(storage, filesystem, name) {
            Ok(found) => unit = Some(found),
            Err((answer, advice)) => refused.push(Refusal::new("direct I/O", &answer, advice)),
        }
    }
    let mut found = attempt(storage, options, (&wanted, name, unit), refused);
    if found.is_none() && unit.take().is_some() && only_direct_was_refused(refused) {
        found = attempt(storage, options, (&wanted, name, None), refused);
    }
    drop(file);
    let Some((queue, strategy, measured, reason)) = found else { return Ok(None) };
    let backend = Backend {
        kind: BackendKind::Uring,
        strategy,
        direct_io: unit.is_some(),
        unit_bytes: unit.unwrap_or_else(|| filesystem.cached_unit()),
        blocks,
        fill,
        filesystem: filesystem.name.clone(),
        ring_flags: queue.ring_flags(),
        refused: Vec::new(),
        measured,
        reason,
    };
    Ok(Some((Box::new(queue), backend)))
}

/// The choice without a probe. If it is free, the answer is `None`, because std always works. If
/// io_uring was asked for, it is a ring that uses only what every file system has: plain writes and
/// syncs.
fn untried(
    storage: &Arc<dyn Storage>,
    options: &QueueOptions,
    (filesystem, blocks): (&Filesystem, Option<Blocks>),
    refused: &mut Vec<Refusal>,
) -> Option<(Box<dyn IoQueue>, Backend)> {
    if options.kind != BackendKind::Uring {
        return None;
    }
    let queue = match UringQueue::new(storage.clone(), options.depth, false) {
        Ok(queue) => queue,
        Err(SetupRefused { step, source }) => {
            refused.push(Refusal::new(step, &source, advice(&source)));
            return None;
        }
    };
    let backend = Backend {
        kind: BackendKind::Uring,
        strategy: Strategy::WriteThenSync,
        direct_io: false,
        unit_bytes: filesystem.cached_unit(),
        blocks,
        fill: fills(blocks),
        filesystem: filesystem.name.clone(),
        ring_flags: queue.ring_flags(),
        refused: Vec::new(),
        measured: Vec::new(),
        reason: "as there was no room to try another".to_owned(),
    };
    Some((Box::new(queue), backend))
}

/// Why no ring can be set up, if none can. Touches no file.
pub(super) fn set_up_refusal(storage: &Arc<dyn Storage>) -> Option<Refusal> {
    let SetupRefused { step, source } = UringQueue::new(storage.clone(), 1, false).err()?;
    Some(Refusal::new(step, &source, advice(&source)))
}

/// A file of zeros that is removed on drop.
struct ProbeFile<'a> {
    storage: &'a Arc<dyn Storage>,
    name: &'a str,
}

impl<'a> ProbeFile<'a> {
    fn new(storage: &'a Arc<dyn Storage>, name: &'a str) -> Result<ProbeFile<'a>> {
        // A file of this name is the leftover of a crash. If it cannot be removed, the creation
        // fails and says so.
        let _absent = storage.remove(name);
        let file = storage.open(name, Access::Create)?;
        let probe = ProbeFile { storage, name };
        file.write_zeros(0, PROBE_BYTES)?;
        file.sync()?;
        Ok(probe)
    }
}

impl Drop for ProbeFile<'_> {
    fn drop(&mut self) {
        // A leftover has the name of a spare, so the next open removes it.
        let _leftover = self.storage.remove(self.name);
    }
}

/// The unit of direct writes in this directory, or the refusal with advice.
fn direct_unit(
    storage: &Arc<dyn Storage>,
    filesystem: &Filesystem,
    name: &str,
) -> std::result::Result<u64, (Arc<io::Error>, String)> {
    let buffered = "writes go through the page cache, with the same promise".to_owned();
    let unsupported =
        |why: String| (io::Error::new(io::ErrorKind::Unsupported, why).into(), buffered.clone());
    if let Some(source) = refused_by_test(RefuseAt::DirectWrite) {
        return Err((source.into(), buffered));
    }
    let file = match open_for_commits(&**storage, name, true) {
        Ok(file) => file,
        Err(Error::Io { source, .. }) => return Err((source, buffered)),
        Err(other) => return Err(unsupported(other.to_string())),
    };
    let mut unit = BUF_ALIGN as u64;
    match sys::direct_alignment(&file) {
        _ if filesystem.copy_on_write => {
            return Err(unsupported(format!("{} copies on write", filesystem.name)));
        }
        Some(known) if known.offset == 0 || known.mem == 0 => {
            return Err(unsupported(format!("{} does not support it here", filesystem.name)));
        }
        Some(known) if known.mem as usize > BUF_ALIGN => {
            let why = format!("it needs memory aligned to {} bytes", known.mem);
            return Err(unsupported(why));
        }
        Some(known) => unit = unit.max(u64::from(known.offset)),
        None if filesystem.direct_known => {}
        None => {
            return Err(unsupported(format!("{} does not tell its alignment", filesystem.name)));
        }
    }
    if unit > PROBE_BYTES / 2 {
        return Err(unsupported(format!("its unit of {unit} bytes is too large")));
    }
    let zeros = AlignedBuf::zeroed(unit as usize);
    std::os::unix::fs::FileExt::write_all_at(&file, &zeros, 0)
        .map_err(|source| (source.into(), buffered.clone()))?;
    Ok(unit)
}

/// A ring that passed: the queue, its strategy, the measurements and the reason.
type Passed = (UringQueue, Strategy, Vec<(Strategy, Duration)>, String);

/// Sets a ring up, writes through it by each strategy, and measures those that work.
fn attempt(
    storage: &Arc<dyn Storage>,
    options: &QueueOptions,
    (wanted, name, unit): (&[Strategy], &str, Option<u64>),
    refused: &mut Vec<Refusal>,
) -> Option<Passed> {
    let mut refuse =
        |step: String, source: &io::Error| refused.push(Refusal::new(step, source, advice(source)));
    let mut queue = match UringQueue::new(storage.clone(), options.depth, unit.is_some()) {
        Ok(queue) => queue,
        Err(SetupRefused { step, source }) => {
            refuse(step, &source);
            return None;
        }
    };
    match open_for_commits(&**storage, name, unit.is_some()) {
        Ok(file) => queue.adopt(PROBE_FILE, name, file),
        Err(error) => {
            refuse("opening the test file".to_owned(), &answer_of(error));
            return None;
        }
    }
    let mut probe =
        ProbeWriter { queue: &mut queue, unit: unit.unwrap_or(BUF_ALIGN as u64), next: 0 };
    let mut usable = Vec::new();
    let started = Instant::now();
    for &strategy in wanted {
        if probe.queue.has_failed() {
            return None;
        }
        match probe.write(strategy) {
            Ok(took) => usable.push((strategy, vec![took])),
            Err(error) => {
                let step = format!("an io_uring test write by the strategy {strategy}");
                refuse(step, &answer_of(error));
            }
        }
    }
    let &(only, _) = usable.first()?;
    if let &[single] = wanted {
        queue.release(PROBE_FILE);
        let reason = if options.strategy == Some(single) { "as asked for" } else { "instead" };
        return Some((queue, single, Vec::new(), reason.to_owned()));
    }
    while started.elapsed() < MEASURE_FOR && usable[0].1.len() <= ROUNDS {
        for (strategy, times) in &mut usable {
            // This strategy worked a moment ago, so a failure now is a fault and not a refusal. The
            // first write of the log will meet it too.
            if let Ok(took) = probe.write(*strategy) {
                times.push(took);
            }
        }
    }
    queue.release(PROBE_FILE);
    if queue.has_failed() {
        refuse("measuring".to_owned(), &io::Error::other("the ring failed during it"));
        return None;
    }
    let measured: Vec<(Strategy, Duration)> =
        usable.into_iter().map(|(strategy, times)| (strategy, median(times))).collect();
    let (strategy, reason) = choose(&measured).unwrap_or((only, String::new()));
    Some((queue, strategy, measured, reason))
}

/// The probe's writes, each to the next unit of the file.
struct ProbeWriter<'a> {
    queue: &'a mut UringQueue,
    unit: u64,
    next: u64,
}

impl ProbeWriter<'_> {
    /// ProbeWriter one unit durably; returns how long it took.
    fn write(&mut self, strategy: Strategy) -> Result<Duration> {
        if let Some(source) = refused_by_test(RefuseAt::TestWrite) {
            return Err(Error::io("write", "", source));
        }
        let offset = self.next * self.unit % PROBE_BYTES;
        self.next += 1;
        let len = self.unit as usize;
        let buf = AlignedBuf::zeroed(len);
        let started = Instant::now();
        let sync = Some(strategy);
        self.queue.submit(self.next, Op::Write { file: PROBE_FILE, offset, buf, len, sync });
        let mut done = Vec::new();
        while done.is_empty() {
            self.queue.wait(None, &mut done)?;
        }
        let took = started.elapsed();
        done.into_iter().try_for_each(|completion| completion.result)?;
        Ok(took)
    }
}

/// The operating system's answer in an error, or the error in its place.
fn answer_of(error: Error) -> Arc<io::Error> {
    match error {
        Error::Io { source, .. } => source,
        other => io::Error::other(other.to_string()).into(),
    }
}

/// Whether the test write failed as a direct write of the wrong unit does.
fn only_direct_was_refused(refused: &[Refusal]) -> bool {
    let last = refused.last();
    last.is_some_and(|last| last.step.contains("test") && last.errno == Some(libc::EINVAL))
}

/// The number of the probe file in the queue. Engines count up from the other end.
const PROBE_FILE: FileId = FileId::MAX;
/// The length of the probe file.
const PROBE_BYTES: u64 = 1 << 17;
/// At most so many measured writes for each strategy.
const ROUNDS: usize = 8;
/// No new round of measurements starts after this; it bounds the probe on slow disks.
const MEASURE_FOR: Duration = Duration::from_millis(50);
