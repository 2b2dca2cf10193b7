//! What a disk with power cuts is, and the record of what happened to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::Broken;
use crate::rng::Rng;
use crate::workload::Witness;

/// A kind of disk.
pub(crate) trait World {
    /// Something that happened to it.
    type Operation: Clone;
    /// Its whole content.
    type Disk;

    /// Whether a recording can go on after an earlier one that ended with the writer's death:
    /// then the disk still has what was not synced.
    const GOES_ON: bool;

    /// A disk without a log.
    fn fresh(&self) -> Result<Self::Disk, Broken>;

    /// Lets `live` write in a directory of the disk and records what happens, after what happened
    /// before.
    fn record(
        &self,
        disk: &Self::Disk,
        before: Recording<Self::Operation>,
        seed: u64,
        live: &dyn Fn(&Path, &dyn Witness),
    ) -> Result<Recording<Self::Operation>, Broken>;

    /// What is left of the disk and of those operations when the power is cut right after them.
    fn cut(&self, disk: &Self::Disk, operations: &[Self::Operation], seed: u64) -> Self::Disk;

    /// Calls `look` with the directory of the log on a copy of the disk.
    fn with(
        &self,
        disk: &Self::Disk,
        look: &mut dyn FnMut(&Path) -> Result<(), Broken>,
    ) -> Result<Result<(), Broken>, Broken>;

    /// Puts the disk where people can look at it.
    fn keep(&self, disk: &Self::Disk) -> Result<PathBuf, Broken>;
}

/// What happened to a disk, and what the writer told after how many operations.
#[derive(Debug)]
pub(crate) struct Recording<O> {
    pub(crate) operations: Vec<O>,
    pub(crate) lines: Vec<(usize, String)>,
}

impl<O> Recording<O> {
    /// Of nothing.
    pub(crate) fn new() -> Recording<O> {
        Recording { operations: Vec::new(), lines: Vec::new() }
    }

    /// Ends with the death of the writer after so many operations.
    pub(crate) fn killed_at(mut self, at: usize) -> Recording<O> {
        self.operations.truncate(at);
        self.lines.retain(|(told, _)| *told <= at);
        self.lines.push((at, "killed".to_owned()));
        self
    }

    /// What was told after so many operations.
    pub(crate) fn told_by(&self, at: usize) -> impl Iterator<Item = &str> {
        self.lines.iter().take_while(move |(told, _)| *told <= at).map(|(_, line)| line.as_str())
    }
}

/// Makes a recording. The file system and the writer share it.
#[derive(Debug)]
pub(crate) struct Recorder<O> {
    recording: Mutex<Recording<O>>,
}

impl<O> Recorder<O> {
    pub(crate) fn new(before: Recording<O>) -> Arc<Recorder<O>> {
        Arc::new(Recorder { recording: Mutex::new(before) })
    }

    fn recording(&self) -> MutexGuard<'_, Recording<O>> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an operation. Whoever calls holds the lock of the content, so that the order is that
    /// in which the operations happened.
    pub(crate) fn note(&self, operation: O) {
        self.recording().operations.push(operation);
    }

    /// The end of the recording.
    pub(crate) fn take(&self) -> Recording<O> {
        std::mem::replace(&mut *self.recording(), Recording::new())
    }
}

impl<O: Send> Witness for Recorder<O> {
    fn tell(&self, line: String) {
        let mut recording = self.recording();
        let at = recording.operations.len();
        recording.lines.push((at, line));
    }
}

/// What becomes of the sectors of a write that no sync covered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    /// Of how many bytes each part is kept or dropped as a whole.
    pub(crate) sector: usize,
    /// Whether a part may be replaced by garbage.
    pub(crate) garbage: bool,
}

impl Fate {
    /// The parts of a write that reach the disk, with their offset in it.
    pub(crate) fn survivors(self, data: &[u8], rng: &mut Rng) -> Vec<(usize, Vec<u8>)> {
        match rng.below(10) {
            0..=3 => Vec::new(),
            4..=6 => vec![(0, data.to_vec())],
            _ => {
                let parts = data.chunks(self.sector).enumerate();
                let survive = parts.filter_map(|(index, part)| {
                    let outcome = rng.below(if self.garbage { 5 } else { 4 });
                    let bytes = match outcome {
                        0 | 1 => return None,
                        2 | 3 => part.to_vec(),
                        _ => part.iter().map(|_| rng.next() as u8).collect(),
                    };
                    Some((index * self.sector, bytes))
                });
                survive.collect()
            }
        }
    }
}

/// Content in blocks; those that were never written, or are only zeros, are not there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks(BTreeMap<u64, Arc<[u8; BLOCK]>>);

pub(crate) const BLOCK: usize = 4096;

impl Blocks {
    pub(crate) fn write(&mut self, mut offset: u64, mut data: &[u8]) {
        while !data.is_empty() {
            let (number, start) = (offset / BLOCK as u64, (offset % BLOCK as u64) as usize);
            let len = data.len().min(BLOCK - start);
            let (part, rest) = data.split_at(len);
            let zeros = part.iter().all(|&byte| byte == 0);
            if !zeros || self.0.contains_key(&number) {
                let block = self.0.entry(number).or_insert_with(|| Arc::new([0; BLOCK]));
                Arc::make_mut(block)[start..start + len].copy_from_slice(part);
            }
            offset += len as u64;
            data = rest;
        }
    }

    pub(crate) fn read(&self, mut offset: u64, buf: &mut [u8]) {
        let mut rest = buf;
        while !rest.is_empty() {
            let (number, start) = (offset / BLOCK as u64, (offset % BLOCK as u64) as usize);
            let len = rest.len().min(BLOCK - start);
            let (part, after) = rest.split_at_mut(len);
            match self.0.get(&number) {
                Some(block) => part.copy_from_slice(&block[start..start + len]),
                None => part.fill(0),
            }
            offset += len as u64;
            rest = after;
        }
    }

    /// Forgets everything from `bytes` on.
    pub(crate) fn cut(&mut self, bytes: u64) {
        let (number, start) = (bytes / BLOCK as u64, (bytes % BLOCK as u64) as usize);
        let mut after = self.0.split_off(&number);
        if start > 0
            && let Some(mut block) = after.remove(&number)
        {
            Arc::make_mut(&mut block)[start..].fill(0);
            self.0.insert(number, block);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[u8; BLOCK])> {
        self.0.iter().map(|(number, block)| (number * BLOCK as u64, &**block))
    }
}

/// Delays some writes, so that a sync that does not wait for its write overtakes it.
pub(crate) fn dawdle(rng: &Mutex<Rng>) {
    let micros = {
        let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
        if rng.percent(85) { 0 } else { rng.below(1000) }
    };
    if micros > 0 {
        #[expect(clippy::disallowed_methods, reason = "this is how slow the disk is")]
        std::thread::sleep(std::time::Duration::from_micros(micros));
    }
}
