//! What a simulated disk remembers: files and their names, what is due to fail, and what was
//! changed and not made durable.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

use super::dice::Dice;
use super::fault::{Plans, SimFault, Struck};
use super::inode::{Inode, Mood, SECTOR_BYTES};

/// A directory and all that is in it.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) dir: PathBuf,
    pub(super) dice: Dice,
    pub(super) inodes: Vec<Inode>,
    pub(super) names: BTreeMap<String, usize>,
    /// The directory's own name is durable; without that, a power cut may take all of it.
    pub(super) is_kept: bool,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the directory was synced; one entry is one operation.
    name_changes: Vec<Vec<(String, Option<usize>)>>,
    /// Files, by number, whatever names they have.
    pub(super) locked: BTreeSet<usize>,
    pub(super) now: u64,
    pub(super) calls: u64,
    pub(super) plans: Plans,
    pub(super) off: bool,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) unit_bytes: u64,
    pub(super) trace: Option<Vec<String>>,
    /// How many bytes of the file of a name this process has read.
    pub(super) bytes_read: BTreeMap<String, u64>,
}

impl State {
    pub(super) fn new(dice: Dice) -> State {
        State {
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
            plans: Plans::default(),
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

    /// Changes names, now for everyone who looks and later for good.
    pub(super) fn rename_all(&mut self, changes: Vec<(String, Option<usize>)>) {
        apply_names(&mut self.names, &changes);
        self.name_changes.push(changes);
    }

    /// Changes names only after a crash, if at all: the power went out meanwhile.
    pub(super) fn rename_perhaps(&mut self, changes: Vec<(String, Option<usize>)>) {
        self.name_changes.push(changes);
    }

    pub(super) fn sync_names(&mut self) {
        self.durable_names.clone_from(&self.names);
        self.name_changes.clear();
    }

    /// What a read of `bytes` gets in one of its sectors. If that is for good it is remembered,
    /// else returned: the number of the sector, and its bytes.
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

    /// The bytes of all files that have a name.
    pub(super) fn used_bytes(&self) -> u64 {
        self.names.values().map(|&inode| self.inodes[inode].seen.len() as u64).sum()
    }

    /// The directory after a power cut, in place.
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

    /// The directory after the death of the process, in place.
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
        self.plans = Plans::default();
        self.bytes_read.clear();
        // Files without a name are gone.
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
