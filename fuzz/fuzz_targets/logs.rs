//! Fuzzes recovery with whole logs: batches that hold, in segments that follow each other, with
//! records that are the format themselves; then damage, or a last batch that is torn.
//!
//! The other targets mutate bytes, so most of their inputs fail at the first checksum. Here the
//! fuzzer mutates what a log is made of.

#![no_main]
#![allow(dead_code, reason = "the other targets")]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use ringwal::format::{
    BatchHeader, Checkpoint, HEADER_SIZE, Place, RecordHead, State, encode_stand_alone,
    push_record, seal, state_file,
};

#[path = "../../tests/fuzz/files.rs"]
mod files;
#[path = "../../tests/fuzz/targets.rs"]
mod targets;

use files::{Files, LOG_ID, place};

/// A log, and what happens to it.
#[derive(Arbitrary, Debug)]
struct Case {
    first_seq: u16,
    segments: Vec<Segment>,
    /// What `state` knows, counted back from the last record; it knows nothing without.
    known: Option<u8>,
    checkpoint: Option<u8>,
    fate: Fate,
}

#[derive(Arbitrary, Debug)]
struct Segment {
    salt: u64,
    is_padded: bool,
    batches: Vec<Batch>,
    /// Zeros, or what an earlier life left, behind the last batch.
    stale: Option<bool>,
}

#[derive(Arbitrary, Debug)]
struct Batch {
    records: Vec<Record>,
    /// How many batches were in flight when it was sealed.
    in_flight: u8,
}

#[derive(Arbitrary, Debug)]
enum Record {
    Plain(u8),
    /// A stand-alone batch.
    StandAlone(u8),
    /// Frames for the next numbers in this very segment; somebody guessed the tag and the salt.
    Frames { tag: u64, salt: u64, skip: u8, shift: bool },
    /// The beginning of a batch in some version.
    Version(u8),
    /// The segment so far, as it lies on disk.
    Copy { shift: bool },
}

#[derive(Arbitrary, Debug)]
enum Fate {
    /// Nothing.
    Whole,
    /// The last batch was being written: of its blocks some have these bytes.
    Torn { from: u16, fill: u8 },
    /// Anything.
    Damaged(Vec<Edit>),
}

#[derive(Arbitrary, Debug)]
enum Edit {
    Flip { file: u8, at: u16, bit: u8 },
    Zero { file: u8, at: u16, len: u16 },
    Cut { file: u8, at: u16 },
    Move { file: u8, from: u16, to: u16, len: u16 },
    Swap { file: u8, other: u8, at: u16 },
    Remove { file: u8 },
}

const SEGMENTS_MAX: usize = 4;
const BATCHES_MAX: usize = 5;
const RECORDS_MAX: usize = 4;
const RECORD_BYTES_MAX: usize = 4000;

/// What was made of a case: the files, the last record before the last batch, and that batch.
struct Made {
    files: Files,
    names: Vec<String>,
    last_seq: u64,
    before_last: u64,
    last: (String, usize, usize),
}

impl Record {
    fn bytes(&self, seq: u64, segment: u64, so_far: &[u8]) -> Vec<u8> {
        let shift = |is: bool| vec![0x77; if is { 512 - HEADER_SIZE - 8 } else { 0 }];
        let mut bytes = match *self {
            Record::Plain(len) => vec![len; usize::from(len)],
            Record::StandAlone(next) => {
                let one = encode_stand_alone([&b"user"[..]], seq + u64::from(next), 0, 0);
                one.unwrap_or_default().repeat(3)
            }
            Record::Frames { tag, salt, skip, shift: is } => {
                let place = Place { log: Some(tag), segment };
                let frame = |seq| frame(&[b"user".to_vec()], seq, salt | 1, 9, seq, &place);
                let frames = (1..4).flat_map(|next| frame(seq + u64::from(skip) + next));
                shift(is).into_iter().chain(frames).collect()
            }
            Record::Version(version) => [&shift(true)[..], b"RWAL", &[version; 600]].concat(),
            Record::Copy { shift: is } => [&shift(is)[..], so_far].concat(),
        };
        bytes.truncate(RECORD_BYTES_MAX);
        bytes
    }
}

fn frame(
    records: &[Vec<u8>],
    first_seq: u64,
    salt: u64,
    unit_log2: u8,
    durable_seq: u64,
    place: &Place,
) -> Vec<u8> {
    let payload: usize = records.iter().map(|bytes| 8 + bytes.len()).sum();
    let header = BatchHeader {
        unit_log2,
        shard: 0,
        first_seq,
        time_nanos: 1,
        salt,
        durable_seq,
        records: records.len() as u32,
        payload_bytes: payload as u32,
    };
    let mut frame = vec![0; header.frame_bytes() as usize];
    let (mut at, mut heads) = (HEADER_SIZE, Vec::new());
    for bytes in records {
        let head = RecordHead::of(bytes);
        heads.extend(head.to_bytes());
        at = push_record(&mut frame, at, head, bytes);
    }
    seal(&mut frame, Some(place), &header, &heads);
    frame
}

impl Case {
    fn make(&self) -> Option<Made> {
        let mut next = u64::from(self.first_seq).max(1);
        let mut files = Files::new();
        let (mut names, mut before_last, mut last) = (Vec::new(), 0, None);
        for segment in self.segments.iter().take(SEGMENTS_MAX) {
            let (first, mut bytes, mut starts) = (next, Vec::new(), Vec::new());
            let name = format!("wal-{first:020}.seg");
            for batch in segment.batches.iter().take(BATCHES_MAX) {
                let made = batch.records.iter().take(RECORDS_MAX);
                let records: Vec<_> = made.map(|it| it.bytes(next, first, &bytes)).collect();
                if records.is_empty() {
                    continue;
                }
                starts.push(next - 1);
                let back = starts.len().saturating_sub(1 + usize::from(batch.in_flight % 4));
                let durable = starts[back];
                let (salt, unit) = (segment.salt | 1, if segment.is_padded { 9 } else { 0 });
                let frame = frame(&records, next, salt, unit, durable, &place(first));
                last = Some((name.clone(), bytes.len(), bytes.len() + frame.len()));
                bytes.extend(frame);
                before_last = next - 1;
                next += records.len() as u64;
            }
            if bytes.is_empty() {
                continue;
            }
            names.push(name.clone());
            files.insert(name, bytes);
        }
        // Behind the last batch of the last segment: nothing, zeros, or what another life left.
        let (name, _, _) = last.clone()?;
        let kept = self.segments.iter().take(SEGMENTS_MAX).filter_map(|it| it.stale).next_back();
        if let Some(is_stale) = kept {
            let bytes = files.get_mut(&name)?;
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            let old = match is_stale {
                true => frame(&[b"old".to_vec()], 1, 9, 9, 0, &place(1)),
                false => vec![0; 1024],
            };
            bytes.extend(old);
        }
        let (first, last_seq) = (u64::from(self.first_seq).max(1), next - 1);
        let mut state = State { generation: 1, ..State::new(LOG_ID, 0, first) };
        state.last_seq = self.known.map_or(first - 1, |back| last_seq.saturating_sub(back.into()));
        state.checkpoint = self.checkpoint.map(|back| Checkpoint {
            seq: last_seq.saturating_sub(back.into()).max(first - 1),
            time_nanos: 1,
            payload: Vec::new(),
        });
        files.insert("state".to_owned(), state_file(&state, None));
        Some(Made { files, names, last_seq, before_last, last: last? })
    }
}

impl Edit {
    fn apply(&self, files: &mut Files, names: &[String]) {
        let name = |file: u8| &names[usize::from(file) % names.len()];
        match *self {
            Edit::Flip { file, at, bit } => {
                if let Some(byte) = files.get_mut(name(file)).and_then(|b| b.get_mut(at as usize)) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Edit::Zero { file, at, len } => {
                let Some(bytes) = files.get_mut(name(file)) else { return };
                let at = usize::from(at).min(bytes.len());
                let end = (at + usize::from(len)).min(bytes.len());
                bytes[at..end].fill(0);
            }
            Edit::Cut { file, at } => {
                files.entry(name(file).clone()).or_default().truncate(at.into());
            }
            Edit::Move { file, from, to, len } => {
                let Some(bytes) = files.get_mut(name(file)) else { return };
                let [from, to] = [from, to].map(|at| usize::from(at / 512 * 512).min(bytes.len()));
                let len = usize::from(len).min(bytes.len() - from).min(bytes.len() - to);
                bytes.copy_within(from..from + len, to);
            }
            Edit::Swap { file, other, at } => {
                let at = usize::from(at / 512 * 512);
                let block = files.get(name(other)).and_then(|b| b.get(at..at + 512));
                let Some(block) = block.map(<[u8]>::to_vec) else { return };
                if let Some(to) = files.get_mut(name(file)).and_then(|b| b.get_mut(at..at + 512)) {
                    to.copy_from_slice(&block);
                }
            }
            Edit::Remove { file } => {
                files.remove(name(file));
            }
        }
    }
}

libfuzzer_sys::fuzz_target!(|case: Case| {
    let Some(mut made) = case.make() else { return };
    match &case.fate {
        Fate::Whole => {
            let shown = targets::check_directory(&made.files).expect("a whole log");
            assert_eq!(shown.last().map(|(seq, _)| *seq), Some(made.last_seq));
        }
        Fate::Torn { from, fill } => {
            let (name, start, end) = made.last.clone();
            let bytes = made.files.get_mut(&name).expect("the last segment");
            let from = (start + usize::from(*from) % (end - start)).min(bytes.len() - 1);
            bytes[from..end].fill(*fill);
            let knows = case.known.is_some() || case.checkpoint.is_some();
            let shown = targets::check_directory(&made.files);
            if !knows {
                // Whatever users have stored: a torn write is no damage.
                let shown = shown.unwrap_or_else(|error| panic!("a torn tail: {error}"));
                let last = shown.last().map_or(u64::from(case.first_seq).max(1) - 1, |it| it.0);
                assert!(last == made.before_last || last == made.last_seq, "{last}");
            }
        }
        Fate::Damaged(edits) => {
            for edit in edits.iter().take(4) {
                edit.apply(&mut made.files, &made.names);
            }
            let _ = targets::check_directory(&made.files);
        }
    }
});
