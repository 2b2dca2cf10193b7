//! The two notes about a log in its `state` file: its kind, and a label of the user's choice.

use std::fmt;

/// The kind of a log, which decides what may append to it.
///
/// It is written when the log is created. Opening a log as another kind is refused with
/// [`Error::OtherKind`](crate::Error::OtherKind) before anything is changed, because one record of
/// another kind would make the log useless to its owner. A log of any kind may be opened read-only,
/// as raw records.
///
/// ```
/// use ringwal::kv::DataWal;
/// use ringwal::{Error, Kind, Log};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("store");
/// DataWal::open(&path)?.put("key", "value")?;
/// assert!(matches!(
///     Log::open(&path),
///     Err(Error::OtherKind { found: Kind::Kv, wanted: Kind::Raw, .. })
/// ));
/// let reader = Log::builder(&path).read_only()?;
/// assert_eq!(reader.recovery().and_then(|found| found.kind), Some(Kind::Kv));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Records of the user's own: a [`Log`](crate::Log).
    Raw,
    /// Events: a [`WalHandle`](crate::wal::WalHandle).
    Events,
    /// Keys and values: a [`kv::DataWal`](crate::kv::DataWal).
    Kv,
    /// A kind that this version of the crate does not know, by its number.
    Unknown(
        /// The number.
        u8,
    ),
}

const KINDS: [(u8, Kind, &str); 3] = [
    (1, Kind::Raw, "a raw log"),
    (2, Kind::Events, "an event log"),
    (3, Kind::Kv, "a key-value log"),
];

impl Kind {
    /// The byte in `state`. No kind has 0, which means that none is stated.
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Kind::Unknown(byte) => byte,
            known => KINDS.iter().find(|(_, kind, _)| *kind == known).map_or(0, |found| found.0),
        }
    }

    /// The kind of a byte in `state`, if the byte states one.
    pub(crate) fn from_byte(byte: u8) -> Option<Kind> {
        let known = KINDS.iter().find(|(known, ..)| *known == byte).map(|found| found.1);
        known.or((byte != 0).then_some(Kind::Unknown(byte)))
    }

    /// What opens a log of this kind, for messages.
    pub(crate) fn opener(self) -> &'static str {
        match self {
            Kind::Raw => "Log",
            Kind::Events => "wal::WalHandle",
            Kind::Kv => "kv::DataWal",
            Kind::Unknown(_) => "the ringwal that wrote it",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match KINDS.iter().find(|(_, kind, _)| kind == self) {
            Some((_, _, name)) => f.write_str(name),
            None => write!(f, "a log of kind {}", self.to_byte()),
        }
    }
}

/// The size of a label in bytes.
pub const LABEL_BYTES: usize = 8;

/// The label of a log without one.
pub(crate) const NO_LABEL: [u8; LABEL_BYTES] = [0; LABEL_BYTES];

/// A label as messages show it: text, other bytes as `\x` and two digits, without trailing zeros.
pub(crate) struct ShowLabel<'a>(pub(crate) &'a [u8; LABEL_BYTES]);

impl fmt::Display for ShowLabel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.0.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        write!(f, "\"{}\"", self.0[..len].escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_a_kind_and_comes_back() {
        assert_eq!(Kind::from_byte(0), None);
        for byte in 1..=u8::MAX {
            assert_eq!(Kind::from_byte(byte).map(Kind::to_byte), Some(byte));
        }
        assert_eq!(Kind::from_byte(200), Some(Kind::Unknown(200)));
        assert_eq!(Kind::Unknown(200).to_string(), "a log of kind 200");
    }

    #[test]
    fn a_label_is_shown_as_text_with_other_bytes_escaped() {
        assert_eq!(ShowLabel(b"orders\0\0").to_string(), "\"orders\"");
        assert_eq!(ShowLabel(b"\0a\xff\0\0\0\0\0").to_string(), "\"\\x00a\\xff\"");
    }
}
