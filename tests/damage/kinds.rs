//! Every kind of damage, at every place of a log.

use std::sync::Arc;

use crate::model::{
    BLOCK, Files, HEAD, HEADER, SECOND, SECTOR, SLOT, Shape, segment_name, segment_number,
};

/// The kinds, as the table names them.
pub(crate) const KINDS: [&str; 16] = [
    "bit in a batch header",
    "bit in a record head",
    "bit in record data",
    "bit in padding",
    "bit in state",
    "zeroed",
    "garbage",
    "two blocks swapped",
    "block written elsewhere",
    "block of another log",
    "segment cut",
    "segment grown",
    "segment missing",
    "segment twice",
    "segment renamed",
    "state replaced",
];

/// One damage. Its `Debug` form names the place.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Flip {
        file: String,
        at: usize,
    },
    Fill {
        file: String,
        from: usize,
        bytes: usize,
        with: Fill,
    },
    Swap {
        one: (String, usize),
        other: (String, usize),
    },
    Copy {
        from: (String, usize),
        to: (String, usize),
    },
    CopyOfSister {
        from: (String, usize),
        to: (String, usize),
    },
    Length {
        file: String,
        bytes: usize,
        with: Fill,
    },
    Remove {
        file: String,
    },
    Twice {
        file: String,
        name: String,
    },
    Rename {
        file: String,
        name: String,
    },
    SwapNames {
        one: String,
        other: String,
    },
    /// `state` as it was after an earlier step.
    OlderState {
        step: usize,
    },
    StateOfSister,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fill {
    Zeros,
    Garbage,
}

impl Fill {
    fn bytes(self, len: usize, seed: u64) -> Vec<u8> {
        let byte = |at| if matches!(self, Fill::Zeros) { 0 } else { mix(seed, at) as u8 };
        (0..len as u64).map(byte).collect()
    }
}

/// SplitMix64 of the `index`-th step: chance that a seed repeats.
pub(crate) fn mix(seed: u64, index: u64) -> u64 {
    let mut mixed = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Every damage of a kind that can be done to the shape.
pub(crate) fn edits(shape: &Shape, kind: &str) -> Vec<Edit> {
    match kind {
        "bit in a batch header"
        | "bit in a record head"
        | "bit in record data"
        | "bit in padding" => flips(shape, kind),
        "bit in state" => (0..SLOT)
            .chain(SECOND..SECOND + SLOT)
            .map(|at| Edit::Flip { file: "state".to_owned(), at })
            .collect(),
        "zeroed" => fills(shape, Fill::Zeros),
        "garbage" => fills(shape, Fill::Garbage),
        "two blocks swapped" | "block written elsewhere" | "block of another log" => {
            moves(shape, kind)
        }
        "segment cut" => cuts(shape),
        "segment grown" => growths(shape),
        "segment missing" => segments(shape).map(|file| Edit::Remove { file }).collect(),
        "segment twice" | "segment renamed" => names(shape, kind),
        "state replaced" => states(shape),
        other => unreachable!("no kind {other}"),
    }
}

fn segments(shape: &Shape) -> impl Iterator<Item = String> {
    shape.segments().into_iter().map(segment_name)
}

fn flips(shape: &Shape, kind: &str) -> Vec<Edit> {
    let mut places = Vec::new();
    for file in segments(shape) {
        let len = shape.files[&file].len();
        let mut is_used = vec![false; len];
        for unit in shape.units.iter().filter(|unit| segment_name(unit.segment) == file) {
            is_used[unit.start..unit.end].fill(true);
            let records = unit.records.iter();
            let bytes: Vec<usize> = match kind {
                "bit in a batch header" => (unit.start..unit.start + HEADER).collect(),
                "bit in a record head" => records.flat_map(|r| r.0..r.0 + HEAD).collect(),
                "bit in record data" => {
                    records.flat_map(|r| r.0 + HEAD..r.0 + HEAD + r.1).collect()
                }
                _ => Vec::new(),
            };
            places.extend(bytes.into_iter().map(|at| (file.clone(), at)));
        }
        if kind == "bit in padding" {
            let unused = (0..len).filter(|at| !is_used[*at]);
            places.extend(unused.map(|at| (file.clone(), at)));
        }
    }
    places.into_iter().map(|(file, at)| Edit::Flip { file, at }).collect()
}

/// Sectors, blocks, and all from some block to the end.
fn fills(shape: &Shape, with: Fill) -> Vec<Edit> {
    let mut edits = Vec::new();
    for file in segments(shape) {
        let len = shape.files[&file].len();
        for (step, bytes) in [(SECTOR, SECTOR), (BLOCK, BLOCK), (BLOCK, len)] {
            let starts = (0..len).step_by(step);
            edits.extend(starts.map(|from| Edit::Fill { file: file.clone(), from, bytes, with }));
        }
    }
    edits
}

fn moves(shape: &Shape, kind: &str) -> Vec<Edit> {
    let mut blocks = Vec::new();
    for file in segments(shape) {
        blocks.extend((0..shape.files[&file].len()).step_by(BLOCK).map(|at| (file.clone(), at)));
    }
    let mut edits = Vec::new();
    for (index, to) in blocks.iter().enumerate() {
        for from in &blocks[..index] {
            let (to, from) = (to.clone(), from.clone());
            match kind {
                "two blocks swapped" => edits.push(Edit::Swap { one: to, other: from }),
                "block written elsewhere" => {
                    edits.push(Edit::Copy { from: to.clone(), to: from.clone() });
                    edits.push(Edit::Copy { from, to });
                }
                _ => edits.push(Edit::CopyOfSister { from, to }),
            }
        }
        if kind == "block of another log" {
            edits.push(Edit::CopyOfSister { from: to.clone(), to: to.clone() });
        }
    }
    edits
}

fn cuts(shape: &Shape) -> Vec<Edit> {
    let with = Fill::Zeros;
    let cut = |file: String| {
        let lengths = 0..shape.files[&file].len();
        lengths.map(move |bytes| Edit::Length { file: file.clone(), bytes, with })
    };
    segments(shape).flat_map(cut).collect()
}

fn growths(shape: &Shape) -> Vec<Edit> {
    let mut edits = Vec::new();
    for file in segments(shape) {
        for more in [1, 63, 64, SECTOR, BLOCK - 1, BLOCK, 3 * BLOCK + 100, 1 << 21] {
            for with in [Fill::Zeros, Fill::Garbage] {
                let bytes = shape.files[&file].len() + more;
                edits.push(Edit::Length { file: file.clone(), bytes, with });
            }
        }
    }
    edits
}

fn names(shape: &Shape, kind: &str) -> Vec<Edit> {
    let taken = shape.segments();
    let is_free = |number: &u64| !taken.contains(number);
    let far = [shape.last_seq() + 1000, u64::MAX];
    let free: Vec<_> =
        (1..shape.last_seq() + 3).chain(far).filter(is_free).map(segment_name).collect();
    let mut edits = Vec::new();
    for file in segments(shape) {
        for name in free.iter().cloned() {
            let file = file.clone();
            edits.push(match kind {
                "segment twice" => Edit::Twice { file, name },
                _ => Edit::Rename { file, name },
            });
        }
        if kind == "segment renamed" {
            edits.push(Edit::Rename { file: file.clone(), name: format!("{file}.bak") });
            let later = segments(shape).filter(|other| *other > file);
            edits.extend(later.map(|other| Edit::SwapNames { one: file.clone(), other }));
        }
    }
    edits
}

fn states(shape: &Shape) -> Vec<Edit> {
    let state = || "state".to_owned();
    let mut edits = vec![Edit::Remove { file: state() }, Edit::StateOfSister];
    edits.push(Edit::Swap { one: (state(), 0), other: (state(), SECOND) });
    edits.push(Edit::Copy { from: (state(), 0), to: (state(), SECOND) });
    edits.push(Edit::Copy { from: (state(), SECOND), to: (state(), 0) });
    for with in [Fill::Zeros, Fill::Garbage] {
        for (from, bytes) in [(0, SLOT), (SECOND, SLOT), (0, SECOND + SLOT)] {
            edits.push(Edit::Fill { file: state(), from, bytes, with });
        }
        edits.push(Edit::Length { file: state(), bytes: SECOND + 2 * SLOT, with });
    }
    for bytes in [0, 1, 100, SLOT - 1, SLOT, SECOND, SECOND + 50, SECOND + SLOT - 1] {
        edits.push(Edit::Length { file: state(), bytes, with: Fill::Zeros });
    }
    edits.extend((0..shape.states.len()).map(|step| Edit::OlderState { step }));
    edits
}

/// The files of the shape with the damage done. `sister` is a log that was written in the same way
/// with other records; `seed` decides which bit is flipped and what garbage there is.
pub(crate) fn apply(edit: &Edit, shape: &Shape, sister: &Shape, seed: u64) -> Files {
    let mut files = shape.files.clone();
    let block = |from: &Files, (file, at): &(String, usize)| {
        let bytes = from.get(file).and_then(|bytes| bytes.get(*at..)).unwrap_or(&[]);
        bytes[..bytes.len().min(BLOCK)].to_vec()
    };
    match edit {
        Edit::Flip { file, at } => change(&mut files, file, |b| b[*at] ^= 1 << (seed % 8)),
        Edit::Fill { file, from, bytes, with } => change(&mut files, file, |b| {
            let to = b.len().min(from + bytes);
            b[*from..to].copy_from_slice(&with.bytes(to - from, seed));
        }),
        Edit::Swap { one, other } => {
            let (a, b) = (block(&files, one), block(&files, other));
            put(&mut files, one, &b);
            put(&mut files, other, &a);
        }
        Edit::Copy { from, to } => {
            let bytes = block(&files, from);
            put(&mut files, to, &bytes);
        }
        Edit::CopyOfSister { from, to } => put(&mut files, to, &block(&sister.files, from)),
        Edit::Length { file, bytes, with } => change(&mut files, file, |b| {
            let more = bytes.saturating_sub(b.len());
            b.extend(with.bytes(more, seed));
            b.truncate(*bytes);
        }),
        Edit::Remove { file } => drop(files.remove(file)),
        Edit::Twice { file, name } => {
            let bytes = Arc::clone(&files[file]);
            files.insert(name.clone(), bytes);
        }
        Edit::Rename { file, name } => {
            let bytes = files.remove(file).unwrap();
            files.insert(name.clone(), bytes);
        }
        Edit::SwapNames { one, other } => {
            let (a, b) = (Arc::clone(&files[one]), Arc::clone(&files[other]));
            files.insert(one.clone(), b);
            files.insert(other.clone(), a);
        }
        Edit::OlderState { step } => {
            files.insert("state".to_owned(), Arc::clone(&shape.states[*step]));
        }
        Edit::StateOfSister => {
            files.insert("state".to_owned(), Arc::clone(&sister.files["state"]));
        }
    }
    files
}

fn change(files: &mut Files, file: &str, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = files[file].to_vec();
    edit(&mut bytes);
    files.insert(file.to_owned(), Arc::new(bytes));
}

/// Overwrites a block, as far as there are bytes for it; a shorter last block may grow.
fn put(files: &mut Files, (file, at): &(String, usize), block: &[u8]) {
    change(files, file, |bytes| {
        bytes.truncate(bytes.len().max(at + block.len()));
        bytes.resize(bytes.len().max(at + block.len()), 0);
        bytes[*at..at + block.len()].copy_from_slice(block);
    });
}

/// Whether the damage left every segment under its name and made no other.
pub(crate) fn keeps_names(edit: &Edit) -> bool {
    match edit {
        Edit::Remove { file } => segment_number(file).is_none(),
        Edit::Twice { .. } | Edit::Rename { .. } | Edit::SwapNames { .. } => false,
        _ => true,
    }
}
