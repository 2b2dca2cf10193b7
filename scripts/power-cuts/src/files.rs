//! A directory that keeps no more than POSIX asks for.
//!
//! A power cut keeps the content and the length of a file as of its last sync, and of each later
//! write any of its sectors, or garbage in their place. It keeps the names as of the last sync of
//! the directory, and of each later creation, renaming and removal the whole or nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::model::Broken;
use crate::rng::Rng;
use crate::workload::Witness;
use crate::world::{BLOCK, Blocks, Fate, Recorder, Recording, World};
use served::Directory;

mod served;

const FATE: Fate = Fate { sector: 512, garbage: true };

/// What happens to the directory and its files, which have numbers.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Create { name: String, file: u64 },
    Rename { from: String, to: String },
    Remove { name: String },
    SyncDirectory,
    Write { file: u64, offset: u64, data: Vec<u8> },
    SetBytes { file: u64, bytes: u64 },
    Sync { file: u64 },
}

/// Names, and files by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    names: BTreeMap<String, u64>,
    files: BTreeMap<u64, Content>,
    next: u64,
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: u64,
    blocks: Blocks,
}

impl Content {
    fn write(&mut self, offset: u64, data: &[u8]) {
        self.blocks.write(offset, data);
        self.bytes = self.bytes.max(offset + data.len() as u64);
    }

    fn set_bytes(&mut self, bytes: u64) {
        if bytes < self.bytes {
            self.blocks.cut(bytes);
        }
        self.bytes = bytes;
    }
}

impl Tree {
    /// Does an operation.
    fn apply(&mut self, operation: &Operation) {
        if let Operation::Create { file, .. } = operation {
            self.next = self.next.max(file + 1);
        }
        self.apply_name(operation);
        self.apply_content(operation);
    }

    /// Does an operation on names, if they are there.
    fn apply_name(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { name, file } => {
                self.names.insert(name.clone(), *file);
                self.files.entry(*file).or_default();
            }
            Operation::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Operation::Remove { name } => {
                self.names.remove(name);
            }
            _ => {}
        }
    }

    fn apply_content(&mut self, operation: &Operation) {
        match operation {
            Operation::Write { file, offset, data } => {
                self.files.entry(*file).or_default().write(*offset, data);
            }
            Operation::SetBytes { file, bytes } => {
                self.files.entry(*file).or_default().set_bytes(*bytes);
            }
            _ => {}
        }
    }

    /// Writes all files into a directory.
    fn lay_out(&self, dir: &Path) -> Result<(), Broken> {
        let write = || {
            if dir.exists() {
                fs::remove_dir_all(dir)?;
            }
            fs::create_dir_all(dir)?;
            for (name, number) in &self.names {
                let file = fs::File::create(dir.join(name))?;
                let Some(content) = self.files.get(number) else { continue };
                file.set_len(content.bytes)?;
                for (offset, block) in content.blocks.iter() {
                    let len = content.bytes.saturating_sub(offset).min(BLOCK as u64) as usize;
                    file.write_all_at(&block[..len], offset)?;
                }
            }
            Ok(())
        };
        write().map_err(|error: std::io::Error| format!("{}: {error}", dir.display()))
    }
}

/// Directories of that kind.
#[derive(Debug)]
pub(crate) struct Files {
    scratch: PathBuf,
}

impl Files {
    pub(crate) fn new(scratch: &Path) -> Files {
        Files { scratch: scratch.to_path_buf() }
    }
}

impl World for Files {
    type Operation = Operation;
    type Disk = Tree;
    const GOES_ON: bool = true;

    fn fresh(&self) -> Result<Tree, Broken> {
        Ok(Tree { next: FIRST_FILE, ..Tree::default() })
    }

    fn record(
        &self,
        disk: &Tree,
        before: Recording<Operation>,
        seed: u64,
        live: &dyn Fn(&Path, &dyn Witness),
    ) -> Result<Recording<Operation>, Broken> {
        let served = self.scratch.join("served");
        fs::create_dir_all(&served).map_err(|error| format!("{}: {error}", served.display()))?;
        let mut tree = disk.clone();
        for operation in &before.operations {
            tree.apply(operation);
        }
        let recorder = Recorder::new(before);
        let (tree, rng) = (Mutex::new(tree), Mutex::new(Rng::new(seed)));
        let directory = Directory { recorder: Arc::clone(&recorder), tree, rng };
        let mut config = fuser::Config::default();
        config.n_threads = Some(4);
        let session = fuser::spawn_mount(directory, &served, &config)
            .map_err(|error| format!("mount {}: {error}", served.display()))?;
        live(&served, &*recorder);
        session.umount_and_join().map_err(|error| format!("umount: {error}"))?;
        Ok(recorder.take())
    }

    fn cut(&self, disk: &Tree, operations: &[Operation], seed: u64) -> Tree {
        let mut rng = Rng::new(seed);
        let mut tree = disk.clone();
        let is_dir_sync = |operation: &Operation| matches!(operation, Operation::SyncDirectory);
        let named = operations.iter().rposition(is_dir_sync).unwrap_or(0);
        let mut synced = BTreeMap::new();
        for (operation, index) in operations.iter().zip(0..) {
            if let Operation::Sync { file } = operation {
                synced.insert(*file, index);
            }
        }
        // What was synced, then any part of what was not.
        for (operation, index) in operations.iter().zip(0..) {
            match operation {
                Operation::Create { file, .. } if index >= named && rng.percent(50) => {
                    // The file is lost, but it may get another name below.
                    tree.files.entry(*file).or_default();
                }
                Operation::Create { .. } | Operation::Rename { .. } | Operation::Remove { .. } => {
                    if index < named || rng.percent(50) {
                        tree.apply_name(operation);
                    }
                }
                Operation::Write { file, offset, data } => {
                    if synced.get(file).is_some_and(|&synced| index < synced) {
                        tree.apply_content(operation);
                    } else {
                        let content = tree.files.entry(*file).or_default();
                        for (start, part) in FATE.survivors(data, &mut rng) {
                            content.write(offset + start as u64, &part);
                        }
                    }
                }
                Operation::SetBytes { file, .. } => {
                    if synced.get(file).is_some_and(|&synced| index < synced) || rng.percent(50) {
                        tree.apply_content(operation);
                    }
                }
                Operation::SyncDirectory | Operation::Sync { .. } => {}
            }
        }
        // A file that the directory names is there, whatever it has.
        tree.next = tree.files.keys().max().map_or(FIRST_FILE, |last| last + 1);
        let live: Vec<u64> = tree.names.values().copied().collect();
        tree.files.retain(|file, _| live.contains(file));
        tree
    }

    fn with(
        &self,
        disk: &Tree,
        look: &mut dyn FnMut(&Path) -> Result<(), Broken>,
    ) -> Result<Result<(), Broken>, Broken> {
        let dir = self.scratch.join("cut");
        disk.lay_out(&dir)?;
        Ok(look(&dir))
    }

    fn keep(&self, disk: &Tree) -> Result<PathBuf, Broken> {
        let dir = self.scratch.join("files-found");
        disk.lay_out(&dir)?;
        Ok(dir)
    }
}

const FIRST_FILE: u64 = 2;
