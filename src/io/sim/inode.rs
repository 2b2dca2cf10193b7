//! A file of a simulated disk: its content as readers see it, its content on stable storage, and
//! the changes between the two.

use std::collections::BTreeMap;
use std::ops::Range;

use super::dice::Dice;

/// The unit of a torn write: after a crash each sector is old, new or garbage as a whole.
pub(super) const SECTOR_BYTES: usize = 512;

/// A change of a file that is not known to be on stable storage.
#[derive(Clone, Debug)]
pub(super) struct PendingChange {
    pub(super) id: u64,
    pub(super) change: Change,
    /// When it completed. Readers do not see a change in flight.
    pub(super) completed: Option<u64>,
    /// It failed, or a sync of it did: no later sync makes it durable.
    pub(super) lost: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    /// `live` tells for each sector that no later durable write has overwritten it.
    Write {
        offset: usize,
        data: Vec<u8>,
        live: Vec<bool>,
    },
    Length(usize),
}

impl Change {
    pub(super) fn write(offset: usize, data: Vec<u8>) -> Change {
        let sectors = (offset + data.len()).div_ceil(SECTOR_BYTES) - offset / SECTOR_BYTES;
        Change::Write { offset, data, live: vec![true; sectors] }
    }

    /// The range of bytes that it writes; empty for a change of the length.
    fn range(&self) -> Range<usize> {
        match self {
            Change::Write { offset, data, .. } => *offset..*offset + data.len(),
            Change::Length(_) => 0..0,
        }
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write { offset, data, .. } => {
                if bytes.len() < offset + data.len() {
                    bytes.resize(offset + data.len(), 0);
                }
                bytes[*offset..][..data.len()].copy_from_slice(data);
            }
            Change::Length(len) => bytes.resize(*len, 0),
        }
    }

    /// Marks the sectors that `newer` overwrote durably: this change no longer decides them.
    fn outlived_by(&mut self, newer: &Change) {
        let (Change::Write { offset, live, .. }, Change::Write { offset: at, data, .. }) =
            (self, newer)
        else {
            return;
        };
        let first = *offset / SECTOR_BYTES;
        let (from, to) = (at / SECTOR_BYTES, (at + data.len()).div_ceil(SECTOR_BYTES));
        for (sector, live) in (first..).zip(live) {
            *live &= !(from..to).contains(&sector);
        }
    }
}

/// The chances by which a crash decides about changes that were not durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mood {
    /// The percentage of sectors or writes that are done.
    done: u32,
    /// The percentage of the others that are garbage.
    garbage: u32,
    /// All sectors of a write share one outcome.
    whole: bool,
    /// The percentage of changes of names and lengths that are done.
    pub(super) names: u32,
}

impl Mood {
    pub(super) fn roll(dice: &mut Dice) -> Mood {
        let done = [0, 100, 50, 90, 10][dice.below(5)];
        let garbage = [0, 0, 50, 100][dice.below(4)];
        let names = [0, 100, 50, 50][dice.below(4)];
        Mood { done, garbage, whole: dice.percent(30), names }
    }
}

/// The outcome of a sector after a crash.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SectorFate {
    Done,
    Dropped,
    Garbage,
}

fn fate(mood: Mood, dice: &mut Dice) -> SectorFate {
    if dice.percent(mood.done) {
        SectorFate::Done
    } else if dice.percent(mood.garbage) {
        SectorFate::Garbage
    } else {
        SectorFate::Dropped
    }
}

/// A file, independent of its names.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// The content that a read returns.
    pub(super) seen: Vec<u8>,
    durable: Vec<u8>,
    pub(super) pending: Vec<PendingChange>,
    /// The content of each sector before it was last written.
    before: Vec<u8>,
    /// The bytes that reads get in place of these sectors.
    pub(super) wrong: BTreeMap<usize, Vec<u8>>,
}

impl Inode {
    /// Adds a change that readers see at once.
    pub(super) fn change(&mut self, id: u64, now: u64, change: Change) {
        self.see(&change);
        self.pending.push(PendingChange { id, change, completed: Some(now), lost: false });
    }

    /// Adds a change that is in flight, or that failed.
    pub(super) fn begin(&mut self, id: u64, change: Change, lost: bool) {
        self.pending.push(PendingChange { id, change, completed: None, lost });
    }

    /// Completes a change in flight.
    pub(super) fn complete(&mut self, id: u64, now: u64) {
        let found = self.pending.iter_mut().find(|pending| pending.id == id);
        if let Some(change) = found.map(|pending| {
            pending.completed = Some(now);
            pending.change.clone()
        }) {
            self.see(&change);
        }
    }

    /// Applies a change to the content that is seen. Sectors that it writes are read right again.
    fn see(&mut self, change: &Change) {
        let range = change.range();
        let sectors = range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES);
        self.wrong.retain(|sector, _| !sectors.contains(sector));
        let end = (sectors.end * SECTOR_BYTES).min(self.seen.len());
        let start = (sectors.start * SECTOR_BYTES).min(end);
        if self.before.len() < end {
            self.before.resize(end, 0);
        }
        self.before[start..end].copy_from_slice(&self.seen[start..end]);
        change.apply(&mut self.seen);
    }

    /// How many bytes a change writes.
    pub(super) fn bytes_of(&self, id: u64) -> usize {
        let found = self.pending.iter().find(|pending| pending.id == id);
        found.map_or(0, |pending| pending.change.range().len())
    }

    /// Completes a write in flight with its first `keep` bytes only.
    pub(super) fn shorten(&mut self, id: u64, keep: usize, now: u64) {
        let Some(pending) = self.pending.iter_mut().find(|pending| pending.id == id) else {
            return;
        };
        if let Change::Write { offset, data, .. } = &pending.change {
            pending.change = Change::write(*offset, data[..keep].to_vec());
        }
        self.complete(id, now);
    }

    /// Drops a change that never began.
    pub(super) fn cancel(&mut self, id: u64) {
        self.pending.retain(|pending| pending.id != id);
    }

    /// A sector as readers see it.
    pub(super) fn sector(&self, sector: usize) -> Vec<u8> {
        sector_of(&self.seen, sector)
    }

    /// A sector as it was before it was last written.
    pub(super) fn sector_before(&self, sector: usize) -> Vec<u8> {
        sector_of(&self.before, sector)
    }

    /// A sector with wrong bytes.
    pub(super) fn rotten_sector(&self, sector: usize, dice: &mut Dice) -> Vec<u8> {
        let good = self.sector(sector);
        let mut rotten = good.clone();
        if dice.percent(50) {
            spoil(&mut rotten, dice);
        }
        if rotten == good {
            let at = dice.below(rotten.len());
            rotten[at] ^= 1 << dice.below(8);
        }
        rotten
    }

    /// Reads the content from `offset` on, with the wrong bytes of sectors that are read wrong:
    /// permanently, or `once`.
    pub(super) fn read(&self, offset: usize, buf: &mut [u8], once: Option<(usize, Vec<u8>)>) {
        // The caller never reads past the end.
        let Some(seen) = self.seen.get(offset..offset.saturating_add(buf.len())) else { return };
        buf.copy_from_slice(seen);
        let once = once.iter().map(|(sector, bytes)| (sector, bytes));
        for (sector, bytes) in self.wrong.iter().chain(once) {
            let start = sector * SECTOR_BYTES;
            let (from, to) = (start.max(offset), (start + SECTOR_BYTES).min(offset + buf.len()));
            if from < to {
                buf[from - offset..to - offset].copy_from_slice(&bytes[from - start..to - start]);
            }
        }
    }

    /// Marks a change in flight as failed.
    pub(super) fn lose(&mut self, id: u64) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.id == id) {
            pending.lost = true;
        }
    }

    /// Makes the changes durable that `covered` selects, and the changes of the length before them.
    pub(super) fn sync(&mut self, covered: impl Fn(&PendingChange) -> bool) {
        let goes = |p: &PendingChange| p.completed.is_some() && !p.lost && covered(p);
        let last = self.pending.iter().rposition(goes);
        let Some(last) = last else { return };
        let mut kept: Vec<PendingChange> = Vec::new();
        for (index, pending) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            // A sync writes the length that the system has, so earlier changes of it go along.
            let is_length = matches!(pending.change, Change::Length(_)) && index < last;
            if is_length && pending.lost {
                continue;
            }
            if is_length && pending.completed.is_some() || goes(&pending) {
                pending.change.apply(&mut self.durable);
                for older in kept.iter_mut().filter(|older| older.completed.is_some()) {
                    older.change.outlived_by(&pending.change);
                }
            } else {
                kept.push(pending);
            }
        }
        self.pending = kept;
    }

    /// Fails a sync: the system marks what it covered as clean, and it is not on stable storage.
    pub(super) fn fail_sync(&mut self, covered: impl Fn(&PendingChange) -> bool) {
        for pending in &mut self.pending {
            pending.lost |= pending.completed.is_some() && covered(pending);
        }
    }

    /// Decides by chance what stable storage has of the changes that `which` selects.
    fn settle(&mut self, mood: Mood, dice: &mut Dice, which: impl Fn(&PendingChange) -> bool) {
        let (settled, left) = std::mem::take(&mut self.pending).into_iter().partition(which);
        self.pending = left;
        let settled: Vec<PendingChange> = settled;
        for pending in settled {
            match &pending.change {
                Change::Length(len) => {
                    if dice.percent(mood.names) {
                        self.durable.resize(*len, 0);
                    }
                }
                Change::Write { offset, data, live } => {
                    let end = offset + data.len();
                    if end > self.durable.len() && dice.percent(mood.names) {
                        self.durable.resize(end, 0);
                    }
                    settle_write(&mut self.durable, (*offset, data, live), mood, dice);
                }
            }
        }
    }

    /// Lets further reads come from stable storage, except for changes that still wait for a sync.
    pub(super) fn drop_cache(&mut self, dice: &mut Dice) {
        if self.pending.iter().any(|pending| pending.lost) {
            let mood = Mood::roll(dice);
            self.settle(mood, dice, |pending| pending.lost);
            self.see_again();
        }
    }

    fn see_again(&mut self) {
        self.seen.clone_from(&self.durable);
        for pending in self.pending.iter().filter(|pending| pending.completed.is_some()) {
            pending.change.apply(&mut self.seen);
        }
    }

    /// The file after a power cut.
    pub(super) fn crash(&mut self, mood: Mood, dice: &mut Dice) {
        self.settle(mood, dice, |_| true);
        self.seen.clone_from(&self.durable);
    }

    /// The file after the process died: each change in flight is done or not.
    pub(super) fn kill(&mut self, now: u64, dice: &mut Dice) {
        for pending in &mut self.pending {
            if pending.completed.is_none() && !pending.lost {
                pending.completed = dice.percent(50).then_some(now);
                if pending.completed.is_some() {
                    pending.change.apply(&mut self.seen);
                }
            }
        }
        self.pending.retain(|pending| pending.completed.is_some() || pending.lost);
    }

    /// Changes bytes as a failing drive does, for readers and on stable storage.
    pub(super) fn damage(&mut self, offset: usize, bytes: &[u8]) {
        for image in [&mut self.seen, &mut self.durable] {
            let end = (offset + bytes.len()).min(image.len());
            if offset < end {
                image[offset..end].copy_from_slice(&bytes[..end - offset]);
            }
        }
    }
}

fn sector_of(image: &[u8], sector: usize) -> Vec<u8> {
    let end = ((sector + 1) * SECTOR_BYTES).min(image.len());
    image.get(sector * SECTOR_BYTES..end).unwrap_or_default().to_vec()
}

/// Decides for each sector of a write whether it is old, new or garbage.
fn settle_write(
    image: &mut [u8],
    (offset, data, live): (usize, &[u8], &[bool]),
    mood: Mood,
    dice: &mut Dice,
) {
    let all = fate(mood, dice);
    let first = offset / SECTOR_BYTES;
    for (sector, live) in (first..).zip(live) {
        let fate = if mood.whole { all } else { fate(mood, dice) };
        let (start, end) = (sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
        let end = end.min(image.len());
        if !live || start >= end {
            continue;
        }
        let (from, to) = (start.max(offset), end.min(offset + data.len()));
        if from < to && fate != SectorFate::Dropped {
            image[from..to].copy_from_slice(&data[from - offset..to - offset]);
        }
        if fate == SectorFate::Garbage {
            spoil(&mut image[start..end], dice);
        }
    }
}

/// Replaces a sector or its end with garbage, but never a part of an aligned word.
fn spoil(sector: &mut [u8], dice: &mut Dice) {
    let from = if dice.percent(50) { 0 } else { dice.below(sector.len()) & !7 };
    match dice.below(4) {
        0 => sector[from..].fill(0),
        1 => sector[from..].fill(0xff),
        _ => sector[from..].fill_with(|| dice.next() as u8),
    }
}
