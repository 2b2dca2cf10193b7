//! The fuzz targets with the stable compiler: their seeds, earlier findings, and some seconds
//! of mutations.
//!
//! `RINGWAL_FUZZ_CASES=n` does more mutations of each target. With `RINGWAL_FUZZ_SEEDS=dir` the
//! seeds are written below that directory, which is how `scripts/fuzz.sh` gets them.

#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use seeds::{kept, seeds};
use targets::{TARGETS, Target};

#[path = "fuzz/files.rs"]
mod files;
#[path = "fuzz/seeds.rs"]
mod seeds;
#[path = "fuzz/targets.rs"]
mod targets;

/// How many mutations of a target a usual run tries.
const CASES: u32 = 4000;

fn target(name: &str) -> Target {
    TARGETS.into_iter().find(|(other, _)| *other == name).unwrap()
}

/// One change of an input.
#[derive(Clone, Debug)]
enum Mutation {
    Set(Index, u8),
    Flip(Index, u8),
    SetWord(Index, u32),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Truncate(Index),
    /// Overwrite bytes with those of another seed.
    Splice(Index, Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    let word = prop_oneof![0..40_u32, Just(u32::MAX), any::<u32>()];
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (at(), word).prop_map(|(at, word)| Mutation::SetWord(at, word)),
        (at(), prop::collection::vec(any::<u8>(), 1..80)).prop_map(|(a, b)| Mutation::Insert(a, b)),
        (at(), 1..600_usize).prop_map(|(at, len)| Mutation::Remove(at, len)),
        at().prop_map(Mutation::Truncate),
        (at(), at(), 1..600_usize).prop_map(|(at, from, len)| Mutation::Splice(at, from, len)),
    ]
}

impl Mutation {
    fn apply(&self, input: &mut Vec<u8>, other: &[u8]) {
        let place = |at: &Index, len: usize| at.index(len + 1);
        match self {
            Mutation::Set(at, byte) => overwrite(input, at, &[*byte]),
            Mutation::Flip(at, bit) => {
                if let Some(byte) = input.get_mut(at.index(usize::MAX) % 4096) {
                    *byte ^= 1 << bit;
                }
            }
            Mutation::SetWord(at, word) => {
                overwrite(input, at, &word.to_le_bytes());
            }
            Mutation::Insert(at, bytes) => {
                let at = place(at, input.len());
                input.splice(at..at, bytes.iter().copied());
            }
            Mutation::Remove(at, len) => {
                let at = place(at, input.len());
                input.drain(at..input.len().min(at + len));
            }
            Mutation::Truncate(at) => input.truncate(place(at, input.len())),
            Mutation::Splice(at, from, len) => {
                let from = place(from, other.len());
                let bytes = &other[from..other.len().min(from + len)];
                overwrite(input, at, bytes);
            }
        }
    }
}

fn overwrite(input: &mut [u8], at: &Index, bytes: &[u8]) {
    let at = at.index(input.len() + 1);
    let room = bytes.len().min(input.len() - at);
    input[at..at + room].copy_from_slice(&bytes[..room]);
}

/// Runs seeds, earlier findings, and mutations. A failure is shrunk to the smallest mutation.
fn assert_holds(name: &str) {
    let (name, target) = target(name);
    let seeds = seeds(name);
    assert!(!seeds.is_empty());
    if let Some(dir) = std::env::var_os("RINGWAL_FUZZ_SEEDS") {
        let dir = Path::new(&dir).join(name);
        fs::create_dir_all(&dir).unwrap();
        for (seed, input) in &seeds {
            fs::write(dir.join(seed), input).unwrap();
        }
    }
    for (input, bytes) in seeds.iter().chain(&kept(name)) {
        println!("{name}: {input}");
        target(bytes);
    }
    let asked = std::env::var("RINGWAL_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok());
    let config =
        Config { cases: asked.unwrap_or(CASES), failure_persistence: None, ..Config::default() };
    let mutations = prop::collection::vec(mutation(), 1..6);
    let cases = (any::<Index>(), any::<Index>(), 0..2_u8, mutations);
    let outcome = TestRunner::new(config).run(&cases, |(seed, other, how, mutations)| {
        let (mut input, other) = (seed.get(&seeds).1.clone(), &other.get(&seeds).1);
        mutations.iter().for_each(|mutation| mutation.apply(&mut input, other));
        if let Some(first) = input.first_mut() {
            *first = *first & !1 | how;
        }
        target(&input);
        Ok(())
    });
    assert!(outcome.is_ok(), "{name}: {}", outcome.unwrap_err());
}

#[test]
fn what_decodes_as_a_batch_is_what_was_encoded() {
    assert_holds("batch");
}

#[test]
fn a_segment_shows_what_a_plain_reader_finds_in_it() {
    assert_holds("segment");
}

#[test]
fn what_counts_in_a_state_file_is_read_again() {
    assert_holds("state");
}

#[test]
fn recovery_of_any_directory_shows_only_valid_records_and_shows_them_again() {
    assert_holds("directory");
}

#[test]
fn the_reader_of_events_takes_any_directory() {
    assert_holds("events");
}

#[test]
fn the_targets_of_the_fuzzer_are_these() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let Ok(entries) = fs::read_dir(dir) else {
        println!("SKIPPED the_targets_of_the_fuzzer_are_these: fuzz/ is not packaged");
        return;
    };
    let mut found: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    // Only the fuzzer mutates the files of a log.
    let names = TARGETS.iter().map(|(name, _)| *name).chain(["logs"]);
    let mut expected: Vec<_> = names.map(|name| format!("{name}.rs")).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}
