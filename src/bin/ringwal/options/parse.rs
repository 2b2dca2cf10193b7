//! Parsers of numbers and sizes on the command line.

use std::num::NonZeroUsize;

/// More threads than this do not help and would exhaust the machine.
pub(crate) const THREADS_MAX: usize = 1024;

pub(crate) fn parse_threads(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .ok()
        .filter(|threads: &NonZeroUsize| threads.get() <= THREADS_MAX)
        .ok_or_else(|| format!("expected a number from 1 to {THREADS_MAX}"))
}

/// A number of bytes: digits, and optionally KiB, MiB or GiB (or K, M, G for the same).
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        other => return Err(format!("unknown unit {other}, expected KiB, MiB or GiB")),
    };
    let number: u64 = digits
        .trim_end()
        .parse()
        .map_err(|_| "expected a number of bytes like 4096, 64KiB or 16MiB".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "is more than 2^64 bytes".to_owned())
}

pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    usize::try_from(parse_bytes(text)?).map_err(|_| "is more than this machine addresses".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_binary_units() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("64KiB", 65536), ("2m", 2 << 20)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5MiB", "1TB", "99999999999GiB", "1é"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
