//! How records are framed and printed.

use clap::ValueEnum;

/// The framing of records in a byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Framing {
    /// One record per line, any bytes, without the newline; the last line may lack it.
    Lines,
    /// A 4-byte little-endian length before each record.
    Len32,
}

/// How records are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The bytes, framed according to --framing.
    Raw,
    /// A JSON object per record: seq, bytes, and text, or hex if it is not UTF-8.
    Jsonl,
    /// `SEQ DIGEST`: the first 16 hex digits of the BLAKE3 hash of the bytes, as --acks prints it.
    Digest,
    /// A JSON object per event of an event log: seq and its four fields.
    Events,
}
