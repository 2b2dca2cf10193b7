//! The `state` file, the manifest of a log: two slots, written in turn. The newest valid one
//! counts.
//!
//! ```text
//! | slot 0, 4096 | zeros, 61440 | slot 1, 4096 |
//!
//! slot, little-endian
//!  at bytes
//!   0    4  magic RWST
//!   4    1  version
//!   5    1  bit 0 clean, bit 1 cutting, bit 3 checkpoint is set, bit 4 adopted
//!   6    2  shard
//!   8    8  generation
//!  16   16  log id
//!  32    8  first live sequence number
//!  40    8  last sequence number known to be durable
//!  48    8  zeros
//!  56    8  checkpoint: sequence number
//!  64    8  checkpoint: time, nanoseconds since the Unix epoch
//!  72    4  checkpoint: payload bytes
//!  76    1  kind of log: 0 unknown, 1 raw, 2 events, 3 keys and values
//!  77    1  number of remembered cuts
//!  78    2  zeros
//!  80    8  label: the user's bytes; zeros mean none
//!  88   16  digest: BLAKE3, cut to 16 bytes, over all of the slot but these bytes
//! 104    n  checkpoint: payload; zeros up to 3200
//! 3200  16n  cuts, ascending: the last record that the cut left, the count of cuts; zeros
//! ```
//!
//! A slot is never overwritten while it counts, so a torn write loses nothing. The slots are so far
//! apart that no memory page and no file system block has parts of both: a write of one slot never
//! rewrites the other.

use std::fmt;

use super::cuts::{CUTS_BYTES, CutHistory};
use super::{DIGEST_SIZE, array_at, u16_at, u32_at, u64_at};
use crate::kind::{Kind, LABEL_BYTES, NO_LABEL};

/// The size of a slot in bytes; the file has two.
pub const SLOT_BYTES: usize = 4096;

/// The distance between the starts of the two slots, in bytes.
pub const SLOT_DISTANCE: usize = 64 << 10;

/// The size of the file in bytes.
pub const STATE_BYTES: usize = SLOT_DISTANCE + SLOT_BYTES;

/// The largest payload of a checkpoint, in bytes.
pub const PAYLOAD_MAX: usize = 3072;

/// The state of a log beside its segments.
///
/// ```
/// use ringwal::format::State;
///
/// let state = State::new([7; 16], 0, 1);
/// assert_eq!(State::decode(state.encode().as_slice())?, state);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Grows by one with every write; the slot with the larger generation counts.
    pub generation: u64,
    /// The log's random id, which never changes.
    pub log_id: [u8; 16],
    /// The shard of the log.
    pub shard: u16,
    /// The first live record; earlier ones were truncated.
    pub first_seq: u64,
    /// The last record that was known to be durable.
    pub last_seq: u64,
    /// Whether the log was closed cleanly at `last_seq`.
    pub clean: bool,
    /// Where and how often the end was cut off. In a segment that begins at or before a cut, only
    /// records up to the cut count.
    pub cuts: CutHistory,
    /// Whether files after the newest cut may still exist.
    pub cutting: bool,
    /// Whether the log began as files of stand-alone batches. Any other log rejects such a batch,
    /// because anyone can make one.
    pub adopted: bool,
    /// The newest checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// The kind of log, if it is known.
    pub kind: Option<Kind>,
    /// The user's label; zeros mean none.
    pub label: [u8; LABEL_BYTES],
}

/// The record up to which the user has applied the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last record that the checkpoint covers.
    pub seq: u64,
    /// The time of the checkpoint, in nanoseconds since the Unix epoch.
    pub time_nanos: u64,
    /// The user's bytes, at most [`PAYLOAD_MAX`].
    pub payload: Vec<u8>,
}

impl State {
    /// The state of a new log.
    pub fn new(log_id: [u8; 16], shard: u16, first_seq: u64) -> State {
        State {
            generation: 0,
            log_id,
            shard,
            first_seq,
            last_seq: first_seq.saturating_sub(1),
            clean: false,
            cuts: CutHistory::default(),
            cutting: false,
            adopted: false,
            checkpoint: None,
            kind: None,
            label: NO_LABEL,
        }
    }

    /// The log's tag: the first 8 bytes of its id, little-endian. Its batches state it
    /// ([`Place::log`](crate::format::Place::log)).
    pub fn log_tag(&self) -> u64 {
        u64_at(&self.log_id, 0)
    }

    /// Encodes a slot as it lies on disk.
    ///
    /// # Panics
    ///
    /// If the checkpoint's payload exceeds [`PAYLOAD_MAX`].
    pub fn encode(&self) -> Box<[u8; SLOT_BYTES]> {
        let mut slot = Box::new([0; SLOT_BYTES]);
        slot[..4].copy_from_slice(&MAGIC);
        slot[4] = VERSION;
        slot[5] = [
            (FLAG_CLEAN, self.clean),
            (FLAG_CUTTING, self.cutting),
            (FLAG_CHECKPOINT, self.checkpoint.is_some()),
            (FLAG_ADOPTED, self.adopted),
        ]
        .iter()
        .fold(0, |flags, &(flag, is_set)| if is_set { flags | flag } else { flags });
        slot[6..8].copy_from_slice(&self.shard.to_le_bytes());
        slot[8..16].copy_from_slice(&self.generation.to_le_bytes());
        slot[16..32].copy_from_slice(&self.log_id);
        slot[32..40].copy_from_slice(&self.first_seq.to_le_bytes());
        slot[40..48].copy_from_slice(&self.last_seq.to_le_bytes());
        if let Some(checkpoint) = &self.checkpoint {
            let len = checkpoint.payload.len();
            assert!(len <= PAYLOAD_MAX, "a checkpoint payload of at most {PAYLOAD_MAX} bytes");
            slot[56..64].copy_from_slice(&checkpoint.seq.to_le_bytes());
            slot[64..72].copy_from_slice(&checkpoint.time_nanos.to_le_bytes());
            slot[72..76].copy_from_slice(&(len as u32).to_le_bytes());
            slot[PAYLOAD_AT..PAYLOAD_AT + len].copy_from_slice(&checkpoint.payload);
        }
        slot[CUTS_LEN_AT] = self.cuts.encode(&mut slot[CUTS_AT..]);
        slot[KIND_AT] = self.kind.map_or(0, Kind::to_byte);
        slot[LABEL_AT..DIGEST_AT].copy_from_slice(&self.label);
        let digest = slot_digest(&slot);
        slot[DIGEST_AT..PAYLOAD_AT].copy_from_slice(&digest);
        slot
    }

    /// Decodes and verifies a slot.
    ///
    /// # Errors
    ///
    /// The first defect.
    pub fn decode(bytes: &[u8]) -> Result<State, StateError> {
        let Some(slot) = bytes.first_chunk::<SLOT_BYTES>() else { return Err(StateError::Short) };
        if slot[..4] != MAGIC || slot[4] == 0 {
            return Err(StateError::Magic);
        }
        if slot[4] != VERSION {
            // If the digest matches with our version in place, then only the version is damaged.
            let mut ours = *slot;
            ours[4] = VERSION;
            let is_ours = slot[DIGEST_AT..PAYLOAD_AT] == slot_digest(&ours);
            let other = StateError::OtherVersion(slot[4]);
            return Err(if is_ours { StateError::Digest } else { other });
        }
        if slot[DIGEST_AT..PAYLOAD_AT] != slot_digest(slot) {
            return Err(StateError::Digest);
        }
        let flags = slot[5];
        if flags & !FLAGS != 0 {
            return Err(StateError::Field("flags"));
        }
        let first_seq = u64_at(slot, 32);
        if first_seq == 0 {
            return Err(StateError::Field("first live sequence number"));
        }
        let cutting = flags & FLAG_CUTTING != 0;
        let cuts = CutHistory::decode(&slot[CUTS_AT..], slot[CUTS_LEN_AT])
            .filter(|cuts| !cutting || cuts.newest().is_some());
        let Some(cuts) = cuts else { return Err(StateError::Field("history of cuts")) };
        Ok(State {
            generation: u64_at(slot, 8),
            log_id: array_at(slot, 16),
            shard: u16_at(slot, 6),
            first_seq,
            last_seq: u64_at(slot, 40),
            clean: flags & FLAG_CLEAN != 0,
            adopted: flags & FLAG_ADOPTED != 0,
            cuts,
            cutting,
            checkpoint: decode_checkpoint(slot, flags)?,
            kind: Kind::from_byte(slot[KIND_AT]),
            label: array_at(slot, LABEL_AT),
        })
    }
}

fn decode_checkpoint(slot: &[u8], flags: u8) -> Result<Option<Checkpoint>, StateError> {
    if flags & FLAG_CHECKPOINT == 0 {
        return Ok(None);
    }
    let len = u32_at(slot, 72) as usize;
    if len > PAYLOAD_MAX {
        return Err(StateError::Field("checkpoint payload length"));
    }
    Ok(Some(Checkpoint {
        seq: u64_at(slot, 56),
        time_nanos: u64_at(slot, 64),
        payload: slot[PAYLOAD_AT..PAYLOAD_AT + len].to_vec(),
    }))
}

fn slot_digest(slot: &[u8; SLOT_BYTES]) -> [u8; DIGEST_SIZE] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&slot[..DIGEST_AT]);
    hasher.update(&slot[PAYLOAD_AT..]);
    array_at(hasher.finalize().as_bytes(), 0)
}

/// The bytes of slot 0 or 1 of a `state` file; fewer if the file is short.
///
/// ```
/// # #[cfg(feature = "internals")] {
/// use ringwal::format::{SLOT_BYTES, SLOT_DISTANCE, STATE_BYTES, slot_of};
///
/// assert_eq!(slot_of(&[7; STATE_BYTES], 1).len(), SLOT_BYTES);
/// assert_eq!(slot_of(&[7; SLOT_DISTANCE + 9], 1), [7; 9]);
/// assert!(slot_of(&[7; SLOT_BYTES], 1).is_empty());
/// # }
/// ```
pub fn slot_of(file: &[u8], index: usize) -> &[u8] {
    let rest = file.get(index.saturating_mul(SLOT_DISTANCE)..).unwrap_or(&[]);
    rest.get(..SLOT_BYTES).unwrap_or(rest)
}

/// The bytes of a `state` file with these slots.
///
/// ```
/// # #[cfg(feature = "internals")] {
/// use ringwal::format::{State, newest, state_file};
///
/// let old = State { generation: 1, ..State::new([7; 16], 0, 1) };
/// let new = State { generation: 2, last_seq: 9, ..old.clone() };
/// assert_eq!(newest(&state_file(&old, Some(&new))), Ok((new, 1)));
/// assert_eq!(newest(&state_file(&old, None)), Ok((old, 0)));
/// # }
/// ```
pub fn state_file(first: &State, second: Option<&State>) -> Vec<u8> {
    let mut file = vec![0; STATE_BYTES];
    file[..SLOT_BYTES].copy_from_slice(first.encode().as_slice());
    if let Some(second) = second {
        file[SLOT_DISTANCE..].copy_from_slice(second.encode().as_slice());
    }
    file
}

/// The state that counts in a `state` file, and the index of its slot.
///
/// # Errors
///
/// [`StateError::OtherVersion`] if either slot has one. Otherwise, if neither slot is valid, the
/// defect of the first.
pub fn newest(file: &[u8]) -> Result<(State, usize), StateError> {
    let decoded = [0, 1].map(|index| State::decode(slot_of(file, index)));
    for slot in &decoded {
        if let Err(other @ StateError::OtherVersion(_)) = slot {
            return Err(*other);
        }
    }
    match decoded {
        [Ok(first), Ok(second)] if second.generation > first.generation => Ok((second, 1)),
        [Ok(first), _] => Ok((first, 0)),
        [Err(_), Ok(second)] => Ok((second, 1)),
        [Err(error), Err(_)] => Err(error),
    }
}

/// The reason why bytes are not a valid slot of a `state` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// The bytes end before the slot does.
    Short,
    /// The bytes do not begin with the magic number of a slot.
    Magic,
    /// The slot states another version of the format.
    OtherVersion(
        /// The stated version.
        u8,
    ),
    /// The digest does not match.
    Digest,
    /// A field is out of range although the digest matches.
    Field(
        /// The name of the field.
        &'static str,
    ),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Short => write!(f, "the state slot ends early"),
            StateError::Magic => {
                write!(f, "the bytes do not begin with the magic number of a state slot")
            }
            StateError::OtherVersion(version) => {
                write!(f, "the state slot has format version {version}, not {VERSION}")
            }
            StateError::Digest => write!(f, "the digest of the state slot does not match"),
            StateError::Field(name) => write!(f, "the {name} in the state slot is out of range"),
        }
    }
}

impl std::error::Error for StateError {}

const MAGIC: [u8; 4] = *b"RWST";
const VERSION: u8 = 2;
const KIND_AT: usize = 76;
const CUTS_LEN_AT: usize = 77;
const LABEL_AT: usize = 80;
const DIGEST_AT: usize = LABEL_AT + LABEL_BYTES;
const PAYLOAD_AT: usize = DIGEST_AT + DIGEST_SIZE;
const CUTS_AT: usize = SLOT_BYTES - CUTS_BYTES;
const FLAG_CLEAN: u8 = 1;
const FLAG_CUTTING: u8 = 2;
const FLAG_CHECKPOINT: u8 = 8;
const FLAG_ADOPTED: u8 = 16;
const FLAGS: u8 = FLAG_CLEAN | FLAG_CUTTING | FLAG_CHECKPOINT | FLAG_ADOPTED;

const _: () = assert!(SLOT_BYTES <= SLOT_DISTANCE);
const _: () = assert!(PAYLOAD_AT + PAYLOAD_MAX <= CUTS_AT, "a checkpoint and all cuts fit a slot");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state(generation: u64) -> State {
        let mut state = State { generation, last_seq: 7, ..State::new([9; 16], 2, 3) };
        state.cuts.add(5);
        state
    }

    fn slots(first: &State, second: &State) -> Vec<u8> {
        state_file(first, Some(second))
    }

    #[test]
    fn a_write_of_one_slot_never_rewrites_the_other() {
        let (one, other) = (state_file(&state(4), None), slots(&state(4), &state(5)));
        for unit in [512, 4096, 16 << 10, 64 << 10] {
            let differ = |(a, b): (&[u8], &[u8])| a != b;
            let units = one.chunks(unit).zip(other.chunks(unit)).map(differ);
            let changed: Vec<_> = units.enumerate().filter(|it| it.1).map(|it| it.0).collect();
            assert!(!changed.is_empty() && !changed.contains(&0), "{unit}: {changed:?}");
        }
    }

    #[test]
    fn the_slot_with_the_greater_generation_counts() {
        assert_eq!(newest(&slots(&state(4), &state(5))), Ok((state(5), 1)));
        assert_eq!(newest(&slots(&state(6), &state(5))), Ok((state(6), 0)));
    }

    #[test]
    fn a_torn_slot_leaves_the_other_one() {
        let mut bytes = slots(&state(4), &state(5));
        bytes[SLOT_DISTANCE + 100] ^= 1;
        assert_eq!(newest(&bytes), Ok((state(4), 0)));
        assert_eq!(newest(&bytes[..SLOT_BYTES]), Ok((state(4), 0)));
        bytes[40] ^= 1;
        assert_eq!(newest(&bytes), Err(StateError::Digest));
        assert_eq!(newest(&[]), Err(StateError::Short));
        assert_eq!(newest(&[0; STATE_BYTES]), Err(StateError::Magic));
    }

    #[test]
    fn another_version_in_either_slot_is_not_overruled() {
        for at in [4, SLOT_DISTANCE + 4] {
            let mut bytes = slots(&state(4), &state(5));
            bytes[at] = 3;
            bytes[at - 4 + DIGEST_AT] ^= 1;
            assert_eq!(newest(&bytes), Err(StateError::OtherVersion(3)));
        }
    }

    #[test]
    fn a_flipped_bit_in_the_version_is_damage_and_not_another_version() {
        let mut bytes = slots(&state(4), &state(5));
        bytes[SLOT_DISTANCE + 4] ^= 0x10;
        assert_eq!(newest(&bytes), Ok((state(4), 0)));
    }

    proptest! {
        #[test]
        fn a_state_is_read_as_it_was_written(
            (generation, last_seq, seq, time_nanos) in any::<(u64, u64, u64, u64)>(),
            (clean, cutting, adopted) in any::<(bool, bool, bool)>(),
            cuts in prop::collection::vec(any::<u64>(), 0..90),
            (kind, label) in any::<(u8, [u8; LABEL_BYTES])>(),
            payload in prop::option::of(prop::collection::vec(any::<u8>(), 0..PAYLOAD_MAX)),
        ) {
            let mut history = CutHistory::default();
            cuts.into_iter().for_each(|seq| history.add(seq));
            let state = State {
                last_seq,
                clean,
                cutting: cutting && history.newest().is_some(),
                cuts: history,
                adopted,
                kind: Kind::from_byte(kind),
                label,
                checkpoint: payload.map(|payload| Checkpoint { seq, time_nanos, payload }),
                ..state(generation)
            };
            prop_assert_eq!(State::decode(state.encode().as_slice()), Ok(state));
        }

        #[test]
        fn a_flipped_bit_is_detected(bit in 0..SLOT_BYTES * 8) {
            let mut slot = state(1).encode();
            slot[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(State::decode(slot.as_slice()).is_err());
        }

        #[test]
        fn any_bytes_are_decoded_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..2 * SLOT_BYTES),
        ) {
            let _ = newest(&bytes);
        }
    }
}
