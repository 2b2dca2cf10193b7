//! Sequence numbers: records are numbered from 1, without gaps.

use std::fmt;

/// The sequence number of a record.
///
/// The first record of a log has the number 1 and every further record one more, without gaps.
/// Zero is [`Seq::NONE`], "before the first record"; the watermarks of an empty log hold it. A
/// number is reused only after an explicit [`truncate_after`](crate::Log::truncate_after).
///
/// ```
/// use ringwal::Seq;
///
/// let seq = Seq::new(41);
/// assert_eq!(seq.next(), Seq::new(42));
/// assert_eq!(seq.get(), 41);
/// assert!(Seq::NONE < Seq::FIRST);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(u64);

impl Seq {
    /// Before the first record.
    pub const NONE: Seq = Seq(0);
    /// The first record of a log.
    pub const FIRST: Seq = Seq(1);

    /// The sequence number with this value.
    pub const fn new(number: u64) -> Seq {
        Seq(number)
    }

    /// The value.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sequence number after this one; `u64::MAX` stays as it is.
    pub const fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }

    /// The sequence number before this one; [`Seq::NONE`] stays as it is.
    pub const fn prev(self) -> Seq {
        Seq(self.0.saturating_sub(1))
    }
}

impl From<u64> for Seq {
    fn from(number: u64) -> Seq {
        Seq(number)
    }
}

impl From<Seq> for u64 {
    fn from(seq: Seq) -> u64 {
        seq.0
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
