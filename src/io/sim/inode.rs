//! A file of a simulated disk: as it is seen, as it is on stable storage, and the changes in
//! between.

use std::collections::BTreeMap;
use std::ops::Range;

use super::dice::Dice;

/// What is written or not as a whole, or is garbage.
pub(super) const SECTOR_BYTES: usize = 512;

/// A change of a file that stable storage need not have.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) id: u64,
    pub(super) change: Change,
    /// When it completed; one in flight is not seen yet.
    pub(super) completed: Option<u64>,
    /// It failed, or a sync of it did: no later sync makes it durable.
    pub(super) lost: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    /// `live` tells for each sector whether no later durable write went over it.
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

    /// The bytes that are written, or none.
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

    /// Marks the sectors that `newer` writes as decided.
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

/// How a crash treats what was not durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mood {
    /// Of a hundred sectors or writes, how many are done.
    done: u32,
    /// Of a hundred that are not done, how many are garbage.
    garbage: u32,
    /// One outcome for all of a write.
    whole: bool,
    /// Of a hundred changes of names and lengths, how many are done.
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

/// What becomes of a sector.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    Dropped,
    Garbage,
}

fn fate(mood: Mood, dice: &mut Dice) -> Fate {
    if dice.percent(mood.done) {
        Fate::Done
    } else if dice.percent(mood.garbage) {
        Fate::Garbage
    } else {
        Fate::Dropped
    }
}

/// A file, whatever names it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What a read gives.
    pub(super) seen: Vec<u8>,
    durable: Vec<u8>,
    pub(super) pending: Vec<Pending>,
    /// What sectors were before they were last written.
    before: Vec<u8>,
    /// What reads get instead of these sectors.
    pub(super) wrong: BTreeMap<usize, Vec<u8>>,
}

impl Inode {
    /// A change that is done as far as a reader can tell.
    pub(super) fn change(&mut self, id: u64, now: u64, change: Change) {
        self.see(&change);
        self.pending.push(Pending { id, change, completed: Some(now), lost: false });
    }

    /// A change that is on its way, or that failed.
    pub(super) fn begin(&mut self, id: u64, change: Change, lost: bool) {
        self.pending.push(Pending { id, change, completed: None, lost });
    }

    /// A change that was on its way is done.
    pub(super) fn complete(&mut self, id: u64, now: u64) {
        let found = self.pending.iter_mut().find(|pending| pending.id == id);
        if let Some(change) = found.map(|pending| {
            pending.completed = Some(now);
            pending.change.clone()
        }) {
            self.see(&change);
        }
    }

    /// Applies a change to what is seen. What it writes over is right again.
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

    /// The bytes that a change on its way writes.
    pub(super) fn bytes_of(&self, id: u64) -> usize {
        let found = self.pending.iter().find(|pending| pending.id == id);
        found.map_or(0, |pending| pending.change.range().len())
    }

    /// Only the first `keep` bytes of a write that was on its way were written.
    pub(super) fn shorten(&mut self, id: u64, keep: usize, now: u64) {
        let Some(pending) = self.pending.iter_mut().find(|pending| pending.id == id) else {
            return;
        };
        if let Change::Write { offset, data, .. } = &pending.change {
            pending.change = Change::write(*offset, data[..keep].to_vec());
        }
        self.complete(id, now);
    }

    /// A change that was on its way never began.
    pub(super) fn cancel(&mut self, id: u64) {
        self.pending.retain(|pending| pending.id != id);
    }

    /// A sector as it is seen.
    pub(super) fn sector(&self, sector: usize) -> Vec<u8> {
        sector_of(&self.seen, sector)
    }

    /// A sector as it was before it was last written.
    pub(super) fn sector_before(&self, sector: usize) -> Vec<u8> {
        sector_of(&self.before, sector)
    }

    /// A sector, and something is wrong with it.
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

    /// Gives what is seen from `offset` on, but for sectors that are read wrong: for good, or
    /// `once`.
    pub(super) fn read(&self, offset: usize, buf: &mut [u8], once: Option<(usize, Vec<u8>)>) {
        // Nothing is read behind the end, wherever that begins.
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

    /// A change that was on its way failed.
    pub(super) fn lose(&mut self, id: u64) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.id == id) {
            pending.lost = true;
        }
    }

    /// Makes durable what `covered` says, and the lengths before it.
    pub(super) fn sync(&mut self, covered: impl Fn(&Pending) -> bool) {
        let goes = |p: &Pending| p.completed.is_some() && !p.lost && covered(p);
        let last = self.pending.iter().rposition(goes);
        let Some(last) = last else { return };
        let mut kept: Vec<Pending> = Vec::new();
        for (index, pending) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            // The length that goes to stable storage is the one that the system knows.
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

    /// A sync failed: what it covered is marked as clean and is not on stable storage.
    pub(super) fn fail_sync(&mut self, covered: impl Fn(&Pending) -> bool) {
        for pending in &mut self.pending {
            pending.lost |= pending.completed.is_some() && covered(pending);
        }
    }

    /// Decides what became of the changes that `which` names, on stable storage.
    fn settle(&mut self, mood: Mood, dice: &mut Dice, which: impl Fn(&Pending) -> bool) {
        let (settled, left) = std::mem::take(&mut self.pending).into_iter().partition(which);
        self.pending = left;
        let settled: Vec<Pending> = settled;
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

    /// What is read again comes from stable storage, as far as no change still waits for a sync.
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

    /// The file after the death of the process: what was in flight is done or not.
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

    /// Changes what is there, as a failing drive does.
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

/// Decides sector by sector what of a write is there.
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
        if from < to && fate != Fate::Dropped {
            image[from..to].copy_from_slice(&data[from - offset..to - offset]);
        }
        if fate == Fate::Garbage {
            spoil(&mut image[start..end], dice);
        }
    }
}

/// Replaces a sector or its end, but never a part of an aligned word.
fn spoil(sector: &mut [u8], dice: &mut Dice) {
    let from = if dice.percent(50) { 0 } else { dice.below(sector.len()) & !7 };
    match dice.below(4) {
        0 => sector[from..].fill(0),
        1 => sector[from..].fill(0xff),
        _ => sector[from..].fill_with(|| dice.next() as u8),
    }
}
