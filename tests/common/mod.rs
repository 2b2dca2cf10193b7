//! Fixtures that speak the domain.

#![allow(dead_code, reason = "every test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "fixtures of tests")]

pub(crate) mod tasks;

use std::path::Path;

use ringwal::{BackendKind, Builder, Log, Seq, Strategy};

/// One way to run a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    pub(crate) backend: BackendKind,
    pub(crate) strategy: Option<Strategy>,
    pub(crate) depth: usize,
}

impl Variant {
    pub(crate) fn builder(self, dir: &Path) -> Builder {
        Log::builder(dir)
            .backend(self.backend)
            .strategy(self.strategy)
            .queue_depth(self.depth)
            // The deep ones leave everything to the ring thread, at once.
            .inline(self.depth < 4)
            .gather(self.depth < 4)
            .segment_bytes(64 * 1024)
    }
}

/// Whether io_uring can be had here. If not, says so by the name of the test that asks.
pub(crate) fn uring_runs(test: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    match Log::builder(dir.path().join("log")).backend(BackendKind::Uring).open() {
        Ok(_) => true,
        Err(error) => {
            println!("SKIPPED {test} on io_uring: {error}");
            false
        }
    }
}

/// The std backend, and io_uring with every strategy.
pub(crate) fn variants(test: &str) -> Vec<Variant> {
    let mut variants = vec![
        Variant { backend: BackendKind::Std, strategy: None, depth: 1 },
        Variant { backend: BackendKind::Std, strategy: None, depth: 4 },
    ];
    if uring_runs(test) {
        for strategy in Strategy::ALL {
            for depth in [1, 2, 16] {
                let backend = BackendKind::Uring;
                variants.push(Variant { backend, strategy: Some(strategy), depth });
            }
        }
    }
    variants
}

/// The content of a whole log, checked to be dense.
pub(crate) fn contents(log: &Log) -> Vec<Vec<u8>> {
    let first = log.first_seq().get();
    let records: Vec<_> = log.reader().unwrap().map(Result::unwrap).collect();
    for (n, record) in records.iter().enumerate() {
        assert_eq!(record.seq(), Seq::new(first + n as u64));
    }
    records.into_iter().map(ringwal::Record::into_data).collect()
}

/// The names of the files in a directory, sorted.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Every file in a directory with its bytes, to see that nothing changed.
pub(crate) fn snapshot(dir: &Path) -> Vec<(String, Vec<u8>)> {
    files(dir)
        .into_iter()
        .map(|name| (name.clone(), std::fs::read(dir.join(name)).unwrap()))
        .collect()
}
