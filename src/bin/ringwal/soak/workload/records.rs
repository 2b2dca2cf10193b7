//! A file of records, one JSON object on a line: `{"key": "<base64>", "payload": "<base64>"}`.
//!
//! Every line is checked when the file is opened. Records are then read from the file when drawn.
//! Each line takes 12 bytes of memory, whatever its length.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringwal::kv::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use crate::output::exit::Failure;

/// Maximum number of lines in a file.
const LINES_MAX: usize = 50_000_000;
/// The length of a line with the longest key and value, with room for the rest.
const LINE_BYTES_MAX: usize = (KEY_BYTES_MAX + VALUE_BYTES_MAX) / 3 * 4 + (4 << 10);

/// A file in which every line is a valid record.
pub(crate) struct RecordFile {
    path: PathBuf,
    file: File,
    /// The start and length of each line.
    lines: Vec<(u64, u32)>,
}

impl RecordFile {
    /// Opens a file and checks every line.
    pub(crate) fn open(path: PathBuf) -> Result<RecordFile, Failure> {
        let refused =
            |what: &dyn std::fmt::Display| Failure::Request(format!("{}: {what}", path.display()));
        let file = File::open(&path).map_err(|error| refused(&error))?;
        let mut input = BufReader::with_capacity(256 << 10, &file);
        let (mut lines, mut start, mut line) = (Vec::new(), 0, Vec::new());
        loop {
            let number = lines.len() + 1;
            line.clear();
            let limit = LINE_BYTES_MAX as u64 + 1;
            let read = (&mut input).take(limit).read_until(b'\n', &mut line);
            let length = read.map_err(|error| refused(&error))?;
            if length == 0 {
                break;
            }
            if length > LINE_BYTES_MAX || number > LINES_MAX {
                let what = if number > LINES_MAX { "too many lines" } else { "it is too long" };
                return Err(refused(&format_args!("line {number}: {what}")));
            }
            parse(&line).map_err(|what| refused(&format_args!("line {number}: {what}")))?;
            lines.push((start, length as u32));
            start += length as u64;
        }
        if lines.is_empty() {
            return Err(refused(&"it has no records"));
        }
        Ok(RecordFile { path, file, lines })
    }

    /// The number of records, at least 1.
    pub(crate) fn len(&self) -> u64 {
        self.lines.len() as u64
    }

    /// Reads the key and the value of a line, counted from 0.
    pub(crate) fn record(&mut self, at: usize) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let (start, length) = self.lines[at];
        let mut line = vec![0; length as usize];
        let read = self.file.seek(SeekFrom::Start(start));
        let read = read.and_then(|_| self.file.read_exact(&mut line));
        read.map_err(|error| Failure::Raw(self.path.clone(), error))?;
        parse(&line).map_err(|what| changed(&self.path, at + 1, &what))
    }
}

fn changed(path: &Path, number: usize, what: &str) -> Failure {
    let message = format!("line {number} was changed during the run: {what}");
    Failure::Raw(path.to_path_buf(), io::Error::new(io::ErrorKind::InvalidData, message))
}

fn parse(line: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let object: serde_json::Value =
        serde_json::from_slice(line).map_err(|error| format!("not JSON: {error}"))?;
    let bytes = |name: &str| {
        let text = object.get(name).and_then(serde_json::Value::as_str);
        let text = text.ok_or_else(|| format!("no string \"{name}\" in an object"))?;
        STANDARD.decode(text).map_err(|error| format!("\"{name}\" is not base64: {error}"))
    };
    let (key, payload) = (bytes("key")?, bytes("payload")?);
    if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Err(format!("\"key\" has {} bytes, not 1 to {KEY_BYTES_MAX}", key.len()));
    }
    if payload.len() > VALUE_BYTES_MAX {
        return Err(format!("\"payload\" has more than {VALUE_BYTES_MAX} bytes"));
    }
    Ok((key, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str) -> Result<RecordFile, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records");
        std::fs::write(&path, text).unwrap();
        RecordFile::open(path).map_err(|failure| failure.to_string())
    }

    #[test]
    fn records_are_read_from_their_lines() {
        let text =
            "{\"key\": \"YQ==\", \"payload\": \"\"}\n{\"payload\":\"Yg==\",\"key\":\"Yw==\"}";
        let mut file = open(text).unwrap();
        assert_eq!(file.len(), 2);
        assert_eq!(file.record(1).unwrap(), (b"c".to_vec(), b"b".to_vec()));
        assert_eq!(file.record(0).unwrap(), (b"a".to_vec(), b"".to_vec()));
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let good = "{\"key\": \"YQ==\", \"payload\": \"Yg==\"}\n";
        for bad in [
            "",
            "x",
            "[]",
            "{\"key\": \"YQ==\"}",
            "{\"key\": \"YQ\", \"payload\": \"\"}",
            "{\"key\": \"\", \"payload\": \"\"}",
            "{\"key\": 1, \"payload\": \"\"}",
        ] {
            let refused = open(&format!("{good}{bad}\n{good}")).err();
            assert!(refused.as_ref().is_some_and(|it| it.contains("line 2")), "{bad}: {refused:?}");
        }
        assert!(open("").err().is_some_and(|it| it.contains("no records")));
    }
}
