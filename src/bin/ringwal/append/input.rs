//! Splits a byte stream into records and sends them in chunks that workers share.
//!
//! 1. A chunk is sent as soon as no more input is available, so a record never waits for a later
//!    one.
//! 2. Chunks are bounded in records and bytes, and the channel in chunks, so memory does not grow
//!    with the input. A record is at most [`RECORD_BYTES_MAX`].
//! 3. Every record arrives exactly once, in order and unchanged. A stream that ends inside a
//!    length-prefixed record is an error, reported after the records before it.
//!
//! One thread reads. It may still be blocked in a read when the command ends, so no thread joins
//! it.

use std::io::{self, Read};

use crossbeam_channel::Sender;

use crate::options::format::Framing;

/// Records sent together to one worker.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    /// Where each record ends in `bytes`.
    ends: Vec<usize>,
}

impl Chunk {
    /// Adds a record.
    pub(crate) fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    /// The records in order.
    pub(crate) fn records(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }

    /// Whether the chunk is large enough to send.
    pub(crate) fn is_full(&self) -> bool {
        self.ends.len() >= CHUNK_RECORDS || self.bytes.len() >= CHUNK_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// What workers receive: chunks, and at most one error, as the last message.
pub(crate) type Message = io::Result<Chunk>;

/// Reads `stream` to its end and sends its records. Returns early when the receivers are gone.
pub(crate) fn read_records(mut stream: impl Read, framing: Framing, chunks: &Sender<Message>) {
    if let Err(error) = split(&mut stream, framing, chunks) {
        // If the receivers are gone, the error is of no interest either.
        let _ = chunks.send(Err(error));
    }
}

fn split(stream: &mut impl Read, framing: Framing, chunks: &Sender<Message>) -> io::Result<()> {
    let mut buf = vec![0; READ_BYTES];
    let mut filled = 0;
    // The prefix of `buf` known to contain no end of a record, so a long line is searched once.
    let mut searched = 0;
    loop {
        if filled == buf.len() {
            grow(&mut buf)?;
        }
        let got = match stream.read(&mut buf[filled..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let at_end = got == 0;
        filled += got;
        let (used, connected) = match framing {
            Framing::Lines => send_lines(&buf[..filled], searched, at_end, chunks),
            Framing::Len32 => send_len32(&buf[..filled], at_end, chunks)?,
        };
        if at_end || !connected {
            return Ok(());
        }
        buf.copy_within(used..filled, 0);
        filled -= used;
        searched = filled;
    }
}

fn grow(buf: &mut Vec<u8>) -> io::Result<()> {
    if buf.len() >= RECORD_BYTES_MAX {
        let message = format!("a record is longer than {RECORD_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    buf.resize(buf.len() * 2, 0);
    Ok(())
}

/// Sends the complete lines of `bytes`. Returns the number of bytes used and whether the receivers
/// are still there.
fn send_lines(
    bytes: &[u8],
    searched: usize,
    at_end: bool,
    chunks: &Sender<Message>,
) -> (usize, bool) {
    let mut chunk = Chunk::default();
    let mut used = 0;
    let mut from = searched;
    while let Some(length) = bytes[from..].iter().position(|&byte| byte == b'\n') {
        chunk.push(&bytes[used..from + length]);
        used = from + length + 1;
        from = used;
        if chunk.is_full() && chunks.send(Ok(std::mem::take(&mut chunk))).is_err() {
            return (used, false);
        }
    }
    if at_end && used < bytes.len() {
        chunk.push(&bytes[used..]);
        used = bytes.len();
    }
    (used, chunk.is_empty() || chunks.send(Ok(chunk)).is_ok())
}

/// Sends the complete length-prefixed records of `bytes`, like [`send_lines`].
fn send_len32(bytes: &[u8], at_end: bool, chunks: &Sender<Message>) -> io::Result<(usize, bool)> {
    let mut chunk = Chunk::default();
    let mut used = 0;
    let mut failure = None;
    while let Some((head, rest)) = bytes[used..].split_first_chunk::<4>() {
        let Ok(length) = usize::try_from(u32::from_le_bytes(*head)) else { break };
        if length > RECORD_BYTES_MAX - head.len() {
            let message = format!("a length of {length} bytes is more than {RECORD_BYTES_MAX}");
            failure = Some(io::Error::new(io::ErrorKind::InvalidData, message));
            break;
        }
        let Some(record) = rest.get(..length) else { break };
        chunk.push(record);
        used += head.len() + length;
        if chunk.is_full() && chunks.send(Ok(std::mem::take(&mut chunk))).is_err() {
            return Ok((used, false));
        }
    }
    let connected = chunk.is_empty() || chunks.send(Ok(chunk)).is_ok();
    if let Some(failure) = failure {
        return Err(failure);
    }
    if at_end && used < bytes.len() {
        let message =
            format!("it ends inside a record, {} bytes after its start", bytes.len() - used);
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
    }
    Ok((used, connected))
}

/// Maximum number of chunks in the channel, per worker.
pub(crate) const CHUNKS_PER_WORKER: usize = 2;
/// Small enough to keep all workers busy to the end, large enough that the channel costs little.
const CHUNK_RECORDS: usize = 128;
const CHUNK_BYTES: usize = 1 << 20;
const READ_BYTES: usize = 64 << 10;
/// The longest accepted record, including its framing.
const RECORD_BYTES_MAX: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns its bytes in pieces of the given length.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let limit = self.1.min(buf.len());
            self.0.read(&mut buf[..limit])
        }
    }

    fn records(bytes: &[u8], piece: usize, framing: Framing) -> (Vec<Vec<u8>>, Option<String>) {
        let (sender, receiver) = crossbeam_channel::unbounded();
        read_records(Pieces(bytes, piece), framing, &sender);
        drop(sender);
        let mut records = Vec::new();
        let mut failure = None;
        for message in receiver {
            match message {
                Ok(chunk) => records.extend(chunk.records().map(<[u8]>::to_vec)),
                Err(error) => failure = Some(error.to_string()),
            }
        }
        (records, failure)
    }

    #[test]
    fn lines_are_records_whatever_the_reads_return() {
        let input = b"one\n\n\xff\x00three\r\nlast";
        let expected: Vec<&[u8]> = vec![b"one", b"", b"\xff\x00three\r", b"last"];
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(records(input, piece, Framing::Lines), (to_vecs(&expected), None));
        }
        assert_eq!(records(b"", 1, Framing::Lines), (vec![], None));
        assert_eq!(records(b"\n", 1, Framing::Lines), (vec![vec![]], None));
    }

    #[test]
    fn lines_longer_than_a_read_are_whole() {
        let long = vec![b'x'; 3 * READ_BYTES + 1];
        let mut input = long.clone();
        input.push(b'\n');
        input.extend_from_slice(&long);
        assert_eq!(records(&input, 5000, Framing::Lines), (vec![long.clone(), long], None));
    }

    #[test]
    fn many_records_are_split_over_chunks_in_order() {
        let expected: Vec<Vec<u8>> =
            (0..1000).map(|number: u32| number.to_string().into_bytes()).collect();
        let input = expected.join(&b'\n');
        assert_eq!(records(&input, 4096, Framing::Lines), (expected, None));
    }

    #[test]
    fn length_prefixed_records_keep_newlines_and_emptiness() {
        let input = b"\x03\0\0\0a\nb\0\0\0\0\x01\0\0\0\xff";
        let expected: Vec<&[u8]> = vec![b"a\nb", b"", b"\xff"];
        for piece in [1, 4, 5, 1000] {
            assert_eq!(records(input, piece, Framing::Len32), (to_vecs(&expected), None));
        }
    }

    #[test]
    fn a_cut_length_prefixed_record_is_an_error_after_those_before_it() {
        let (records, failure) = records(b"\x01\0\0\0a\x05\0\0\0b", 3, Framing::Len32);
        assert_eq!(records, vec![b"a".to_vec()]);
        assert_eq!(failure.as_deref(), Some("it ends inside a record, 5 bytes after its start"));
    }

    #[test]
    fn an_absurd_length_is_refused_before_anything_is_allocated_for_it() {
        let (records, failure) = records(b"\x00\0\0\0\xff\xff\xff\xff", 8, Framing::Len32);
        assert_eq!(records, vec![Vec::<u8>::new()]);
        assert!(failure.is_some_and(|message| message.contains("4294967295")));
    }

    fn to_vecs(records: &[&[u8]]) -> Vec<Vec<u8>> {
        records.iter().map(|record| record.to_vec()).collect()
    }
}
