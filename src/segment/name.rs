//! The names of a log's files: builds and parses them.
//!
//! ```text
//!              the single shard                shard 7
//! segment      wal-00000000000000000042.seg    s00007-wal-00000000000000000042.seg
//! spare        spare-00000000000000000003.tmp  s00007-spare-00000000000000000003.tmp
//! state, lock  state, lock                     s00007-state, s00007-lock
//! lost         lost-{first}-{last}-{count}.bin s00007-lost-{first}-{last}-{count}.bin
//! ```
//!
//! 1. No name of one shard parses as a name of another.
//! 2. Numbers have 20 digits, so names sort like numbers.
//! 3. The name of a spare never parses as that of a segment: only a rename turns one into the
//!    other.

use crate::replication::ShardId;

/// The name of the segment that begins with record `first_seq`.
pub(crate) fn segment_filename(shard: ShardId, first_seq: u64) -> String {
    format!("{}wal-{first_seq:020}.seg", prefix(shard))
}

/// The first sequence number in the name of a segment; `None` if it is no segment of this shard.
pub(crate) fn parse_segment(shard: ShardId, name: &str) -> Option<u64> {
    let number = own_part(shard, name)?.strip_prefix("wal-")?.strip_suffix(".seg")?;
    parse_number(number).filter(|&first_seq| first_seq > 0)
}

/// The segments of a shard among the names in a directory, ascending.
pub(crate) fn segments_among(
    shard: ShardId,
    names: impl IntoIterator<Item = String>,
) -> Vec<(u64, String)> {
    let numbered = |name: String| parse_segment(shard, &name).map(|first_seq| (first_seq, name));
    let mut segments: Vec<_> = names.into_iter().filter_map(numbered).collect();
    segments.sort_unstable();
    segments
}

/// The name of a shard's `state` file.
pub(crate) fn state_name(shard: ShardId) -> String {
    format!("{}state", prefix(shard))
}

/// The temporary name of a new `state` file.
pub(crate) fn state_temp_name(shard: ShardId) -> String {
    format!("{}state.tmp", prefix(shard))
}

/// The name of a shard's lock file.
pub(crate) fn lock_name(shard: ShardId) -> String {
    format!("{}lock", prefix(shard))
}

/// The name of a shard's spare number `number`.
pub(crate) fn spare_name(shard: ShardId, number: u64) -> String {
    format!("{}spare-{number:020}.tmp", prefix(shard))
}

/// Whether `name` is the name of a spare of this shard.
pub(crate) fn is_spare(shard: ShardId, name: &str) -> bool {
    let number = own_part(shard, name)
        .and_then(|name| name.strip_prefix("spare-"))
        .and_then(|name| name.strip_suffix(".tmp"));
    number.is_some_and(|number| parse_number(number).is_some())
}

/// The name of a file that keeps the records that tolerated damage cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LostName {
    /// The first and last lost record.
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// Distinguishes losses of the same records.
    pub(crate) count: u32,
    /// Whether a user has acknowledged the loss.
    pub(crate) seen: bool,
}

impl LostName {
    pub(crate) fn name(&self, shard: ShardId) -> String {
        let LostName { first_seq, last_seq, count, seen } = self;
        let ending = if *seen { "seen" } else { "bin" };
        format!("{}lost-{first_seq:020}-{last_seq:020}-{count:03}.{ending}", prefix(shard))
    }

    /// Parses a name; `None` if it is no such name of this shard.
    pub(crate) fn parse(shard: ShardId, name: &str) -> Option<LostName> {
        let (numbers, ending) = own_part(shard, name)?.strip_prefix("lost-")?.split_once('.')?;
        let mut numbers = numbers.split('-');
        let lost = LostName {
            first_seq: parse_number(numbers.next()?)?,
            last_seq: parse_number(numbers.next()?)?,
            count: numbers.next()?.parse().ok()?,
            seen: ending == "seen",
        };
        // A number can be written in several ways; only one of them is the name.
        (lost.name(shard) == name).then_some(lost)
    }
}

/// The temporary name of a new lost file.
pub(crate) fn lost_temp_name(shard: ShardId) -> String {
    format!("{}lost.tmp", prefix(shard))
}

/// Whether a log of any shard, or the file system, may have made a file of this name.
pub(crate) fn is_expected(name: &str) -> bool {
    let shard = match name.strip_prefix('s').and_then(|rest| rest.split_once('-')) {
        Some((number, _)) => number.parse().map(ShardId).unwrap_or(ShardId::SINGLE),
        None => ShardId::SINGLE,
    };
    name == "lost+found"
        || [state_name(shard), state_temp_name(shard), lock_name(shard)].iter().any(|n| n == name)
        || name == lost_temp_name(shard)
        || LostName::parse(shard, name).is_some()
        || is_spare(shard, name)
        || parse_segment(shard, name).is_some()
}

fn prefix(shard: ShardId) -> String {
    match shard {
        ShardId::SINGLE => String::new(),
        ShardId(number) => format!("s{number:05}-"),
    }
}

fn own_part(shard: ShardId, name: &str) -> Option<&str> {
    name.strip_prefix(prefix(shard).as_str())
}

fn parse_number(digits: &str) -> Option<u64> {
    let is_number = digits.len() == NUMBER_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

const NUMBER_DIGITS: usize = 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_the_single_shard_have_no_prefix() {
        let single = ShardId::SINGLE;
        assert_eq!(segment_filename(single, 42), "wal-00000000000000000042.seg");
        assert_eq!(spare_name(single, 3), "spare-00000000000000000003.tmp");
        assert_eq!(state_name(single), "state");
        assert_eq!(lock_name(single), "lock");
        assert_eq!(state_name(ShardId(7)), "s00007-state");
    }

    #[test]
    fn a_name_that_only_looks_like_a_segment_is_not_one() {
        for name in [
            "wal-1.seg",
            "wal-00000000000000000000.seg",
            "wal-0000000000000000004x.seg",
            "wal-+0000000000000000042.seg",
            "wal-99999999999999999999.seg",
            "wal-00000000000000000042.seg.bak",
            "xwal-00000000000000000042.seg",
            "s00000-wal-00000000000000000042.seg",
            "spare-00000000000000000042.tmp",
        ] {
            assert_eq!(parse_segment(ShardId::SINGLE, name), None, "{name}");
        }
    }

    #[test]
    fn segments_are_listed_in_the_order_of_their_numbers() {
        let names = [10, 9, u64::MAX, 1].map(|n| segment_filename(ShardId(1), n));
        let other = segment_filename(ShardId::SINGLE, 5);
        let listed = segments_among(ShardId(1), names.into_iter().chain([other]));
        let numbers: Vec<_> = listed.iter().map(|(first_seq, _)| *first_seq).collect();
        assert_eq!(numbers, [1, 9, 10, u64::MAX]);
    }

    #[test]
    fn only_the_names_that_a_log_uses_are_expected() {
        for name in ["state", "s00007-state.tmp", "lock", "lost+found", "s00002-lock"] {
            assert!(is_expected(name), "{name}");
        }
        assert!(is_expected(&spare_name(ShardId(9), 1)));
        let lost = LostName { first_seq: 1, last_seq: 2, count: 3, seen: false };
        for lost in [lost, LostName { seen: true, ..lost }] {
            let name = lost.name(ShardId(9));
            assert!(is_expected(&name) && parse_segment(ShardId(9), &name).is_none());
            assert_eq!(LostName::parse(ShardId(9), &name), Some(lost));
            assert_eq!(LostName::parse(ShardId::SINGLE, &name), None);
        }
        for name in ["statement", "s7-state", "src", "s-x", "Cargo.toml", "s00000-state"] {
            assert!(!is_expected(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_that_of_its_shard_and_number_alone(
            shard in any::<u16>(), other in any::<u16>(), first_seq in 1..=u64::MAX,
        ) {
            let name = segment_filename(ShardId(shard), first_seq);
            prop_assert_eq!(parse_segment(ShardId(shard), &name), Some(first_seq));
            prop_assert!(other == shard || parse_segment(ShardId(other), &name).is_none());
            let spare = spare_name(ShardId(shard), first_seq);
            prop_assert!(is_spare(ShardId(shard), &spare) && !is_spare(ShardId(shard), &name));
            prop_assert_eq!(parse_segment(ShardId(shard), &spare), None);
        }
    }
}
