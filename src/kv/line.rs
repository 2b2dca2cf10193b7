//! One line of an export or import: a key and a value as a JSON object.
//!
//! The writer always produces `{"key_b64": "...", "value_b64": "..."}`. The parser accepts any JSON
//! object of these two strings, as other programs write it: in either order, with spaces and
//! escapes.
//!
//! It is not a general JSON parser: that would be the largest dependency of the core, to read two
//! strings of base64.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::write::EncoderWriter;

use crate::kv::record;

const KEY: &str = "key_b64";
const VALUE: &str = "value_b64";

/// Writes a line, with its newline.
pub(crate) fn write_line(out: &mut impl Write, key: &[u8], value: &[u8]) -> io::Result<()> {
    write!(out, "{{\"{KEY}\": \"")?;
    write_base64(out, key)?;
    write!(out, "\", \"{VALUE}\": \"")?;
    write_base64(out, value)?;
    out.write_all(b"\"}\n")
}

fn write_base64(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let mut encoder = EncoderWriter::new(out, &STANDARD);
    encoder.write_all(bytes)?;
    encoder.finish().map(drop)
}

/// Parses a line, with or without its newline. The error says what is wrong with it.
pub(crate) fn parse_line(line: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let fields = LineParser { line, at: 0 }.fields();
    let (key, value) = fields.map_err(|wrong| {
        format!("{wrong}; expected {{\"{KEY}\": \"...\", \"{VALUE}\": \"...\"}} in standard base64")
    })?;
    match record::check(&key, &value) {
        Ok(_) => Ok((key, value)),
        Err(error) => Err(error.to_string()),
    }
}

struct LineParser<'a> {
    line: &'a [u8],
    at: usize,
}

impl LineParser<'_> {
    fn fields(mut self) -> Result<(Vec<u8>, Vec<u8>), String> {
        let (mut key, mut value) = (None, None);
        self.take(b'{')?;
        loop {
            let name = self.string()?;
            let name = String::from_utf8_lossy(&name).into_owned();
            let field = match name.as_str() {
                KEY => &mut key,
                VALUE => &mut value,
                _ => return Err(format!("unknown field {name:?}")),
            };
            if field.is_some() {
                return Err(format!("duplicate field {name}"));
            }
            self.take(b':')?;
            let bytes = STANDARD.decode(self.string()?);
            *field = Some(bytes.map_err(|error| format!("field {name}: {error}"))?);
            if self.next() == Some(b',') {
                self.at += 1;
            } else {
                break;
            }
        }
        self.take(b'}')?;
        if self.next().is_some() {
            return Err(format!("unexpected text after the object, at byte {}", self.at + 1));
        }
        match (key, value) {
            (Some(key), Some(value)) => Ok((key, value)),
            (None, _) => Err(format!("missing field {KEY}")),
            (_, None) => Err(format!("missing field {VALUE}")),
        }
    }

    /// The next byte that is not a space; it is not consumed.
    fn next(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.line.get(self.at) {
            self.at += 1;
        }
        self.line.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Result<(), String> {
        match self.next() {
            Some(found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            _ => Err(format!("expected {:?} at byte {}", char::from(byte), self.at + 1)),
        }
    }

    /// The bytes of a string, with its escapes resolved.
    fn string(&mut self) -> Result<Vec<u8>, String> {
        self.take(b'"')?;
        let mut bytes = Vec::new();
        loop {
            let rest = &self.line[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            let Some(plain) = plain else { return Err("an unterminated string".to_owned()) };
            bytes.extend_from_slice(&rest[..plain]);
            self.at += plain + 1;
            match rest[plain] {
                b'"' => return Ok(bytes),
                b'\\' => self.escape(&mut bytes)?,
                _ => return Err(format!("a control character at byte {}", self.at)),
            }
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), String> {
        let wrong = format!("a bad escape at byte {}", self.at);
        let rest = &self.line[self.at..];
        let (byte, len) = match rest {
            [byte @ (b'"' | b'\\' | b'/'), ..] => (*byte, 1),
            [b'u', digits, ..] if digits.is_ascii_hexdigit() => {
                let digits = rest.get(1..5).and_then(|digits| str::from_utf8(digits).ok());
                let number = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
                // Base64 and the field names are ASCII.
                let byte = number.and_then(|number| u8::try_from(number).ok());
                (byte.filter(u8::is_ascii).ok_or(wrong)?, 5)
            }
            _ => return Err(wrong),
        };
        bytes.push(byte);
        self.at += len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_line_has_exactly_the_documented_form_and_reads_back() {
        let pairs: [(&[u8], &[u8]); 4] = [
            (b"a", b""),
            (b"\0\xff", b"\n\""),
            (b"key", b"\xfb\xff\xfe"),
            (&[7; 1000], &[8; 7777]),
        ];
        let mut first = Vec::new();
        write_line(&mut first, b"apple", b"green").unwrap();
        assert_eq!(first, b"{\"key_b64\": \"YXBwbGU=\", \"value_b64\": \"Z3JlZW4=\"}\n");
        for (key, value) in pairs {
            let mut line = Vec::new();
            write_line(&mut line, key, value).unwrap();
            assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
            assert_eq!(parse_line(&line).unwrap(), (key.to_vec(), value.to_vec()));
        }
    }

    #[test]
    fn other_forms_of_the_same_object_are_accepted() {
        for line in [
            r#"{"key_b64":"YQ==","value_b64":"+/8="}"#,
            r#"  { "value_b64" : "+\/8=" ,	"key_b64" : "\u0059Q==" } "#,
            "{\"key_b64\": \"YQ==\", \"value_b64\": \"+/8=\"}\r\n",
            r#"{"key\u005fb64":"YQ==","value_b64":"\u002B/8="}"#,
        ] {
            let expected = (b"a".to_vec(), b"\xfb\xff".to_vec());
            assert_eq!(parse_line(line.as_bytes()), Ok(expected), "{line}");
        }
    }

    #[test]
    fn any_other_line_is_an_error_that_says_what_is_wrong() {
        for (line, wrong) in [
            ("", "expected '{' at byte 1"),
            ("[]", "expected '{' at byte 1"),
            ("{}", "expected '\"' at byte 2"),
            (r#"{"key_b64": "YQ=="}"#, "missing field value_b64"),
            (r#"{"value_b64": "YQ=="}"#, "missing field key_b64"),
            (r#"{"key_b64": "YQ==", "key_b64": "YQ=="}"#, "duplicate field key_b64"),
            (r#"{"key_b64": "YQ==", "value": ""}"#, "unknown field \"value\""),
            (r#"{"key_b64": 1, "value_b64": ""}"#, "expected '\"' at byte 13"),
            (r#"{"key_b64": "YQ", "value_b64": ""}"#, "field key_b64"),
            (r#"{"key_b64": "Y-==", "value_b64": ""}"#, "field key_b64"),
            (r#"{"key_b64": "", "value_b64": ""}"#, "a key of 0 bytes"),
            (r#"{"key_b64": "YQ==", "value_b64": ""} x"#, "unexpected text after the object"),
            (r#"{"key_b64": "YQ==", "value_b64": ""},"#, "unexpected text after the object"),
            (r#"{"key_b64": "YQ==", "value_b64": "#, "expected '\"'"),
            (r#"{"key_b64": "YQ==", "value_b64": "\"#, "a bad escape"),
            (r#"{"key_b64": "YQ==", "value_b64": "\u00"#, "a bad escape"),
            (r#"{"key_b64": "YQ==", "value_b64": "\u20ac"}"#, "a bad escape"),
            (r#"{"key_b64": "YQ==", "value_b64": "abc"#, "an unterminated string"),
            ("{\"key_b64\": \"Y\nQ==\", \"value_b64\": \"\"}", "a control character"),
        ] {
            let error = parse_line(line.as_bytes()).unwrap_err();
            assert!(error.contains(wrong), "{line}: {error}");
        }
    }
}
