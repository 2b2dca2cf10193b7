//! Shards: several independent logs in one directory.

use std::fmt;

/// The number of a shard: one of several independent logs that live in one directory.
///
/// Shards do not see each other's segments, state or locks. A log that is alone in its directory is
/// [`ShardId::SINGLE`].
///
/// ```
/// use ringwal::replication::ShardId;
///
/// assert_eq!(ShardId::SINGLE.get(), 0);
/// assert_ne!(ShardId::new(3), ShardId::SINGLE);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The only log of its directory.
    pub const SINGLE: ShardId = ShardId(0);

    /// The shard with this number; 0 is [`ShardId::SINGLE`].
    pub const fn new(number: u16) -> ShardId {
        ShardId(number)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl From<u16> for ShardId {
    fn from(number: u16) -> ShardId {
        ShardId(number)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
