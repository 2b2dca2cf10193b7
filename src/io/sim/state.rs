//! The state of a simulated disk: files and their names, the faults that are due, and the changes
//! that are not durable.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

use super::dice::Dice;
use super::fault::{PlannedFaults, SimFault, Struck};
use super::inode::{Inode, Mood, SECTOR_BYTES};

/// A directory and everything in it.
#[derive(Clone, Debug)]
pub(super) struct DiskState {
    pub(super) dir: PathBuf,
    pub(super) dice: Dice,
    pub(super) inodes: Vec<Inode>,
    pub(super) names: BTreeMap<String, usize>,
    /// The directory's own name is durable. Until then a power cut may take all of it.
    pub(super) is_kept: bool,
    durable_names: BTreeMap<String, usize>,
    /// The changes of names since the last sync of the directory, one entry for each operation.
    name_changes: Vec<Vec<(String, Option<usize>)>>,
    /// The locked files, by number.
    pub(super) locked: BTreeSet<usize>,
    pub(super) now: u64,
    pub(super) calls: u64,
    pub(super) plans: PlannedFaults,
    pub(super) off: bool,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) unit_bytes: u64,
    pub(super) trace: Option<Vec<String>>,
    /// How many bytes this process has read, by the name of the file.
    pub(super) bytes_read: BTreeMap<String, u64>,
}

impl DiskState {
    pub(super) fn new(dice: Dice) -> DiskState {
        DiskState {
            dir: PathBuf::from("/sim"),
            dice,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            is_kept: false,
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            locked: BTreeSet::new(),
            now: 0,
            calls: 0,
            plans: PlannedFaults::default(),
            off: false,
            capacity_bytes: None,
            unit_bytes: 512,
            trace: None,
            bytes_read: BTreeMap::new(),
        }
    }

    pub(super) fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// Changes names: visible at once, durable after a sync.
    pub(super) fn rename_all(&mut self, changes: Vec<(String, Option<usize>)>) {
        apply_names(&mut self.names, &changes);
        self.name_changes.push(changes);
    }

    /// Changes names that only a crash may make visible: the power went out during the call.
    pub(super) fn rename_perhaps(&mut self, changes: Vec<(String, Option<usize>)>) {
        self.name_changes.push(changes);
    }

    pub(super) fn sync_names(&mut self) {
        self.durable_names.clone_from(&self.names);
        self.name_changes.clear();
    }

    /// Chooses a sector of a read of `bytes`, and wrong bytes for it. A permanent fault is kept in
    /// the file; else the number of the sector and its bytes are returned.
    pub(super) fn misread(
        &mut self,
        inode: usize,
        bytes: Range<usize>,
        struck: Struck,
    ) -> Option<(usize, Vec<u8>)> {
        let (first, end) = (bytes.start / SECTOR_BYTES, bytes.end.div_ceil(SECTOR_BYTES));
        let sector = first + self.dice.below(end - first);
        if let Some(line) = self.plans.struck.last_mut() {
            let start = sector * SECTOR_BYTES;
            line.push_str(&format!(" of {start}..{}", start + SECTOR_BYTES));
        }
        let mut wrong = match struck.fault {
            SimFault::StaleRead => self.inodes[inode].sector_before(sector),
            SimFault::MisdirectedRead => {
                let named: Vec<usize> = self.names.values().copied().collect();
                let other = &self.inodes[named[self.dice.below(named.len())]];
                let sectors = other.seen.len().div_ceil(SECTOR_BYTES).max(1);
                other.sector(self.dice.below(sectors))
            }
            _ => self.inodes[inode].rotten_sector(sector, &mut self.dice),
        };
        wrong.resize(SECTOR_BYTES, 0);
        if struck.for_good {
            self.inodes[inode].wrong.insert(sector, wrong);
            return None;
        }
        Some((sector, wrong))
    }

    /// The total length of all files that have a name.
    pub(super) fn used_bytes(&self) -> u64 {
        self.names.values().map(|&inode| self.inodes[inode].seen.len() as u64).sum()
    }

    /// Turns the directory into what a power cut leaves.
    pub(super) fn crash(&mut self) {
        let mood = Mood::roll(&mut self.dice);
        for changes in std::mem::take(&mut self.name_changes) {
            if self.dice.percent(mood.names) {
                apply_names(&mut self.durable_names, &changes);
            }
        }
        self.is_kept = self.is_kept || self.dice.percent(mood.names);
        if !self.is_kept {
            self.durable_names.clear();
        }
        self.names.clone_from(&self.durable_names);
        for inode in &mut self.inodes {
            inode.crash(mood, &mut self.dice);
        }
        self.forget_process();
    }

    /// Turns the directory into what the death of the process leaves.
    pub(super) fn kill(&mut self) {
        let now = self.tick();
        for inode in &mut self.inodes {
            inode.kill(now, &mut self.dice);
        }
        self.forget_process();
    }

    fn forget_process(&mut self) {
        self.locked.clear();
        self.off = false;
        self.plans = PlannedFaults::default();
        self.bytes_read.clear();
        // The system frees files without a name, unless a crash may give one back.
        let mut kept = Vec::new();
        let mut moved = BTreeMap::new();
        for (index, inode) in std::mem::take(&mut self.inodes).into_iter().enumerate() {
            let named = |names: &BTreeMap<String, usize>| names.values().any(|&at| at == index);
            let changing = |changes: &Vec<(String, Option<usize>)>| {
                changes.iter().any(|(_, to)| *to == Some(index))
            };
            if named(&self.names)
                || named(&self.durable_names)
                || self.name_changes.iter().any(changing)
            {
                moved.insert(index, kept.len());
                kept.push(inode);
            }
        }
        self.inodes = kept;
        let lists = self.names.values_mut().chain(self.durable_names.values_mut());
        let changing = self.name_changes.iter_mut().flatten().filter_map(|(_, to)| to.as_mut());
        for index in lists.chain(changing) {
            *index = moved[index];
        }
    }
}

fn apply_names(names: &mut BTreeMap<String, usize>, changes: &[(String, Option<usize>)]) {
    for (name, to) in changes {
        match to {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}
