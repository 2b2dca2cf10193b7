//! The cases of the suite: each queue, with access to the content of its files.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::io::{
    Access, AlignedBuf, BackendKind, Blocks, Completion, FileId, FileOp, IoQueue, Op, QueueOptions,
    SimDisk, SimQueue, StdStorage, Storage, Strategy, open_queue,
};

pub(super) const UNIT: u64 = 4096;
pub(super) const SEGMENT: u64 = 64 * UNIT;
const PATIENCE: Duration = Duration::from_secs(60);

/// The directory of a queue's files.
pub(super) enum TestPlace {
    Dir(tempfile::TempDir),
    Sim(SimDisk),
}

impl TestPlace {
    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        match self {
            TestPlace::Dir(dir) => std::fs::read(dir.path().join(name)).unwrap(),
            TestPlace::Sim(disk) => disk.content(name).unwrap(),
        }
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        match self {
            TestPlace::Dir(dir) => std::fs::write(dir.path().join(name), bytes).unwrap(),
            TestPlace::Sim(disk) => {
                disk.open(name, Access::Create).unwrap().write_at(bytes, 0).unwrap();
            }
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        match self {
            TestPlace::Dir(dir) => names(dir.path()),
            TestPlace::Sim(disk) => disk.names(),
        }
    }
}

pub(super) struct Case {
    pub(super) name: String,
    pub(super) place: TestPlace,
    pub(super) queue: Box<dyn IoQueue>,
    pub(super) strategy: Strategy,
    pub(super) depth: usize,
    token: u64,
}

impl Case {
    fn new(kind: BackendKind, strategy: Strategy, depth: usize, direct_io: bool) -> Option<Case> {
        let dir = tempfile::tempdir().unwrap();
        let storage = Arc::new(StdStorage::new(dir.path()));
        let options =
            QueueOptions { kind, strategy: Some(strategy), direct_io, depth, ..Default::default() };
        let name = format!("{kind} {strategy} depth {depth} direct {direct_io}");
        match open_queue(storage, &options, "spare-trial.tmp") {
            Ok((queue, backend)) => {
                assert!(backend.to_string().contains("backend: "), "{name}");
                assert_eq!(backend.kind, kind, "{name}");
                assert!(names(dir.path()).is_empty(), "{name}: the probe left a file");
                Some(Case { name, place: TestPlace::Dir(dir), queue, strategy, depth, token: 0 })
            }
            Err(Error::BackendRefused { reason }) => {
                println!("SKIPPED {name}: {reason}");
                None
            }
            Err(other) => panic!("{name}: {other}"),
        }
    }

    fn simulated(strategy: Strategy, depth: usize) -> Case {
        let disk = SimDisk::new(depth as u64);
        let options = QueueOptions { strategy: Some(strategy), depth, ..Default::default() };
        let (queue, _) = SimQueue::new(&disk, &options);
        let name = format!("simulated {strategy} depth {depth}");
        let (place, queue) = (TestPlace::Sim(disk), Box::new(queue));
        Case { name, place, queue, strategy, depth, token: 0 }
    }

    pub(super) fn submit(&mut self, op: impl Into<Op>) -> u64 {
        self.token += 1;
        self.queue.submit(self.token, op.into());
        self.token
    }

    pub(super) fn wait_for(&mut self, count: usize) -> Vec<Completion> {
        let started = Instant::now();
        let mut done = Vec::new();
        while done.len() < count {
            assert!(started.elapsed() < PATIENCE, "{}: {} of {count}", self.name, done.len());
            self.queue.wait(Some(PATIENCE), &mut done).unwrap();
        }
        assert_eq!(done.len(), count, "{}", self.name);
        done.sort_by_key(|completion| completion.token);
        done
    }

    pub(super) fn run(&mut self, op: impl Into<Op>) -> Result<()> {
        let token = self.submit(op);
        let done = self.wait_for(1).remove(0);
        assert_eq!(done.token, token, "{}", self.name);
        done.result
    }

    pub(super) fn prepare(&mut self, file: FileId, blocks: Blocks) {
        let name = spare(file);
        self.run(FileOp::Prepare {
            file,
            name,
            reuse: None,
            bytes: SEGMENT,
            blocks,
            pace: Arc::default(),
        })
        .unwrap();
    }

    pub(super) fn write(&mut self, file: FileId, unit: u64, sync: Option<Strategy>) -> u64 {
        let op = Op::Write { file, offset: unit * UNIT, buf: block(unit), len: 4096, sync };
        self.submit(op)
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        self.place.read(name)
    }
}

pub(super) fn spare(file: FileId) -> String {
    format!("spare-{file}.tmp")
}

pub(super) fn block(unit: u64) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(4096);
    buf.fill(unit as u8 + 1);
    buf
}

fn names(dir: &Path) -> Vec<String> {
    let mut names = StdStorage::new(dir).list().unwrap();
    names.sort();
    names
}

/// Runs a test on every backend, strategy and depth, with and without direct I/O, and on the
/// simulated disk.
pub(super) fn for_every_queue(test: impl Fn(Case)) {
    for depth in [1, 2, 16] {
        for strategy in Strategy::ALL {
            test(Case::simulated(strategy, depth));
        }
    }
    for_every_real_queue(test);
}

/// The same without the simulated disk, which has no time and no threads, and keeps files in
/// memory.
pub(super) fn for_every_real_queue(test: impl Fn(Case)) {
    let mut ran = 0;
    for depth in [1, 2, 16] {
        let std = (BackendKind::Std, Strategy::WriteThenSync, true);
        let ring = Strategy::ALL.into_iter().flat_map(|strategy| {
            [true, false].map(|direct| (BackendKind::Uring, strategy, direct))
        });
        for (kind, strategy, direct) in std::iter::once(std).chain(ring) {
            if let Some(case) = Case::new(kind, strategy, depth, direct) {
                test(case);
                ran += 1;
            }
        }
    }
    assert!(ran >= 3, "std runs everywhere");
}
