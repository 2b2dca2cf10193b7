//! Prints records to standard output in each of the formats.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use ringwal::wal::format::EventRecord;
use ringwal::{Record, Result};

use crate::options::format::{Format, Framing};
use crate::output::exit::Failure;
use crate::output::json::{Integer, Weight};
use crate::output::stream::{say_also, stdout, unless_closed};

/// The first 16 hex digits of the BLAKE3 hash of a record, as acknowledgements and `--format
/// digest` show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest([u8; 8]);

impl Digest {
    pub(crate) fn of(bytes: &[u8]) -> Digest {
        let mut digest = [0; 8];
        digest.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
        Digest(digest)
    }

    /// Writes `SEQ DIGEST` and a newline.
    pub(crate) fn write_line(self, out: &mut impl Write, seq: ringwal::Seq) -> io::Result<()> {
        writeln!(out, "{seq} {self}")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Prints records until they end or the reader closes the pipe; the latter is no failure, since
/// `dump | head` is common.
pub(crate) fn print_records(
    records: impl Iterator<Item = Result<Record>>,
    dir: &Path,
    format: Format,
    framing: Framing,
) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, stdout());
    for record in records {
        let event = |record: Record| match format {
            Format::Events => {
                let event = EventRecord::from_record(&record, dir)?;
                Ok((record, Some(event)))
            }
            _ => Ok((record, None)),
        };
        let written = match record.and_then(event) {
            Ok((record, Some(event))) => write_event(&mut out, record.seq().get(), &event),
            Ok((record, None)) => write_record(&mut out, &record, format, framing),
            Err(error) => {
                // Show the records before the damage, even though the error decides the exit code.
                if let Err(error) = unless_closed(out.flush()) {
                    say_also(format_args!("ringwal: {}", Failure::Output(error)));
                }
                return Err(error.into());
            }
        };
        if !unless_closed(written).map_err(Failure::Output)? {
            return Ok(());
        }
    }
    unless_closed(out.flush()).map(drop).map_err(Failure::Output)
}

fn write_record(
    out: &mut impl Write,
    record: &Record,
    format: Format,
    framing: Framing,
) -> io::Result<()> {
    let data = record.data();
    match (format, framing) {
        (Format::Digest, _) => Digest::of(data).write_line(out, record.seq()),
        (Format::Jsonl | Format::Events, _) => write_json(out, record.seq().get(), data),
        (Format::Raw, Framing::Lines) => {
            out.write_all(data)?;
            out.write_all(b"\n")
        }
        (Format::Raw, Framing::Len32) => {
            let length = u32::try_from(data.len()).map_err(io::Error::other)?;
            out.write_all(&length.to_le_bytes())?;
            out.write_all(data)
        }
    }
}

fn write_json(out: &mut impl Write, seq: u64, data: &[u8]) -> io::Result<()> {
    write!(out, r#"{{"seq":{},"bytes":{},"#, Integer(seq), data.len())?;
    match std::str::from_utf8(data) {
        Ok(text) => {
            out.write_all(br#""text":"#)?;
            serde_json::to_writer(&mut *out, text)?;
        }
        Err(_) => {
            out.write_all(br#""hex":""#)?;
            data.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
            out.write_all(b"\"")?;
        }
    }
    out.write_all(b"}\n")
}

fn write_event(out: &mut impl Write, seq: u64, event: &EventRecord) -> io::Result<()> {
    let EventRecord { entity_id, signal_type, weight, timestamp_nanos } = event;
    let (seq, entity_id, weight) = (Integer(seq), Integer(*entity_id), Weight(*weight));
    let timestamp_nanos = Integer(*timestamp_nanos);
    writeln!(
        out,
        "{{\"seq\":{seq},\"entity_id\":{entity_id},\"signal_type\":{signal_type},\
         \"weight\":{weight},\"timestamp_nanos\":{timestamp_nanos}}}"
    )
}

const BUFFER_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_lines_are_the_head_of_the_hash() {
        let mut line = Vec::new();
        Digest::of(b"").write_line(&mut line, ringwal::Seq::new(7)).unwrap();
        assert_eq!(line, b"7 af1349b9f5f9a1a6\n");
    }

    #[test]
    fn json_escapes_text_and_shows_other_bytes_as_hex() {
        for (data, json) in [
            (&b"a\"\n"[..], "{\"seq\":1,\"bytes\":3,\"text\":\"a\\\"\\n\"}\n"),
            (b"\xff\x00", "{\"seq\":1,\"bytes\":2,\"hex\":\"ff00\"}\n"),
        ] {
            let mut line = Vec::new();
            write_json(&mut line, 1, data).unwrap();
            assert_eq!(String::from_utf8(line).unwrap(), json);
        }
    }

    #[test]
    fn an_event_is_json_also_when_its_weight_is_no_number() {
        for (weight, json) in [(0.5, "0.5"), (f32::NAN, "\"NaN\""), (-0.0, "-0.0")] {
            let event = EventRecord { entity_id: 1, signal_type: 2, weight, timestamp_nanos: 3 };
            let mut line = Vec::new();
            write_event(&mut line, 9, &event).unwrap();
            let expected = format!(
                "{{\"seq\":9,\"entity_id\":1,\"signal_type\":2,\"weight\":{json},\
                 \"timestamp_nanos\":3}}\n"
            );
            assert_eq!(String::from_utf8(line).unwrap(), expected);
        }
    }
}
